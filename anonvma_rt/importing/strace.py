"""Logs of strace: lines to calls, and who made them.

With and without times (-t, -tt, -ttt, -r, -T), the numbers of tasks as `[pid 7] ` or, of a file written by -o, as `7 `.
A call that another task interrupts on paper is put together again from its two halves; a task without a number is the
first one, or the last one that is left.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from anonvma_rt.importing.logged import (
    LONGEST_LINE,
    NOT_SAID,
    TOO_LONG,
    Birth,
    Log,
    Logged,
    Note,
    shorter,
    split_arguments,
)

__all__ = ["EXITED", "looks_like_strace", "read_strace"]

EXITED = "exited"  # the name of the call that a line as "+++ exited with 0 +++" stands for
_FIRST = "0"  # the task without a number, as long as nobody says which it is

_HEAD = re.compile(
    r"\s*(?:\[pid\s+(?P<pid>\d+)(?:<[^>]*>)?\]\s+|(?P<bare>\d+)(?:<[^>]*>)?\s+)?"
    r"(?:\d+:\d\d:\d\d(?:\.\d+)?\s+|\d+\.\d+\s+|\d{9,}\s+)?(?:\(\+\s*\d+\.\d+\)\s+)?"
    r"(?:\[\s*\d+\]\s+)?(?:\[(?:[0-9a-f]{8,}|\?+)\]\s+)?"
)
_CALL = re.compile(r"(?P<name>[a-z_][a-z0-9_]*)\(")
_RESUMED = re.compile(r"<\.\.\. (?P<name>[a-z_][a-z0-9_]*) resumed>\s?")
_RESULT = re.compile(r"\s*=\s*(?P<result>\?|0x[0-9a-f]+|-?\d+)(?:<[^>]*>)?(?:\s+(?P<errno>[A-Z][A-Z0-9_]+))?")
_ATTACHED = re.compile(r"(?:strace: )?Process \d+ (?:attached|detached)(?: \(.*\))?\s*$")
_BEARS = re.compile(r"(?:clone[23]?|v?fork)\(|<\.\.\. (?:clone[23]?|v?fork) resumed>")
_BORN = re.compile(r"\)\s*=\s*(\d+)")
_UNFINISHED = re.compile(r"<(?:unfinished|detached) \.\.\.>")  # by another task, or for good
BEARING = ("clone", "clone2", "clone3", "fork", "vfork")


class _Row(NamedTuple):
    """A line, its task where it names one, and what stands behind that."""

    line: int
    pid: str
    rest: str


def looks_like_strace(line: str) -> bool:
    """Whether a line has a call and its result, an end, or half a call."""
    line = line[: 2 * LONGEST_LINE]
    rest = line[_HEAD.match(line).end() :]  # type: ignore[union-attr]  # it matches the empty text
    if rest.startswith(("+++ ", "--- SIG")) or _RESUMED.match(rest):
        return True
    call = _CALL.match(rest)
    begun = _UNFINISHED.search(rest) or re.search(r"\)\s*=\s*(?:-?\d|\?)", rest)
    return call is not None and begun is not None


def read_strace(text: str) -> Log:
    """The calls of a log. What is no call, and no message of strace's own, is a note."""
    rows = list(_rows(text))
    reader = _Reader({born for row in rows if _BEARS.match(row.rest) for born in _BORN.findall(row.rest)})
    for row in rows:
        reader.read(row)
    return reader.log()


def _rows(text: str) -> Iterator[_Row]:
    held, first = "", 0
    for line, raw in enumerate(text.splitlines(), 1):
        first = first if held else line
        message = _ATTACHED.search(raw)
        row = (held + (raw[: message.start()] if message else raw))[: LONGEST_LINE + 100]
        if message:
            # It comes between whatever strace has written so far and the rest of that.
            held = row if row.strip() else ""
            continue
        held = ""
        head = _HEAD.match(row)
        assert head is not None
        rest = row[head.end() :].rstrip()
        if rest and not row.lstrip().startswith("strace: "):
            yield _Row(first, head["pid"] or head["bare"] or "", rest)


