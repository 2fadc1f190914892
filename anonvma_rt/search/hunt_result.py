"""What a hunt found: a Hunted for each algorithm, in a HuntResult."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from anonvma_rt.execution.budget import Budget
from anonvma_rt.execution.folder import Folder
from anonvma_rt.execution.record import Record
from anonvma_rt.execution.reproducer import FoundBy, Reproducer
from anonvma_rt.execution.results import First, Interrupted, Result, Results
from anonvma_rt.lab.again import NOT_REPRODUCIBLE, NotReproducible
from anonvma_rt.search.bounds import ClassCount
from anonvma_rt.search.second_carrier import Confirmed

__all__ = ["HuntInterrupted", "HuntResult", "Hunted", "PctGuarantee"]


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
class Hunted(Result):
    """What a hunt found of one algorithm.

    executions: completed. ended: by what, of ENDINGS. short_of: executions without a violation that the confidence
    asked for would have taken, None where it was reached or nothing was asked. violations: executions by kind of their
    verdict. benign_misses: unmap walks that left a pte behind, harmless by themselves. upper_bound_95: of the
    probability of a violation per execution, at 95 % confidence. points, switches, failed_allocations: totals.
    schedules_sha256: over 8 bytes for each execution's choices, in index order. classes: of interleavings, None if none
    were observed. pct_guarantee: None for other strategies. warnings: of what was asked and helps nothing. carrier: who
    made the executions; because: why that was not fibers, where `auto` was asked for. confirmed: how violations did on
    a second carrier, None unless one was asked for. indices: the violating ones, the first 100 000. kept: the first
    violations of each kind, by index; reproducers: of those, what is in their files.
    """

    executions: int = 0
    ended: str = ""
    short_of: int | None = None
    violations: dict[str, int] = field(default_factory=dict)
    benign_misses: int = 0
    first: First | None = None
    kept: list[First] = field(default_factory=list)
    upper_bound_95: float = 1.0
    points: int = 0
    switches: int = 0
    failed_allocations: int = 0
    schedules_sha256: str = ""
    classes: ClassCount | None = None
    pct_guarantee: PctGuarantee | None = None
    warnings: list[str] = field(default_factory=list)
    carrier: str = ""
    because: str = ""
    confirmed: Confirmed | None = None
    indices: list[int] = field(default_factory=list)
    reproducers: list[Reproducer] = field(default_factory=list)

    shown = (
        "algorithm executions ended short_of violations benign_misses first kept upper_bound_95 points switches "
        "failed_allocations seconds executions_per_second schedules_sha256 expected as_expected classes pct_guarantee "
        "carrier because confirmed not_reproducible warnings"
    )

    def does_not_come_again(self, why: NotReproducible) -> None:
        super().does_not_come_again(why)
        self.violations, self.indices, self.kept = {NOT_REPRODUCIBLE: 1}, [], []
        self.first = First(why.index, NOT_REPRODUCIBLE)
        self.short_of = None

    @property
    def executions_per_second(self) -> float:
        return self.executions / self.seconds if self.seconds > 0 else 0.0

    def keep(self, record: Record, found: FoundBy, folder: Folder) -> str | None:
        self.reproducers.append(Reproducer.of(record, found))
        return super().keep(record, found, folder)


@dataclass
class HuntResult(Results[Hunted]):
    """One scenario under one or more algorithms, all over the same execution indices.

    interesting: the operations that SURW ordered, by name. until_violation: each algorithm ended at its first one.
    budget: all that was said of how long.
    """

    strategy: str = ""
    carrier: str = ""
    seed: int = 0
    start: int = 0
    interesting: Sequence[str] = ()
    fail_alloc: str | None = None
    until_violation: bool = False
    budget: Budget = field(default_factory=Budget)

    shown = (
        "scenario parameters memory strategy carrier seed start interesting results interrupted fail_alloc "
        "until_violation budget as_expected"
    )


class HuntInterrupted(Interrupted):
    """^C during a hunt."""

    what = "the hunt"
