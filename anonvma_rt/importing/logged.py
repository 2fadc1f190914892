"""What a log says, before anybody asks what it means: calls as they stand there, and remarks about lines of it.

A parser (strace.py, syzkaller.py) makes a Log; meaning.py makes steps of its calls. Nothing that a log says is lost on
the way: whatever does not become a step becomes a Note.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from anonvma_rt.errors import printable
from anonvma_rt.text.expression import PAGE

__all__ = [
    "ASSUMED", "LONGEST_LINE", "MAP", "MREMAP", "NOT_SAID", "PROT", "TOO_LONG", "Birth", "Log", "Logged", "Note",
    "Step", "page_down", "page_up", "read_flags", "read_number", "shorter", "split_arguments",
]  # fmt: skip

NOT_SAID, ASSUMED = "not said", "assumed"
LONGEST = 120  # characters of a log's line that a note repeats
LONGEST_LINE = 1 << 16  # characters of a line that is read: a hostile one must not cost more than its length
TOO_LONG = f"the line is longer than {LONGEST_LINE} characters"


class Note(NamedTuple):
    """A remark. kind: NOT_SAID (the call of this line is not in the scenario) or ASSUMED (it is, and the log does not
    say all that the step says). line: 0 where it is about the whole log. text: the call, as the log has it."""

    kind: str
    line: int
    text: str
    reason: str

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        call = f"{self.text}: " if self.text else ""
        return printable(f"{self.kind}: {place}{call}{self.reason}")


@dataclass(frozen=True)
class Logged:
    """A call of a log. task: who made it. args: as the log writes them. result: None where the log does not say.
    errno: the name, where it failed. line, end: where it begins and where it is over. text: for notes.

    writes: addresses that are written to before the call, as (address, bytes). times: how often it is made.
    """

    task: str
    name: str
    args: tuple[str, ...]
    result: int | None
    errno: str
    line: int
    end: int
    text: str
    writes: tuple[tuple[int, int], ...] = ()
    times: int = 1


class Birth(NamedTuple):
    """How a task began. shares: whether it has the address space of its parent. line: that of the call."""

    parent: str
    shares: bool
    line: int


@dataclass
class Log:
    """The calls of a file, in the order of their lines. births: of the tasks that the log sees begin.

    sure: whether it says what each call returned. race: the line from which on calls overlap by the log's own words, 0
    where it has none. start: what is mapped before the first call, as (address, bytes, by whom).
    """

    calls: list[Logged]
    notes: list[Note]
    births: Mapping[str, Birth] = field(default_factory=dict)
    sure: bool = True
    race: int = 0
    start: tuple[int, int, str] | None = None


@dataclass
class Step:
    """A step of a scenario: a verb of scenario files with its keys, where its addresses and lengths are numbers.

    errnos: what it may return, () where the log does not say. process: whose memory; task: who makes the call.
    order: the place in which its effect stands among those of other tasks.
    """

    verb: str
    process: str
    values: dict[str, int | bool | str]
    errnos: tuple[str, ...]
    task: str
    line: int
    order: int

    def ranges(self) -> Iterator[tuple[str, str]]:
        """The keys of its address ranges, as (address, length)."""
        if self.verb == "mremap":
            yield "from", "pages"
            yield ("to" if "to" in self.values else "from"), "new_pages"
        elif "at" in self.values:
            yield "at", "pages"


def page_down(address: int) -> int:
    return address & -PAGE


def page_up(length: int) -> int:
    """The kernel's own rounding of a length, which wraps around at 2**64."""
    return (length + PAGE - 1) % (1 << 64) & -PAGE


_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|\d+")


