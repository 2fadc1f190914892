"""What tasks do again and again at the end of an execution that did not end by itself, and when that began."""

from collections.abc import Sequence
from typing import NamedTuple

from anonvma_rt.engine.run.records import EVENT, OPS

__all__ = ["Loop", "first_rounds", "loops_of"]

ROUNDS = 3  # so many rounds make a loop
LONGEST = 50_000  # operations of a task that are looked at, from its end

Point = tuple[int, int, str, int]


class Loop(NamedTuple):
    """A task makes the same `length` operations over and over; the first round is from step `first` to `last`."""

    task: int
    first: int
    last: int
    length: int


def loops_of(events: bytes) -> list[Loop]:
    """The loops of all tasks, each for itself, in what the engine recorded; a task that is in none has no entry."""
    points: dict[int, list[Point]] = {}
    for step, task, op, _, a, _, _ in EVENT.iter_unpack(events):
        if OPS[op] != "note":
            points.setdefault(task, []).append((step, task, OPS[op], a))
    found = []
    for task, made in sorted(points.items()):
        tail, length = _repeated([point[2:] for point in made[: -LONGEST - 1 : -1]])
        if length:
            first = len(made) - tail
            found.append(Loop(task, made[first][0], made[first + length - 1][0], length))
    return found


def first_rounds(events: bytes) -> bytes:
    """The history up to the end of everybody's first round; all of it where somebody does more at its end than to go
    round in a loop."""
    loops = {loop.task: loop for loop in loops_of(events)}
    if not loops:
        return events
    end = max(loop.last for loop in loops.values())
    kept = bytearray()
    for at, (step, task, *_) in enumerate(EVENT.iter_unpack(events)):
        if step > end and task not in loops:
            end = step
        if step <= end:
            kept += events[at * EVENT.size : (at + 1) * EVENT.size]
    return bytes(kept)


def _repeated(backwards: Sequence[tuple[str, int]]) -> tuple[int, int]:
    """The longest beginning that is at least three times the same, and the length of that; (0, 0) where there is none.

    >>> _repeated(list("ababaX"))
    (0, 0)
    >>> _repeated(list("abababaX"))
    (7, 2)
    """
    border = [0] * (len(backwards) + 1)
    border[:1] = [-1]
    best = 0, 0
    known = -1
    for at, one in enumerate(backwards):
        while known >= 0 and backwards[known] != one:
            known = border[known]
        known += 1
        border[at + 1] = known
        length = at + 1 - known
        if at + 1 >= ROUNDS * length:
            best = at + 1, length
    return best
