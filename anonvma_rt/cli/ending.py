"""How a verb ends: what it prints, the exit code, and what it says while it works.

Results go to stdout, progress and complaints to stderr, through say() and complain(), which make whatever comes from
outside printable. Exit codes: 0 every answer is the expected one, 1 it is not, 2 bad input (or a place that cannot be
written) in one line, 70 a mistake of the lab with its traceback, 130 interrupted with what was found printed and saved.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from anonvma_rt.errors import UserError, for_terminal, quote, reason
from anonvma_rt.text.writing import write_whole

__all__ = [
    "AS_EXPECTED", "BAD_INPUT", "INTERRUPTED", "MISTAKE", "NOT_AS_EXPECTED", "collect", "complain", "conclude",
    "conclude_results", "drop_output", "flush", "progress_bar", "say", "show_progress", "width", "write_file",
]  # fmt: skip

AS_EXPECTED, NOT_AS_EXPECTED, BAD_INPUT, MISTAKE, INTERRUPTED = 0, 1, 2, 70, 130

T = TypeVar("T")


def width() -> int:
    """Columns of the terminal; 110 where there is none."""
    return shutil.get_terminal_size((110, 24)).columns


def say(text: str, end: str = "\n") -> None:
    """Prints a result. Raises UserError where stdout takes nothing any more, BrokenPipeError where nobody reads it."""
    out = sys.stdout
    text = for_terminal(text) + end
    with _output():
        try:
            out.write(text)
        except UnicodeEncodeError:
            out.write(text.encode(out.encoding, "backslashreplace").decode(out.encoding))


def flush() -> None:
    """What was said is out then. Raises what say() does."""
    with _output():
        sys.stdout.flush()


@contextmanager
def _output() -> Iterator[None]:
    if sys.stdout is None:  # closed before Python began
        raise UserError("standard output is closed, so nothing can be said: send it to a file, or to /dev/null")
    try:
        yield
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as error:  # ValueError: closed since
        drop_output()
        raise UserError(f"standard output cannot be written: {reason(error)}") from None


def drop_output() -> None:
    """What is still to be said goes nowhere: Python must not fail once more when it flushes at exit."""
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain(message: object) -> None:
    """One line on stderr, if there is one."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            print(f"anonvma-rt: {for_terminal(str(message))}", file=sys.stderr, flush=True)


def progress_bar(**how: Any) -> Any:
    """A bar on stderr, where that is a terminal."""
    from tqdm import tqdm

    usual = {"unit": "exec", "delay": 1, "disable": None, "file": sys.stderr, "leave": False}
    return tqdm(**usual | how | ({"disable": True} if sys.stderr is None else {}))


def show_progress(bar: Any) -> Callable[[str, int], None]:
    """Shows executions of an algorithm, which were just made."""

    def progress(algorithm: str, executions: int) -> None:
        bar.set_description(algorithm, refresh=False)
        bar.update(executions)

    return progress


def collect(calls: Iterable[Callable[[], T]]) -> tuple[list[T], bool]:
    """The results of the calls, made one after the other, and whether ^C ended it; that call has a result, too."""
    from anonvma_rt.execution.results import Interrupted

    found: list[T] = []
    try:
        for call in calls:
            found.append(call())
    except Interrupted as interrupted:
        return [*found, interrupted.result], True
    return found, False


def conclude(
    options: argparse.Namespace,
    document: Callable[[], object],
    text: Callable[[], str] | None,
    *,
    as_expected: bool = True,
    interrupted: bool = False,
    complaints: Iterable[str | None] = (),
) -> int:
    """Prints the result, as JSON where that was asked for; then the complaints, on stderr. Returns the exit code.

    text: None where it has been printed already.
    """
    if options.json:
        say(json.dumps(document()))
    elif text is not None:
        say(text())
    wrong = [message for message in complaints if message]
    for message in wrong:
        complain(message)
    if interrupted:
        return INTERRUPTED
    return AS_EXPECTED if as_expected and not wrong else NOT_AS_EXPECTED


def conclude_results(
    options: argparse.Namespace,
    found: Sequence[Any],
    report: Callable[[Any], str],
    *,
    together: str | None = None,
    interrupted: bool = False,
    complaints: Sequence[str] = (),
    all_at_once: Callable[[Sequence[Any]], str] | None = None,
) -> int:
    """The same for results that have a result per algorithm. together: the key of the JSON's list, where there may be
    several. all_at_once: the report of all, in the place of one of each."""
    as_expected = all(one.as_expected for one in found)

    def document() -> object:
        if together is None:
            return found[0].as_dict()
        return {together: [one.as_dict() for one in found], "as_expected": as_expected}

    return conclude(
        options,
        document,
        lambda: all_at_once(found) if all_at_once is not None else "\n".join(map(report, found)),
        as_expected=as_expected,
        interrupted=interrupted,
        complaints=[
            *(each.unsaved for one in found for each in one.results),
            *(one.trouble for one in found),
            *complaints,
        ],
    )


def write_file(path: str, content: str | bytes, option: str = "") -> None:
    """Raises UserError, which names the option that asked for the file."""
    try:
        write_whole(path, content)
    except OSError as error:
        where = f"{option} {path or quote(path)}".strip()
        raise UserError(f"{where}: cannot be written: {reason(error)}") from None
