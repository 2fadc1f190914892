"""Is every access of two tasks to the same bytes ordered by what they announce? Executions, with every access told.

A proof covers the order of what is announced, and nothing checks by itself that it is all. An audit makes executions as
a hunt does, and reports each pair of accesses, one of them a write, that no announcement orders (engine/audit). No
report is no proof, but a pair needs only one execution in which both sides are made, not the one in which they collide.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from time import perf_counter

from anonvma_rt.auditing.grounds import attach, found_by
from anonvma_rt.auditing.pairs import Pair
from anonvma_rt.engine.audit.audit import Audit
from anonvma_rt.engine.base.bell import StopToken, cores
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.records import Block
from anonvma_rt.engine.run.strategy import Strategy
from anonvma_rt.errors import UserError, at_least, between
from anonvma_rt.execution.folder import Folder
from anonvma_rt.execution.plan import LAST_INDEX, MOST_JOBS, Plan, carry_out, choices
from anonvma_rt.execution.record import schedule_of
from anonvma_rt.execution.results import Interrupted, Result, Results
from anonvma_rt.lab.explorers import prepare, profile
from anonvma_rt.lab.load import DEFAULT_SCENARIO, bind
from anonvma_rt.lab.pump import Pump
from anonvma_rt.lab.strategies import DEFAULT_STRATEGY, make_strategy, strategy_name
from anonvma_rt.subjects.protocols import Choice, Described

__all__ = ["DEFAULT_RUNS", "AuditInterrupted", "AuditResult", "Audited", "audit"]

DEFAULT_RUNS = 2000
BLOCK = 256  # executions that an explorer makes at a time


@dataclass
class Audited(Result):
    """What was found of one algorithm. unkept: how often there was no place for one more pair."""

    executions: int = 0
    pairs: list[Pair] = field(default_factory=list)
    unkept: int = 0

    shown = "algorithm executions seconds pairs unkept"


@dataclass
class AuditResult(Results[Audited]):
    """One scenario, litmus test or subject under one or more algorithms."""

    strategy: str = ""
    seed: int = 0
    jobs: int = 1

    shown = "scenario parameters strategy seed jobs results interrupted as_expected"


class AuditInterrupted(Interrupted):
    """^C during an audit."""

    what = "the audit"


def audit(
    scenario: Described | str = DEFAULT_SCENARIO,
    parameters: Mapping[str, str | int | bool] | None = None,
    algorithms: Iterable[Choice | str] | None = None,
    strategy: str | Strategy | None = None,
    seed: int = 0,
    runs: int = DEFAULT_RUNS,
    jobs: int = 1,
    stop: StopToken | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> AuditResult:
    """Makes executions 0 to runs - 1 under each algorithm and compares all accesses.

    The arguments are those of hunt(). The subject must have been built for an audit: those that are built in are so in
    a process that `anonvma-rt audit` starts. Raises UserError for bad input and where the subject tells nothing,
    AuditInterrupted on ^C.
    """
    program = bind(scenario, parameters)
    strategy = strategy or program.scenario.strategy or DEFAULT_STRATEGY
    plan = AuditPlan(program, choices(program, algorithms), None, stop, strategy, seed, runs, jobs, progress)
    result = AuditResult(*plan.what, strategy=strategy_name(strategy), seed=seed, jobs=jobs)
    return carry_out(plan, result, _Audit, AuditInterrupted)


@dataclass(frozen=True)
class AuditPlan(Plan):
    """The arguments of audit(). Raises UserError where one of them is wrong."""

    strategy: str | Strategy
    seed: int
    runs: int
    jobs: int
    progress: Callable[[str, int], None] | None

    def __post_init__(self) -> None:
        at_least("--runs", self.runs)
        between("--jobs", self.jobs, 1, MOST_JOBS)
        between("--seed", self.seed, 0, LAST_INDEX - 1, "2**64 - 1")
        if make_strategy(self.strategy).needs_gil:
            raise UserError(f"--strategy {strategy_name(self.strategy)} is Python, and an audit runs on fibers")


class _Audit:
    """One algorithm."""

    def __init__(self, plan: AuditPlan, choice: Choice, folder: Folder) -> None:
        self.plan, self.choice = plan, choice
        self.result = Audited(choice.name)
        self.next = 0

    def run(self) -> None:
        plan = self.plan
        with Pump(plan.program, plan.stop) as pump:
            for cpu in cores(min(plan.jobs, plan.runs)):
                pump.open(self.choice, make_strategy(plan.strategy), seed=plan.seed, cpu=cpu, carrier="fibers")
            first = pump.explorers[0]
            found = profile(plan.program, first)
            for explorer in pump.explorers:
                prepare(explorer, found)
            audits = attach(pump.explorers)
            if not audits:
                raise UserError(
                    f"{plan.program.scenario.name}: {type(first.subject).__module__} was not built for an audit: "
                    "compile it with -fsanitize=thread -DANONVMA_RT_AUDIT (and link it without)"
                )
            started = perf_counter()
            try:
                pump.run(self.give, self.take)
            finally:
                self.result.seconds = perf_counter() - started
                self.finish(first, audits)

    def give(self, explorer: Explorer, size: int) -> tuple[int, int] | None:
        first = self.next
        self.next = min(first + min(size, BLOCK), self.plan.runs)
        return (first, self.next - first) if first < self.plan.runs else None

    def take(self, explorer: Explorer, block: Block) -> None:
        self.result.executions += block.ran
        if self.plan.progress is not None:
            self.plan.progress(self.choice.name, block.ran)

    def finish(self, explorer: Explorer, audits: list[Audit]) -> None:
        """Names what was found, and makes the schedules that show it."""
        result = self.result
        result.pairs = found_by(audits, self.plan.program)
        result.unkept = sum(one.unkept for one in audits)
        result.as_expected = not result.pairs
        made: dict[int, str] = {}
        for pair in result.pairs:
            if pair.execution not in made:
                made[pair.execution] = str(schedule_of(explorer, pair.execution, explorer.strategy))
            pair.schedule = made[pair.execution]
