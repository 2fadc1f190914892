"""Can this algorithm miss a pte? Many executions under a strategy, spread over explorers, gathered in index order.

A hunt is a pure function of its arguments: the number of explorers and the size of the blocks they are handed change
how long it takes and nothing else. What was found is saved when it is found.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import sqrt
from pathlib import Path
from time import perf_counter
from typing import Any

from anonvma_rt.cause import cause
from anonvma_rt.engine.explorer import Bell, Explorer, StopToken, cores
from anonvma_rt.errors import ParameterError, UserError, nearest, quote
from anonvma_rt.lab import (
    CARRIERS,
    DEFAULT_STRATEGY,
    Bound,
    Choice,
    Described,
    load,
    make_explorer,
    make_strategy,
    prepare,
    profile,
    refusal,
)
from anonvma_rt.reproducer import Reproducer, trace_digest
from anonvma_rt.trace import Trace

__all__ = ["DEFAULT_SCENARIO", "First", "HuntInterrupted", "HuntResult", "Result", "hunt"]

DEFAULT_SCENARIO = "lkml-2011"
DEFAULT_RUNS = 20_000

BLOCK_SECONDS = 0.03  # how long an explorer works before it reports
LARGEST_BLOCK = 8192
POLL_SECONDS = 0.02  # how long a signal or a stop token can go unseen
MOST_INDICES = 100_000  # violating indices that a result keeps
LAST_INDEX = 1 << 64


@dataclass
class First:
    """The first violation by index. reproducer: where it was saved, None if it was not."""

    index: int
    kind: str
    reproducer: str | None = None


@dataclass
class Result:
    """What a hunt found of one algorithm.

    executions: completed. violations: executions by kind of their verdict. benign_misses: unmap walks that left a pte
    behind, harmless by themselves. upper_bound_95: of the probability of a violation per execution, at 95 %
    confidence. points, switches: totals. seconds: of the executions alone. schedules_sha256: over 8 bytes for each
    execution's choices, in index order. expected: a kind, "none", or None where the scenario says nothing. indices:
    the violating ones, the first 100 000. trace: the history of the first violation.
    """

    algorithm: str
    executions: int = 0
    violations: dict[str, int] = field(default_factory=dict)
    benign_misses: int = 0
    first: First | None = None
    upper_bound_95: float = 1.0
    points: int = 0
    switches: int = 0
    seconds: float = 0.0
    executions_per_second: float = 0.0
    schedules_sha256: str = ""
    expected: str | None = None
    as_expected: bool = True
    indices: list[int] = field(default_factory=list)
    trace: Trace | None = None
    unsaved: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The fields of `hunt --json`."""
        hidden = ("indices", "trace", "unsaved")
        shown = {name: value for name, value in self.__dict__.items() if name not in hidden}
        return shown | {"first": asdict(self.first) if self.first else None}


@dataclass
class HuntResult:
    """One scenario under one or more algorithms, all over the same execution indices."""

    scenario: str
    parameters: Mapping[str, int | bool]
    strategy: str
    carrier: str
    seed: int
    start: int
    interesting: Sequence[str] = ()
    results: list[Result] = field(default_factory=list)
    interrupted: bool = False

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


