"""Is a miss impossible? Every class of equivalent interleavings is visited once, and then the answer is a proof.

The proof is of one scenario with one set of parameters, and of the operations that the subject announces: what happens
between two points is one step. See engine/dpor.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from anonvma_rt.engine.run.explorer import StopToken, cores
from anonvma_rt.engine.strategy import script
from anonvma_rt.errors import UserError, nearest, quote
from anonvma_rt.execution.reproducer import Reproducer, trace_digest
from anonvma_rt.kernel.cause import cause
from anonvma_rt.lab.lab import CARRIERS, load, make_explorer
from anonvma_rt.own.gate import digest
from anonvma_rt.search.checkpoint import Checkpoint
from anonvma_rt.search.class_count import Estimate
from anonvma_rt.search.exhaust import Exhaust
from anonvma_rt.search.hunt import DEFAULT_SCENARIO, First, Folder
from anonvma_rt.subjects.history import Trace
from anonvma_rt.subjects.protocols import Bound, Choice, Described

__all__ = ["Verdict", "Verification", "VerifyInterrupted", "verify"]


@dataclass
class Verdict:
    """What the search says of one algorithm.

    scouts: executions of the short hunt that went before. classes: that were visited, each once; with a bound on
    preemptions `schedules` is how many executions that took. sleep_blocked: executions that were given up because every
    continuation was known. complete: nothing is left to visit.
    violating_classes: by kind; without `all_violations` the search ends at the first. estimate: of the classes, before
    the search. verdict: in words. trace: the history of the first violation. unsaved: why it could not be saved.
    """

    algorithm: str
    scouts: int = 0
    classes: int = 0
    schedules: int | None = None
    sleep_blocked: int = 0
    complete: bool = False
    violating_classes: dict[str, int] = field(default_factory=dict)
    first: First | None = None
    estimate: Estimate | None = None
    seconds: float = 0.0
    expected: str | None = None
    as_expected: bool = True
    verdict: str = ""
    trace: Trace | None = None
    unsaved: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The fields of `verify --json`."""
        shown = {name: value for name, value in self.__dict__.items() if name not in ("trace", "unsaved")}
        return shown | {
            "first": asdict(self.first) if self.first else None,
            "estimate": self.estimate.as_dict() if self.estimate else None,
        }


@dataclass
class Verification:
    """One scenario or litmus test under one or more algorithms. preemptions: None where there is no bound."""

    scenario: str
    parameters: dict[str, int | bool]
    carrier: str
    jobs: int
    preemptions: int | None
    results: list[Verdict] = field(default_factory=list)
    interrupted: bool = False

    @property
    def as_expected(self) -> bool:
        return all(result.as_expected for result in self.results)

    def as_dict(self) -> dict[str, Any]:
        return self.__dict__ | {"results": [r.as_dict() for r in self.results], "as_expected": self.as_expected}


class VerifyInterrupted(KeyboardInterrupt):
    """^C during a search; `result` holds what was visited up to then."""

    def __init__(self, result: Verification) -> None:
        super().__init__("the search was interrupted")
        self.result = result


def verify(
    scenario: Described | str = DEFAULT_SCENARIO,
    parameters: Mapping[str, str | int | bool] | None = None,
    algorithms: Iterable[Any] | None = None,
    carrier: str = "fibers",
    jobs: int = 1,
    preemptions: int | None = None,
    all_violations: bool = False,
    limit: int | None = None,
    checkpoint: str | Path | None = None,
    out: str | Path | None = None,
    stop: StopToken | None = None,
    progress: Callable[[str, int], None] | None = None,
    estimated: Callable[[str, Estimate], None] | None = None,
) -> Verification:
    """Visits every class of interleavings of `scenario` under each algorithm.

    algorithms: None for the usual ones. jobs: explorers, one per core; the number of classes does not depend on it.
    preemptions: visits the schedules with at most so many instead. all_violations: goes on after the first and counts
    the violating classes. limit: gives up after so many executions of an algorithm. checkpoint: a file to which the
    search is saved, and from which it goes on if the file is there. out: the folder for reproducers. stop: ends the
    search from any thread. progress: called with the algorithm's name and the number of executions just made;
    estimated: with its name and an estimate, before its search. Raises UserError for bad input, VerifyInterrupted on
    ^C.

    >>> verify("order", {"pages": 3}, ["patched"]).results[0].verdict
    'VERIFIED (complete, 84 classes)'
    """
    if carrier not in CARRIERS:
        raise UserError(f"unknown carrier {quote(carrier)}{nearest(carrier, CARRIERS)}")
    if jobs < 1 or jobs > 1024:
        raise UserError(f"--jobs must be from 1 to 1024, not {jobs}")
    if preemptions is not None and not 0 <= preemptions <= 1000:
        raise UserError(f"--preemptions must be from 0 to 1000, not {preemptions}")
    if limit is not None and limit < 1:
        raise UserError(f"--limit must be at least 1, not {limit}")
    described = load(scenario) if isinstance(scenario, str) else scenario
    program = described.bind(parameters or {})
    if program.failing is not None and program.failing.rate:
        raise UserError(
            f"{described.name}: nothing is proved where allocations fail by chance (fail_alloc): say which do, with "
            "fail and fail_after"
        )
    chosen = [program.choose(a) for a in (program.usual() if algorithms is None else algorithms)]
    folder = Folder(Path(out)) if out is not None else None
    result = Verification(described.name, dict(program.parameters), carrier, jobs, preemptions)
    try:
        file = Checkpoint(checkpoint, _question(program, preemptions, all_violations, chosen)) if checkpoint else None
        for algorithm in chosen:
            search = _Search(program, algorithm, result, all_violations, limit, folder, file, stop)
            result.results.append(search.result)
            search.run(progress, estimated)
            if stop is not None and stop.stopped:
                result.interrupted = True
                break
    except KeyboardInterrupt:
        result.interrupted = True
        raise VerifyInterrupted(result) from None
    finally:
        if folder is not None:
            folder.leave()
    return result


