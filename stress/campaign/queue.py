"""The ranges of a cell that has not ended: the next one, those to do again, those that finished before their turn."""

import heapq
from collections import Counter
from dataclasses import dataclass, field

from anonvma_rt.execution.plan import LAST_INDEX
from anonvma_rt.stress.campaign.cell import Cell
from anonvma_rt.stress.campaign.database import StoreError
from anonvma_rt.stress.campaign.totals import Failed, Outcome, Totals

__all__ = ["Live"]

MOST_MISSING = 100_000  # ranges of a cell between two that are finished


@dataclass(eq=False)
class Live:
    """A cell that has not ended."""

    cell: Cell
    totals: Totals
    next: int = 0  # the first range that was never handed out
    again: list[int] = field(default_factory=list)  # a heap of those that must be handed out again
    horizon: int = LAST_INDEX  # ranges from here on will not count, whatever comes out of those before
    waiting: dict[int, Outcome] = field(default_factory=dict)  # finished before their turn
    tries: dict[int, int] = field(default_factory=dict)
    short: Counter[int] = field(default_factory=Counter)  # how often the machine was short of what a range needs
    aside: set[int] = field(default_factory=set)  # those that it is always too short for

    @property
    def has_work(self) -> bool:
        more = bool(self.again) or self.next < min(self.cell.ranges, self.horizon)
        return self.totals.ended is None and more

    def skip(self, number: int) -> None:
        """Ranges up to `number`, and without it, are not finished: they must be handed out."""
        if not self.next <= number < min(self.cell.ranges, self.next + MOST_MISSING):
            raise StoreError(f"the store is damaged: range {number} of cell {self.cell.number} cannot be there")
        self.again += range(self.next, number)
        self.next = number + 1

    def pop(self) -> int:
        if self.again:
            return heapq.heappop(self.again)
        self.next += 1
        return self.next - 1

    def take(self, number: int, outcome: Outcome) -> None:
        """Keeps an outcome until its turn comes."""
        self.waiting[number] = outcome
        if isinstance(outcome, Failed) or (self.cell.stop == "first" and outcome.violations):
            self.horizon = min(self.horizon, number + 1)
        while self.totals.ended is None and self.totals.ranges in self.waiting:
            self.totals.add(self.waiting.pop(self.totals.ranges))
