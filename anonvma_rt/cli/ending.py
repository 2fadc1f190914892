"""How a verb ends: what it prints, the exit code, and what it says while it works.

Results go to stdout and progress to stderr. Exit codes: 0 every answer is the expected one, 1 it is not, 2 bad input in
one line, 130 interrupted with what was found printed and saved.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from anonvma_rt.errors import UserError

__all__ = [
    "AS_EXPECTED", "BAD_INPUT", "INTERRUPTED", "NOT_AS_EXPECTED", "collect", "conclude", "conclude_results",
    "progress_bar", "show_progress", "width", "write_file",
]  # fmt: skip

AS_EXPECTED, NOT_AS_EXPECTED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

T = TypeVar("T")


def width() -> int:
    """Columns of the terminal; 110 where there is none."""
    return shutil.get_terminal_size((110, 24)).columns


def progress_bar(**how: Any) -> Any:
    """A bar on stderr, where that is a terminal."""
    from tqdm import tqdm

    return tqdm(**{"unit": "exec", "delay": 1, "disable": None, "file": sys.stderr, "leave": False} | how)


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
        print(json.dumps(document()))
    elif text is not None:
        print(text())
    wrong = [message for message in complaints if message]
    for message in wrong:
        print(f"anonvma-rt: {message}", file=sys.stderr)
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
) -> int:
    """The same for results that have a result per algorithm. together: the key of the JSON's list, where there may be
    several."""
    as_expected = all(one.as_expected for one in found)

    def document() -> object:
        if together is None:
            return found[0].as_dict()
        return {together: [one.as_dict() for one in found], "as_expected": as_expected}

    return conclude(
        options,
        document,
        lambda: "\n".join(map(report, found)),
        as_expected=as_expected,
        interrupted=interrupted,
        complaints=[*(each.unsaved for one in found for each in one.results), *complaints],
    )


def write_file(path: str, text: str, option: str = "") -> None:
    """Raises UserError, which names the option that asked for the file."""
    try:
        Path(path).write_text(text, "utf-8")
    except OSError as error:
        where = f"{option} {path}" if option else path
        raise UserError(f"{where}: cannot be written: {error.strerror or error}") from None
