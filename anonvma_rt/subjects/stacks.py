"""Call stacks of recorded events and of crashes: from return addresses to functions, files and lines of the subject.

The addresses were recorded while the execution ran, so the stacks are what was on the tasks' stacks, not what somebody
thinks they were. The build keeps line tables (-g1) that name the lines of the .pyx files; addr2line (binutils) reads
them, inlined calls included. Where it is missing, or a build dropped the tables, there are no stacks. Code of somebody
else's is named as far as its build says: by function, and by file and line where it was built with -g1. Calls of the
compiler's libraries at both ends of a stack are left out.
"""

import re
import shutil
import struct
import subprocess
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

__all__ = ["Frame", "Stacks", "calls", "lookup", "of_a_library", "of_the_user"]

MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r.xp ([0-9a-f]+) \S+ \d+\s+(/.*)")
# Files of the lab's own that are no subject's: the engine, and what a program of the user's runs on.
LAB = re.compile(r"^anonvma_rt/(engine|programs)/|/anonvma_rt/programs/(runtime|include)/")
# What comes with a compiler: headers, and functions of which no build says a line.
LIBRARY = re.compile(r"^/usr/(local/)?(include|lib)/|/include/c\+\+/|/lib/(gcc|clang)/|^/build/")
LIBRARY_CALL = re.compile(r"(std|__gnu_cxx|__cxxabiv1)::|__|_Unwind_|execute_native_thread_|operator (new|delete)")
HOUSE = str(Path(__file__).parents[1])
# Nobody looks for a mistake there, and asking about it takes long.
SYSTEM = re.compile(r"/(lib(c|m|gcc_s|pthread|python|asan|tsan|ubsan)[-.\d]|ld-|python)[^/]*$")


class Frame(NamedTuple):
    """One call: the function, and the file and line at which it stands. file: as it lies below cython_src/."""

    function: str
    file: str
    line: int

    @property
    def short(self) -> str:
        """The function with its line, as in "add (tally.c:7)"."""
        name = f"{Path(self.file).name}{f':{self.line}' if self.line else ''}"
        return f"{self.function} ({name})" if self.file else self.function

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
        self.known: dict[int, Sequence[Frame]] = {}
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
            found = lookup(path, places, path.startswith(HOUSE) or path in self.others)
            self.known.update((address, found[place]) for place, address in places.items())

    def of(self, stack: tuple[int, ...]) -> list[Frame]:
        """The calls of the subject, innermost first: the engine's own are left out, and so is the carrier below."""
        self.resolve([stack])
        return of_the_user([frame for address in stack for frame in self.known.get(address, ())])


def of_the_user(frames: Sequence[Frame]) -> list[Frame]:
    """Without the lab's calls, and from the innermost call that is the user's to the outermost one; all that is not the
    lab's where none is.

    >>> inner, take = Frame("std::mutex::lock", "/usr/include/c++/12/mutex", 100), Frame("take", "queue.cpp", 35)
    >>> of_the_user([inner, take, inner]), of_the_user([inner]) == [inner]
    ([Frame(function='take', file='queue.cpp', line=35)], True)
    """
    rest = [frame for frame in frames if not LAB.search(frame.file)]
    own = [i for i, frame in enumerate(rest) if not of_a_library(frame)]
    return rest[own[0] : own[-1] + 1] if own else rest


def of_a_library(frame: Frame) -> bool:
    """Whether it is the compiler's, and no user wrote it."""
    return bool(LIBRARY.search(frame.file) or (not frame.line and LIBRARY_CALL.match(frame.function)))


# What is known of files, by path; a file that has changed since it was loaded would be another one.
_known: dict[str, dict[int, tuple[Frame, ...]]] = {}


def lookup(path: str, places: Iterable[int], own: bool = False) -> dict[int, tuple[Frame, ...]]:
    """The calls at addresses in a compiled file, inlined ones included, innermost first; each address is asked for
    once. own: of this package, of which only what was Cython is worth a name."""
    known = _known.setdefault(path, {})
    wanted = sorted(set(places) - known.keys())
    tool = shutil.which("addr2line")
    if wanted and tool is not None:
        known.update(dict.fromkeys(wanted, ()))
        known.update(_ask(tool, path, wanted, own))
    return {place: known.get(place, ()) for place in places}


def _ask(tool: str, path: str, wanted: Sequence[int], own: bool) -> dict[int, tuple[Frame, ...]]:
    command = [tool, "-a", "-C", "-f", "-i", "-e", path]
    asked = "".join(f"{place:#x}\n" for place in wanted)
    done = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=60, check=False)
    lines = done.stdout.splitlines()
    found: dict[int, list[Frame]] = {}
    frames: list[Frame] | None = None
    at = 0
    while at < len(lines):
        if lines[at].startswith("0x"):
            frames = found.setdefault(int(lines[at], 16), [])
            at += 1
        elif frames is not None and at + 1 < len(lines):
            frame = _frame(lines[at], lines[at + 1], own)
            # A compiler may split a function and put one half into the other.
            if frame is not None and not (frames and frames[-1][:2] == frame[:2]):
                frames.append(frame)
            at += 2
        else:
            break
    return {place: tuple(calls) for place, calls in found.items()}


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
    return [frame.short for frame in Stacks().of(frames)]


def short(function: str) -> str:
    """A name in C++ without what it takes and returns.

    >>> short("Queue::take()::{lambda()#1}::operator()() const"), short("void push<int>(std::vector<int>&)")
    ('Queue::take()::{lambda()#1}::operator()', 'push<int>')
    """
    name = function.removesuffix(" const")
    depth = 0
    if name.endswith(")"):
        for i in range(len(name) - 1, -1, -1):
            depth += (name[i] == ")") - (name[i] == "(")
            if depth == 0:
                name = name[:i] if i and not name[:i].endswith("operator") else name
                break
    if name.endswith(">") and "operator" not in name:
        depth = 0
        for i, letter in enumerate(name):
            depth += (letter in "<({") - (letter in ">)}")
            if letter == " " and depth == 0:
                return name[i + 1 :]
    return name


def _frame(symbol: str, place: str, own: bool) -> Frame | None:
    found = demangled(symbol)
    path, _, number = re.sub(r" \(discriminator \d+\)$", "", place).rpartition(":")
    if not own and symbol != "??":
        line = int(number) if number.isdigit() else 0
        return Frame(found[1] if found else short(symbol), "" if path.startswith("??") else path, line)
    if found is None:
        return None
    module, function = found
    # Some versions of the tool name the C file where the line is that of the .pyx.
    end = ".pxd" if path.endswith(".pxd") and f"/{module}.pxd".endswith(path[path.rfind("/") :]) else ".pyx"
    return Frame(function, module + end, int(number) if number.isdigit() else 0)