def _question(
    program: Bound, preemptions: int | None, all_violations: bool, chosen: Iterable[Choice] = ()
) -> dict[str, Any]:
    """What a checkpoint belongs to; the algorithms in it have their own entries. No text says what code of the user's
    own does, so that is named by its digest."""
    own = program.own_code(chosen)
    return {
        **({"code": digest(own)} if own else {}),
        "scenario": program.scenario.name,
        "text": program.scenario.sha256,
        "parameters": dict(program.parameters),
        "preemptions": preemptions,
        "all_violations": all_violations,
    }


class _Search:
    """One algorithm: the search, its counterexample and its verdict."""

    def __init__(
        self, program: Bound, algorithm: Choice, of: Verification, all_violations: bool, limit: int | None,
        folder: Folder | None, file: Checkpoint | None, stop: StopToken | None,
    ) -> None:  # fmt: skip
        self.program, self.algorithm, self.of = program, algorithm, of
        self.all_violations, self.limit, self.folder, self.file, self.stop = all_violations, limit, folder, file, stop
        self.result = Verdict(algorithm.name, expected=program.expected(algorithm.name))

    def run(
        self,
        progress: Callable[[str, int], None] | None,
        estimated: Callable[[str, Estimate], None] | None,
    ) -> None:
        name = self.algorithm.name
        exhaust = Exhaust(
            self.program, self.algorithm, self.of.carrier, self.of.jobs, self.of.preemptions, self.all_violations,
            self.limit, self.stop, self.file.searches.get(name) if self.file else None,
            (lambda: self.keep(exhaust)) if self.file else None,
            (lambda made: progress(name, made)) if progress else None,
        )  # fmt: skip
        started = perf_counter()
        try:
            exhaust.run((lambda expected: estimated(name, expected)) if estimated else None)
        finally:
            # Also what stands if this is left by ^C or an error.
            self.result.scouts = exhaust.scouts
            self.result.classes, self.result.sleep_blocked = exhaust.classes, exhaust.sleep_blocked
            self.result.violating_classes = dict(sorted(exhaust.violating.items()))
            if self.of.preemptions is not None:
                self.result.schedules, self.result.classes = exhaust.classes, len(exhaust.seen)
                violating = exhaust.seen_violating
                self.result.violating_classes = {kind: len(violating[kind]) for kind in sorted(violating)}
            self.result.estimate = exhaust.estimate
            self.result.seconds = perf_counter() - started
            self.result.complete = exhaust.complete
            self.judge()
            if exhaust.first is not None:
                self.record(exhaust)

    def keep(self, exhaust: Exhaust) -> None:
        assert self.file is not None
        self.file.searches[self.algorithm.name] = exhaust.as_dict()
        self.file.save()

    def record(self, exhaust: Exhaust) -> None:
        """The first counterexample once more, with its history on."""
        assert exhaust.first is not None
        strategy, index, kind, segments = exhaust.first
        with make_explorer(
            self.program, self.algorithm, script.replay(segments), cpu=cores(1)[0], carrier=self.of.carrier
        ) as explorer:
            explorer.bound = exhaust.bound
            before = self.program.before(explorer)
            recorded = explorer.trace(index)
            trace = self.program.trace(recorded, explorer, before)
        self.result.trace = trace
        self.result.first = First(index, kind)
        reproducer = Reproducer(
            scenario=self.program.scenario,
            parameters=self.program.parameters,
            algorithm=self.algorithm,
            strategy=strategy,
            seed=0,
            index=index,
            bound=exhaust.bound,
            segments=recorded.segments,
            kind=kind,
            cause=cause(trace) or "",
            digest=recorded.digests.hex(),
            trace=trace_digest(recorded),
        )
        if self.folder is not None:
            try:
                self.result.first.reproducer = str(reproducer.save(self.folder.path / reproducer.name()))
            except OSError as error:
                self.result.unsaved = f"{reproducer.name()} could not be saved: {error.strerror or error}"

    def judge(self) -> None:
        result, bound = self.result, self.of.preemptions
        found = sum(result.violating_classes.values())
        what = "classes" if bound is None else f"classes in {result.schedules} schedules"
        within = "" if bound is None else f" within {bound} preemption{'' if bound == 1 else 's'}"
        if found and self.all_violations and result.complete:
            result.verdict = f"VIOLATED{within} ({found} of {result.classes} {what})"
        elif found and not result.classes:
            result.verdict = f"VIOLATED (execution {result.scouts} of a hunt that went before)"
        elif found:
            result.verdict = f"VIOLATED (after {result.classes} {what})"
        elif result.complete:
            result.verdict = f"VERIFIED{within} (complete, {result.classes} {what})"
        else:
            result.verdict = f"NOT PROVED: ended after {result.classes} {what}"
        wanted = {result.expected} - {"none", None}
        result.as_expected = set(result.violating_classes) == wanted and (bool(found) or result.complete)
