"""Cells and what they add up to: one scenario, algorithm, strategy and seed, cut into ranges of execution indices.

The grid of ranges belongs to the campaign and not to who works on it, and totals are folded in the order of the ranges.
So they are the same for any executor, any number of workers and any number of kills, hash for hash.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from anonvma_rt import __version__
from anonvma_rt.search.bounds import upper_bound_95
from anonvma_rt.search.hunt import LAST_INDEX

__all__ = ["DONE", "ENDINGS", "FAILED", "MOST_INDICES", "POISONED", "STOPS", "Cell", "Totals"]

STOPS = {
    "all": "every execution of the budget",
    "first": "the first range with a violation is the last",
    "bound": "the range after which the upper bound at 95 % is small enough is the last",
}
ENDINGS = {
    "all": "its budget is spent",
    "first": "a violation was found",
    "bound": "the confidence bound was reached",
    "time": "its time is over; as far as it got",
    "failed": "it cannot be executed",
    "poisoned": "too many of its ranges kill whoever works on them",
}
DONE, POISONED, FAILED = "done", "poisoned", "failed"
MOST_INDICES = 1000  # violating indices that a range keeps, and that totals keep
MOST_OBSERVED = 65_536  # executions of the first range whose classes are counted; ranges cannot be added up in this
MOST_POISONED = 3  # ranges of a cell that may kill their workers before the cell is given up
ADDITIVE = ("executions", "benign_misses", "points", "switches", "seconds")
NO_HASH = bytes(32)  # stands for a poisoned range


@dataclass(frozen=True)
class Cell:
    """One hunt of a campaign. `sha256` names the scenario's text, which the store keeps once.

    executions: the budget, None for no limit. seconds: of executing, summed over workers, None for no limit.
    range_size: executions per range. stop: a key of STOPS; bound: for "bound". expected: a kind, "none", or None where
    the scenario says nothing; judged: whether another outcome makes the campaign fail. timeout: seconds for a range.
    """

    number: int
    scenario: str
    sha256: str
    parameters: dict[str, int | bool]
    algorithm: str
    strategy: str
    carrier: str
    seed: int
    executions: int | None
    seconds: float | None
    range_size: int
    stop: str
    bound: float | None
    expected: str | None
    judged: bool
    timeout: float

    @property
    def ranges(self) -> int:
        """How many ranges the budget has; the last may be shorter than the others."""
        return -(-(LAST_INDEX if self.executions is None else self.executions) // self.range_size)

    def runs(self, number: int) -> int:
        """Executions of a range."""
        budget = LAST_INDEX if self.executions is None else self.executions
        return min(self.range_size, budget - number * self.range_size)

    def unit(self, number: int, text: str, source: str, own: Sequence[str] = ()) -> dict[str, Any]:
        """A range as plain data for whoever works on it: all that work.run_range() needs. own: names of subjects of the
        user's own that workers may import; they come from whoever runs the campaign and never from its store."""
        return {
            "version": __version__,
            "text": text,
            "source": source,
            "own": list(own),
            "parameters": self.parameters,
            "algorithm": self.algorithm,
            "strategy": self.strategy,
            "carrier": self.carrier,
            "seed": self.seed,
            "start": number * self.range_size,
            "runs": self.runs(number),
            "classes": MOST_OBSERVED if number == 0 else 0,
            "timeout": self.timeout,
        }

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class Totals:
    """What the ranges of a cell add up to, taken in their order; `ended` says by which rule it is complete.

    ranges_sha256 covers the schedules_sha256 of each range, in order. indices: the first violating ones.
    classes: of interleavings, in the first range (estimates.ClassCount as a dict).
    """

    cell: Cell
    ranges: int = 0
    sums: Counter[str] = field(default_factory=Counter)
    violations: Counter[str] = field(default_factory=Counter)
    indices: list[int] = field(default_factory=list)
    classes: dict[str, Any] | None = None
    first: dict[str, Any] | None = None
    reproducer: str | None = None
    poisoned: list[dict[str, Any]] = field(default_factory=list)
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
        return upper_bound_95(self.found, self.executions)

    def add(self, state: str, payload: Mapping[str, Any]) -> None:
        """Takes the next range, number `ranges`, and decides whether it was the last one."""
        number, self.ranges = self.ranges, self.ranges + 1
        if state == FAILED:
            self.failure, self.ended = payload["why"], FAILED
            return
        if state == POISONED:
            start = number * self.cell.range_size
            self.poisoned.append({"start": start, "runs": self.cell.runs(number), **payload})
            self._sha.update(NO_HASH)
        else:
            self._take(payload)
            if number == 0:
                self.classes = payload["result"].get("classes")
        self.ended = self._ending()

    def _take(self, payload: Mapping[str, Any]) -> None:
        result = payload["result"]
        for name in ADDITIVE:
            self.sums[name] += result[name]
        self.violations.update(result["violations"])
        self.indices += payload["indices"][: MOST_INDICES - len(self.indices)]
        self._sha.update(bytes.fromhex(result["schedules_sha256"]))
        if self.first is None and result["first"] is not None:
            self.first = {"index": result["first"]["index"], "kind": result["first"]["kind"]}
            self.reproducer = payload["reproducer"]

    def _ending(self) -> str | None:
        cell = self.cell
        if cell.stop == "first" and self.found:
            return "first"
        if cell.stop == "bound" and cell.bound is not None and self.upper_bound_95 <= cell.bound:
            return "bound"
        if len(self.poisoned) >= MOST_POISONED:
            return POISONED
        if self.ranges >= cell.ranges:
            return "all"
        if cell.seconds is not None and self.sums["seconds"] >= cell.seconds:
            return "time"
        return None

    @property
    def as_expected(self) -> bool:
        """Whether the outcome is the expected one; for a cell that has not ended, whether it still may be."""
        if self.failure is not None or self.poisoned:
            return False
        wanted = {self.cell.expected} - {"none", None}
        if not self.cell.judged:
            return True
        return set(self.violations) == wanted if self.ended else set(self.violations) <= wanted
