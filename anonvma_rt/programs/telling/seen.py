"""What there is to see of a violation when its execution is made once more: which calls to look at, and what was seen.

All addresses are those of the loaded file, and offsets count from its globals, so they stay right when it is gone.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from anonvma_rt.engine.run.records import Recorded
from anonvma_rt.programs.witness import Witness

__all__ = ["Block", "Seen", "look", "race_of", "seen"]

LOW = (1 << 32) - 1
BYTE = 255
Question = tuple[str, int, int, int]


class Block(NamedTuple):
    """An object of the heap: its number among those that the program allocated (0: the lab did), where it begins, its
    size, from which place it was allocated, and by which task."""

    number: int
    start: int
    size: int
    made: int
    made_by: int


@dataclass(frozen=True)
class Seen:
    """Return addresses, innermost first: those at the violation, those of each task at what it announced last, and the
    answers to what was asked ("access", "made", "freed").

    blocks: the objects of the heap at the offsets that events name. frames: of an offset on a stack, the calls in whose
    frames it was, each with how far before the frame's end. stacks: where the stack of each task begins.
    """

    end: tuple[int, ...] = ()
    last: tuple[tuple[int, ...], ...] = ()
    answers: dict[str, tuple[int, ...]] = field(default_factory=dict)
    blocks: dict[int, Block] = field(default_factory=dict)
    frames: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    stacks: tuple[int, ...] = ()

    @property
    def addresses(self) -> set[int]:
        """All of them."""
        found = {address for stack in (self.end, *self.last, *self.answers.values()) for address in stack}
        return found | {call for frames in self.frames.values() for call, _ in frames}


class Race(NamedTuple):
    """stack: whose stack the byte is on, None where it is on none. first and second: places, 0 where the lab itself
    made the access; step and other: of the first."""

    byte: int
    stack: int | None
    first: int
    second: int
    other: int
    step: int
    flags: int


def race_of(a: int, b: int, c: int) -> Race:
    """The numbers of the violation, as programs/memory.pyx packs them."""
    stack = c >> 8 & BYTE
    return Race(a, stack - 1 if stack else None, b & LOW, b >> 32 & LOW, c & BYTE, c >> 24 & LOW, c >> 16 & BYTE)


def look(subject: Any, recorded: Recorded) -> Witness:
    """Somebody who looks at the program from now on, at what explains the violation that was recorded."""
    finding = recorded.finding
    if finding is None:
        return Witness(subject, [], (-1, 0))
    plain = Witness(subject, [], (-1, 0))
    asked = list(_questions(plain, subject.kinds().get(finding.kind), *finding[3:]))
    plain.close()
    return Witness(subject, asked, (finding.task, finding.step))


def _questions(heap: Witness, kind: str | None, a: int, b: int, c: int) -> Iterable[Question]:
    inside = None
    if kind == "data-race":
        race = race_of(a, b, c)
        byte = a if race.stack is None else heap.stack(race.stack) - a
        yield "access", byte, race.other, race.step
        inside = heap.block(a) if race.stack is None else None
    elif kind in ("freed", "leak"):
        inside = heap.block(a)
    elif kind == "out-of-bounds":
        beyond = (c & LOW) - (1 << 32) if c >> 31 & 1 else 0
        inside = heap.block(a - beyond)
    elif kind in ("double-free", "use-after-free"):
        inside = heap.block(b)
    if inside is not None:
        yield "made", inside[1], 0, 0
        yield "freed", inside[1], 0, 0


def seen(witness: Witness, offsets: Iterable[int]) -> Seen:
    """What it saw, which looks no longer. offsets: those that the history speaks of."""
    witness.close()
    frames: dict[int, list[tuple[int, int]]] = {}
    for offset, call, below in witness.locals:
        frames.setdefault(offset, []).append((call, below))
    blocks = {offset: Block(*found) for offset in offsets if (found := witness.block(offset)) is not None}
    return Seen(
        witness.end,
        tuple(witness.last),
        {what: stack for what, stack in zip(witness.asked, witness.answers, strict=True) if stack},
        blocks,
        frames,
        tuple(witness.stack(task) for task in range(len(witness.last))),
    )
