"""What happens at full speed? All tasks at once on OS threads of their own, under seeded chaos.

A storm counts. It says how often an algorithm went wrong, under which delays, and turns what it recorded into replays;
that it saw nothing is no evidence of anything, because the rates of a race differ by orders of magnitude between
machines, delays and runs. For evidence there are verify and hunt.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from anonvma_rt.engine.base.bell import StopToken
from anonvma_rt.engine.parallel.storm import Storm
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.records import Kept, StormBlock, Waiting
from anonvma_rt.engine.strategy import script
from anonvma_rt.errors import UserError, at_least, between
from anonvma_rt.execution.folder import Folder
from anonvma_rt.execution.plan import LAST_INDEX, Plan, carry_out, choices
from anonvma_rt.execution.record import record
from anonvma_rt.execution.reproducer import FoundBy
from anonvma_rt.lab.explorers import checked, make_explorer, profile
from anonvma_rt.lab.load import DEFAULT_SCENARIO, bind
from anonvma_rt.lab.pump import LARGEST_BLOCK
from anonvma_rt.programs.subject import NativeProgram
from anonvma_rt.storming.delays import DELAYS, Delays, parse_delays
from anonvma_rt.storming.processes import PROFILE, storm_processes
from anonvma_rt.storming.replay import confirm
from anonvma_rt.storming.storm_result import Found, Rate, Stormed, StormInterrupted, StormResult
from anonvma_rt.storming.turns import Bandit
from anonvma_rt.subjects.protocols import Choice, Described

__all__ = ["DEFAULT_SECONDS", "StormPlan", "storm"]

DEFAULT_SECONDS = 10.0
MOST_SECONDS = 10_000_000
TURN_SECONDS = 0.02  # how long one kind of delays has its turn
KEPT_PER_BLOCK = 16  # logs of violations; the replay of one takes about as long as the execution itself


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
    fail_alloc: Any = None,
) -> StormResult:
    """Runs `scenario` under each algorithm for `seconds` with all tasks at once.

    scenario: also a litmus test, or a program, which runs alone then, a process for each execution, with neither delays
    nor logs. algorithms: None for the usual ones. executions: so many instead of a time. profiles:
    the delays, "NAME" or "NAME:parameter=value", None for all; where there are several a bandit gives its time to those
    that hit. seed: of the delays and of the bandit; what happens at full speed depends on the machine all the same.
    record: keep logs and replay them. out: the folder for reproducers, None to save none. stop: ends the storm from any
    thread. progress: called with the algorithm's name, the executions just made and the violations among them.
    fail_alloc: as for hunt. Raises UserError for bad input, StormInterrupted on ^C.

    >>> result = storm("lock-order", algorithms=["ab-ab"], executions=100, profiles=["skew"])
    >>> result.results[0].executions, result.results[0].violations
    (100, {})
    """
    program = bind(scenario, parameters)
    if fail_alloc is not None:
        program = program.fail(fail_alloc)
    alone = isinstance(program, NativeProgram)
    if alone and profiles:
        raise UserError(f"{program.scenario.source}: a storm of a program has no delays: omit --profile")
    delays = () if alone else tuple(parse_delays(text) for text in (DELAYS if profiles is None else profiles))
    plan = StormPlan(
        program, choices(program, algorithms), out, stop, delays, seconds, executions, seed, record, progress
    )
    result = StormResult(
        *plan.what,
        profiles=[PROFILE] if alone else [one.text for one in delays],
        seed=seed,
        recording=record and not alone,
        fail_alloc=plan.fail_alloc,
        needs=program.scenario.needs,
    )
    return carry_out(plan, result, _Processes if alone else _Storm, StormInterrupted)


@dataclass(frozen=True)
class StormPlan(Plan):
    """The arguments of storm(). Raises UserError where one of them is wrong."""

    delays: tuple[Delays, ...]
    seconds: float
    executions: int | None
    seed: int
    record: bool
    progress: Callable[[str, int, int], None] | None

    def __post_init__(self) -> None:
        if not 0 < self.seconds <= MOST_SECONDS:
            raise UserError(f"--seconds must be more than 0 and at most {MOST_SECONDS}, not {self.seconds:g}")
        if self.executions is not None:
            at_least("executions", self.executions)
        between("--seed", self.seed, 0, LAST_INDEX - 1, "2**64 - 1")
        if self.program.only_in_turns:
            raise UserError(f"{self.program.scenario.source}: no storm: {self.program.only_in_turns}")
        if not self.choices:
            raise UserError("no algorithm for a storm")
        if not self.delays and not isinstance(self.program, NativeProgram):
            raise UserError("no profile for a storm")


class _Processes:
    """A program as it is without the lab."""

    def __init__(self, plan: StormPlan, choice: Choice, folder: Folder) -> None:
        self.plan, self.choice = plan, choice
        self.stop = plan.stop if plan.stop is not None else StopToken()
        self.result = Stormed(choice.name, expected=plan.program.expected(choice.name))

    def run(self) -> None:
        plan = self.plan
        assert isinstance(plan.program, NativeProgram)
        command = plan.program.alone()
        self.result.tasks = len(plan.program.task_names())
        try:
            storm_processes(command, self.result, plan.seconds, plan.executions, self.stop, self.tell)
        finally:
            self.result.judge(self.result.violations)

    def tell(self, executions: int, violations: int) -> None:
        if self.plan.progress is not None:
            self.plan.progress(self.choice.name, executions, violations)


class _Storm:
    """One algorithm."""

    def __init__(self, plan: StormPlan, choice: Choice, folder: Folder) -> None:
        self.plan, self.choice, self.folder = plan, choice, folder
        self.stop = plan.stop if plan.stop is not None else StopToken()
        self.result = Stormed(choice.name, expected=plan.program.expected(choice.name))
        self.result.rates = [Rate(profile=delays.text) for delays in plan.delays]
        self.unconfirmed: Counter[str] = Counter()
        self.kinds: dict[int, str] = {}

    def run(self) -> None:
        plan = self.plan
        try:
            with make_explorer(
                plan.program, self.choice, script.replay(), seed=plan.seed, carrier="fibers", stop=self.stop
            ) as explorer:
                self.kinds, self.result.tasks = explorer.subject.kinds(), explorer.subject.tasks
                names = plan.program.lock_names(explorer)
                explorer.bound = profile(plan.program, explorer).bound
                with Storm(explorer, stuck=lambda waiting: self.tell_stuck(waiting, names)) as engine:
                    self.take_turns(engine)
        finally:
            self.result.unconfirmed = dict(sorted(self.unconfirmed.items()))
            self.result.judge(self.result.violations)

    def take_turns(self, engine: Storm) -> None:
        """One kind of delays after the other, until the time is over or enough was executed."""
        plan, result = self.plan, self.result
        lock_classes = engine.explorer.subject.lock_classes()
        numbers = [delays.for_subject(lock_classes) for delays in plan.delays]
        bandit = Bandit(len(numbers), plan.seed)
        end = monotonic() + plan.seconds
        while not self.stop.stopped:
            left = LARGEST_BLOCK if plan.executions is None else plan.executions - result.executions
            if left <= 0 or (plan.executions is None and monotonic() >= end):
                return
            arm, first = bandit.choose(), result.executions
            rate = result.rates[arm]
            try:
                block = engine.run(
                    first, min(left, LARGEST_BLOCK), numbers[arm], plan.seed, plan.record, KEPT_PER_BLOCK, TURN_SECONDS
                )
            except BaseException:
                self.add(rate, engine.collect(first))
                raise
            self.add(rate, block)
            checked(plan.program, engine.explorer, block)
            bandit.tell(arm, len(block.failures), block.seconds)
            for log in block.kept:
                if not self.stop.stopped:
                    self.confirm(engine.explorer, log, rate.profile)

    def add(self, rate: Rate, block: StormBlock) -> None:
        result = self.result
        for one in (result, rate):
            one.add(block.ran, block.seconds, (self.kinds[kind] for _, kind in block.failures))
        result.points += block.points
        result.failed_allocations += block.counters.get("failed_allocations", 0)
        result.not_recorded += block.unkept
        if self.plan.progress is not None:
            self.plan.progress(self.choice.name, block.ran, len(block.failures))

    def confirm(self, explorer: Explorer, log: Kept, delays: str) -> None:
        """Replays one recorded violation; the first of each kind is run once more for its history, and saved."""
        result = self.result
        result.recorded += 1
        confirmation = confirm(explorer, log)
        if confirmation.strategy is None:
            self.unconfirmed[confirmation.outcome] += 1
            return
        result.confirmed += 1
        result.repaired += confirmation.outcome == "repaired"
        found = Found(self.kinds[log.kind], log.index, delays)
        if all(one.kind != found.kind for one in result.found):
            recorded = record(self.plan.program, self.choice, explorer, log.index, confirmation.strategy)
            found.reproducer = result.keep(
                recorded, FoundBy(found.kind, "storm", self.plan.seed, log.index, "fibers"), self.folder
            )
            result.found.append(found)

    def tell_stuck(self, waiting: Sequence[Waiting], names: Callable[[int], str]) -> None:
        """The watchdog: no execution has ended for a while."""
        tasks = self.plan.program.task_names()
        lines = []
        for one in waiting:
            held = one.owner is not None and one.owner < len(tasks)
            who = f"which {tasks[one.owner or 0]} holds" if held else "which nobody holds alone"
            lines.append(f"{tasks[one.task]} waits for {names(one.object)} ({one.op}), {who}")
        print(
            f"anonvma-rt: no execution of {self.choice.name} has ended for a while: "
            + ("; ".join(lines) or "nobody waits for a lock"),
            file=sys.stderr,
        )