class _Reader:
    """born: the tasks that a call of the log made."""

    def __init__(self, born: set[str]) -> None:
        self.born = born
        self.calls: list[Logged] = []
        self.notes: list[Note] = []
        self.births: dict[str, Birth] = {}
        self.begun: dict[str, tuple[int, str]] = {}  # by task: a call that is not over, and its line
        self.alive: dict[str, None] = {}
        self.roots: list[str] = []

    def read(self, row: _Row) -> None:
        rest = row.rest
        if len(rest) > LONGEST_LINE:
            self.note(row, TOO_LONG)
            return
        task = self.task(row.pid)
        if rest.startswith("+++ "):
            self.alive.pop(task, None)
            self.begun.pop(task, None)
            self.calls.append(Logged(task, EXITED, (), 0, "", row.line, row.line, rest))
            return
        if rest.startswith("--- ") or rest.startswith("> "):
            return  # a signal, or an entry of a stack (-k)
        line, resumed = row.line, _RESUMED.match(rest)
        if resumed:
            line, begun = self.begun.pop(task, (row.line, ""))
            if not begun.startswith(f"{resumed['name']}("):
                self.note(row, "the log does not have the beginning of this call")
                return
            rest = begun + _UNFINISHED.sub("", rest[resumed.end() :])
        elif not _CALL.match(rest):
            self.note(row, "no line of strace's that can be read")
            return
        elif _UNFINISHED.search(rest):
            self.begun[task] = row.line, _UNFINISHED.split(rest)[0].rstrip()
            return
        self.take(task, line, row.line, rest)

    def task(self, pid: str) -> str:
        """The task of a line."""
        if pid and pid not in self.born and pid not in self.roots:
            if self.roots == [_FIRST]:
                # Until there was a second task, strace did not say which this one is.
                self.rename(pid)
            self.roots.append(pid)
        if not pid:
            pid = next(iter(self.alive)) if len(self.alive) == 1 else self.roots[0] if self.roots else _FIRST
            if pid == _FIRST and not self.roots:
                self.roots.append(_FIRST)
        self.alive.setdefault(pid)
        return pid

    def rename(self, pid: str) -> None:
        self.roots.clear()
        self.calls = [call if call.task != _FIRST else replace(call, task=pid) for call in self.calls]
        self.births = {
            born: birth if birth.parent != _FIRST else birth._replace(parent=pid) for born, birth in self.births.items()
        }
        if _FIRST in self.begun:
            self.begun[pid] = self.begun.pop(_FIRST)
        self.alive.pop(_FIRST, None)

    def take(self, task: str, line: int, end: int, rest: str) -> None:
        """A whole call."""
        call = _CALL.match(rest)
        assert call is not None
        text = shorter(rest)
        split = split_arguments(rest[call.end() :])
        if split is None:
            self.notes.append(Note(NOT_SAID, line, text, "no bracket closes the call"))
            return
        args, tail = split
        found = _RESULT.match(tail)
        result = None if found is None or found["result"] == "?" else int(found["result"], 0)
        errno = (found["errno"] or "") if found and (result is None or result < 0) else ""
        self.calls.append(Logged(task, call["name"], args, result, errno, line, end, text))
        if call["name"] in BEARING and result is not None and result > 0:
            shares = "CLONE_VM" in rest or call["name"] == "vfork"
            self.births[str(result)] = Birth(task, shares, line)

    def note(self, row: _Row, reason: str) -> None:
        self.notes.append(Note(NOT_SAID, row.line, shorter(row.rest), reason))

    def log(self) -> Log:
        for task, (line, rest) in self.begun.items():
            call = _CALL.match(rest)
            assert call is not None
            split = split_arguments(rest[call.end() :].rstrip().rstrip(",") + ")")
            args = split[0] if split else ()
            self.calls.append(Logged(task, call["name"], args, None, "", line, line, shorter(rest)))
        self.calls.sort(key=lambda call: call.line)
        return Log(self.calls, self.notes, self.births)
