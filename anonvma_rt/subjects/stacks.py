"""Call stacks of recorded events and of crashes: from return addresses to functions, files and lines of the subject.

The addresses were recorded while the execution ran, so the stacks are what was on the tasks' stacks, not what somebody
thinks they were. The build keeps line tables (-g1) that name the lines of the .pyx files; addr2line (binutils) reads
them, inlined calls included. Where it is missing, or a build dropped the tables, there are no stacks. Code of somebody
else's is named as far as its build says: by function, and by file and line where it was built with -g1.
"""

import re
import shutil
import struct
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

__all__ = ["Frame", "Stacks", "calls"]

MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r.xp ([0-9a-f]+) \S+ \d+\s+(/.*)")
# Files of the lab's own that are no subject's: the engine, and what a program of the user's runs on.
LAB = re.compile(r"^anonvma_rt/(engine|programs)/|/anonvma_rt/programs/runtime/")
HOUSE = str(Path(__file__).parents[1])
# Nobody looks for a mistake there, and asking about it takes long.
SYSTEM = re.compile(r"/(lib(c|m|gcc_s|pthread|python|asan|tsan|ubsan)[-.\d]|ld-|python)[^/]*$")


class Frame(NamedTuple):
    """One call: the function, and the file and line at which it stands. file: as it lies below cython_src/."""

    function: str
    file: str
    line: int

    @property
    def module(self) -> str:
        return self.file.rsplit(".", 1)[0].replace("/", ".")


class Stacks:
    """Resolves addresses, each once. others: files of compiled modules beside those of this package.

    >>> demangled("__pyx_f_10anonvma_rt_2mm_6mremap_move_ptes")
    ('anonvma_rt/mm/mremap', 'move_ptes')
    """

    def __init__(self, *others: str) -> None:
        self.others = others
        self.tool = shutil.which("addr2line")
        self.known: dict[int, list[Frame]] = {}
        self.maps: list[tuple[int, int, int, str]] = []
        with open("/proc/self/maps") as file:
            for line in file:
                if found := MAPPING.match(line):
                    start, end, offset = (int(number, 16) for number in found.groups()[:3])
                    self.maps.append((start, end, offset, found[4]))

    @property
    def why_not(self) -> str | None:
        """Why there are no stacks; None where there should be some."""
        return None if self.tool else "addr2line is not there (it is part of binutils)"

    def resolve(self, stacks: Iterable[tuple[int, ...]]) -> None:
        """Looks up all addresses of these stacks, with one call of the tool per compiled module."""
        if self.tool is None:
            return
        wanted: dict[str, dict[int, int]] = {}
        for address in {address for stack in stacks for address in stack} - self.known.keys():
            self.known[address] = []
            for start, end, offset, path in self.maps:
                # The call is what stands before the address to return to.
                if start <= address - 1 < end and not SYSTEM.search(path):
                    wanted.setdefault(path, {})[address - 1 - start + offset + first_address(path)] = address
        for path, places in wanted.items():
            self._ask(path, places)

    def _ask(self, path: str, places: dict[int, int]) -> None:
        assert self.tool is not None
        command = [self.tool, "-a", "-f", "-i", "-e", path, *map(hex, places)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        lines = done.stdout.splitlines()
        at = 0
        address = None
        while at < len(lines):
            if lines[at].startswith("0x") and int(lines[at], 16) in places:
                address = places[int(lines[at], 16)]
                at += 1
            elif address is not None and at + 1 < len(lines):
                frame = _frame(lines[at], lines[at + 1], path.startswith(HOUSE) or path in self.others)
                frames = self.known[address]
                # A compiler may split a function and put one half into the other.
                if frame is not None and not (frames and frames[-1][:2] == frame[:2]):
                    frames.append(frame)
                at += 2
            else:
                break

    def of(self, stack: tuple[int, ...]) -> list[Frame]:
        """The calls of the subject, innermost first: the engine's own are left out, and so is the carrier below."""
        self.resolve([stack])
        frames = [frame for address in stack for frame in self.known.get(address, ())]
        return [frame for frame in frames if not LAB.search(frame.file)]


@cache
def first_address(path: str) -> int:
    """The address at which a file wants its first byte: 0, but of a program that was linked to a fixed place."""
    with open(path, "rb") as file:
        head = file.read(64)
        (table,), (size, n) = struct.unpack_from("<Q", head, 32), struct.unpack_from("<HH", head, 54)
        file.seek(table)
        rows = [struct.unpack_from("<IIQQ", file.read(size)) for _ in range(n)]
    return min((address - offset for kind, _, offset, address in rows if kind == 1), default=0)


def demangled(symbol: str) -> tuple[str, str] | None:
    """The module's path and the function of a symbol that Cython made: each part of a name follows its length."""
    if not symbol.startswith("__pyx_f_"):
        return None
    rest = symbol.removeprefix("__pyx_f_")
    parts = []
    while found := re.match(r"(\d+)", rest):
        length = int(found[1])
        parts.append(rest[found.end() : found.end() + length])
        rest = rest[found.end() + length :].removeprefix("_")
    # A method: its class is the last part.
    modules = [part for part in parts if not part[:1].isupper()]
    return "/".join(modules), ".".join([*parts[len(modules) :], rest])


def calls(frames: tuple[int, ...]) -> list[str]:
    """The calls of the code under test that these return addresses stand for, innermost first: "f (file.c:7)"."""
    found = []
    for frame in Stacks().of(frames):
        place = f" ({Path(frame.file).name}{f':{frame.line}' if frame.line else ''})" if frame.file else ""
        found.append(f"{frame.function}{place}")
    return found


def _frame(symbol: str, place: str, own: bool) -> Frame | None:
    """own: of this package, of which only what was Cython is worth a name."""
    found = demangled(symbol)
    path, _, number = place.split(" ")[0].rpartition(":")
    if not own and symbol != "??":
        line = int(number) if number.isdigit() else 0
        return Frame(found[1] if found else symbol, "" if path.startswith("??") else path, line)
    if found is None:
        return None
    module, function = found
    # Some versions of the tool name the C file where the line is that of the .pyx.
    end = ".pxd" if path.endswith(".pxd") and f"/{module}.pxd".endswith(path[path.rfind("/") :]) else ".pyx"
    return Frame(function, module + end, int(number) if number.isdigit() else 0)