def hunt(
    scenario: Described | str = DEFAULT_SCENARIO,
    parameters: Mapping[str, str | int | bool] | None = None,
    algorithms: Iterable[Choice | str] | None = None,
    strategy: str | None = None,
    carrier: str = "threads",
    seed: int = 0,
    start: int = 0,
    runs: int = DEFAULT_RUNS,
    jobs: int = 1,
    out: str | Path | None = None,
    stop: StopToken | None = None,
    progress: Callable[[str, int], None] | None = None,
    interesting: Iterable[str] | None = None,
) -> HuntResult:
    """Executes `scenario` under each algorithm, execution indices start to start + runs - 1.

    scenario: also a litmus test, whose variants then are the algorithms. algorithms: None for the usual ones. strategy:
    "NAME" or "NAME:parameter=value"; None for the scenario's own or the usual one. jobs: explorers, one per core. out:
    the folder for reproducers, None to save none. stop: ends the hunt early from any thread; the result then says
    `interrupted`. progress: called with the algorithm's name and the number of executions just done. interesting: the
    operations that SURW orders, by name (`anonvma-rt list` has them; a litmus test's are its locks and variables), None
    for the scenario's own. Raises UserError for bad input, HuntInterrupted on ^C.

    >>> result = hunt("merge", algorithms=["unpatched"], runs=2000)
    >>> result.results[0].first.kind
    'stale-migration-entry'
    """
    if runs < 1:
        raise UserError(f"--runs must be at least 1, not {runs}")
    if jobs < 1 or jobs > 1024:
        raise UserError(f"--jobs must be from 1 to 1024, not {jobs}")
    if not 0 <= seed < LAST_INDEX:
        raise UserError(f"--seed must be from 0 to 2**64 - 1, not {seed}")
    if not 0 <= start <= LAST_INDEX - runs:
        raise UserError(f"--start must be from 0 to 2**64 - runs, not {start}")
    if carrier not in CARRIERS:
        raise UserError(f"unknown carrier {quote(carrier)}{nearest(carrier, CARRIERS)}")
    if isinstance(scenario, str):
        scenario = load(scenario)
    strategy = strategy or scenario.strategy or DEFAULT_STRATEGY
    make_strategy(strategy)
    program = scenario.bind(parameters or {})
    if interesting is not None:
        program = program.with_interesting(interesting)
    chosen = [program.choose(a) for a in (program.usual() if algorithms is None else algorithms)]
    if not chosen:
        raise UserError("no algorithm to hunt")
    folder = Folder(Path(out)) if out is not None else None
    result = HuntResult(scenario.name, program.parameters, strategy, carrier, seed, start, program.interesting)
    try:
        for algorithm in chosen:
            one = _Hunt(program, algorithm, strategy, carrier, seed, start, runs, jobs, folder, stop, progress)
            result.results.append(one.result)
            one.run()
            if stop is not None and stop.stopped:
                result.interrupted = True
                break
    except KeyboardInterrupt:
        result.interrupted = True
        raise HuntInterrupted(result) from None
    finally:
        if folder is not None:
            folder.leave()
    return result


