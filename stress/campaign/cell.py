"""Cells: one scenario, algorithm, strategy and seed, cut into ranges of execution indices.

The grid of ranges belongs to the campaign and not to who works on it. A range as plain data is a Unit: a worker needs
nothing else.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypedDict

from anonvma_rt import __version__
from anonvma_rt.execution.plan import LAST_INDEX
from anonvma_rt.lab.explorers import HUNT_CARRIERS
from anonvma_rt.text.expected import Expected
from anonvma_rt.text.shape import (
    VALUE,
    Shape,
    digest,
    either,
    line,
    list_of,
    maybe,
    number,
    one_of,
    record,
    switch,
    table_of,
    whole,
)

__all__ = ["LARGEST_RANGE", "LONGEST_TIMEOUT", "SPEC", "STOPS", "Budget", "Cell", "Unit"]

LARGEST_RANGE = 10_000_000
LONGEST_TIMEOUT = 1e6  # seconds

STOPS = {
    "all": "every execution of the budget",
    "first": "the first range with a violation is the last",
    "bound": "the range after which the upper bound at 95 % is small enough is the last",
}
MOST_OBSERVED = 65_536  # executions of the first range whose classes are counted; ranges cannot be added up in this
_KINDS = either(lambda value: isinstance(value, list), list_of(line(), 1000, 1), line())
# What a store says of a cell, beside its number.
SPEC: Shape = record(
    {
        "scenario": line(), "sha256": digest(64), "parameters": table_of(VALUE, 1000), "algorithm": line(2000),
        "strategy": line(2000), "carrier": one_of("carrier", HUNT_CARRIERS), "seed": whole(),
        "executions": maybe(whole(1, LAST_INDEX)), "seconds": maybe(number(1e-3, 1e9)),
        "range_size": whole(1, LARGEST_RANGE), "stop": one_of("stop", STOPS), "bound": maybe(number(1e-12, 1.0)),
        "expected": maybe(_KINDS), "judged": switch, "timeout": number(1e-2, LONGEST_TIMEOUT),
    },
    {"number": whole()},
)  # fmt: skip


class Budget(TypedDict):
    """The fields of a Cell that say how much of it is executed, in what portions, and by whom."""

    executions: int | None
    seconds: float | None
    range_size: int
    timeout: float
    stop: str
    bound: float | None
    carrier: str


class Unit(TypedDict):
    """A range for whoever works on it: plain data, so that a worker of another version can read it and say so.

    text, source: of the scenario. own: names of subjects of the user's own that workers may import. classes: executions
    whose classes are counted.
    """

    version: str
    text: str
    source: str
    own: list[str]
    parameters: dict[str, int | bool]
    algorithm: str
    strategy: str
    carrier: str
    seed: int
    start: int
    runs: int
    classes: int
    timeout: float


@dataclass(frozen=True)
class Cell:
    """One hunt of a campaign. `sha256` names the scenario's text, which the store keeps once.

    executions: the budget, None for no limit. seconds: of executing, summed over workers, None for no limit.
    range_size: executions per range. stop: a key of STOPS; bound: for "bound". expected: a kind or several, "none", or
    None where the scenario says nothing; judged: whether another outcome makes the campaign fail. timeout: seconds for
    a range.
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
    expected: Expected | None
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

    def unit(self, number: int, text: str, source: str, own: Sequence[str] = ()) -> Unit:
        """own comes from whoever runs the campaign and never from its store."""
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
