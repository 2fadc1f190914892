"""Schedules: who makes how many steps, one after the other. Pure data, which every other folder may use."""

from collections.abc import Iterable

__all__ = ["Cut", "Schedule", "pairs_text", "read_pairs"]

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
        """The schedule in the form that a reproducer keeps. Raises ValueError."""
        return cls(read_pairs(text))

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


def read_pairs(text: str) -> list[tuple[int, int]]:
    """What pairs_text() wrote. Raises ValueError."""
    pairs = (pair.split("x") for pair in text.split())
    return [(int(task), int(number)) for task, number in pairs]
