"""One failing execution made shorter, with its parameters as they are: fewest switches first, then fewest steps.

Every pass proposes schedules, and only a run decides: a proposal is taken if the same kind of violation came and the
schedule got smaller. What is proposed are the cuts of a schedule: they can be taken out one by one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anonvma_rt.engine.base.bell import StopToken, cores
from anonvma_rt.engine.order.reorder import Order
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.records import Block
from anonvma_rt.engine.search.few import Few
from anonvma_rt.engine.strategy import script
from anonvma_rt.execution.record import schedule_of
from anonvma_rt.execution.schedule import Cut, Schedule
from anonvma_rt.lab.explorers import checked, make_explorer, profile
from anonvma_rt.lab.strategies import make_strategy
from anonvma_rt.subjects.protocols import Bound, Choice

__all__ = ["Asked", "Bench", "Candidate", "Stopped", "fewer", "hunted", "settle", "shorten"]

BLOCK = 256  # executions between two looks at what was found; no more than Few remembers
MOST_STEPS = 100_000_000  # that one search may make, so that long executions do not take longer than many short ones
LEAST = 64  # executions that a search may always make
HUNTED = 1000  # executions of a hunt for a first failing one
TRIED = 10  # failing ones of these that are made shorter


class Stopped(Exception):
    """The stop token was set."""


@dataclass(frozen=True)
class Candidate:
    """A failing execution: values of the parameters, the schedule as it was made, and the bound on its steps."""

    parameters: Mapping[str, int | bool]
    schedule: Schedule
    bound: int

    @property
    def measure(self) -> tuple[int, int, tuple[tuple[int, int], ...]]:
        """What gets smaller; the last part only decides between schedules of equal length: the earlier switch."""
        return self.schedule.switches, self.schedule.steps, tuple((steps, task) for task, steps in self.schedule)


@dataclass(frozen=True)
class Asked:
    """What every search for a failing execution has in common.

    kind: of the violation. budget: executions that one search may make. found: told of every failing execution that was
    looked for; count: of the executions made. fair: an execution counts only if it fails although nobody is starved.
    """

    kind: str
    budget: int
    stop: StopToken
    found: Callable[[Candidate], None]
    count: Callable[[int], None]
    fair: bool = False


class Bench:
    """An explorer of one set of parameter values, and the question whether an execution fails as it should.

    bound: of steps, None for that of the profile. Raises UserError where the parameters are wrong or the subject cannot
    be built.
    """

    def __init__(self, program: Bound, choice: Choice, asked: Asked, bound: int | None = None) -> None:
        self.program, self.asked = program, asked
        self.explorer: Explorer = make_explorer(
            program, choice, script.replay(), cpu=cores(1)[0], stop=asked.stop, carrier="fibers"
        )
        self.kinds = self.explorer.subject.kinds()
        self.tasks: int = self.explorer.tasks
        self.profile = profile(program, self.explorer)
        self.explorer.bound = self.profile.bound if bound is None else bound

    def __enter__(self) -> "Bench":
        return self

    def __exit__(self, *exception: object) -> None:
        self.explorer.close()

    def allowance(self, steps: int) -> int:
        """How many executions of about so many steps one search may make."""
        return min(self.asked.budget, max(LEAST, MOST_STEPS // max(1, steps)))

    def run(self, strategy: Any, first: int, count: int, bound: int | None = None) -> Block:
        done = self.explorer.run_with(strategy, first, count, bound)
        self.asked.count(done.ran + done.pruned)
        if self.explorer.stop.stopped:
            raise Stopped
        # One in which a call is refused is not what is asked for, and no reason to give up.
        return done if done.halt == "refused" else checked(self.program, self.explorer, done)

    def failures(self, done: Block) -> list[int]:
        """The indices of those executions of a block that failed with the right kind."""
        return [index for index, kind in done.failures if self.kinds[kind] == self.asked.kind]

    def endless(self, cuts: Sequence[Cut]) -> bool:
        """Whether the tasks still do not end when they take turns for as many steps again."""
        bound = self.explorer.bound
        return bool(self.failures(self.run(script.cuts(cuts, fair=True), 0, 1, 2 * bound)))

    def trial(self, cuts: Sequence[Cut], than: Candidate | None = None) -> Candidate | None:
        """The execution that follows `cuts` as far as it can, if it fails with the right kind and is smaller than
        `than`."""
        done = self.run(script.cuts(cuts), 0, 1)
        if not self.failures(done):
            return None
        if than is not None and (done.switches, done.points) > than.measure[:2]:
            return None
        made = Candidate(self.program.parameters, schedule_of(self.explorer, 0, script.cuts(cuts)), self.explorer.bound)
        if than is not None and made.measure >= than.measure:
            return None
        # Whoever spins for a starved task goes on for ever, too: a livelock is what does not end with turns for all.
        if self.asked.fair and not self.endless(made.schedule.cuts()):
            return None
        self.asked.found(made)
        return made


def settle(bench: Bench, best: Candidate) -> tuple[Candidate, bool]:
    """All passes, until none makes it smaller. The second: whether every execution with fewer switches was tried."""
    while True:
        before = best
        best = shorten(bench, best)
        found, complete = fewer(bench, best.schedule.switches - 1, best.schedule.steps)
        best = found or smallest(bench, best)
        if best == before:
            return best, complete


def shorten(bench: Bench, best: Candidate) -> Candidate:
    """What can be had by changing the schedule a little."""
    while True:
        before = best
        for proposals in (reordered, without, joined, earlier):
            best = taken(bench, best, proposals)
        if best == before:
            return best


Proposals = Callable[[Bench, Candidate], Iterator[list[Cut]]]


def taken(bench: Bench, best: Candidate, proposals: Proposals) -> Candidate:
    """Takes the first proposal that is better, then asks for new ones, until none is; within an allowance."""
    left = bench.allowance(best.schedule.steps)
    while True:
        for cuts in proposals(bench, best):
            if left == 0:
                return best
            left -= 1
            better = bench.trial(cuts, best)
            if better is not None:
                best = better
                break
        else:
            return best


def reordered(bench: Bench, best: Candidate) -> Iterator[list[Cut]]:
    """Equivalent executions with as few switches as their class has: of what led to the last step, and of all."""
    order = Order(bench.explorer.trace(0, script.cuts(best.schedule.cuts())).events, bench.tasks)
    if order.steps:
        yield order.cuts(order.past())
        yield order.cuts(order.whole())


def without(bench: Bench, best: Candidate) -> Iterator[list[Cut]]:
    """Cuts left out: half of them, then a quarter, down to single ones. Source: Zeller and Hildebrandt, "Simplifying
    and Isolating Failure-Inducing Input" (2002)."""
    cuts = best.schedule.cuts()
    size = len(cuts) // 2
    while size:
        for start in range(len(cuts) - size + 1):
            yield cuts[:start] + cuts[start + size :]
        size //= 2


