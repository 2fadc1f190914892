"""Schedules: who makes how many steps, one after the other. Pure data, which every other folder may use."""

import re
from collections.abc import Iterable

from anonvma_rt.errors import quote
from anonvma_rt.text.shape import Shape, ShapeError, wrong

__all__ = ["MOST_SEGMENTS", "MOST_STEPS", "Cut", "Schedule", "pairs", "pairs_text"]

MOST_SEGMENTS = 1 << 21  # of a schedule in a file
MOST_STEPS = 1 << 31  # of an execution: twenty times the longest profile is less
LAST_TASK = 254
_PAIR = re.compile(r"([0-9]{1,3})x([0-9]{1,10})", re.ASCII)

# How far a task has come: (task, steps of its own).
Cut = tuple[int, int]


class Schedule(tuple[tuple[int, int], ...]):
    """Its segments, (task, steps).

    >>> schedule = Schedule.read("0x5 1x3 0x2")
    >>> schedule.steps, schedule.switches, str(schedule)
    (10, 2, '0x5 1x3 0x2')
    """

    __slots__ = ()

    @classmethod
    def read(cls, text: str) -> "Schedule":
        """The schedule in the form that a reproducer keeps. Raises ShapeError."""
        return cls.checked(text, "schedule")

    @classmethod
    def checked(cls, value: object, where: str) -> "Schedule":
        """The same as a shape."""
        schedule = cls(pairs(MOST_SEGMENTS)(value, where))
        if schedule.steps > MOST_STEPS:
            raise ShapeError(f"{where}: must have at most 2**31 steps")
        return schedule

    def __str__(self) -> str:
        return pairs_text(self)

    @property
    def steps(self) -> int:
        return sum(steps for _, steps in self)

    @property
    def switches(self) -> int:
        """From one task to another."""
        return max(0, len(self) - 1)

    def cuts(self) -> list[Cut]:
        """The same by how far each task has come at the end of each segment.

        >>> Schedule([(0, 5), (1, 3), (0, 2)]).cuts()
        [(0, 5), (1, 3), (0, 7)]
        """
        made: dict[int, int] = {}
        cuts = []
        for task, steps in self:
            made[task] = made.get(task, 0) + steps
            cuts.append((task, made[task]))
        return cuts

    def runs(self) -> list[tuple[int, int, int]]:
        """The segments as (task, first step, last step), counted over all tasks from 1.

        >>> Schedule([(0, 5), (1, 3)]).runs()
        [(0, 1, 5), (1, 6, 8)]
        """
        runs, at = [], 1
        for task, steps in self:
            runs.append((task, at, at + steps - 1))
            at += steps
        return runs

    def upto(self, step: int) -> "Schedule":
        """The first steps of it.

        >>> str(Schedule([(0, 3), (1, 4)]).upto(5))
        '0x3 1x2'
        """
        return Schedule((task, min(last, step) - first + 1) for task, first, last in self.runs() if first <= step)

    def then(self, task: int, steps: int = 1) -> "Schedule":
        """The same with more steps at its end.

        >>> str(Schedule([(0, 3)]).then(0).then(1))
        '0x4 1x1'
        """
        if self and self[-1][0] == task:
            return Schedule([*self[:-1], (task, self[-1][1] + steps)])
        return Schedule([*self, (task, steps)])


def pairs_text(pairs: Iterable[tuple[int, int]]) -> str:
    """Pairs of numbers as reproducers keep them: of a schedule, or of the allocations that failed."""
    return " ".join(f"{task}x{number}" for task, number in pairs)


def pairs(most: int) -> Shape:
    """What pairs_text() wrote, at most so many: tasks from 0 to 254, with numbers from 1 on."""

    def check(value: object, where: str) -> list[tuple[int, int]]:
        if not isinstance(value, str):
            raise wrong(where, 'a string such as "0x5 1x3"', value)
        if value.count("x") > most:
            raise ShapeError(f"{where}: must have at most {most} entries")
        return [_pair(one, where) for one in value.split()]

    return check


def _pair(text: str, where: str) -> tuple[int, int]:
    found = _PAIR.fullmatch(text)
    if found:
        task, number = int(found[1]), int(found[2])
        if task <= LAST_TASK and 1 <= number <= MOST_STEPS:
            return task, number
    right = f"a task from 0 to {LAST_TASK} and a number from 1 to 2**31, such as 0x5"
    raise ShapeError(f"{where}: {quote(text)} must be {right}")
