"""Names for the addresses of a loaded program: its variables from the table of symbols (nm, of binutils), and the
objects of its heap by number."""

import ctypes
import re
import subprocess
from bisect import bisect_right
from dataclasses import dataclass
from functools import cache

from anonvma_rt.programs.image import Image
from anonvma_rt.programs.telling.layout import inside

__all__ = ["Symbols"]

VARIABLES = "bBdD"
# The runtime's own.
OURS = re.compile(r"rt_|__dso_handle$")


@dataclass(frozen=True)
class Variable:
    """address and size in bytes; name as in the source, as far as the compiler kept it."""

    address: int
    size: int
    name: str


@cache
def variables(path: str) -> tuple[Variable, ...]:
    """The variables of a linked program, by address; none where there is no nm."""
    try:
        done = subprocess.run(
            ["nm", "-C", "-S", "-n", "--defined-only", path], capture_output=True, text=True, check=False
        )
    except OSError:
        return ()
    found = []
    for line in done.stdout.splitlines():
        words = line.split(maxsplit=3)
        if len(words) == 4 and words[2] in VARIABLES:
            found.append(Variable(int(words[0], 16), int(words[1], 16), words[3]))
    return tuple(found)


class Symbols:
    """Names for the places in an image's memory. Offsets are those of its arena."""

    def __init__(self, image: Image) -> None:
        self.image = image

    def name(self, offset: int) -> str | None:
        """A variable, with the element and the member if it has some, or an object of the heap; None outside."""
        return self.address(self.image.base + offset) if offset else None

    def address(self, address: int) -> str:
        if life := self.life(address - self.image.base):
            return f"the {life[0]} of thread {life[1]}"
        one = self._variable(address)
        if one is None:
            return f"object {address - self.image.base:#x}"
        behind = address - one.address
        return one.name + inside(self.image.path, one.address, behind)

    def life(self, offset: int) -> tuple[str, int] | None:
        """Of which task, by its number, a word says that it was begun, or that it is over ("beginning", "end"), or has
        something else that it waits for ("turn"); None where it is another word."""
        address, tasks, size = self.image.table
        number, word = divmod(self.image.base + offset - address, size)
        if not 0 <= number < tasks:
            return None
        return {0: "beginning", 8: "end"}.get(word, "turn"), number

    def _variable(self, address: int) -> Variable | None:
        known = variables(self.image.path)
        i = bisect_right(known, address, key=lambda one: one.address) - 1
        return known[i] if i >= 0 and address < known[i].address + max(known[i].size, 1) else None

    def values(self) -> dict[str, int]:
        """What the program's own variables of 1, 2, 4 or 8 bytes hold now, as signed numbers."""
        return {
            one.name: int.from_bytes(ctypes.string_at(one.address, one.size), "little", signed=True)
            for one in variables(self.image.path)
            if one.size in (1, 2, 4, 8) and one.address >= self.image.base and not OURS.match(one.name)
        }
