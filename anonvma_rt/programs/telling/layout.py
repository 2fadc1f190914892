"""Which element of an array and which member of a structure lies at a place in a variable: `seen[2]`, `queue.head`.

The compiler's own table of types (DWARF) says so, as readelf of binutils prints it; where there is none, a place is so
many bytes behind the variable's beginning. Members that begin with an underscore are a library's, and no names to show.
"""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

__all__ = ["inside"]

ENTRY = re.compile(r" *<(\w+)><(\w+)>: Abbrev Number: \d+ \(DW_TAG_(\w+)\)")
NAMED = re.compile(r" *<\w+> +DW_AT_name *: (?:\(.*?\): )?(.*?)\s*$")
TYPED = re.compile(r" *<\w+> +DW_AT_(type|specification|abstract_origin) *: (?:\(.*?\) )?<0x(\w+)>")
NUMBER = re.compile(r" *<\w+> +DW_AT_(byte_size|data_member_location|upper_bound|count) *: (?:\(.*?\) )?(0x\w+|\d+)\b")
LOCATED = re.compile(r" *<\w+> +DW_AT_location .*\(DW_OP_addr: (\w+)\)")
WRAPPERS = ("typedef", "const_type", "volatile_type", "atomic_type", "restrict_type")
RECORDS = ("structure_type", "union_type", "class_type")
DEEPEST = 32


@dataclass
class Entry:
    """One of DWARF: what it is, of which type, and those below it. numbers: byte_size and its like."""

    tag: str
    name: str = ""
    of: str = ""
    origin: str = ""
    address: int | None = None
    numbers: dict[str, int] = field(default_factory=dict)
    below: list["Entry"] = field(default_factory=list)


@dataclass
class Types:
    """Entries by their names in DWARF, and the type of each variable by its address."""

    entries: dict[str, Entry] = field(default_factory=dict)
    variables: dict[int, str] = field(default_factory=dict)

    def plain(self, number: str) -> Entry | None:
        """A type without its qualifiers and its other names."""
        for _ in range(DEEPEST):
            entry = self.entries.get(number)
            if entry is None or entry.tag not in WRAPPERS:
                return entry
            number = entry.of
        return None

    def size(self, number: str) -> int:
        """In bytes; 0 where it is not known."""
        entry = self.plain(number)
        if entry is None:
            return 0
        if entry.tag != "array_type":
            return entry.numbers.get("byte_size", 0)
        size = self.size(entry.of)
        for length in _lengths(entry):
            size *= length
        return size

    def path(self, number: str, behind: int) -> tuple[str, int]:
        """The words for a place so many bytes behind the beginning of something of this type, and how many bytes are
        left."""
        words = ""
        for _ in range(DEEPEST):
            entry = self.plain(number)
            if entry is not None and entry.tag == "array_type":
                size = self.size(entry.of)
                if not size:
                    break
                index, behind = divmod(behind, size)
                words += _indices(list(_lengths(entry)), index)
                number = entry.of
            elif entry is not None and entry.tag in RECORDS:
                member = self.member(entry, behind)
                if member is None or member.name.startswith("_"):
                    break
                words += f".{member.name}" if member.name and member.tag == "member" else ""
                behind -= member.numbers.get("data_member_location", 0)
                number = member.of
            else:
                break
        return words, behind

    def member(self, record: Entry, behind: int) -> Entry | None:
        """The first member, or base class, that has this byte."""
        for one in record.below:
            if one.tag in ("member", "inheritance") and one.of:
                start = one.numbers.get("data_member_location", 0)
                if start <= behind < start + max(self.size(one.of), 1):
                    return one
        return None


def _lengths(array: Entry) -> Iterator[int]:
    for one in array.below:
        if one.tag == "subrange_type":
            yield one.numbers.get("count", one.numbers.get("upper_bound", 0) + 1)


def _indices(lengths: list[int], index: int) -> str:
    """The first length is that of the whole, and an index beyond it stays so."""
    words = ""
    for length in reversed(lengths[1:]):
        index, inner = divmod(index, length)
        words = f"[{inner}]{words}"
    return f"[{index}]{words}"


@cache
def _types(path: str) -> Types:
    types = Types()
    try:
        done = subprocess.run(["readelf", "--debug-dump=info", path], capture_output=True, check=False)
    except OSError:
        return types
    open_entries: list[Entry] = []
    entry = Entry("")
    for line in done.stdout.decode(errors="replace").splitlines():
        if found := ENTRY.match(line):
            depth = int(found[1], 16)
            entry = types.entries[found[2]] = Entry(found[3])
            del open_entries[depth:]
            if open_entries:
                open_entries[-1].below.append(entry)
            open_entries.append(entry)
        elif found := NUMBER.match(line):
            entry.numbers[found[1]] = int(found[2], 0)
        elif found := TYPED.match(line):
            if found[1] == "type":
                entry.of = found[2]
            else:
                entry.origin = found[2]
        elif found := NAMED.match(line):
            entry.name = found[1]
        elif found := LOCATED.match(line):
            entry.address = int(found[1], 16)
    for one in types.entries.values():
        if one.address is not None:
            declared = types.entries.get(one.origin)
            types.variables[one.address] = one.of or (declared.of if declared else "")
    return types


def inside(path: str, variable: int, behind: int) -> str:
    """What lies `behind` bytes behind the beginning of the variable at this address of a linked program: words to put
    behind its name, as "[2].head"."""
    types = _types(path)
    words, left = types.path(types.variables.get(variable, ""), behind)
    return words + (f"+{left}" if left else "")
