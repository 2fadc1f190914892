"""Programs of syzkaller in their text form: lines to calls, with what their arguments write to memory.

The executor maps an area for the data of a program before the first call (DATA), to which pointers in the text point as
if it began at 0x7f0000000000. A call that is `async` is a task of its own, all others are one. Of a log with several
programs the last one is read.
"""

import re

from anonvma_rt.importing.logged import (
    ASSUMED,
    LONGEST_LINE,
    NOT_SAID,
    TOO_LONG,
    Log,
    Logged,
    Note,
    shorter,
    split_arguments,
)

__all__ = ["DATA", "looks_like_syzkaller", "read_syzkaller"]

WRITTEN_AS = 0x7F0000000000
# Where the executor maps it (up to 2024; since then higher, which makes no difference), and how large.
DATA, DATA_BYTES = 0x20000000, 16 << 20
MOST_BROKEN = 16  # lines into which one call may be broken
MOST_TIMES = 8  # that a call with `rerun` is made
PROGRAM = "program"  # the task of all calls that are not async

_CALL = re.compile(r"(?:(?P<result>r\d+)\s*=\s*)?(?P<name>[a-z_][a-z0-9_]*)(?:\$[A-Za-z0-9_$]+)?\(")
_PROP = r"[a-z_][a-z_0-9]*(?:\s*:\s*\d+)?"
# Behind a call: its properties, and in a test the errno that it should return.
_PROPS = re.compile(rf"\s*(?:\((?P<props>{_PROP}(?:,\s*{_PROP})*)\))?\s*(?:#\s*(?P<errno>E[A-Z0-9]+)?.*)?")
_POINTER = re.compile(
    r"&\((0x[0-9a-fA-F]+)(?:[+-]0x[0-9a-fA-F]+)?(?:/0x[0-9a-fA-F]+)?\)(=(?:ANY=)?(?=(?P<data>.?.?)))?"
)
_VALUE = re.compile(r'"(?P<hex>(?:[0-9a-f]{2})*)"')
_HEADER = re.compile(r"executing program|^last executing test programs")
_OPTION = re.compile(r"(\w+):(true|[1-9]\d*)\b")


def looks_like_syzkaller(line: str) -> bool:
    """Whether a line has a call and nothing behind it but its properties."""
    line = line[:LONGEST_LINE].strip()
    call = _CALL.match(line)
    split = split_arguments(line[call.end() :]) if call else None
    return split is not None and _PROPS.fullmatch(split[1]) is not None


def read_syzkaller(text: str) -> Log:
    """The calls of a program."""
    reader = _Reader()
    lines = text.splitlines()
    last = max((at for at, line in enumerate(lines) if _HEADER.search(line) and any(lines[at + 1 :])), default=-1)
    if last > 0 and any(looks_like_syzkaller(line) for line in lines[:last]):
        about = f"the last program of the log, from line {last + 2} on, is the one that was read"
        reader.notes.append(Note(ASSUMED, 0, "", about))
    held, first = "", 0
    for number, raw in enumerate(lines[last + 1 :], last + 2):
        line = raw.strip()
        if not held and (not line or line.startswith("#")):
            reader.options(number, line)
            continue
        # A mail breaks long lines.
        first = first if held else number
        line = f"{held} {line}" if held else line
        held = ""
        if len(line) > LONGEST_LINE:
            reader.notes.append(Note(NOT_SAID, first, shorter(line), TOO_LONG))
            continue
        call = _CALL.match(line)
        if call and split_arguments(line[call.end() :]) is None and number < min(len(lines), first + MOST_BROKEN):
            held = line
            continue
        reader.read(first, number, line)
    return Log(reader.calls, reader.notes, sure=False, race=reader.race, start=(DATA, DATA_BYTES, "the executor"))


class _Reader:
    def __init__(self) -> None:
        self.calls: list[Logged] = []
        self.notes: list[Note] = []
        self.race = 0

    def options(self, number: int, line: str) -> None:
        """A comment; that of the options may say what cannot be said of a single call."""
        said = [f"{name}:{value}" for name, value in _OPTION.findall(line) if name in ("Collide", "Fault", "FaultCall")]
        if said and line.startswith(("#{", "# {")):
            self.notes.append(
                Note(NOT_SAID, number, shorter(line), f"the program's calls alone are read, not {said[0]}")
            )

    def read(self, number: int, end: int, line: str) -> None:
        call = _CALL.match(line)
        split = split_arguments(line[call.end() :]) if call else None
        props = _PROPS.fullmatch(split[1]) if split else None
        if call is None or split is None or props is None:
            self.notes.append(Note(NOT_SAID, number, shorter(line), "no call of syzkaller's that can be read"))
            return
        said = dict(_prop(one) for one in (props["props"] or "").split(",") if one.strip())
        for name in said:
            if name not in ("async", "rerun"):
                self.notes.append(Note(NOT_SAID, number, shorter(line), f"the property {name} is left out"))
        times = said.get("rerun", 1)
        if times > MOST_TIMES:
            self.notes.append(Note(ASSUMED, number, shorter(line), f"it is made {MOST_TIMES} times, not {times}"))
        task = f"{call['name'][:24]}-{number}" if "async" in said else PROGRAM
        if "async" in said and not self.race:
            self.race = number
        args = tuple(_address(arg) for arg in split[0])
        self.calls.append(
            Logged(
                task,
                call["name"],
                args,
                None,
                props["errno"] or "",
                number, end, shorter(line),
                writes=_writes(split[0]), times=min(max(times, 1), MOST_TIMES),
            )
        )  # fmt: skip


def _prop(text: str) -> tuple[str, int]:
    name, _, value = text.partition(":")
    return name.strip(), int(value) if value.strip() else 1


def _where(address: int) -> int:
    return address - WRITTEN_AS + DATA if address >= WRITTEN_AS else address


def _address(arg: str) -> str:
    """An argument with numbers for what points somewhere; data stands behind its place and a "="."""
    return _POINTER.sub(lambda pointer: hex(_where(int(pointer[1], 0))) + (pointer[2] or ""), arg).replace("=nil", "")


def _writes(args: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """What the executor writes for a call before it makes it: the data that pointers point to."""
    found: dict[int, int] = {}
    for arg in args:
        for pointer in _POINTER.finditer(arg):
            data = pointer["data"]
            # Nothing is written for an area of pages (nil) and for a buffer that the call fills ("").
            if not data or data in ("ni", '""'):
                continue
            value = _VALUE.match(arg, pointer.start("data"))
            size = max(len(value["hex"]) // 2, 1) if value else 1
            at = _where(int(pointer[1], 0))
            found[at] = max(found.get(at, 0), size)
    return tuple(found.items())
