"""What benchmarks share: time taken in turns, its spread over the rounds, and the refusal to believe what is not so."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, TypeVar

from anonvma_rt.engine.base.bell import cores
from anonvma_rt.engine.run.carrier import handoff
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.strategy import script
from anonvma_rt.lab.explorers import make_explorer, prepare, profile
from anonvma_rt.lab.strategies import make_strategy
from anonvma_rt.subjects.protocols import Bound, Choice

__all__ = [
    "Options", "Turns", "Untrue", "calibrate", "explorer_of", "in_turns", "less", "ratio", "require", "sequential",
    "shown", "spread",
]  # fmt: skip

Key = TypeVar("Key", bound=Hashable)

# About how long one measurement of one round takes, in seconds: long beside a clock, short beside a drift.
A_WHILE = 0.005


class Untrue(RuntimeError):
    """The executions were not what they should be, so a rate would mean nothing."""


@dataclass(frozen=True)
class Options:
    """What a benchmark's run() is told. rounds: how often everything is measured in turns. executions: of each cell of
    `pages`; seeds: of `search` and `zoo`. tell: called with what is being done, from any thread.

    Of `search`: limit, executions with each seed; seconds, of a row; jobs, rows at a time; strategies and subjects,
    none for all; sctbench, a checkout of SCTBench.
    """

    rounds: int = 7
    executions: int = 50_000
    seeds: int = 20
    tell: Callable[[str], None] = lambda what: None
    limit: int = 10_000
    seconds: float = 60.0
    jobs: int = 1
    strategies: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    sctbench: Path | None = None


def require(condition: bool, what: str) -> None:
    """Raises Untrue, with what should have been so, unless it was."""
    if not condition:
        raise Untrue(what)


def in_turns(
    options: Options,
    name: str,
    calls: Mapping[Key, Callable[[], object]],
    clock: Callable[[], float] = perf_counter,
) -> dict[Key, list[float]]:
    """Seconds of each call, one value per round, after one round that does not count.

    All calls of a round follow each other, forwards in one round and backwards in the next, so that a drift of the
    clock rate cancels. A call that returns a float measured for itself: that number counts. clock: process_time where
    nothing waits and differences are small, because a busy machine takes the processor away in the middle.
    """
    seconds: dict[Key, list[float]] = {key: [] for key in calls}
    for turn in range(-1, options.rounds):
        options.tell(f"{name} {turn + 1}/{options.rounds}")
        for key in calls if turn % 2 else reversed(list(calls)):
            started = clock()
            own = calls[key]()
            took = clock() - started
            if turn >= 0:
                seconds[key].append(own if isinstance(own, float) else took)
    return seconds


def calibrate(call: Callable[[int], object]) -> int:
    """The n for which call(n) takes about a while."""
    n = 8
    while True:
        started = perf_counter()
        call(n)
        took = perf_counter() - started
        if took > A_WHILE / 8:
            return max(1, int(n * A_WHILE / took))
        n *= 4


def spread(values: Sequence[float], scale: float = 1.0) -> dict[str, float]:
    """Median, smallest and largest.

    >>> spread([3.0, 1.0, 2.0])
    {'median': 2.0, 'min': 1.0, 'max': 3.0}
    """
    return {"median": scale * median(values), "min": scale * min(values), "max": scale * max(values)}


def ratio(values: Sequence[float], to: Sequence[float]) -> dict[str, float]:
    """The spread of the ratios of what was measured in the same round."""
    return spread([one / other for one, other in zip(values, to, strict=True)])


def shown(figure: Mapping[str, float], digits: int = 2) -> str:
    """A spread for a table.

    >>> shown({"median": 2.0, "min": 1.0, "max": 3.0}, 1)
    '2.0 (1.0-3.0)'
    """
    return f"{figure['median']:.{digits}f} ({figure['min']:.{digits}f}-{figure['max']:.{digits}f})"


class Turns:
    """Calls that are measured in turns, each of as many executions (or whatever it repeats) as take about a while."""

    def __init__(self, options: Options, name: str, clock: Callable[[], float] = perf_counter) -> None:
        self.options, self.name, self.clock = options, name, clock
        self.calls: dict[Any, Callable[[], object]] = {}
        self.size: dict[Any, int] = {}

    def add(self, key: Hashable, call: Callable[[int], object], n: int | None = None) -> None:
        """call: with how often it repeats; n: so often, and not as often as takes a while."""
        self.size[key] = calibrate(call) if n is None else n
        self.calls[key] = partial(call, self.size[key])

    def add_handoff(self) -> None:
        """Of a thread to another on the same core: the clock of this host that does not depend on the lab."""
        cpu = cores(1)[0]
        self.add("handoff", lambda n: handoff(cpu, 1000), 1)

    def measure(self) -> dict[Any, list[float]]:
        """Seconds of one repetition of each call, one value per round."""
        seconds = in_turns(self.options, self.name, self.calls, self.clock)
        return {key: [took / self.size[key] for took in row] for key, row in seconds.items()}


def less(values: Sequence[float], others: Sequence[float], parts: int) -> list[float]:
    """What one of `parts` adds, where the others are the same without them."""
    return [(value - other) / parts for value, other in zip(values, others, strict=True)]


def explorer_of(program: Bound, algorithm: Choice, strategy: str, carrier: str) -> Explorer:
    """Ready to run, on the current core."""
    explorer = make_explorer(program, algorithm, make_strategy(strategy), seed=1, cpu=cores(1)[0], carrier=carrier)
    prepare(explorer, profile(program, explorer))
    return explorer


def sequential(subject: Any) -> Explorer:
    """An explorer of fibers whose tasks run one after the other: nothing but points, and no switch at any."""
    return Explorer(subject, script.replay(), cpu=cores(1)[0], carrier="fibers")
