"""Failing: which allocations of the simulated kernel find no memory, by chance or by name.

A rate is for a hunt: every execution has failures of its own, a pure function of seed, execution index, task and the
number of the allocation within its task. A list is for a reproducer and for a Machine: exactly these, whatever the
seed.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from anonvma_rt.errors import UserError, nearest, quote
from anonvma_rt.mm.hooks.notes import ALLOCATIONS

__all__ = ["ALLOCATIONS", "Failing"]


@dataclass(frozen=True)
class Failing:
    """rate: the probability with which an allocation fails, 0 to 1. kinds: only these (ALLOCATIONS), empty for all.
    allocations: (task, n) for the nth allocation of a task, counted from 1 over all kinds.

    >>> Failing.parse("0.05:table,page")
    Failing(rate=0.05, kinds=('table', 'page'), allocations=())
    """

    rate: float = 0.0
    kinds: tuple[str, ...] = ()
    allocations: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if not math.isfinite(self.rate) or not 0 <= self.rate <= 1:
            raise UserError(f"a rate of failing allocations must be from 0 to 1, not {self.rate}")
        for kind in self.kinds:
            if kind not in ALLOCATIONS:
                raise UserError(f"unknown kind of allocation {quote(kind)}{nearest(kind, ALLOCATIONS)}")

    @classmethod
    def parse(cls, text: str | float) -> "Failing":
        """What `RATE` or `RATE:kind,kind` stands for. Raises UserError, which says what would be right."""
        rate, colon, kinds = str(text).partition(":")
        try:
            number = float(rate)
        except ValueError:
            raise UserError(f"a rate of failing allocations must be a number from 0 to 1, not {quote(rate)}") from None
        chosen = tuple(kind.strip() for kind in kinds.split(",")) if colon else ()
        return cls(number, chosen)

    @classmethod
    def of(cls, given: "Failing | str | float | Iterable[tuple[int, int]]") -> "Failing":
        """What a rate, a text for parse(), or a list of (task, n) stands for. Raises UserError."""
        if isinstance(given, Failing):
            return given
        return cls.parse(given) if isinstance(given, str | int | float) else cls.named(given)

    @classmethod
    def named(cls, allocations: Iterable[tuple[int, int]]) -> "Failing":
        """Exactly these allocations, given as (task, n)."""
        return cls(allocations=tuple(sorted((int(task), int(n)) for task, n in allocations)))

    def __str__(self) -> str:
        """The text from which parse() makes it; of a list, how long that is."""
        if self.allocations:
            return f"{len(self.allocations)} by name"
        return f"{self.rate:g}{':' if self.kinds else ''}{','.join(self.kinds)}"
