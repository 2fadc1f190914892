"""What a storm saw: a Stormed for each algorithm, in a StormResult, with the rates under each kind of delays."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from anonvma_rt.execution.results import Interrupted, Result, Results, Shown
from anonvma_rt.search.bounds import wilson_95

__all__ = ["Found", "Rate", "StormInterrupted", "StormResult", "Stormed"]


@dataclass
class _Counted(Shown):
    """So many executions in so many seconds, and the violations among them by kind."""

    executions: int = 0
    seconds: float = 0.0
    violations: dict[str, int] = field(default_factory=dict)

    def add(self, executions: int, seconds: float, kinds: Iterable[str]) -> None:
        self.executions += executions
        self.seconds += seconds
        for kind in kinds:
            self.violations[kind] = self.violations.get(kind, 0) + 1

    @property
    def hits(self) -> int:
        return sum(self.violations.values())

    @property
    def executions_per_second(self) -> float:
        return self.per_second(self.executions)

    @property
    def interval_95(self) -> tuple[float, float]:
        """Of the probability of a violation per execution: 95 % of such intervals hold it (Wilson's)."""
        return wilson_95(self.hits, self.executions)

    def per_second(self, count: int) -> float:
        return count / self.seconds if self.seconds > 0 else 0.0


@dataclass
class Rate(_Counted):
    """What was seen under one kind of delays, `profile`."""

    profile: str = ""

    shown = "profile executions seconds violations executions_per_second violations_per_second interval_95"

    @property
    def violations_per_second(self) -> float:
        return self.per_second(self.hits)


@dataclass
class Found:
    """The first confirmed violation of a kind. reproducer: where it was saved, None if it was not."""

    kind: str
    index: int
    profile: str
    reproducer: str | None = None


@dataclass
class Stormed(_Counted, Result):
    """What a storm saw of one algorithm.

    executions, seconds: of the executions alone, without their replays. rates: by profile, in the order of the
    command line. recorded: violations whose log was kept; confirmed: of these, how many a deterministic replay of the
    log showed again, repaired: how many of the confirmed needed steps to be moved; unconfirmed: what became of the
    others; not_recorded: violations without a log. trace: the history of the first confirmed one.
    """

    tasks: int = 0
    points: int = 0
    failed_allocations: int = 0
    rates: list[Rate] = field(default_factory=list)
    recorded: int = 0
    confirmed: int = 0
    repaired: int = 0
    unconfirmed: dict[str, int] = field(default_factory=dict)
    not_recorded: int = 0
    found: list[Found] = field(default_factory=list)

    shown = (
        "algorithm executions seconds points failed_allocations violations recorded confirmed repaired unconfirmed "
        "not_recorded expected as_expected executions_per_second violations_per_second interval_95 profiles found"
    )

    @property
    def profiles(self) -> list[Rate]:
        return self.rates

    @property
    def violations_per_second(self) -> dict[str, float]:
        return {kind: self.per_second(count) for kind, count in self.violations.items()}


@dataclass
class StormResult(Results[Stormed]):
    """One scenario under one or more algorithms, each for the same time."""

    profiles: Sequence[str] = ()
    seed: int = 0
    recording: bool = True
    fail_alloc: str | None = None

    shown = "scenario parameters profiles seed recording tasks results interrupted fail_alloc as_expected"

    @property
    def tasks(self) -> int:
        return self.results[-1].tasks if self.results else 0


class StormInterrupted(Interrupted):
    """^C during a storm."""

    what = "the storm"