def joined(bench: Bench, best: Candidate) -> Iterator[list[Cut]]:
    """The next segment of the same task made at once."""
    cuts = best.schedule.cuts()
    for at, (task, _) in enumerate(cuts):
        later = next((i for i in range(at + 1, len(cuts)) if cuts[i][0] == task), None)
        if later is not None:
            yield [*cuts[:at], cuts[later], *cuts[at + 1 : later], *cuts[later + 1 :]]


def earlier(bench: Bench, best: Candidate) -> Iterator[list[Cut]]:
    """A switch some steps earlier: as early as can be, then by half of that, down to one step."""
    cuts = best.schedule.cuts()
    for at, (task, upto) in enumerate(cuts[:-1]):
        step = best.schedule[at][1] - 1
        while step > 0:
            yield [*cuts[:at], (task, upto - step), *cuts[at + 1 :]]
            step //= 2


def fewer(bench: Bench, switches: int, steps: int) -> tuple[Candidate | None, bool]:
    """A failing execution with at most so many switches, those with the fewest preemptions first; `steps` is about how
    long one is. The second: whether all were tried, unless one failed."""
    left = bench.allowance(steps)
    for preemptions in range(switches + 1):
        few = Few(switches, preemptions)
        for more, failing in tried(bench, few, left):
            left -= more
            for schedule in failing:
                found = bench.trial(schedule.cuts())
                if found is not None:
                    return found, False
        if not few.exhausted:
            return None, False
        if not few.limited:
            break
    return None, True


def smallest(bench: Bench, best: Candidate) -> Candidate:
    """The smallest failing execution with no more switches, if these are few enough to try them all: then it is the
    same whatever execution this began with."""
    few = Few(best.schedule.switches)
    known = {best.measure: best}
    for _, failing in tried(bench, few, bench.allowance(best.schedule.steps)):
        for schedule in failing:
            one = Candidate(best.parameters, schedule, best.bound)
            if one.measure[:2] <= best.measure[:2]:
                known[one.measure] = one
    if not few.exhausted:
        return best
    # Few switches late, so equals are compared after their switches were made as early as they can be.
    for measure in sorted(known)[:TRIED]:
        found = bench.trial(known[measure].schedule.cuts())
        if found is not None:
            best = min(best, taken(bench, found, earlier), key=lambda one: one.measure)
    return best


def tried(bench: Bench, few: Few, most: int) -> Iterator[tuple[int, list[Schedule]]]:
    """Makes the executions that `few` has, at most so many: block by block how many, and the schedules of those that
    failed."""
    made = 0
    while made < most and not few.exhausted:
        done = bench.run(few, made, min(BLOCK, most - made))
        made += done.ran + done.pruned
        yield done.ran + done.pruned, [Schedule(few.segments(failed)) for failed in bench.failures(done)]
        if done.halt is not None:
            return


def hunted(bench: Bench) -> Iterator[Candidate]:
    """The first failing executions of a short hunt, always the same one."""
    strategy = make_strategy("portfolio")
    bench.profile.tell(strategy)
    done = bench.run(strategy, 0, min(HUNTED, bench.allowance(bench.profile.steps)))
    for index in bench.failures(done)[:TRIED]:
        found = bench.trial(schedule_of(bench.explorer, index, strategy).cuts())
        if found is not None:
            yield found