class Folder:
    """Where reproducers go; made and tried before the hunt, because afterwards is too late to learn that it is full."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.made = not path.exists()
        try:
            path.mkdir(parents=True, exist_ok=True)
            probe = path / f".anonvma-rt-{os.getpid()}"
            probe.write_bytes(b"\0" * 4096)
            probe.unlink()
        except OSError as error:
            raise ParameterError(
                f"--out {quote(str(path))}: reproducers cannot be written there: {error.strerror or error}"
            ) from None

    def leave(self) -> None:
        """Removes the folder again if it was made for nothing."""
        if self.made:
            try:
                self.path.rmdir()
            except OSError:
                return


class _Hunt:
    """One algorithm. Blocks may end in any order; they are merged in the order of their indices."""

    def __init__(
        self, program: Bound, algorithm: Choice, strategy: str, carrier: str, seed: int, start: int, runs: int,
        jobs: int, folder: Folder | None, stop: StopToken | None, progress: Callable[[str, int], None] | None,
    ) -> None:  # fmt: skip
        self.program, self.algorithm, self.strategy, self.carrier = program, algorithm, strategy, carrier
        self.seed, self.next, self.end = seed, start, start + runs
        self.jobs = min(jobs, runs)
        self.folder, self.user_stop, self.progress = folder, stop, progress
        self.stop, self.bell = StopToken(), Bell()
        self.result = Result(algorithm.name, expected=program.expected(algorithm.name))
        self.sha = hashlib.sha256()
        self.violations: Counter[int] = Counter()
        self.waiting: dict[int, dict[str, Any]] = {}
        self.merged = start
        self.kinds: dict[int, str] = {}
        self.working: set[Explorer] = set()

    def run(self) -> None:
        explorers: list[Explorer] = []
        started = perf_counter()
        try:
            for cpu in cores(self.jobs):
                strategy = make_strategy(self.strategy)
                explorers.append(
                    make_explorer(
                        self.program,
                        self.algorithm,
                        strategy,
                        seed=self.seed,
                        cpu=cpu,
                        stop=self.stop,
                        bell=self.bell,
                        carrier=self.carrier,
                    )
                )
            self.kinds = explorers[0].subject.kinds()
            self.before = self.program.before(explorers[0])
            shape = profile(self.program, explorers[0])
            for explorer in explorers:
                prepare(explorer, shape)
            started = perf_counter()
            self.explore(explorers)
        finally:
            self.drain(explorers)
            self.finish(perf_counter() - started)

    def explore(self, explorers: Sequence[Explorer]) -> None:
        sizes = dict.fromkeys(explorers, 16)
        begun = dict.fromkeys(explorers, 0.0)
        while True:
            rings = self.bell.rings
            for explorer in explorers:
                if not explorer.idle:
                    continue
                if explorer in self.working:
                    size = int(sizes[explorer] * BLOCK_SECONDS / max(perf_counter() - begun[explorer], 1e-6))
                    sizes[explorer] = max(1, min(size, 4 * sizes[explorer], LARGEST_BLOCK))
                    self.take(explorer)
                    self.merge(explorer)
                if self.next < self.end and not self.stop.stopped:
                    count = min(sizes[explorer], self.end - self.next)
                    explorer.submit(self.next, count)
                    self.working.add(explorer)
                    begun[explorer] = perf_counter()
                    self.next += count
            if not self.working:
                return
            self.bell.wait(rings, POLL_SECONDS)
            if self.user_stop is not None and self.user_stop.stopped:
                self.stop.stop()

    def drain(self, explorers: Sequence[Explorer]) -> None:
        """Ends the blocks that still run, keeps what they did, and joins all threads; whatever the reason."""
        self.stop.stop()
        for explorer in explorers:
            explorer.finish()
        self.stop.reset()
        for explorer in explorers:
            if explorer in self.working:
                self.keep(explorer)
        self.merge(explorers[0] if explorers else None)
        for explorer in explorers:
            explorer.close()

    def take(self, explorer: Explorer) -> None:
        """Keeps what an idle explorer has done until its turn comes; an error where it ended for a bad reason."""
        halt = self.keep(explorer)
        if halt == "refused":
            raise refusal(self.program, explorer)
        if halt == "no-memory":
            raise MemoryError("no memory left for the subject")

    def keep(self, explorer: Explorer) -> str | None:
        self.working.discard(explorer)
        block = explorer.collect()
        self.waiting[block["first"]] = block
        if self.progress is not None:
            self.progress(self.algorithm.name, block["ran"])
        return block["halt"]

    def merge(self, idle: Explorer | None) -> None:
        """Adds up the blocks whose turn it is. After a stop there may be gaps; what lies behind one does not count."""
        result = self.result
        while self.merged in self.waiting:
            block = self.waiting.pop(self.merged)
            self.merged += block["ran"]
            self.sha.update(block["digests"])
            result.executions += block["ran"]
            result.points += block["points"]
            result.switches += block["switches"]
            result.benign_misses += block["counters"][0]
            for index, kind in block["failures"]:
                self.violations[kind] += 1
                if len(result.indices) < MOST_INDICES:
                    result.indices.append(index)
            if block["failures"] and result.first is None:
                index, kind = block["failures"][0]
                result.first = First(index, self.kinds[kind])
                if idle is not None:
                    self.record(idle, result.first)

    def record(self, explorer: Explorer, first: First) -> None:
        """Runs the first violation again with its history on, and saves it."""
        recorded = explorer.trace(first.index)
        if recorded["halt"] is not None:
            return
        trace = self.program.trace(recorded, explorer, self.before)
        self.result.trace = trace
        reproducer = Reproducer(
            scenario=self.program.scenario,
            parameters=self.program.parameters,
            algorithm=self.algorithm,
            strategy=self.strategy,
            seed=self.seed,
            index=first.index,
            interesting=self.program.interesting,
            bound=explorer.bound,
            segments=recorded["segments"],
            kind=first.kind,
            cause=cause(trace) or "",
            digest=recorded["digests"].hex(),
            trace=trace_digest(recorded),
        )
        if self.folder is None:
            return
        try:
            first.reproducer = str(reproducer.save(self.folder.path / reproducer.name()))
        except OSError as error:
            self.result.unsaved = f"{reproducer.name()} could not be saved: {error.strerror or error}"

    def finish(self, seconds: float) -> None:
        result = self.result
        result.seconds = seconds
        result.executions_per_second = result.executions / seconds if seconds > 0 else 0.0
        result.schedules_sha256 = self.sha.hexdigest()
        result.violations = {self.kinds[kind]: count for kind, count in sorted(self.violations.items())}
        result.upper_bound_95 = upper_bound_95(sum(self.violations.values()), result.executions)
        wanted = {result.expected} - {"none", None}
        result.as_expected = set(result.violations) == wanted


def upper_bound_95(violations: int, executions: int) -> float:
    """The largest probability of a violation per execution that fits what was seen, at 95 % confidence, one-sided.

    Exact without a violation (about 3/N); else Wilson's bound with continuity correction.

    >>> round(upper_bound_95(0, 20_000) * 20_000, 2)
    3.0
    """
    if executions == 0:
        return 1.0
    if violations == 0:
        return float(-(0.05 ** (1 / executions) - 1))
    z, n, p = 1.6448536269514722, executions, violations / executions
    if violations == executions:
        return 1.0
    spread = z * sqrt(max(0.0, z * z + 2 - 1 / n + 4 * p * (n * (1 - p) - 1)))
    return min(1.0, (2 * n * p + z * z + 1 + spread) / (2 * (n + z * z)))
