"""Is a miss impossible? Every class of equivalent interleavings is visited once, and then the answer is a proof.

The proof is of one scenario with one set of parameters, and of the operations that the subject announces: what happens
between two points is one step. See engine/search/dpor.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from anonvma_rt.auditing.grounds import NOT_AUDITED, announcements
from anonvma_rt.engine.base.bell import StopToken, cores
from anonvma_rt.engine.strategy import script
from anonvma_rt.errors import UserError, quote
from anonvma_rt.execution.budget import Clocks
from anonvma_rt.execution.folder import Folder
from anonvma_rt.execution.plan import came_up, carry_out, choices
from anonvma_rt.execution.record import record
from anonvma_rt.execution.reproducer import FoundBy
from anonvma_rt.execution.results import First, Interrupted, Result, Results
from anonvma_rt.lab.again import NOT_REPRODUCIBLE, NotReproducible, must_come_again
from anonvma_rt.lab.explorers import make_explorer
from anonvma_rt.lab.load import DEFAULT_SCENARIO, bind
from anonvma_rt.own.gate import digest
from anonvma_rt.search.checkpoint import Checkpoint
from anonvma_rt.search.class_count import Estimate
from anonvma_rt.search.exhaust import LARGEST_BOUND, Exhaust, VerifyPlan
from anonvma_rt.search.frontier import Found
from anonvma_rt.subjects.protocols import SC, Bound, Choice, Described

__all__ = ["Verdict", "Verification", "VerifyInterrupted", "verify"]


@dataclass
class Verdict(Result):
    """What the search says of one algorithm.

    scouts: executions of the short hunt that went before. classes: that were visited, each once; with a bound
    `schedules` is how many executions that took. sleep_blocked: executions that were given up because every
    continuation was known. complete: nothing is left to visit. clear_below: no execution with fewer preemptions (or
    delays) violates anything. violating_classes: by kind; without `all_violations` the
    search ends at the first. estimate: of the classes, before the search. rests_on: what the verdict takes on trust,
    None where all of it was seen now. verdict: in words. doubt: why the number
    of classes is hard to believe, if it is. remark: what the text says of its own outcome, beside that. announcements:
    in words, whether the operations that it covers were audited for this subject and algorithm. left_in: the checkpoint
    with what is left to visit.
    """

    scouts: int = 0
    classes: int = 0
    schedules: int | None = None
    sleep_blocked: int = 0
    complete: bool = False
    clear_below: int | None = None
    violating_classes: dict[str, int] = field(default_factory=dict)
    first: First | None = None
    estimate: Estimate | None = None
    rests_on: str | None = None
    left_in: str | None = None
    announcements: str = ""
    verdict: str = ""
    doubt: str = ""
    remark: str = ""

    shown = (
        "algorithm scouts classes schedules sleep_blocked complete clear_below violating_classes first estimate "
        "seconds expected as_expected rests_on left_in announcements not_reproducible verdict doubt remark"
    )

    def does_not_come_again(self, why: NotReproducible) -> None:
        super().does_not_come_again(why)
        self.complete, self.violating_classes = False, {NOT_REPRODUCIBLE: 1}
        self.first = First(why.index, NOT_REPRODUCIBLE)
        self.verdict = "NOT REPRODUCIBLE"


@dataclass
class Verification(Results[Verdict]):
    """One scenario or litmus test under one or more algorithms. preemptions, delays: None where there is no bound;
    iterate: of bounds from 0 on."""

    carrier: str = ""
    jobs: int = 1
    preemptions: int | None = None
    delays: int | None = None
    iterate: bool = False

    shown = "scenario parameters memory carrier jobs preemptions delays iterate results interrupted as_expected"


class VerifyInterrupted(Interrupted):
    """^C during a search."""

    what = "the search"


def verify(
    scenario: Described | str = DEFAULT_SCENARIO,
    parameters: Mapping[str, str | int | bool] | None = None,
    algorithms: Iterable[Any] | None = None,
    carrier: str = "fibers",
    jobs: int = 1,
    preemptions: int | None = None,
    delays: int | None = None,
    iterate: bool = False,
    all_violations: bool = False,
    limit: int | None = None,
    seconds: float | None = None,
    checkpoint: str | Path | None = None,
    out: str | Path | None = None,
    stop: StopToken | None = None,
    progress: Callable[[str, int], None] | None = None,
    estimated: Callable[[str, Estimate], None] | None = None,
    memory: str = SC,
) -> Verification:
    """Visits every class of interleavings of `scenario` under each algorithm.

    algorithms: None for the usual ones. jobs: explorers, one per core; the number of classes does not depend on it.
    preemptions, delays: visits the schedules with at most so many instead. iterate: those with none, then those with at
    most one, and so on to that bound or until nothing is left out or something is found; without one, it is on
    preemptions. all_violations: goes on after the first and counts the violating classes. limit: gives up after so
    many executions of an algorithm, seconds: after that time, in which all is that goes before. checkpoint: a file to
    which the search is saved, and from which it goes on if the file is there; where there is a time, `out` and no such
    file, a new one in `out` (Verdict.left_in). out: the folder for reproducers. stop: ends the search from any thread.
    progress: called with the algorithm's name and the number of executions just made; estimated: with its name and an
    estimate, before its search. memory: how stores become visible, "sc", "tso" or "pso" (docs/memory.md). Raises
    UserError for bad input, VerifyInterrupted on ^C.

    >>> verify("order", {"pages": 3}, ["patched"]).results[0].verdict
    'VERIFIED under SC (complete, 84 classes)'
    """
    clocks = Clocks(seconds)
    more: Bound | None = bind(scenario, parameters).under(memory)
    named = None if algorithms is None else list(algorithms)
    while more is not None:
        program = more
        plan = VerifyPlan(
            program, choices(program, named), out, stop, carrier, jobs, preemptions, delays, iterate, all_violations,
            limit, seconds, progress, estimated,
        )  # fmt: skip
        needs = program.scenario.needs
        result = Verification(*plan.what, carrier=carrier, jobs=jobs, needs=needs, memory=memory)
        result.preemptions, result.delays, result.iterate = preemptions, delays, iterate
        with Folder(out):
            file = _checkpoint(plan, checkpoint)
            clocks.anew()
            search = partial(_Verify, clocks, file)
            more = came_up(program, lambda: carry_out(plan, result, search, VerifyInterrupted))  # noqa: B023
            ended = not checkpoint and all(one.left_in is None for one in result.results)
            if file is not None and (more is not None or ended):
                file.path.unlink(missing_ok=True)
    return result


def _checkpoint(plan: VerifyPlan, path: str | Path | None) -> Checkpoint | None:
    """The one that was asked for; where there is only a time, one in a new file among the reproducers."""
    if path:
        return Checkpoint(path, question(plan))
    if plan.seconds is None or plan.out is None:
        return None
    return Checkpoint.anew(Path(plan.out), f"{plan.program.scenario.name}-verify", question(plan))


def question(plan: VerifyPlan) -> dict[str, Any]:
    """What a checkpoint belongs to; the algorithms in it have their own entries. No text says what code of the user's
    own does, so that is named by its digest."""
    program = plan.program
    own = program.own_code(plan.choices)
    return {
        **({"code": digest(own)} if own else {}),
        "scenario": program.scenario.name,
        "text": program.scenario.sha256,
        "parameters": dict(program.parameters),
        **({"memory": program.memory} if program.memory != SC else {}),
        "preemptions": plan.preemptions,
        "delays": plan.delays,
        "iterate": plan.iterate,
        "all_violations": plan.all_violations,
    }


def doubt(classes: int, estimate: Estimate | None) -> str:
    """A sentence where the estimate says that there are many more classes than were visited; else none. It may be far
    too small without meaning anything, but not so far too large.

    >>> doubt(1, Estimate(6034.0, 198.0, 968))
    'an estimate before the search was about 6 000 classes (± 200, 968 probes): doubt one of the two'
    >>> doubt(58, Estimate(354.5, 279.2, 968))
    ''
    """
    if estimate is None or estimate.classes - 5 * estimate.spread <= 2 * classes:
        return ""
    return f"an estimate before the search was {estimate}: doubt one of the two"


class _Verify:
    """One algorithm: the search, its counterexample and its verdict."""

    def __init__(
        self, clocks: Clocks, file: Checkpoint | None, plan: VerifyPlan, choice: Choice, folder: Folder
    ) -> None:
        self.clock = clocks.next()
        self.last = plan
        self.plan = plan.within(0) if plan.iterate else plan
        self.choice, self.file, self.folder = choice, file, folder
        self.result = Verdict(choice.name, expected=plan.program.expected(choice.name))
        self.result.announcements = announcements(plan.program, choice)
        self.search = self.begin()
        self.covered: tuple[VerifyPlan, Exhaust] | None = None  # the largest bound that is done
        self.made_some = False
        self.more_to_come = False  # another bound, for which there was no time

    def begin(self) -> Exhaust:
        """The search of the plan at hand, or what a checkpoint has of it."""
        file = self.file
        saved = file.searches.get(self.name) if file else None
        search = Exhaust(self.plan, self.choice, self.clock, saved, self.keep if file else None)
        self.resumed = saved is not None
        if file is not None and self.resumed:
            trusted = search.tally.classes
            self.result.rests_on = f"resumed from {file.path}; its {trusted} classes are taken on trust"
        return search

    @property
    def name(self) -> str:
        """Of the search in a checkpoint."""
        return f"{self.choice.name} within {self.plan.bound}" if self.plan.iterate else self.choice.name

    def keep(self) -> None:
        assert self.file is not None
        self.file.searches[self.name] = self.search.as_dict()
        self.file.save()

    def run(self) -> None:
        started = perf_counter()
        try:
            self.search.run()
            while self.goes_on():
                self.search.run()
        finally:
            # Also what stands if this is left by ^C or an error.
            self.result.seconds = perf_counter() - started
            self.count()
            self.judge()
            if self.search.tally.first is not None:
                self.record(self.search.tally.first)

    def goes_on(self) -> bool:
        """Where bounds are iterated: whether this one is done and another one is to come, which is begun."""
        plan, search = self.plan, self.search
        if not plan.iterate or not search.complete or search.tally.violating or search.unordered:
            return False
        self.covered = plan, search
        assert plan.bound is not None
        left = None if plan.limit is None else plan.limit - search.tally.visited
        done = not search.tally.limited or plan.bound == (LARGEST_BOUND if self.last.bound is None else self.last.bound)
        # Whoever only saw that a checkpoint has done the bounds so far makes something of the next one.
        self.made_some = self.made_some or search.given
        if done or (plan.stop is not None and plan.stop.stopped):
            return False
        if (left is not None and left <= 0) or (self.made_some and self.clock.look()):
            self.more_to_come = True
            return False
        self.plan = replace(plan.within(plan.bound + 1), limit=left)
        self.search = self.begin()
        return True

    def count(self) -> None:
        left = self.more_to_come or not self.search.complete
        if self.file and left and (self.plan.all_violations or not self.search.tally.violating):
            self.result.left_in = str(self.file.path)
        if self.covered is not None and not self.search.complete and not self.search.tally.violating:
            self.plan, self.search = self.covered
        result, tally = self.result, self.search.tally
        result.scouts, result.classes, result.sleep_blocked = tally.scouts, tally.classes, tally.sleep_blocked
        result.violating_classes = dict(sorted(tally.violating.items()))
        if self.plan.bound is not None:
            result.schedules, result.classes = tally.classes, len(tally.seen)
            result.violating_classes = {kind: len(seen) for kind, seen in sorted(tally.seen_violating.items())}
        result.estimate = self.search.estimate
        result.complete = self.search.complete

    def record(self, first: Found) -> None:
        """The first counterexample once more, with its history on."""
        self.result.first = First(first.index, first.kind)
        program, strategy = self.plan.program, script.replay(first.schedule)
        how: dict[str, Any] = {"bound": self.search.bound, "cpu": cores(1)[0], "carrier": self.plan.carrier}
        with make_explorer(program, self.choice, strategy, **how) as explorer:
            recorded = record(program, self.choice, explorer, first.index)
            if not self.resumed and recorded.kind != first.kind:
                must_come_again(program, explorer, first.index, None, first.kind, None)
        if self.resumed and recorded.kind != first.kind:
            assert self.file is not None
            raise UserError(
                f"--checkpoint {quote(str(self.file.path))}: the {first.kind} in it does not come again: the file was "
                "edited, or this is other code: begin anew with another file"
            )
        found = FoundBy(first.kind, first.strategy, index=first.index, carrier=self.plan.carrier)
        self.result.first.reproducer = self.result.keep(recorded, found, self.folder)

    def judge(self) -> None:
        result, bound = self.result, self.plan.bound
        # Some of it is known only now.
        result.announcements = announcements(self.plan.program, self.choice)
        found = sum(result.violating_classes.values())
        what = "classes" if bound is None else f"classes in {result.schedules} schedules"
        # What is left out, and by what: nothing is by a bound that no execution needs.
        everything = bound is None or (result.complete and not self.search.tally.limited)
        bounds = [] if bound is None or everything else [_counted(self.plan, bound)]
        within = " and ".join(bounds + ([met] if (met := self.plan.program.within) else []))
        within = within and f" within {within}"
        # A violation under SC is one under every model.
        model = f" under {self.plan.memory.upper()}"
        weaker = model if self.plan.memory != SC else ""
        if bound is not None and not found and result.complete and not self.search.unordered:
            result.clear_below = bound + 1
        elif bound and found and self.covered is not None:
            result.clear_below = bound
        clear, cut = self.clear(everything), self.cut(everything)
        if found and self.plan.all_violations and result.complete:
            result.verdict = f"VIOLATED{weaker}{within} ({found} of {result.classes} {what}){clear}"
        elif found and not result.classes:
            result.verdict = f"VIOLATED{weaker} (execution {result.scouts} of a hunt that went before)"
        elif found:
            result.verdict = f"VIOLATED{weaker} (after {result.classes} {what}){clear}"
        elif unordered := self.search.unordered:
            result.complete = False
            result.verdict = (
                f"NOT PROVED: no announcement orders the accesses of {len(unordered)} pairs, the first of them to "
                f"{unordered[0].what}: {unordered[0].first}; {unordered[0].second}"
            )
        elif result.complete and len(self.search.scouted) > result.classes and bound is None:
            # A search that visits less than a hunt proves nothing, whatever is wrong with it.
            result.complete = False
            result.verdict = (
                f"NOT PROVED: the search came to its end with {result.classes} classes, but a hunt before it saw "
                f"{len(self.search.scouted)}: this is a defect of the lab or of the subject's announcements"
            )
        elif (
            result.complete
            and NOT_AUDITED in result.announcements
            and (shared := self.plan.program.unannounced(self.choice))
        ):
            result.complete, result.clear_below = False, None
            result.verdict = f"NOT PROVED{within} ({result.classes} {what}, none violating): {shared}"
        elif result.complete:
            result.doubt = doubt(result.classes, result.estimate)
            result.verdict = f"VERIFIED{model}{within} (complete, {result.classes} {what}){clear}{cut}"
        elif self.search.over:
            result.verdict = (
                f"NOT PROVED: {self.last.seconds:g} s were over after {result.classes} {what}, none violating"
            )
        else:
            result.verdict = f"NOT PROVED: ended after {result.classes} {what}"
        scenario, memory = self.plan.program.scenario, self.plan.memory
        result.remark = scenario.remark(result.violating_classes, result.complete, memory)
        result.judge(result.violating_classes, bool(found) or result.complete)

    def clear(self, everything: bool) -> str:
        """How many interruptions a violation needs at least, in words; none is needed where everything was visited."""
        below = self.result.clear_below
        if below is None:
            return ""
        if everything and not self.result.violating_classes:
            return f", and no execution has as many as {_counted(self.plan, below)}"
        return f": no violation with fewer than {_counted(self.plan, below)}"

    def cut(self, everything: bool) -> str:
        """What a bound counts more often than it seems: see docs/engine.md."""
        cut = self.result.sleep_blocked
        if everything or not cut:
            return ""
        return f" ({cut} more ended where only a task that spins, or waits for a time, could go on)"


def _counted(plan: VerifyPlan, bound: int) -> str:
    return f"{bound} {plan.counted if bound != 1 else plan.counted[:-1]}"
