"""Names that files and options have in common: which operations SURW orders.

They are `ptl`, or `mremap:ptl` for those of one thread only. A scenario or the user names kinds of a kernel's
operations, or a litmus test's locks and variables. What they mean the subject knows; here they are read and checked.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from anonvma_rt.errors import ScenarioError, UserError, nearest, quote
from anonvma_rt.text.toml import get_line, get_list

__all__ = ["MOST_NAMES", "OPTION", "for_threads", "read_names", "split_names"]

OPTION = "--interesting"
MOST_NAMES = 64


def for_threads(
    names: Iterable[str], threads: Sequence[str], known: Iterable[str], error: type[UserError], where: str
) -> list[set[str]]:
    """Of each thread the names that are interesting in what it does. Raises `error`, whose message begins with `where`.

    >>> for_threads(["ptl", "move:pte"], ["move", "walk"], ["ptl", "pte"], UserError, "--interesting")
    [{'ptl', 'pte'}, {'ptl'}]
    """
    known = list(known)
    found: list[set[str]] = [set() for _ in threads]
    for text in names:
        thread, colon, name = text.rpartition(":")
        if colon and thread not in threads:
            raise error(f"{where}: unknown thread {quote(thread)}{nearest(thread, threads)}")
        if name not in known:
            raise error(f"{where}: unknown operation {quote(name)}{nearest(name, known)}")
        for at, each in enumerate(threads):
            if thread in ("", each):
                found[at].add(name)
    return found


def read_names(top: dict[str, Any], source: str) -> tuple[str, ...] | None:
    """The names at the key `interesting` of a file, None where it is missing. Raises ScenarioError."""
    if "interesting" not in top:
        return None
    values = get_list(top, "interesting", source)
    if len(values) > MOST_NAMES:
        raise ScenarioError(f"{source}: interesting: more than {MOST_NAMES} names")
    return tuple(get_line({"interesting": value}, "interesting", source) for value in values)


def split_names(text: str) -> tuple[str, ...]:
    """The names in the value of the command line's option. Raises UserError.

    >>> split_names("ptl, mremap:pte-write")
    ('ptl', 'mremap:pte-write')
    """
    names = tuple(name.strip() for name in text.split(","))
    if not all(names) or len(names) > MOST_NAMES:
        raise UserError(f"{OPTION} must be 1 to {MOST_NAMES} names with commas between them, not {quote(text)}")
    return names
