"""Can this algorithm miss a pte? Many executions under a strategy, spread over explorers, gathered in index order.

A hunt is a pure function of its arguments: the number of explorers and the size of the blocks they are handed change
how long it takes and nothing else. What was found is saved when it is found.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from anonvma_rt.engine.run.explorer import Bell, Explorer, StopToken, cores
from anonvma_rt.engine.run.records import Block
from anonvma_rt.engine.strategy.base import Strategy
from anonvma_rt.errors import ParameterError, UserError, nearest, quote
from anonvma_rt.execution.reproducer import Reproducer, failures_in, trace_digest
from anonvma_rt.kernel.cause import cause
from anonvma_rt.kernel.failing import Failing
from anonvma_rt.lab.lab import (
    AUTO,
    DEFAULT_STRATEGY,
    HUNT_CARRIERS,
    load,
    make_explorer,
    make_strategy,
    prepare,
    profile,
    refusal,
    strategy_name,
)
from anonvma_rt.search.bounds import count_classes, upper_bound_95
from anonvma_rt.search.hunt_result import First, HuntInterrupted, HuntResult, PctGuarantee, Result
from anonvma_rt.search.second_carrier import Confirmer
from anonvma_rt.subjects.protocols import Bound, Choice, Described

__all__ = ["DEFAULT_SCENARIO", "First", "HuntInterrupted", "HuntResult", "Result", "hunt"]

DEFAULT_SCENARIO = "lkml-2011"
DEFAULT_RUNS = 20_000

BLOCK_SECONDS = 0.03  # how long an explorer works before it reports
LARGEST_BLOCK = 8192
DEFAULT_CLASSES = 65536  # executions whose classes are counted
MOST_CLASSES = 1 << 22
POLL_SECONDS = 0.02  # how long a signal or a stop token can go unseen
MOST_INDICES = 100_000  # violating indices that a result keeps
LAST_INDEX = 1 << 64


def hunt(
    scenario: Described | str = DEFAULT_SCENARIO,
    parameters: Mapping[str, str | int | bool] | None = None,
    algorithms: Iterable[Choice | str] | None = None,
    strategy: str | Strategy | None = None,
    carrier: str = "threads",
    seed: int = 0,
    start: int = 0,
    runs: int = DEFAULT_RUNS,
    jobs: int = 1,
    classes: int = DEFAULT_CLASSES,
    out: str | Path | None = None,
    stop: StopToken | None = None,
    progress: Callable[[str, int], None] | None = None,
    interesting: Iterable[str] | None = None,
    fail_alloc: Failing | str | float | None = None,
) -> HuntResult:
    """Executes `scenario` under each algorithm, execution indices start to start + runs - 1.

    scenario: also a litmus test, whose variants then are the algorithms. algorithms: None for the usual ones. strategy:
    "NAME" or "NAME:parameter=value", or an object of your own; None for the scenario's own or the usual one. carrier:
    "auto" searches on fibers and makes violating executions again on threads. jobs: explorers, one per core. classes:
    count the classes of interleavings among the first so many executions; they cost more, and 0 counts none. out: the
    folder for reproducers, None to save none. stop: ends the hunt early from any thread; the result then says
    `interrupted`. progress: called with the algorithm's name and the number of executions just done. interesting: the
    operations that SURW orders, by name (`anonvma-rt list` has them; a litmus test's are its locks and variables), None
    for the scenario's own. fail_alloc: the rate at which allocations of the threads fail, 0 to 1, or "RATE:kind,kind";
    None for what the scenario says. Raises UserError for bad input, HuntInterrupted on ^C.

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
    if not 0 <= classes <= MOST_CLASSES:
        raise UserError(f"--classes must be from 0 to {MOST_CLASSES}, not {classes}")
    if carrier not in HUNT_CARRIERS:
        raise UserError(f"unknown carrier {quote(carrier)}{nearest(carrier, HUNT_CARRIERS)}")
    if isinstance(scenario, str):
        scenario = load(scenario)
    strategy = strategy or scenario.strategy or DEFAULT_STRATEGY
    if make_strategy(strategy).needs_gil and carrier != "threads":
        raise UserError(f"--strategy {strategy_name(strategy)} is Python, which needs --carrier threads")
    program = scenario.bind(parameters or {})
    if interesting is not None:
        program = program.with_interesting(interesting)
    if fail_alloc is not None:
        program = program.fail(fail_alloc if isinstance(fail_alloc, Failing) else Failing.parse(fail_alloc))
    chosen = [program.choose(a) for a in (program.usual() if algorithms is None else algorithms)]
    if not chosen:
        raise UserError("no algorithm to hunt")
    folder = Folder(Path(out)) if out is not None else None
    name = strategy_name(strategy)
    result = HuntResult(scenario.name, program.parameters, name, carrier, seed, start, program.interesting)
    result.fail_alloc = str(program.failing) if program.failing is not None else None
    try:
        for algorithm in chosen:
            one = _Hunt(program, algorithm, strategy, carrier, seed, start, runs, jobs, classes, folder, stop, progress)
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
        self, program: Bound, algorithm: Choice, strategy: str | Strategy, carrier: str, seed: int, start: int,
        runs: int, jobs: int, classes: int, folder: Folder | None, stop: StopToken | None,
        progress: Callable[[str, int], None] | None,
    ) -> None:  # fmt: skip
        self.program, self.algorithm, self.strategy, self.carrier = program, algorithm, strategy, carrier
        self.seed, self.next, self.end = seed, start, start + runs
        self.jobs = min(jobs, runs)
        self.observed_end = min(self.end, start + classes)
        self.folder, self.user_stop, self.progress = folder, stop, progress
        self.stop, self.bell = StopToken(), Bell()
        self.result = Result(algorithm.name, expected=program.expected(algorithm.name))
        self.sha = hashlib.sha256()
        self.violations: Counter[int] = Counter()
        self.waiting: dict[int, Block] = {}
        self.merged = start
        self.kinds: dict[int, str] = {}
        self.guarantee: dict[str, Any] | None = None
        self.working: set[Explorer] = set()
        self.classes = bytearray() if classes else None
        self.longest = 0
        self.confirmer: Confirmer | None = None

    def run(self) -> None:
        explorers: list[Explorer] = []
        started = perf_counter()
        try:
            carrier = "fibers" if self.carrier == AUTO else self.carrier
            for cpu in cores(self.jobs):
                explorers.append(self.explorer(carrier, cpu, stop=self.stop, bell=self.bell))
            self.kinds = explorers[0].subject.kinds()
            self.before = self.program.before(explorers[0])
            shape = profile(self.program, explorers[0])
            for explorer in explorers:
                prepare(explorer, shape)
            self.guarantee = explorers[0].strategy.guarantee(explorers[0].subject.tasks)
            if self.carrier == AUTO:
                second = self.explorer("threads", explorers[0].cpu)
                prepare(second, shape)
                self.confirmer = Confirmer(second, "threads")
                self.result.confirmed = self.confirmer.result
            started = perf_counter()
            self.explore(explorers)
        finally:
            self.drain(explorers)
            self.finish(perf_counter() - started)

    def explorer(self, carrier: str, cpu: int, **options: Any) -> Explorer:
        strategy = make_strategy(self.strategy)
        return make_explorer(
            self.program, self.algorithm, strategy, seed=self.seed, cpu=cpu, carrier=carrier, **options
        )

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
                    # A block is observed as a whole or not at all.
                    explorer.observing = self.next < self.observed_end
                    count = min(sizes[explorer], (self.observed_end if explorer.observing else self.end) - self.next)
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
        if self.confirmer is not None:
            self.confirmer.explorer.close()

    def take(self, explorer: Explorer) -> None:
        """Keeps what an idle explorer has done until its turn comes; an error where it ended for a bad reason."""
        halt = self.keep(explorer)
        if halt == "refused":
            raise refusal(self.program, explorer)
        if halt == "no-memory":
            raise MemoryError("no memory left for the subject")
        if halt == "diverged":
            why = explorer.strategy.failure
            said = f"{type(why).__name__}: {why}" if why else "it chose a task that cannot make a step"
            raise UserError(f"strategy {strategy_name(self.strategy)}: {said}") from why

    def keep(self, explorer: Explorer) -> str | None:
        self.working.discard(explorer)
        block = explorer.collect()
        self.waiting[block.first] = block
        if self.progress is not None:
            self.progress(self.algorithm.name, block.ran)
        return block.halt

    def merge(self, idle: Explorer | None) -> None:
        """Adds up the blocks whose turn it is. After a stop there may be gaps; what lies behind one does not count."""
        result = self.result
        while self.merged in self.waiting:
            block = self.waiting.pop(self.merged)
            self.merged += block.ran
            self.sha.update(block.digests)
            result.executions += block.ran
            result.points += block.points
            result.switches += block.switches
            result.benign_misses += block.counters.get("benign_misses", 0)
            result.failed_allocations += block.counters.get("failed_allocations", 0)
            self.longest = max(self.longest, block.longest)
            if self.classes is not None:
                self.classes += block.classes
            for index, kind in block.failures:
                self.violations[kind] += 1
                if len(result.indices) < MOST_INDICES:
                    result.indices.append(index)
            if block.failures and result.first is None:
                index, kind = block.failures[0]
                result.first = First(index, self.kinds[kind])
                if idle is not None:
                    self.record(idle, result.first)
            if self.confirmer is not None:
                for index, kind in block.failures:
                    at = 8 * (index - block.first)
                    self.confirmer.show(index, kind, block.digests[at : at + 8])

    def record(self, explorer: Explorer, first: First) -> None:
        """Runs the first violation again with its history on, and saves it."""
        recorded = explorer.trace(first.index)
        if recorded.halt is not None:
            return
        trace = self.program.trace(recorded, explorer, self.before)
        self.result.trace = trace
        self.result.reproducer = reproducer = Reproducer(
            scenario=self.program.scenario,
            parameters=self.program.parameters,
            algorithm=self.algorithm,
            strategy=strategy_name(self.strategy),
            seed=self.seed,
            index=first.index,
            interesting=self.program.interesting,
            bound=explorer.bound,
            segments=recorded.segments,
            kind=first.kind,
            cause=cause(trace) or "",
            digest=recorded.digests.hex(),
            trace=trace_digest(recorded),
            failures=failures_in(trace) if self.program.failing is not None else None,
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
        if self.classes is not None:
            result.classes = count_classes(self.classes)
        if self.guarantee is not None:
            result.pct_guarantee = PctGuarantee(**self.guarantee, longest=self.longest)
        wanted = {result.expected} - {"none", None}
        agrees = result.confirmed is None or result.confirmed.agrees
        result.as_expected = set(result.violations) == wanted and agrees
