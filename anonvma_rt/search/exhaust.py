"""Explorers that visit every class of interleavings of one program under one algorithm, together.

Each has a part of the search; one that has none gets what another sheds at the end of its block. What an explorer found
and what is left of its part are taken over together, so a checkpoint never counts a class twice or forgets one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

from anonvma_rt.auditing.grounds import attach, found_by
from anonvma_rt.auditing.pairs import Pair
from anonvma_rt.engine.base.bell import cores
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.records import Block
from anonvma_rt.engine.search.dpor import Dpor
from anonvma_rt.errors import UserError, among, at_least, between, quote, time_or_none
from anonvma_rt.execution.budget import Clock
from anonvma_rt.execution.plan import MOST_JOBS, Plan
from anonvma_rt.execution.record import schedule_of
from anonvma_rt.execution.schedule import Schedule
from anonvma_rt.lab.again import Again, NotReproducible
from anonvma_rt.lab.explorers import CARRIERS, Profile, checked, profile
from anonvma_rt.lab.pump import Diverged, Pump
from anonvma_rt.lab.strategies import make_strategy
from anonvma_rt.search.class_count import Estimate, estimate
from anonvma_rt.search.frontier import Found, Frontier, Tally
from anonvma_rt.subjects.protocols import Choice

__all__ = ["Exhaust", "VerifyPlan"]

SCOUT = "portfolio"
SCOUTS = 512  # executions of a hunt that goes before: what is easily found needs no search
SCOUTS_AT_A_TIME = 64
ALONE = 4096  # executions by one explorer before others help: short searches come again exactly
CHECKPOINT_SECONDS = 10.0
LARGEST_BOUND = 1000


@dataclass(frozen=True)
class VerifyPlan(Plan):
    """The arguments of verify(). Raises UserError where one of them is wrong."""

    carrier: str
    jobs: int
    preemptions: int | None
    delays: int | None
    iterate: bool
    all_violations: bool
    limit: int | None
    seconds: float | None
    progress: Callable[[str, int], None] | None
    estimated: Callable[[str, Estimate], None] | None

    def __post_init__(self) -> None:
        among("carrier", self.carrier, CARRIERS)
        between("--jobs", self.jobs, 1, MOST_JOBS)
        if self.preemptions is not None and self.delays is not None:
            raise UserError("--preemptions and --delays: a search has one bound; omit one of them")
        if self.bound is not None:
            between(f"--{self.counted}", self.bound, 0, LARGEST_BOUND)
        if self.limit is not None:
            at_least("--limit", self.limit)
        time_or_none("--seconds", self.seconds)
        failing = self.program.failing
        if failing is not None and failing.rate:
            raise UserError(
                f"{self.program.scenario.name}: nothing is proved where allocations fail by chance (fail_alloc): say "
                "which do, with fail and fail_after"
            )

    @property
    def counted(self) -> str:
        """What a bound is on."""
        return "preemptions" if self.delays is None else "delays"

    @property
    def bound(self) -> int | None:
        return self.preemptions if self.delays is None else self.delays

    def within(self, bound: int) -> "VerifyPlan":
        """The same search with a bound."""
        return replace(self, preemptions=bound) if self.delays is None else replace(self, delays=bound)


class Exhaust:
    """The search for one algorithm.

    clock: of all that there is for the algorithm. saved: what as_dict() gave. keep: called from time to time, when all
    explorers rest. After run(), `complete` says whether nothing is left, `over` whether its time was over, and `tally`
    what was found. Unless all violations are wanted, a short hunt goes before.
    """

    def __init__(
        self,
        plan: VerifyPlan,
        choice: Choice,
        clock: Clock,
        saved: Mapping[str, Any] | None,
        keep: Callable[[], None] | None,
    ) -> None:
        self.plan, self.choice, self.clock, self.keep = plan, choice, clock, keep
        self.saved = saved is not None
        self.tally = Tally() if saved is None else Tally.from_dict(saved)
        self.frontier = Frontier() if saved is None else Frontier.from_dict(saved)
        self.pump = Pump(plan.program, plan.stop)
        self.searching: set[Explorer] = set()  # those that have a part
        self.kinds: dict[int, str] = {}
        self.bound = 0
        self.estimate: Estimate | None = None
        self.scouted: set[int] = set()  # the classes that the short hunt saw
        self.kept_at = 0.0
        self.given = False
        self.over = False  # whether its time is, which ended it
        self.unordered: list[Pair] = []  # what an audit reports, where the subject was built for one

    @property
    def complete(self) -> bool:
        return not self.frontier.parts and not self.searching

    def as_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps; all explorers must rest."""
        left = [_dpor(explorer).dump() for explorer in self.pump.explorers if explorer in self.searching]
        return {**self.tally.as_dict(), **self.frontier.as_dict(left)}

    def run(self) -> None:
        """Until nothing is left, or there is a reason to end before."""
        plan = self.plan
        with self.pump as pump:
            for cpu in cores(plan.jobs):
                dpor = Dpor(plan.preemptions, not plan.all_violations, plan.delays)
                explorer = pump.open(self.choice, dpor, cpu=cpu, carrier=plan.carrier)
                explorer.observing = plan.bound is not None
            self.begin(pump.explorers[0])
            for explorer in pump.explorers:
                explorer.bound = self.bound
            self.kept_at = perf_counter()
            audits = attach(pump.explorers)
            try:
                pump.run(self.give, self.take)
                # Where it visited less than a hunt, the most likely reason is asked for again.
                for _ in range(3 if len(self.scouted) > self.tally.classes else 1):
                    self.again.compare()
            except Diverged:
                if not self.saved:
                    raise NotReproducible("the search came to a step that cannot be made any more") from None
                raise UserError(
                    f"the search of {quote(self.choice.name)} came to a step that cannot be made: the checkpoint is "
                    "not of this program"
                ) from None
            finally:
                self.unordered = found_by(audits, plan.program)
                # Interrupted in the middle of taking something over, the last checkpoint is the better one.
                if self.keep is not None and pump.steady:
                    self.keep()

    def begin(self, explorer: Explorer) -> None:
        """What goes before the search: the profile, the short hunt, and how long it may take."""
        plan = self.plan
        self.kinds = explorer.subject.kinds()
        self.tally.must_fit(self.kinds.values())
        self.frontier.must_fit(explorer.tasks)
        found = profile(plan.program, explorer)
        explorer.bound = self.bound = found.bound
        self.again = Again(plan.program, explorer, found.steps)
        if plan.bound is None and not self.tally.visited:
            if not plan.all_violations and not self.tally.scouts:
                self.scout(explorer, found)
            self.estimate = estimate(plan.program, explorer, found.steps, self.clock)
            if plan.estimated is not None and self.estimate is not None:
                plan.estimated(self.choice.name, self.estimate)

    def scout(self, explorer: Explorer, found: Profile) -> None:
        """A short hunt, which ends with the first violation, or when the time is over. What it sees, the search must
        see, too (Verdict.doubt)."""
        tally, strategy = self.tally, make_strategy(SCOUT)
        found.tell(strategy)
        while tally.scouts < SCOUTS and not self.clock.look():
            size = min(max(1, tally.scouts), SCOUTS_AT_A_TIME)  # nobody knows yet how long one takes
            explorer.observing = True
            block = explorer.run_with(strategy, tally.scouts, size)
            explorer.observing = False
            checked(self.plan.program, explorer, block)
            tally.scouts += block.ran
            self.scouted.update(memoryview(block.classes).cast("Q"))
            if block.failures:
                index, kind = block.failures[0]
                tally.first = Found(SCOUT, index, self.kinds[kind], schedule_of(explorer, index, strategy))
                tally.scouts = index + 1
                tally.violating[tally.first.kind] += 1
            if block.failures or block.halt is not None:
                return

    def give(self, explorer: Explorer, size: int) -> tuple[int, int] | None:
        """A block for an explorer that has a part of the search, or gets one."""
        tally, plan, explorers = self.tally, self.plan, self.pump.explorers
        if self.must_rest() or self.too_late() or (tally.first is not None and not plan.all_violations):
            return None
        alone = tally.visited < ALONE
        if alone and explorer is not explorers[0]:
            return None
        if explorer not in self.searching and self.frontier.parts:
            _dpor(explorer).load(self.frontier.parts.popleft())
            self.searching.add(explorer)
        if explorer not in self.searching:
            return None
        if alone and len(explorers) > 1:
            size = min(size, ALONE - tally.visited)
        if plan.limit is not None:
            size = min(size, plan.limit - tally.visited - self.pump.outstanding)
        self.given = self.given or size > 0
        return (tally.visited, size) if size > 0 else None

    def too_late(self) -> bool:
        """Whether no more blocks are begun; the first one always is, so whoever goes on comes to an end some day."""
        self.over = self.over or (self.given and self.clock.look())
        return self.over

    def must_rest(self) -> bool:
        """Whether a checkpoint is due, and somebody still works; else it is made."""
        if self.keep is None or perf_counter() - self.kept_at < CHECKPOINT_SECONDS:
            return False
        if self.pump.working:
            return True
        self.keep()
        self.kept_at = perf_counter()
        return False

    def take(self, explorer: Explorer, block: Block) -> None:
        """Takes over what an explorer has found and what its search wants of others."""
        tally, dpor = self.tally, _dpor(explorer)
        tally.add(block, self.kinds, dpor.endings(), dpor.exits())
        tally.limited |= dpor.limited
        if block.failures and tally.first is None:
            index, kind = block.failures[0]
            tally.first = Found("dpor", index, self.kinds[kind], Schedule(dpor.found_schedule))
        wanted = dpor.escapes()
        if wanted:
            self.frontier.escaped(dpor.tasks(max(wanted)), wanted)
        if dpor.exhausted:
            self.searching.discard(explorer)
        elif tally.visited >= ALONE and not self.frontier.parts and len(self.searching) < len(self.pump.explorers):
            given = dpor.shed()
            if given:
                self.frontier.shed(dpor.tasks(given[-1][0]), given)
        if self.plan.progress is not None:
            self.plan.progress(self.choice.name, block.ran + block.pruned)


def _dpor(explorer: Explorer) -> Dpor:
    strategy = explorer.strategy
    assert isinstance(strategy, Dpor)
    return strategy
