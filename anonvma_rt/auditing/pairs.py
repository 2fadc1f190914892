"""Pairs of accesses in words: where both stand in the source, who made them, and to which member of what."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from anonvma_rt.auditing.overlay import loaded_files
from anonvma_rt.subjects.stacks import Frame, Stacks

__all__ = ["Pair", "Side", "merge"]

DOES = ("reads", "writes", "locks")


@dataclass(frozen=True)
class Side:
    """One access. step: of the execution; file, line: of the source, the innermost that is not the engine's; via: the
    lines that called it inline."""

    task: str
    does: str
    step: int
    file: str
    line: int
    function: str
    via: tuple[str, ...] = ()

    @property
    def place(self) -> tuple[str, int]:
        return self.file, self.line

    def __str__(self) -> str:
        return f"{self.task} {self.does} it at {self.file}:{self.line} ({self.function}), step {self.step}"


@dataclass
class Pair:
    """Two accesses that nothing orders, in the order in which they came.

    what: the member, in words; count: how often the two places met; execution: the first in which they did, and its
    schedule.
    """

    what: str
    first: Side
    second: Side
    count: int
    execution: int
    schedule: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def merge(found: Iterable[Any], subject: Any, names: Sequence[str]) -> list[Pair]:
    """found: rows of Audit.pairs. Two rows of the same two places are one pair, whichever of them came first."""
    rows = list(found)
    stacks = Stacks(*loaded_files())
    stacks.resolve([(row[0][3], row[1][3]) for row in rows])
    pairs: dict[frozenset[tuple[str, int, str]], Pair] = {}
    for first, second, kind, serial, offset, index, count, _ in sorted(rows, key=lambda row: row[5]):
        sides = _side(first, stacks, names), _side(second, stacks, names)
        what = subject.member_name(kind, serial, offset) or f"object {serial} of type {kind}, byte {offset}"
        key = frozenset((*side.place, side.does) for side in sides)
        if key in pairs:
            pairs[key].count += count
        else:
            pairs[key] = Pair(what, *sides, count, index)
    return list(pairs.values())


def _side(side: tuple[int, int, int, int], stacks: Stacks, names: Sequence[str]) -> Side:
    task, step, touch, address = side
    frames = stacks.known.get(address) or [Frame("?", "?", 0)]
    of_engine = [frame.file.startswith("anonvma_rt/engine/") for frame in frames]
    at = of_engine.index(False) if False in of_engine else len(frames) - 1
    via = tuple(f"{frame.file}:{frame.line}" for i, frame in enumerate(frames) if i != at)
    return Side(names[task], DOES[touch], step, frames[at].file, frames[at].line, frames[at].function, via)
