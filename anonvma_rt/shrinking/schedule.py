"""One failing execution made shorter, with its parameters as they are: fewest switches first, then fewest steps.

Every pass proposes schedules, and only a run decides: a proposal is taken if the same kind of violation came and the
schedule got smaller. What a schedule is here are cuts (engine/strategy/script): they can be taken out one by one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anonvma_rt.engine.order.reorder import Order
from anonvma_rt.engine.run.explorer import Explorer, StopToken, cores
from anonvma_rt.engine.run.records import Block
from anonvma_rt.engine.search.few import Few
from anonvma_rt.engine.strategy import script
from anonvma_rt.lab.lab import make_explorer, make_strategy, profile
from anonvma_rt.subjects.protocols import Bound, Choice

__all__ = ["Bench", "Failing", "Stopped", "cuts_of", "fewer", "hunted", "settle", "shorten"]

Cut = tuple[int, int]

BLOCK = 256  # executions between two looks at what was found; no more than Few remembers
MOST_STEPS = 100_000_000  # that one search may make, so that long executions do not take longer than many short ones
LEAST = 64  # executions that a search may always make
HUNTED = 1000  # executions of a hunt for a first failing one
TRIED = 10  # failing ones of these that are made shorter


class Stopped(Exception):
    """The stop token was set."""


@dataclass(frozen=True)
class Failing:
    """A failing execution: values of the parameters, the schedule as it was made, (task, steps) in order, and the bound
    on its steps."""

    parameters: Mapping[str, int | bool]
    segments: tuple[tuple[int, int], ...]
    bound: int

    @property
    def steps(self) -> int:
        return sum(steps for _, steps in self.segments)

    @property
    def switches(self) -> int:
        return max(0, len(self.segments) - 1)

    @property
    def measure(self) -> tuple[int, int, tuple[tuple[int, int], ...]]:
        """What gets smaller; the last part only decides between schedules of equal length: the earlier switch."""
        return self.switches, self.steps, tuple((steps, task) for task, steps in self.segments)


def cuts_of(segments: Iterable[tuple[int, int]]) -> list[Cut]:
    """The same schedule by how far each task has come at the end of each segment.

    >>> cuts_of([(0, 5), (1, 3), (0, 2)])
    [(0, 5), (1, 3), (0, 7)]
    """
    made: dict[int, int] = {}
    cuts = []
    for task, steps in segments:
        made[task] = made.get(task, 0) + steps
        cuts.append((task, made[task]))
    return cuts


class Bench:
    """An explorer of one set of parameter values, and the question whether an execution fails as it should.

    bound: of steps, None for that of the profile. found: told of every failing execution that was looked for. count:
    told of the executions made. Raises UserError where the parameters are wrong or the subject cannot be built.
    """

    def __init__(
        self, program: Bound, algorithm: Choice, kind: str, bound: int | None, budget: int, stop: StopToken,
        found: Callable[[Failing], None], count: Callable[[int], None],
    ) -> None:  # fmt: skip
        self.program, self.kind, self.budget = program, kind, budget
        self.found, self.count = found, count
        # Whether an execution counts only if it fails although nobody is starved; see fails().
        self.fair = False
        self.explorer: Explorer = make_explorer(
            program, algorithm, script.replay(), cpu=cores(1)[0], stop=stop, carrier="fibers"
        )
        self.kinds = self.explorer.subject.kinds()
        self.tasks: int = self.explorer.subject.tasks
        self.shape = profile(program, self.explorer)
        self.explorer.bound = self.shape["bound"] if bound is None else bound

    def __enter__(self) -> "Bench":
        return self

    def __exit__(self, *exception: object) -> None:
        self.explorer.close()

    def allowance(self, steps: int) -> int:
        """How many executions of about so many steps one search may make."""
        return min(self.budget, max(LEAST, MOST_STEPS // max(1, steps)))

    def run(self, strategy: Any, first: int, count: int, bound: int | None = None) -> Block:
        done = self.explorer.run_with(strategy, first, count, bound)
        self.count(done.ran + done.pruned)
        if self.explorer.stop.stopped:
            raise Stopped
        if done.halt == "no-memory":
            raise MemoryError("no memory left for the subject")
        return done

    def failures(self, done: Block) -> list[int]:
        """The indices of those executions of a block that failed with the right kind."""
        return [index for index, kind in done.failures if self.kinds[kind] == self.kind]

    def endless(self, cuts: Sequence[Cut]) -> bool:
        """Whether the tasks still do not end when they take turns for as many steps again."""
        bound = self.explorer.bound
        return bool(self.failures(self.run(script.cuts(cuts, fair=True), 0, 1, 2 * bound)))

    def trial(self, cuts: Sequence[Cut], than: Failing | None = None) -> Failing | None:
        """The execution that follows `cuts` as far as it can, if it fails with the right kind and is smaller than
        `than`."""
        done = self.run(script.cuts(cuts), 0, 1)
        if not self.failures(done):
            return None
        if than is not None and (done.switches, done.points) > (than.switches, than.steps):
            return None
        made = self.explorer.trace(0, script.cuts(cuts)).segments
        failing = Failing(self.program.parameters, tuple(made), self.explorer.bound)
        if than is not None and failing.measure >= than.measure:
            return None
        # Whoever spins for a starved task goes on for ever, too: a livelock is what does not end with turns for all.
        if self.fair and not self.endless(cuts_of(made)):
            return None
        self.found(failing)
        return failing


def settle(bench: Bench, best: Failing) -> tuple[Failing, bool]:
    """All passes, until none makes it smaller. The second: whether every execution with fewer switches was tried."""
    while True:
        before = best
        best = shorten(bench, best)
        found, complete = fewer(bench, best.switches - 1, best.steps)
        best = found or smallest(bench, best)
        if best == before:
            return best, complete


def shorten(bench: Bench, best: Failing) -> Failing:
    """What can be had by changing the schedule a little."""
    while True:
        before = best
        for proposals in (reordered, without, joined, earlier):
            best = taken(bench, best, proposals)
        if best == before:
            return best


Proposals = Callable[[Bench, Failing], Iterator[list[Cut]]]


def taken(bench: Bench, best: Failing, proposals: Proposals) -> Failing:
    """Takes the first proposal that is better, then asks for new ones, until none is; within an allowance."""
    left = bench.allowance(best.steps)
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


def reordered(bench: Bench, best: Failing) -> Iterator[list[Cut]]:
    """Equivalent executions with as few switches as their class has: of what led to the last step, and of all."""
    order = Order(bench.explorer.trace(0, script.cuts(cuts_of(best.segments))).events, bench.tasks)
    if order.steps:
        yield order.cuts(order.past())
        yield order.cuts(order.whole())


def without(bench: Bench, best: Failing) -> Iterator[list[Cut]]:
    """Cuts left out: half of them, then a quarter, down to single ones. Source: Zeller and Hildebrandt, "Simplifying
    and Isolating Failure-Inducing Input" (2002)."""
    cuts = cuts_of(best.segments)
    size = len(cuts) // 2
    while size:
        for start in range(len(cuts) - size + 1):
            yield cuts[:start] + cuts[start + size :]
        size //= 2


