"""What happens at full speed? All tasks at once on OS threads of their own, under seeded chaos.

A storm counts. It says how often an algorithm went wrong, under which delays, and turns what it recorded into replays;
that it saw nothing is no evidence of anything, because the rates of a race differ by orders of magnitude between
machines, profiles and runs. For evidence there are verify and hunt.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import sqrt
from pathlib import Path
from time import monotonic
from typing import Any

from anonvma_rt.engine.parallel.storm import Storm
from anonvma_rt.engine.run.explorer import Explorer, StopToken
from anonvma_rt.engine.run.records import StormBlock
from anonvma_rt.engine.strategy import script
from anonvma_rt.errors import UserError
from anonvma_rt.execution.reproducer import Reproducer, failures_in, trace_digest
from anonvma_rt.kernel.cause import cause
from anonvma_rt.kernel.failing import Failing
from anonvma_rt.lab.lab import load, make_explorer, profile, refusal
from anonvma_rt.search.hunt import DEFAULT_SCENARIO, Folder
from anonvma_rt.storming.delays import PROFILES, Profile, parse_profile
from anonvma_rt.storming.replay import confirm
from anonvma_rt.storming.turns import Bandit
from anonvma_rt.subjects.history import Trace
from anonvma_rt.subjects.protocols import Bound, Choice, Described

__all__ = ["Found", "Rate", "StormInterrupted", "StormOfOne", "StormResult", "storm"]

DEFAULT_SECONDS = 10.0
BLOCK_SECONDS = 0.02  # how long one profile has its turn
LARGEST_BLOCK = 16384
LAST_SEED = 1 << 64
KEPT_PER_BLOCK = 16  # logs of violations; the replay of one takes about as long as the execution itself


@dataclass
class Rate:
    """So many executions under one profile. violations: by kind. low, high: of the probability of a violation per
    execution, where 95 % of such intervals hold it (Wilson's)."""

    profile: str
    executions: int = 0
    seconds: float = 0.0
    violations: dict[str, int] = field(default_factory=dict)

    @property
    def hits(self) -> int:
        return sum(self.violations.values())

    @property
    def interval(self) -> tuple[float, float]:
        return wilson_95(self.hits, self.executions)

    def as_dict(self) -> dict[str, Any]:
        low, high = self.interval
        return asdict(self) | {
            "executions_per_second": _ratio(self.executions, self.seconds),
            "violations_per_second": _ratio(self.hits, self.seconds),
            "interval_95": [low, high],
        }


@dataclass
class Found:
    """The first confirmed violation of a kind. reproducer: where it was saved, None if it was not."""

    kind: str
    index: int
    profile: str
    reproducer: str | None = None


@dataclass
class StormOfOne:
    """What a storm saw of one algorithm.

    executions, seconds: of the executions alone, without their replays. violations: by kind. rates: by profile, in the
    order of the command line. recorded: violations whose log was kept; confirmed: of these, how many a deterministic
    replay of the log showed again, repaired: how many of the confirmed needed steps to be moved; unconfirmed: what
    became of the others; not_recorded: violations without a log. trace: the history of the first confirmed one.
    """

    algorithm: str
    executions: int = 0
    seconds: float = 0.0
    points: int = 0
    failed_allocations: int = 0
    violations: dict[str, int] = field(default_factory=dict)
    rates: list[Rate] = field(default_factory=list)
    recorded: int = 0
    confirmed: int = 0
    repaired: int = 0
    unconfirmed: dict[str, int] = field(default_factory=dict)
    not_recorded: int = 0
    found: list[Found] = field(default_factory=list)
    expected: str | None = None
    as_expected: bool = True
    trace: Trace | None = None
    unsaved: str | None = None

    @property
    def hits(self) -> int:
        return sum(self.violations.values())

    def as_dict(self) -> dict[str, Any]:
        """The fields of `storm --json`."""
        hidden = ("trace", "unsaved", "rates", "found")
        low, high = wilson_95(self.hits, self.executions)
        return {name: value for name, value in self.__dict__.items() if name not in hidden} | {
            "executions_per_second": _ratio(self.executions, self.seconds),
            "violations_per_second": {kind: _ratio(n, self.seconds) for kind, n in self.violations.items()},
            "interval_95": [low, high],
            "profiles": [rate.as_dict() for rate in self.rates],
            "found": [asdict(one) for one in self.found],
        }


@dataclass
class StormResult:
    """One scenario under one or more algorithms, each for the same time."""

    scenario: str
    parameters: Mapping[str, int | bool]
    profiles: list[str]
    seed: int
    recording: bool
    tasks: int
    results: list[StormOfOne] = field(default_factory=list)
    interrupted: bool = False
    fail_alloc: str | None = None

    @property
    def as_expected(self) -> bool:
        return all(result.as_expected for result in self.results)

    def as_dict(self) -> dict[str, Any]:
        return self.__dict__ | {"results": [r.as_dict() for r in self.results], "as_expected": self.as_expected}


class StormInterrupted(KeyboardInterrupt):
    """^C during a storm; `result` holds what was seen up to then. No thread of the storm is left."""

    def __init__(self, result: StormResult) -> None:
        super().__init__("the storm was interrupted")
        self.result = result


def storm(
    scenario: Described | str = DEFAULT_SCENARIO,
    parameters: Mapping[str, str | int | bool] | None = None,
    algorithms: Iterable[Choice | str] | None = None,
    seconds: float = DEFAULT_SECONDS,
    executions: int | None = None,
    seed: int = 0,
    profiles: Sequence[str] | None = None,
    record: bool = True,
    out: str | Path | None = None,
    stop: StopToken | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    fail_alloc: Failing | str | float | None = None,
) -> StormResult:
    """Runs `scenario` under each algorithm for `seconds` with all tasks at once.

    scenario: also a litmus test. algorithms: None for the usual ones. executions: so many instead of a time. profiles:
    "NAME" or "NAME:parameter=value", None for all; where there are several a bandit gives its time to those that hit.
    seed: of the delays and of the bandit; what happens at full speed depends on the machine all the same. record: keep
    logs and replay them. out: the folder for reproducers, None to save none. stop: ends the storm from any thread.
    progress: called with the algorithm's name, the executions just made and the violations among them. fail_alloc: as
    for hunt. Raises UserError for bad input, StormInterrupted on ^C.

    >>> result = storm("lock-order", algorithms=["ab-ab"], executions=100, profiles=["skew"])
    >>> result.results[0].executions, result.results[0].violations
    (100, {})
    """
    if not 0 < seconds <= 1e7:
        raise UserError(f"--seconds must be more than 0 and at most 10000000, not {seconds:g}")
    if executions is not None and executions < 1:
        raise UserError(f"executions must be at least 1, not {executions}")
    if not 0 <= seed < LAST_SEED:
        raise UserError(f"--seed must be from 0 to 2**64 - 1, not {seed}")
    described = load(scenario) if isinstance(scenario, str) else scenario
    program = described.bind(parameters or {})
    if fail_alloc is not None:
        program = program.fail(fail_alloc if isinstance(fail_alloc, Failing) else Failing.parse(fail_alloc))
    chosen = [program.choose(a) for a in (program.usual() if algorithms is None else algorithms)]
    if not chosen:
        raise UserError("no algorithm for a storm")
    wanted = [parse_profile(text) for text in (list(PROFILES) if profiles is None else profiles)]
    if not wanted:
        raise UserError("no profile for a storm")
    folder = Folder(Path(out)) if out is not None else None
    result = StormResult(described.name, program.parameters, [p.text for p in wanted], seed, record, 0)
    result.fail_alloc = str(program.failing) if program.failing is not None else None
    try:
        for algorithm in chosen:
            one = _Storm(program, algorithm, wanted, seed, record, folder, stop, progress)
            result.results.append(one.result)
            try:
                result.tasks = one.run(seconds, executions)
            finally:
                one.finish()
            if stop is not None and stop.stopped:
                result.interrupted = True
                break
    except KeyboardInterrupt:
        result.interrupted = True
        raise StormInterrupted(result) from None
    finally:
        if folder is not None:
            folder.leave()
    return result


class _Storm:
    """One algorithm."""

    def __init__(
        self, program: Bound, algorithm: Choice, profiles: Sequence[Profile], seed: int, record: bool,
        folder: Folder | None, stop: StopToken | None, progress: Callable[[str, int, int], None] | None,
    ) -> None:  # fmt: skip
        self.program, self.algorithm, self.profiles = program, algorithm, profiles
        self.seed, self.record, self.folder, self.progress = seed, record, folder, progress
        self.stop = stop if stop is not None else StopToken()
        self.result = StormOfOne(algorithm.name, expected=program.expected(algorithm.name))
        self.result.rates = [Rate(p.text) for p in profiles]
        self.unconfirmed: Counter[str] = Counter()

    def run(self, seconds: float, executions: int | None) -> int:
        """The storm itself; the number of its tasks."""
        with make_explorer(
            self.program, self.algorithm, script.replay(), seed=self.seed, carrier="fibers", stop=self.stop
        ) as explorer:
            self.kinds = explorer.subject.kinds()
            self.before = self.program.before(explorer)
            explorer.bound = profile(self.program, explorer)["bound"]
            numbers = [p.for_subject(explorer.subject.lock_classes()) for p in self.profiles]
            names = self.program.lock_names(explorer)
            with Storm(explorer, stuck=lambda waiting: self.tell_stuck(waiting, names)) as engine:
                self.blow(engine, numbers, seconds, executions)
            return int(explorer.subject.tasks)

    def blow(self, engine: Storm, numbers: Sequence[Mapping[str, int]], seconds: float, executions: int | None) -> None:
        bandit = Bandit(len(numbers), self.seed)
        end, next_index = monotonic() + seconds, 0
        while not self.stop.stopped and (next_index < executions if executions is not None else monotonic() < end):
            arm = bandit.choose()
            count = LARGEST_BLOCK if executions is None else min(LARGEST_BLOCK, executions - next_index)
            try:
                block = engine.run(
                    next_index, count, numbers[arm], self.seed, self.record, KEPT_PER_BLOCK, BLOCK_SECONDS
                )
            except BaseException:
                self.add(arm, engine.collect(next_index))
                raise
            next_index += block.ran
            self.add(arm, block)
            if block.halt == "refused":
                raise refusal(self.program, engine.explorer)
            if block.halt == "no-memory":
                raise MemoryError("a task of the storm had no memory left")
            bandit.tell(arm, len(block.failures), block.seconds)
            for kept in block.kept:
                if not self.stop.stopped:
                    self.replay(engine.explorer, self.result.rates[arm].profile, *kept)

    def add(self, arm: int, block: StormBlock) -> None:
        result, rate = self.result, self.result.rates[arm]
        for one in (result, rate):
            one.executions += block.ran
            one.seconds += block.seconds
            for _, kind in block.failures:
                name = self.kinds[kind]
                one.violations[name] = one.violations.get(name, 0) + 1
        result.points += block.points
        result.failed_allocations += block.counters.get("failed_allocations", 0)
        result.not_recorded += block.unkept
        if self.progress is not None:
            self.progress(self.algorithm.name, block.ran, len(block.failures))

    def replay(self, explorer: Explorer, profile_text: str, index: int, kind: int, tasks: bytes, marks: bytes) -> None:
        """Confirms one recorded violation; the first of each kind is run once more for its history, and saved."""
        self.result.recorded += 1
        confirmation = confirm(explorer, index, kind, tasks, marks)
        if confirmation.strategy is None:
            self.unconfirmed[confirmation.outcome] += 1
            return
        self.result.confirmed += 1
        self.result.repaired += confirmation.outcome == "repaired"
        name = self.kinds[kind]
        if all(found.kind != name for found in self.result.found):
            self.result.found.append(self.keep(explorer, confirmation.strategy, Found(name, index, profile_text)))

    def keep(self, explorer: Explorer, strategy: Any, found: Found) -> Found:
        recorded = explorer.trace(found.index, strategy)
        trace = self.program.trace(recorded, explorer, self.before)
        self.result.trace = self.result.trace or trace
        reproducer = Reproducer(
            scenario=self.program.scenario,
            parameters=self.program.parameters,
            algorithm=self.algorithm,
            strategy="storm",
            seed=self.seed,
            index=found.index,
            bound=explorer.bound,
            segments=recorded.segments,
            kind=found.kind,
            cause=cause(trace) or "",
            digest=recorded.digests.hex(),
            trace=trace_digest(recorded),
            failures=failures_in(trace) if self.program.failing is not None else None,
        )
        if self.folder is not None:
            try:
                found.reproducer = str(reproducer.save(self.folder.path / reproducer.name()))
            except OSError as error:
                self.result.unsaved = f"{reproducer.name()} could not be saved: {error.strerror or error}"
        return found

    def tell_stuck(self, waiting: Sequence[tuple[int, str, int, int | None]], names: Callable[[int], str]) -> None:
        """The watchdog: no execution has ended for a while."""
        tasks = self.program.task_names()
        lines = [
            f"{tasks[task]} waits for {names(at)} ({op}), "
            + (
                f"which {tasks[owner]} holds"
                if owner is not None and owner < len(tasks)
                else "which nobody holds alone"
            )
            for task, op, at, owner in waiting
        ]
        print(
            f"anonvma-rt: no execution of {self.algorithm.name} has ended for a while: "
            + ("; ".join(lines) or "nobody waits for a lock"),
            file=sys.stderr,
        )

    def finish(self) -> None:
        result = self.result
        result.unconfirmed = dict(sorted(self.unconfirmed.items()))
        wanted = {result.expected} - {"none", None}
        result.as_expected = set(result.violations) == wanted


def wilson_95(hits: int, n: int) -> tuple[float, float]:
    """Wilson's interval for a probability, two-sided, at 95 % (JASA 1927).

    >>> low, high = wilson_95(0, 100)
    >>> low, round(high, 3)
    (0.0, 0.037)
    """
    if n == 0:
        return 0.0, 1.0
    z = 1.959963984540054
    p = hits / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    spread = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low = 0.0 if hits == 0 else max(0.0, middle - spread)
    return low, 1.0 if hits == n else min(1.0, middle + spread)


def _ratio(count: int, seconds: float) -> float:
    return count / seconds if seconds > 0 else 0.0
