"""What comes of ranges, and what those of a cell add up to.

Totals are folded in the order of the ranges. So they are the same for any executor, any number of workers and any
number of kills, hash for hash.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

from anonvma_rt.execution.reproducer import LARGEST_FILE
from anonvma_rt.lab.strategies import make_strategy
from anonvma_rt.search.bounds import upper_bound_95
from anonvma_rt.stress.campaign.cell import Cell
from anonvma_rt.text.expected import as_expected, still_expected
from anonvma_rt.text.shape import (
    LAST,
    Shape,
    ShapeError,
    digest,
    line,
    maybe,
    number,
    one_of,
    record,
    table_of,
    text,
    whole,
    wholes,
)

__all__ = [
    "ENDINGS", "MOST_INDICES", "Done", "Failed", "FirstViolation", "Outcome", "Poisoned", "PoisonedRange", "Totals",
    "read_outcome",
]  # fmt: skip

ENDINGS = {
    "all": "its budget is spent",
    "first": "a violation was found",
    "bound": "the confidence bound was reached",
    "time": "its time is over; as far as it got",
    "failed": "it cannot be executed",
    "poisoned": "too many of its ranges kill whoever works on them",
}
MOST_INDICES = 1000  # violating indices that a range keeps, and that totals keep
MOST_POISONED = 3  # ranges of a cell that may kill their workers before the cell is given up
ADDITIVE = ("executions", "benign_misses", "points", "switches", "seconds")
NO_HASH = bytes(32)  # stands for a poisoned range


@dataclass(frozen=True)
class Done:
    """A range that was executed. result: Result.as_dict() of the hunt; a later version may have more in it. indices:
    violating ones, the first. reproducer: the JSON text of the file for the first violation."""

    result: Mapping[str, Any]
    indices: list[int]
    reproducer: str | None

    state: ClassVar = "done"

    @property
    def executions(self) -> int:
        return int(self.result["executions"])

    @property
    def violations(self) -> int:
        return sum(self.result["violations"].values())

    @property
    def classes(self) -> int:
        """Of interleavings; only the first range of a cell counts them."""
        return int((self.result.get("classes") or {}).get("distinct", 0))

    def as_dict(self) -> dict[str, Any]:
        return dict(self.__dict__)


@dataclass(frozen=True)
class _NoResult:
    why: str

    executions: ClassVar = 0
    violations: ClassVar = 0
    classes: ClassVar = 0

    def as_dict(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if value is not None}


@dataclass(frozen=True)
class Failed(_NoResult):
    """A range that cannot be executed, and neither can the others of its cell."""

    state: ClassVar = "failed"


@dataclass(frozen=True)
class Poisoned(_NoResult):
    """A range that costs whoever works on it. index: the execution that does it, where that is known."""

    index: int | None = None

    state: ClassVar = "poisoned"


Outcome = Done | Poisoned | Failed
_COUNT = whole(0, 1 << 62)
_WHY = text(1 << 16)
# What a store says of a range. Of what a hunt found more may be there than totals need.
_DONE = record(
    {
        "result": record(
            {
                "executions": _COUNT, "benign_misses": _COUNT, "points": _COUNT, "switches": _COUNT,
                "seconds": number(0, 1e12), "violations": table_of(_COUNT, 1000), "schedules_sha256": digest(64),
                "first": maybe(record({"index": whole(), "kind": line()}, others=True)),
            },
            {
                "classes": maybe(record({
                    "observed": _COUNT, "distinct": _COUNT, "executions_per_class": number(0, 1e18), "once": _COUNT,
                    "unseen_mass": number(0, 1), "unseen_upper_95": number(0, 1),
                }, others=True)),
                "confirmed": maybe(record({"tried": _COUNT, "confirmed": _COUNT}, others=True)),
            },
            others=True,
        ),
        "indices": wholes(0, LAST, MOST_INDICES), "reproducer": maybe(text(LARGEST_FILE)),
    }
)  # fmt: skip
_OUTCOMES: Mapping[str, tuple[Callable[..., Outcome], Shape]] = {
    Done.state: (Done, _DONE),
    Poisoned.state: (Poisoned, record({"why": _WHY}, {"index": whole()})),
    Failed.state: (Failed, record({"why": _WHY})),
}


def read_outcome(state: str, payload: Any, where: str) -> Outcome:
    """Of what as_dict() made. Raises ShapeError where it did not make it."""
    make, shape = _OUTCOMES[one_of("state", _OUTCOMES)(state, where)]
    outcome = make(**shape(payload, where))
    if outcome.violations > outcome.executions:
        raise ShapeError(f"{where}: more violate than were executed")
    return outcome


class FirstViolation(NamedTuple):
    index: int
    kind: str


class PoisonedRange(NamedTuple):
    start: int
    runs: int
    outcome: Poisoned

    def as_dict(self) -> dict[str, Any]:
        return {"start": self.start, "runs": self.runs, **self.outcome.as_dict()}


@dataclass
class Totals:
    """What the ranges of a cell add up to, taken in their order; `ended` says by which rule it is complete.

    ranges_sha256 covers the schedules_sha256 of each range, in order. indices: the first violating ones.
    classes: of interleavings, in the first range, as `hunt --json` says it. tried, confirmed: violations that were made
    again on a second carrier, and those of them that were the same there.
    """

    cell: Cell
    ranges: int = 0
    sums: Counter[str] = field(default_factory=Counter)
    violations: Counter[str] = field(default_factory=Counter)
    indices: list[int] = field(default_factory=list)
    classes: dict[str, Any] | None = None
    first: FirstViolation | None = None
    reproducer: str | None = None
    poisoned: list[PoisonedRange] = field(default_factory=list)
    tried: int = 0
    confirmed: int = 0
    failure: str | None = None
    ended: str | None = None
    _sha: Any = field(default_factory=hashlib.sha256)

    @property
    def ranges_sha256(self) -> str:
        return str(self._sha.hexdigest())

    @property
    def executions(self) -> int:
        return self.sums["executions"]

    @property
    def found(self) -> int:
        return sum(self.violations.values())

    @property
    def upper_bound_95(self) -> float:
        # A range that is missing leaves two epochs that are not whole.
        missing = 2 * (self._epoch - 1) * len(self.poisoned)
        return upper_bound_95(self.found, max(self.executions - missing, 0), self._epoch)

    @cached_property
    def _epoch(self) -> int:
        epoch: int = make_strategy(self.cell.strategy).epoch
        return epoch

    def add(self, outcome: Outcome) -> None:
        """Takes that of the next range, number `ranges`, and decides whether it was the last one."""
        number, self.ranges = self.ranges, self.ranges + 1
        if isinstance(outcome, Failed):
            self.failure, self.ended = outcome.why, outcome.state
            return
        if isinstance(outcome, Poisoned):
            self.poisoned.append(PoisonedRange(number * self.cell.range_size, self.cell.runs(number), outcome))
            self._sha.update(NO_HASH)
        else:
            self._take(outcome)
            if number == 0:
                self.classes = outcome.result.get("classes")
        self.ended = self._ending()

    def _take(self, done: Done) -> None:
        result = done.result
        for name in ADDITIVE:
            self.sums[name] += result[name]
        self.violations.update(result["violations"])
        confirmed = result.get("confirmed") or {}
        self.tried += confirmed.get("tried", 0)
        self.confirmed += confirmed.get("confirmed", 0)
        self.indices += done.indices[: MOST_INDICES - len(self.indices)]
        self._sha.update(bytes.fromhex(result["schedules_sha256"]))
        if self.first is None and result["first"] is not None:
            self.first = FirstViolation(result["first"]["index"], result["first"]["kind"])
            self.reproducer = done.reproducer

    def _ending(self) -> str | None:
        cell = self.cell
        if cell.stop == "first" and self.found:
            return "first"
        if cell.stop == "bound" and cell.bound is not None and self.upper_bound_95 <= cell.bound:
            return "bound"
        if len(self.poisoned) >= MOST_POISONED:
            return Poisoned.state
        if self.ranges >= cell.ranges:
            return "all"
        if cell.seconds is not None and self.sums["seconds"] >= cell.seconds:
            return "time"
        return None

    @property
    def as_expected(self) -> bool:
        """Whether the outcome is the expected one; for a cell that has not ended, whether it still may be."""
        if self.failure is not None or self.poisoned or self.tried != self.confirmed:
            return False
        if not self.cell.judged:
            return True
        judge = as_expected if self.ended else still_expected
        return judge(self.cell.expected, self.violations)