def read_number(text: str) -> int | None:
    """The number that an argument is, or None. NULL and nil are 0; a negative one is what an unsigned long makes of
    it."""
    text = text.strip().strip("()")
    if text in ("NULL", "nil"):
        return 0
    sign, digits = (-1, text[1:]) if text[:1] == "-" else (1, text)
    if not _NUMBER.fullmatch(digits):
        return None
    octal = len(digits) > 1 and digits[0] == "0" and digits[1] not in "xX"
    if octal and not set(digits) <= set("01234567"):
        return None
    return sign * int(digits, 8 if octal else 0) % (1 << 64)


# Flags of memory calls, with the bits of x86-64.
PROT = {"PROT_NONE": 0, "PROT_READ": 1, "PROT_WRITE": 2, "PROT_EXEC": 4, "PROT_SEM": 8, "PROT_GROWSDOWN": 0x01000000,
        "PROT_GROWSUP": 0x02000000}  # fmt: skip
MAP = {
    "MAP_FILE": 0, "MAP_SHARED": 1, "MAP_PRIVATE": 2, "MAP_SHARED_VALIDATE": 3, "MAP_DROPPABLE": 8, "MAP_FIXED": 0x10,
    "MAP_ANONYMOUS": 0x20, "MAP_ANON": 0x20, "MAP_32BIT": 0x40, "MAP_ABOVE4G": 0x80, "MAP_GROWSDOWN": 0x100,
    "MAP_DENYWRITE": 0x800, "MAP_EXECUTABLE": 0x1000, "MAP_LOCKED": 0x2000, "MAP_NORESERVE": 0x4000,
    "MAP_POPULATE": 0x8000, "MAP_NONBLOCK": 0x10000, "MAP_STACK": 0x20000, "MAP_HUGETLB": 0x40000,
    "MAP_SYNC": 0x80000, "MAP_FIXED_NOREPLACE": 0x100000, "MAP_UNINITIALIZED": 0x4000000,
}  # fmt: skip
MREMAP = {"MREMAP_MAYMOVE": 1, "MREMAP_FIXED": 2, "MREMAP_DONTUNMAP": 4}

_SHIFTED = re.compile(r"\d+<<MAP_HUGE_SHIFT")


def read_flags(text: str, names: dict[str, int]) -> int | None:
    """The bits of an argument as "PROT_READ|PROT_WRITE", "0x3" or "PROT_READ|0x8"; None where it is neither.

    >>> read_flags("PROT_READ|PROT_WRITE", PROT), read_flags("0x32", MAP), read_flags("MAP_WRONG", MAP)
    (3, 50, None)
    """
    bits = 0
    # strace says what it does not know as a comment behind the number.
    for word in re.sub(r"/\*.*?\*/", "", text).split("|"):
        word = word.strip()
        number = read_number(word)
        if word in names:
            bits |= names[word]
        elif number is not None:
            bits |= number
        elif _SHIFTED.fullmatch(word):
            bits |= int(word.split("<<")[0]) << 26
        else:
            return None
    return bits


_OPENING, _CLOSING = "([{", ")]}"


def split_arguments(text: str) -> tuple[tuple[str, ...], str] | None:
    """The arguments of a call and what stands behind its closing bracket, of the text behind the opening one; None
    where no bracket closes it. Strings in either kind of quotes and brackets keep together what is inside them.

    >>> split_arguments("1, [2, 3], \\"a)\\") = 0")
    (('1', '[2, 3]', '"a)"'), ' = 0')
    """
    args: list[str] = []
    depth = begin = at = 0
    while at < len(text):
        c = text[at]
        if c in "\"'":
            at += 1
            while at < len(text) and text[at] != c:
                at += 2 if text[at] == "\\" else 1
        elif c in _OPENING:
            depth += 1
        elif c in _CLOSING:
            if depth == 0:
                last = text[begin:at].strip()
                return (*args, *([last] if last or args else [])), text[at + 1 :]
            depth -= 1
        elif c == "," and depth == 0:
            args.append(text[begin:at].strip())
            begin = at + 1
        at += 1
    return None


def shorter(text: str) -> str:
    """A line of a log as notes repeat it."""
    text = " ".join(text[: 4 * LONGEST].split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
