"""The search for a minimal failing execution: its schedule (schedule.py) and its parameters in turn.

Every size is asked the same question: is there a failing execution with no more switches than the best one has? Where
there are few such executions all of them are tried, so the answer is exact; else the best schedule is stretched to the
new size, those with few preemptions are tried, and then a short hunt is made. A round that changes nothing is the end.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anonvma_rt.engine.base.bell import StopToken, cores
from anonvma_rt.engine.run.subject import BuildViolation
from anonvma_rt.engine.strategy import script
from anonvma_rt.errors import UserError
from anonvma_rt.execution.folder import Saved, save
from anonvma_rt.execution.record import record
from anonvma_rt.execution.reproducer import FoundBy, Reproducer
from anonvma_rt.execution.schedule import Cut
from anonvma_rt.lab.explorers import make_explorer
from anonvma_rt.lab.load import least_values
from anonvma_rt.shrinking.schedule import Asked, Bench, Candidate, fewer, hunted, settle, shorten

__all__ = ["ShrinkPlan", "Shrinking"]

FIRST = 8  # values of a parameter, from the smallest on, that are tried one by one

Values = Mapping[str, int | bool]


@dataclass(frozen=True)
class ShrinkPlan:
    """The arguments of shrink(). name: of the reproducer, for messages. target: where to save, None to save nothing."""

    original: Reproducer
    name: str
    keep: frozenset[str]
    budget: int
    target: Path | None
    stop: StopToken
    progress: Callable[[int], None] | None


class Shrinking:
    """`best` is the smallest failing execution so far, whenever this is left; `minimal` the same as a reproducer, after
    save().

    saved: where, or why not. executions: made so far. fewest: see shrink.Shrunk. begun: the reproducer did reproduce.
    """

    def __init__(self, plan: ShrinkPlan) -> None:
        original = plan.original
        self.plan, self.original = plan, original
        # The simplest values: of a number the smallest, of a switch how it usually is.
        known = original.scenario.parameters
        self.least = {name: p.default for name, p in known.items()} | least_values(original.scenario)
        self.best = Candidate(original.parameters, original.schedule, original.bound)
        self.minimal = original
        self.kept: Candidate | None = None
        self.saved = Saved()
        self.executions = 0
        self.fewest = False
        self.begun = False
        self.asked = Asked(original.kind, plan.budget, plan.stop, self.found, self.count)
        # Values that were tried in vain, and the execution to which they had to be compared.
        self.vain: set[tuple[object, ...]] = set()
        # Steps of each task, by the values for which they were measured.
        self.lengths: dict[tuple[int | bool, ...], list[int]] = {}

    def run(self) -> None:
        """Raises UserError where the reproducer does not reproduce, Stopped, and whatever a signal handler raises."""
        if self.begin():
            self.smaller()
        while True:
            before = self.best
            with self.bench(self.best.parameters) as bench:
                _, self.fewest = settle(bench, self.best)
            self.save()
            self.smaller()
            if self.best == before:
                return

    def begin(self) -> bool:
        """Makes the execution of the reproducer once more. Whether it is so long that its parameters come first."""
        original, name = self.original, self.plan.name
        # Not to be stopped: whoever ends the search gets what begins here, if nothing better.
        with self.bench(original.parameters, StopToken()) as bench:
            done = bench.run(script.replay(original.schedule), 0, 1)
            seen = bench.kinds[done.failures[0].kind] if done.failures else "no violation"
            if done.halt is not None:
                raise UserError(f"{name}: does not reproduce any more: its schedule cannot be followed")
            if seen != original.kind:
                raise UserError(
                    f"{name}: does not reproduce any more: its schedule ends with {seen} and not with {original.kind}"
                )
            fair = original.kind == "livelock" and bench.endless(original.schedule.cuts())
            self.asked = replace(self.asked, fair=fair)
            self.begun = True
            return bench.allowance(original.steps) < self.plan.budget

    def bench(self, values: Values, stop: StopToken | None = None) -> Bench:
        original = self.original
        program = original.program(values)
        bound = original.bound if values == original.parameters else None
        asked = self.asked if stop is None else replace(self.asked, stop=stop)
        bench = Bench(program, program.choose(original.algorithm), asked, bound)
        self.lengths[tuple(values.values())] = bench.profile.task_steps
        return bench

    def count(self, executions: int) -> None:
        self.executions += executions
        if self.plan.progress is not None:
            self.plan.progress(executions)

    def found(self, failing: Candidate) -> None:
        """Takes what is better. Parameters that differ from those of the best are smaller ones: no others are tried."""
        if failing.parameters == self.best.parameters:
            better = failing.measure < self.best.measure
        else:
            better = failing.schedule.switches <= self.best.schedule.switches
        if better:
            self.best = failing

    # ---- parameters ------------------------------------------------------------------------------------------------

    def smaller(self) -> None:
        """All at once as small as they can be, then one after the other."""
        free = [name for name in self.best.parameters if name not in self.plan.keep]
        self.fails({**self.best.parameters, **{name: self.least[name] for name in free}})
        for name in free:
            if isinstance(self.best.parameters[name], bool):
                self.fails({**self.best.parameters, name: self.least[name]})
            else:
                self.lower(name)

    def lower(self, name: str) -> None:
        """The smallest values of a number one by one, then by bisection, as if all above one that fails did."""
        step = self.original.scenario.parameters[name].multiple_of
        low = int(self.least[name])
        for value in range(low, min(low + FIRST * step, self.best.parameters[name]), step):
            if self.fails({**self.best.parameters, name: value}):
                return
            low = value
        high = self.best.parameters[name]
        while high - low > step:
            middle = low + (high - low) // (2 * step) * step
            if self.fails({**self.best.parameters, name: middle}):
                high = middle
            else:
                low = middle

    def fails(self, values: dict[str, int | bool]) -> bool:
        """Looks for a failing execution of smaller parameters that has no more switches than the best; takes it."""
        start = self.best
        tried = (tuple(values.values()), start.measure)
        if values == start.parameters or tried in self.vain:
            return False
        self.vain.add(tried)
        try:
            bench = self.bench(values)
        except (UserError, BuildViolation):
            return False
        with bench:
            for _ in self.candidates(bench, start):
                if self.best.parameters == values:
                    shorten(bench, self.best)
                    break
        if self.best.parameters == values:
            self.save()
            return True
        return False

    def candidates(self, bench: Bench, start: Candidate) -> Iterator[Candidate]:
        """Failing executions; whether one is better than the best so far, found() has seen to."""
        lengths = self.lengths[tuple(start.parameters.values())]
        for cuts in stretched(start.schedule.cuts(), lengths, bench.profile.task_steps):
            found = bench.trial(cuts)
            if found is not None:
                yield shorten(bench, found)
        found, complete = fewer(bench, start.schedule.switches, bench.profile.steps)
        if found is not None:
            yield found
        if not complete:
            for failing in hunted(bench):
                yield shorten(bench, failing)

    # ---- the result ------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Makes the best so far a reproducer, and its file."""
        if self.best == self.kept:
            return
        original, best, target = self.original, self.best, self.plan.target
        program = original.program(best.parameters)
        choice = program.choose(original.algorithm)
        with make_explorer(
            program, choice, script.replay(best.schedule), bound=best.bound, cpu=cores(1)[0]
        ) as explorer:
            recorded = record(program, choice, explorer)
        found: dict[str, Any] = {
            "steps": original.steps,
            "switches": original.switches,
            "parameters": dict(original.parameters),
            "schedule_digest": original.digest,
        }
        found_by = FoundBy(original.kind, original.strategy, original.seed, original.index, original.carrier)
        self.minimal = Reproducer.of(recorded, found_by, original.shrunk_from or found)
        if target is not None:
            self.saved = save(self.minimal, target, str(target))
        self.kept = best


def stretched(cuts: Sequence[Cut], old: Sequence[int], new: Sequence[int]) -> Iterator[list[Cut]]:
    """The schedule of an execution whose tasks make `old` steps for one in which they make `new`: each switch at the
    same part of its task, at the same distance from its beginning, and from its end."""
    known = [(task, upto) for task, upto in cuts if task < min(len(old), len(new))]
    yield [(task, max(1, upto * new[task] // max(1, old[task]))) for task, upto in known]
    yield known
    yield [(task, max(1, new[task] - (old[task] - upto))) for task, upto in known]
