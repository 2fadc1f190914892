"""What a hunt found: one Result for each algorithm, in a HuntResult. Their fields are those of `hunt --json`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from anonvma_rt.execution.reproducer import Reproducer
from anonvma_rt.search.bounds import ClassCount
from anonvma_rt.search.second_carrier import Confirmed
from anonvma_rt.subjects.history import Trace

__all__ = ["First", "HuntInterrupted", "HuntResult", "PctGuarantee", "Result"]


@dataclass
class First:
    """The first violation by index. reproducer: where it was saved, None if it was not."""

    index: int
    kind: str
    reproducer: str | None = None


@dataclass(frozen=True)
class PctGuarantee:
    """What is proved of PCT: an execution shows a bug of depth `depth` with at least this probability.

    probability: 1 / (tasks * steps ** (depth - 1)). steps: the k of the strategy, from the profile; the bug must show
    itself within so many. longest: steps of the longest execution; where that is more, a bug that needs them is not
    covered.
    """

    probability: float
    tasks: int
    steps: int
    depth: int
    longest: int = 0


@dataclass
class Result:
    """What a hunt found of one algorithm.

    executions: completed. violations: executions by kind of their verdict. benign_misses: unmap walks that left a pte
    behind, harmless by themselves. upper_bound_95: of the probability of a violation per execution, at 95 %
    confidence. points, switches, failed_allocations: totals. seconds: of the executions alone. schedules_sha256: over 8
    bytes for each execution's choices, in index order. expected: a kind, "none", or None where the scenario says
    nothing. classes: of interleavings, None if none were observed. pct_guarantee: None for other strategies. confirmed:
    how violations did on a second carrier, None unless one was asked for. indices: the violating ones, the first
    100 000. trace: the history of the first violation; reproducer: its file's content.
    """

    algorithm: str
    executions: int = 0
    violations: dict[str, int] = field(default_factory=dict)
    benign_misses: int = 0
    first: First | None = None
    upper_bound_95: float = 1.0
    points: int = 0
    switches: int = 0
    failed_allocations: int = 0
    seconds: float = 0.0
    executions_per_second: float = 0.0
    schedules_sha256: str = ""
    expected: str | None = None
    as_expected: bool = True
    classes: ClassCount | None = None
    pct_guarantee: PctGuarantee | None = None
    confirmed: Confirmed | None = None
    indices: list[int] = field(default_factory=list)
    trace: Trace | None = None
    reproducer: Reproducer | None = None
    unsaved: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The fields of `hunt --json`."""
        hidden = ("indices", "trace", "reproducer", "unsaved")
        shown = {name: value for name, value in self.__dict__.items() if name not in hidden}
        for name in ("first", "classes", "pct_guarantee", "confirmed"):
            shown[name] = asdict(shown[name]) if shown[name] is not None else None
        return shown


@dataclass
class HuntResult:
    """One scenario under one or more algorithms, all over the same execution indices.

    interesting: the operations that SURW ordered, by name.
    """

    scenario: str
    parameters: Mapping[str, int | bool]
    strategy: str
    carrier: str
    seed: int
    start: int
    interesting: Sequence[str] = ()
    results: list[Result] = field(default_factory=list)
    interrupted: bool = False
    fail_alloc: str | None = None

    @property
    def as_expected(self) -> bool:
        return all(result.as_expected for result in self.results)

    def as_dict(self) -> dict[str, Any]:
        return self.__dict__ | {"results": [r.as_dict() for r in self.results], "as_expected": self.as_expected}


class HuntInterrupted(KeyboardInterrupt):
    """^C during a hunt; `result` holds what was found up to then. No thread of the hunt is left."""

    def __init__(self, result: HuntResult) -> None:
        super().__init__("the hunt was interrupted")
        self.result = result
