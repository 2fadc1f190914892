"""What a log has mapped so far: the areas of an address space, and which of them the scenario has, too.

Only private anonymous memory can be said. All else is kept with the reason why not, so that what a later call does to
it can be refused with the right words.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["FREE", "SAID", "Area", "Space"]

SAID, NO_RIGHTS, OTHER, FREE = "said", "no rights", "other", "free"


class Area(NamedTuple):
    """kind: SAID (it is in the scenario), NO_RIGHTS (much private anonymous memory that nobody may access yet), OTHER,
    or FREE (the log maps nothing there). line: the call that made it. writable: as the scenario has it, None where
    nobody may access it."""

    kind: str
    line: int = 0
    writable: bool | None = True


class Space:
    """Areas by address; they never overlap."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.areas: list[Area] = []
        self.brk = 0  # where the heap ends, as the log last said
        self.used = False  # whether the scenario has a step for it
        self.seen: list[tuple[int, int]] = []  # what the log has mapped or unmapped at any time

    def copy(self) -> "Space":
        other = Space()
        other.starts, other.ends, other.areas = self.starts[:], self.ends[:], self.areas[:]
        other.brk, other.used, other.seen = self.brk, True, self.seen[:]
        return other

    def pieces(self, start: int, end: int) -> Iterator[tuple[int, int, Area]]:
        """A range in its parts, the free ones, too."""
        at = start
        for i in range(bisect_right(self.ends, start), bisect_left(self.starts, end)):
            if self.starts[i] > at:
                yield at, self.starts[i], Area(FREE)
            at = min(self.ends[i], end)
            yield max(self.starts[i], start), at, self.areas[i]
        if at < end:
            yield at, end, Area(FREE)

    def kinds(self, start: int, end: int) -> set[str]:
        return {area.kind for _, _, area in self.pieces(start, end)}

    def put(self, start: int, end: int, area: Area) -> None:
        """What was there before is gone."""
        self.seen.append((start, end))
        first, last = bisect_right(self.ends, start), bisect_left(self.starts, end)
        new: list[tuple[int, int, Area]] = []
        if first < last and self.starts[first] < start:
            new.append((self.starts[first], start, self.areas[first]))
        if area.kind != FREE and start < end:
            new.append((start, end, area))
        if first < last and self.ends[last - 1] > end:
            new.append((end, self.ends[last - 1], self.areas[last - 1]))
        self.starts[first:last] = [one[0] for one in new]
        self.ends[first:last] = [one[1] for one in new]
        self.areas[first:last] = [one[2] for one in new]

    def clear(self, start: int, end: int) -> None:
        self.put(start, end, Area(FREE))

    def unseen(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of a range of which the log has said nothing so far."""
        free = [(at, to) for at, to, area in self.pieces(start, end) if area.kind == FREE]
        return [(at, to) for at, to in free if not any(at < last and first < to for first, last in self.seen)]

    def set_rights(self, start: int, end: int, writable: bool | None) -> None:
        """Of what is SAID in a range."""
        for at, to, area in list(self.pieces(start, end)):
            if area.kind == SAID:
                self.put(at, to, area._replace(writable=writable))

    def move(self, start: int, to: int, length: int) -> None:
        moved = list(self.pieces(start, start + length))
        self.clear(start, start + length)
        for begin, end, area in moved:
            self.put(begin - start + to, end - start + to, area)