def joined(bench: Bench, best: Failing) -> Iterator[list[Cut]]:
    """The next segment of the same task made at once."""
    cuts = cuts_of(best.segments)
    for at, (task, _) in enumerate(cuts):
        later = next((i for i in range(at + 1, len(cuts)) if cuts[i][0] == task), None)
        if later is not None:
            yield [*cuts[:at], cuts[later], *cuts[at + 1 : later], *cuts[later + 1 :]]


def earlier(bench: Bench, best: Failing) -> Iterator[list[Cut]]:
    """A switch some steps earlier: as early as can be, then by half of that, down to one step."""
    cuts = cuts_of(best.segments)
    for at, (task, upto) in enumerate(cuts[:-1]):
        step = best.segments[at][1] - 1
        while step > 0:
            yield [*cuts[:at], (task, upto - step), *cuts[at + 1 :]]
            step //= 2


def fewer(bench: Bench, switches: int, steps: int) -> tuple[Failing | None, bool]:
    """A failing execution with at most so many switches, those with the fewest preemptions first; `steps` is about how
    long one is. The second: whether all were tried, unless one failed."""
    left = bench.allowance(steps)
    for preemptions in range(switches + 1):
        few = Few(switches, preemptions)
        index = 0
        while not few.exhausted:
            if index >= left:
                return None, False
            done = bench.run(few, index, min(BLOCK, left - index))
            index += done.ran + done.pruned
            for failed in bench.failures(done):
                found = bench.trial(cuts_of(few.segments(failed)))
                if found is not None:
                    return found, False
        left -= index
        if not few.limited:
            break
    return None, True


def smallest(bench: Bench, best: Failing) -> Failing:
    """The smallest failing execution with no more switches, if these are few enough to try them all: then it is the
    same whatever execution this began with."""
    few = Few(best.switches)
    left = bench.allowance(best.steps)
    index = 0
    known = {best.measure: best}
    while not few.exhausted:
        if index >= left:
            return best
        done = bench.run(few, index, min(BLOCK, left - index))
        index += done.ran + done.pruned
        for failed in bench.failures(done):
            failing = Failing(best.parameters, tuple(few.segments(failed)), best.bound)
            if failing.measure[:2] <= best.measure[:2]:
                known[failing.measure] = failing
    # Few switches late, so equals are compared after their switches were made as early as they can be.
    for measure in sorted(known)[:TRIED]:
        found = bench.trial(cuts_of(known[measure].segments))
        if found is not None:
            best = min(best, taken(bench, found, earlier), key=lambda failing: failing.measure)
    return best


def hunted(bench: Bench) -> Iterator[Failing]:
    """The first failing executions of a short hunt, always the same one."""
    strategy = make_strategy("portfolio")
    strategy.profiled(bench.shape["steps"], bench.shape["task_steps"], bench.shape["task_marks"])
    done = bench.run(strategy, 0, min(HUNTED, bench.allowance(bench.shape["steps"])))
    for index in bench.failures(done)[:TRIED]:
        found = bench.trial(cuts_of(bench.explorer.trace(index, strategy).segments))
        if found is not None:
            yield found
