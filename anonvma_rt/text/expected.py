"""What is expected of an algorithm: a kind of violation, "none", or several kinds of which any may come.

Scenarios, litmus tests, the user's own subjects, campaigns and the pytest plugin all say it in this way.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from anonvma_rt.errors import ScenarioError, UserError, nearest, quote
from anonvma_rt.text.toml import shown

__all__ = ["NONE", "Expected", "as_expected", "expected_text", "read_expected", "still_expected"]

NONE = "none"
Expected = str | Sequence[str]


def read_expected(
    given: object, known: Iterable[str], where: str, error: type[UserError] = ScenarioError
) -> str | tuple[str, ...]:
    """What a file or an argument says. Raises `error` for a kind that is none of the known.

    >>> read_expected(["bug-on", "lost-page"], ["bug-on", "lost-page", "leak"], "x.toml: expect.modern")
    ('bug-on', 'lost-page')
    """
    several = isinstance(given, list | tuple)
    kinds: list[Any] = list(given) if isinstance(given, list | tuple) else [given]
    known = [NONE, *known]
    for kind in kinds:
        if not isinstance(kind, str):
            raise error(f"{where}: must be a string{' or a list of strings' * (not several)}, not {shown(kind)}")
        if kind not in known:
            raise error(f"{where}: unknown violation kind {quote(kind)}{nearest(kind, known)}")
    if not kinds:
        raise error(f'{where}: the list is empty ("{NONE}" says that nothing is found)')
    return tuple(dict.fromkeys(kinds)) if several else str(given)


def as_expected(expected: Expected | None, found: Iterable[str]) -> bool:
    """Whether the kinds that were found are all among the expected, and one was found where "none" is not among them.
    None: nothing is said, and nothing should be found.

    >>> as_expected(("bug-on", "leak"), ["leak"]), as_expected(("bug-on", "leak"), []), as_expected("none", [])
    (True, False, True)
    """
    return (set(found) or {NONE}) <= _kinds(expected)


def still_expected(expected: Expected | None, found: Iterable[str]) -> bool:
    """Whether it may still come out as expected, if more is found."""
    return set(found) <= _kinds(expected)


def expected_text(expected: Expected | None) -> str:
    """In words; nothing where nothing is said.

    >>> expected_text(("bug-on", "leak"))
    'bug-on or leak'
    """
    return expected if isinstance(expected, str) else " or ".join(expected or ())


def _kinds(expected: Expected | None) -> set[str]:
    return {expected or NONE} if expected is None or isinstance(expected, str) else set(expected)
