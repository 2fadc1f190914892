"""Can this algorithm miss a pte? Many executions under a strategy, spread over explorers, gathered in index order.

A hunt is a pure function of its arguments: the number of explorers and the size of the blocks they are handed change
how long it takes and nothing else. What was found is saved when it is found.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from anonvma_rt.engine.base.bell import StopToken, cores
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.records import Block
from anonvma_rt.engine.run.strategy import Strategy
from anonvma_rt.errors import UserError, among, between
from anonvma_rt.execution.budget import DEFAULT_RUNS, Budget, Clocks
from anonvma_rt.execution.folder import Folder
from anonvma_rt.execution.plan import LAST_INDEX, MOST_JOBS, Plan, came_up, carry_out, choices
from anonvma_rt.execution.record import record
from anonvma_rt.execution.reproducer import FoundBy
from anonvma_rt.execution.results import First
from anonvma_rt.lab.again import Again, must_come_again
from anonvma_rt.lab.explorers import AUTO, HUNT_CARRIERS, Profile, make_explorer, names_of_places, prepare, profile
from anonvma_rt.lab.load import DEFAULT_SCENARIO, bind
from anonvma_rt.lab.pump import Pump
from anonvma_rt.lab.strategies import DEFAULT_STRATEGY, make_strategy, strategy_name
from anonvma_rt.search.bounds import count_classes, executions_for, upper_bound_95
from anonvma_rt.search.hunt_result import Hunted, HuntInterrupted, HuntResult, PctGuarantee
from anonvma_rt.search.second_carrier import Confirmer, FiberTooSmall, carrier_for
from anonvma_rt.subjects.protocols import SC, Bound, Choice, Described

__all__ = ["DEFAULT_CLASSES", "DEFAULT_RUNS", "HuntPlan", "hunt"]

DEFAULT_CLASSES = 65536  # executions whose classes are counted
MOST_CLASSES = 1 << 22
MOST_INDICES = 100_000  # violating indices that a result keeps
MOST_KEPT = 10_000  # reproducers of one kind


def hunt(
    scenario: Described | str = DEFAULT_SCENARIO,
    parameters: Mapping[str, str | int | bool] | None = None,
    algorithms: Iterable[Choice | str] | None = None,
    strategy: str | Strategy | None = None,
    carrier: str = AUTO,
    seed: int = 0,
    start: int = 0,
    runs: int | None = None,
    jobs: int = 1,
    classes: int = DEFAULT_CLASSES,
    out: str | Path | None = None,
    stop: StopToken | None = None,
    progress: Callable[[str, int], None] | None = None,
    interesting: Iterable[str] | None = None,
    fail_alloc: Any = None,
    keep: int = 0,
    until_violation: bool = False,
    seconds: float | None = None,
    confidence: float | None = None,
    memory: str = SC,
) -> HuntResult:
    """Executes `scenario` under each algorithm, execution indices from `start` on: `runs` of them, or fewer where
    until_violation, seconds or confidence ends it before.

    scenario: also a litmus test, whose variants then are the algorithms. algorithms: None for the usual ones. strategy:
    "NAME" or "NAME:parameter=value", or an object of your own; None for the scenario's own or the usual one. carrier:
    "auto" searches on fibers and makes violating executions again on threads; where a strategy in Python, a debugger or
    a deep stack needs threads it searches there, and `because` of a result says so. jobs: explorers, one per core.
    classes: count the classes of interleavings among the first so many executions; they cost more, and 0 counts none.
    out: the folder for reproducers, None to save none. stop: ends the hunt early from any thread; the result then says
    `interrupted`. progress: called with the algorithm's name and the number of executions just done. interesting: the
    operations that SURW orders, by name (`anonvma-rt list` has them; a litmus test's are its locks and variables), None
    for the scenario's own. fail_alloc: the rate at which allocations of the threads fail, 0 to 1, or "RATE:kind,kind";
    None for what the scenario says. keep: reproducers of each kind of violation beside its first one, which is always
    kept; they are those of the lowest indices, for any number of jobs. until_violation: each algorithm ends at its
    first violation; the result is that of a hunt with so many runs, whatever other jobs had done beyond. seconds: for
    each algorithm; no more executions are begun then, and with as many runs as there were the same ones come again.
    confidence: each algorithm ends when a violation has at most this probability, at 95 %, or at its first violation.
    memory: how stores become visible, "sc", "tso" or "pso" (docs/memory.md).
    runs: None for 20 000, with seconds or confidence for no limit. Raises UserError for bad input, HuntInterrupted on
    ^C.

    >>> result = hunt("merge", algorithms=["unpatched"], runs=2000)
    >>> result.results[0].first.kind
    'stale-migration-entry'
    """
    clocks = Clocks(seconds)
    program = bind(scenario, parameters)
    named = None if algorithms is None else list(algorithms)
    if interesting is not None:
        program = program.with_interesting(interesting)
    if fail_alloc is not None:
        program = program.fail(fail_alloc)
    program = program.under(memory)
    strategy = strategy or program.scenario.strategy or DEFAULT_STRATEGY
    budget = Budget(runs, seconds, until_violation, confidence)
    more: Bound | None = program
    while more is not None:
        program = more
        plan = HuntPlan(
            program, choices(program, named), out, stop, strategy, carrier, seed, start, budget, jobs, classes,
            progress, keep,
        )  # fmt: skip
        result = HuntResult(
            *plan.what, strategy=strategy_name(strategy), carrier=carrier, seed=seed, start=start,
            interesting=program.interesting, fail_alloc=plan.fail_alloc, until_violation=until_violation,
            budget=budget, needs=program.scenario.needs, memory=memory,
        )  # fmt: skip
        clocks.anew()
        search = partial(_Hunt, clocks)
        more = came_up(program, lambda: carry_out(plan, result, search, HuntInterrupted))  # noqa: B023
    return result


@dataclass(frozen=True)
class HuntPlan(Plan):
    """The arguments of hunt(). Raises UserError where one of them is wrong."""

    strategy: str | Strategy
    carrier: str
    seed: int
    start: int
    budget: Budget
    jobs: int
    classes: int
    progress: Callable[[str, int], None] | None
    keep: int

    def __post_init__(self) -> None:
        self.budget.check()
        between("--jobs", self.jobs, 1, MOST_JOBS)
        between("--seed", self.seed, 0, LAST_INDEX - 1, "2**64 - 1")
        between("--start", self.start, 0, LAST_INDEX - (self.most or 1), "2**64 - runs")
        between("--classes", self.classes, 0, MOST_CLASSES)
        between("--keep", self.keep, 0, MOST_KEPT)
        among("carrier", self.carrier, HUNT_CARRIERS)
        if make_strategy(self.strategy).needs_gil and self.carrier == "fibers":
            raise UserError(f"--strategy {strategy_name(self.strategy)} is Python, which needs --carrier threads")
        if not self.choices:
            raise UserError("no algorithm to hunt")

    @property
    def epoch(self) -> int:
        epoch: int = make_strategy(self.strategy).epoch
        return epoch

    @property
    def enough(self) -> int | None:
        """Executions without a violation that give the confidence that was asked for."""
        return None if self.budget.confidence is None else executions_for(self.budget.confidence, self.epoch)

    @property
    def most(self) -> int | None:
        return self.budget.most(self.enough)


class _Hunt:
    """One algorithm. Blocks may end in any order; they are merged in the order of their indices."""

    def __init__(self, clocks: Clocks, plan: HuntPlan, choice: Choice, folder: Folder) -> None:
        self.clock = clocks.next()
        self.plan, self.choice, self.folder = plan, choice, folder
        self.result = Hunted(choice.name, expected=plan.program.expected(choice.name))
        self.begin(*carrier_for(plan.carrier, make_strategy(plan.strategy)))

    def begin(self, carrier: str, because: str) -> None:
        """With nothing found yet; `result` stays the object that it is."""
        plan, choice = self.plan, self.choice
        anew = Hunted(choice.name, plan.program.expected(choice.name), carrier=carrier, because=because)
        self.result.__dict__.update(anew.__dict__)
        self.next = self.merged = plan.start
        self.end = LAST_INDEX if plan.most is None else plan.start + plan.most
        self.observed_end = min(self.end, plan.start + plan.classes)
        self.waiting: dict[int, Block] = {}
        self.ended = False
        self.schedules = hashlib.sha256()
        self.classes = bytearray()
        self.violations: Counter[int] = Counter()
        self.kinds: dict[int, str] = {}
        self.longest = 0
        self.guarantee: dict[str, Any] | None = None
        self.too_small: FiberTooSmall | None = None
        self.confirmer: Confirmer | None = None

    def run(self) -> None:
        try:
            self.search()
        except FiberTooSmall as why:
            self.begin("threads", str(why))
            self.search()

    def search(self) -> None:
        plan = self.plan
        started = perf_counter()
        try:
            with ExitStack() as opened:
                pump = opened.enter_context(Pump(plan.program, plan.stop))
                how: dict[str, Any] = {"seed": plan.seed, "carrier": self.result.carrier}
                for cpu in cores(min(plan.jobs, plan.most or plan.jobs)):
                    pump.open(self.choice, make_strategy(plan.strategy), cpu=cpu, **how)
                first = pump.explorers[0]
                self.kinds = first.subject.kinds()
                found = profile(plan.program, first)
                self.result.warnings = found.warnings
                for explorer in pump.explorers:
                    prepare(explorer, found)
                self.guarantee = first.strategy.guarantee(first.tasks)
                if plan.carrier == AUTO and self.result.carrier == "fibers":
                    self.confirmer = Confirmer(lambda: opened.enter_context(self.second(first, found)), "threads")
                    self.result.confirmed = self.confirmer.result
                again = Again(plan.program, first, found.steps)
                started = perf_counter()
                pump.run(self.give, self.take)
                if not self.ended:
                    again.compare()
        finally:
            self.finish(perf_counter() - started)
            self.confirmer = None  # which knows the explorers: what they have loaded must go now

    def second(self, first: Explorer, found: Profile) -> Explorer:
        """An explorer that makes the same executions on threads."""
        how: dict[str, Any] = {"seed": self.plan.seed, "cpu": first.cpu, "carrier": "threads"}
        explorer = make_explorer(self.plan.program, self.choice, make_strategy(self.plan.strategy), **how)
        prepare(explorer, found)
        return explorer

    def give(self, explorer: Explorer, size: int) -> tuple[int, int] | None:
        first = self.next
        if first == self.end or (first > self.plan.start and self.clock.look()):
            return None
        if self.clock.seconds is not None and self.merged == self.plan.start:
            size = 1  # nobody knows yet how long one takes
        # A block is observed as a whole or not at all.
        explorer.observing = first < self.observed_end
        size = explorer.strategy.fitting(first, size)
        self.next = min(first + size, self.observed_end if explorer.observing else self.end)
        return first, self.next - first

    def take(self, explorer: Explorer, block: Block) -> None:
        """Keeps a block until its turn comes, and adds up those whose turn it is. After a stop there may be gaps; what
        lies behind one does not count."""
        if self.too_small is not None:
            return
        self.waiting[block.first] = block
        if self.plan.progress is not None:
            self.plan.progress(self.choice.name, block.ran)
        if block.failures and self.plan.budget.ends_at_first:
            # Whatever lies before this block has been given to somebody.
            self.end = self.next
        while self.merged in self.waiting and not self.ended:
            ready = self.waiting.pop(self.merged)
            if ready.failures and self.plan.budget.ends_at_first:
                ready, self.ended = self.up_to_violation(explorer, ready), True
            self.merged += ready.ran
            self.add(ready)
            if ready.failures:
                try:
                    self.look(explorer, ready)
                except FiberTooSmall as why:
                    self.too_small = why
                    raise

    def up_to_violation(self, idle: Explorer, block: Block) -> Block:
        """The block as if it had ended at its first violation: its totals are made again by an idle explorer."""
        runs = block.failures[0].index - block.first + 1
        if runs == block.ran:
            return block
        idle.observing = bool(block.classes)
        return idle.run(block.first, runs)

    def add(self, block: Block) -> None:
        result = self.result
        self.schedules.update(block.digests)
        self.classes += block.classes
        self.longest = max(self.longest, block.longest)
        result.executions += block.ran
        result.points += block.points
        result.switches += block.switches
        result.benign_misses += block.counters.get("benign_misses", 0)
        result.failed_allocations += block.counters.get("failed_allocations", 0)

    def look(self, idle: Explorer, block: Block) -> None:
        """At the violations of a block; an idle explorer makes the first ones of each kind once more, for their
        histories."""
        result = self.result
        for index, kind in block.failures:
            self.violations[kind] += 1
            if len(result.indices) < MOST_INDICES:
                result.indices.append(index)
            if self.violations[kind] <= 1 + self.plan.keep:
                self.keep(idle, index, kind, digest_of(block, index))
            elif self.confirmer is not None:
                self.confirmer.show(index, kind, digest_of(block, index), idle)

    def keep(self, idle: Explorer, index: int, kind: int, digest: bytes) -> None:
        result, plan = self.result, self.plan
        found = First(index, self.kinds[kind])
        result.first = result.first or found
        result.kept.append(found)
        recorded = record(plan.program, self.choice, idle, index)
        found.place = idle.strategy.drawn
        if (recorded.kind, recorded.digest) != (found.kind, digest.hex()):
            must_come_again(plan.program, idle, index, None, found.kind, digest)
        same = self.confirmer is not None and self.confirmer.show(index, kind, digest, idle, kept=True)
        if recorded.halt in (None, "stuck"):
            carrier = "threads" if same else result.carrier
            by = FoundBy(found.kind, strategy_name(plan.strategy), plan.seed, index, carrier)
            found.reproducer = result.keep(recorded, by, self.folder)
        if found.place is not None:
            found.drawn = names_of_places(plan.program, idle)(found.place)

    def finish(self, seconds: float) -> None:
        result = self.result
        result.seconds = seconds
        result.schedules_sha256 = self.schedules.hexdigest()
        result.violations = {self.kinds[kind]: count for kind, count in sorted(self.violations.items())}
        result.upper_bound_95 = upper_bound_95(sum(self.violations.values()), result.executions, self.plan.epoch)
        if self.plan.classes:
            result.classes = count_classes(self.classes, self.plan.epoch)
        if self.guarantee is not None:
            result.pct_guarantee = PctGuarantee(**self.guarantee, longest=self.longest)
        result.ended = self.ending()
        result.judge(result.violations, result.confirmed is None or result.confirmed.agrees)
        if self.plan.enough is not None and result.ended in ("runs", "seconds") and result.as_expected:
            result.short_of, result.as_expected = self.plan.enough, False

    def ending(self) -> str:
        """A word of ENDINGS."""
        if self.ended:
            return "violation"
        if self.merged == self.end and self.plan.most is not None:
            return "confidence" if self.plan.most == self.plan.enough else "runs"
        return "seconds" if self.clock.over and self.merged == self.next else ""


def digest_of(block: Block, index: int) -> bytes:
    """The 8 bytes for the choices of one execution."""
    at = 8 * (index - block.first)
    return block.digests[at : at + 8]
