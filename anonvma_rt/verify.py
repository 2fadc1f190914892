"""Is a miss impossible? Every class of equivalent interleavings is visited once, and then the answer is a proof.

The proof is of one scenario with one set of parameters, and of the operations that the subject announces: what happens
between two points is one step. See engine/dpor.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from anonvma_rt.cause import cause
from anonvma_rt.engine.dpor import Dpor
from anonvma_rt.engine.explorer import Bell, Explorer, StopToken, cores
from anonvma_rt.engine.strategy.replay import Replay
from anonvma_rt.errors import UserError, nearest, quote
from anonvma_rt.hunt import DEFAULT_SCENARIO, First, Folder
from anonvma_rt.lab import CARRIERS, Bound, Choice, Described, load, make_explorer, profile, refusal
from anonvma_rt.reproducer import Reproducer, trace_digest
from anonvma_rt.trace import Trace

__all__ = ["Verdict", "Verification", "VerifyInterrupted", "verify"]

BLOCK = 2048  # executions between two looks at signals and the stop token
POLL_SECONDS = 0.02


@dataclass
class Verdict:
    """What the search says of one algorithm.

    classes: complete executions, each of a class of its own. sleep_blocked: executions that were given up because
    every continuation was known. complete: nothing is left to visit. violating_classes: by kind; without
    `all_violations` the search ends at the first. verdict: in words. trace: the history of the first violation.
    """

    algorithm: str
    classes: int = 0
    sleep_blocked: int = 0
    complete: bool = False
    violating_classes: dict[str, int] = field(default_factory=dict)
    first: First | None = None
    seconds: float = 0.0
    expected: str | None = None
    as_expected: bool = True
    verdict: str = ""
    trace: Trace | None = None

    def as_dict(self) -> dict[str, Any]:
        """The fields of `verify --json`."""
        shown = {name: value for name, value in self.__dict__.items() if name != "trace"}
        return shown | {"first": asdict(self.first) if self.first else None}


@dataclass
class Verification:
    """One scenario or litmus test under one or more algorithms."""

    scenario: str
    parameters: dict[str, int | bool]
    carrier: str
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
    all_violations: bool = False,
    limit: int | None = None,
    out: str | Path | None = None,
    stop: StopToken | None = None,
    progress: Callable[[str, int], None] | None = None,
) -> Verification:
    """Visits every class of interleavings of `scenario` under each algorithm.

    algorithms: None for the usual ones. all_violations: goes on after the first and counts the violating classes.
    limit: gives up after so many executions. out: the folder for reproducers. stop: ends the search from any thread.
    progress: called with the algorithm's name and the number of executions just made. Raises UserError for bad input,
    VerifyInterrupted on ^C.

    >>> verify("order", {"pages": 3}, ["patched"]).results[0].verdict
    'VERIFIED (complete, 84 classes)'
    """
    if carrier not in CARRIERS:
        raise UserError(f"unknown carrier {quote(carrier)}{nearest(carrier, CARRIERS)}")
    if limit is not None and limit < 1:
        raise UserError(f"--limit must be at least 1, not {limit}")
    described = load(scenario) if isinstance(scenario, str) else scenario
    program = described.bind(parameters or {})
    chosen = [program.choose(a) for a in (program.usual() if algorithms is None else algorithms)]
    folder = Folder(Path(out)) if out is not None else None
    result = Verification(described.name, dict(program.parameters), carrier)
    try:
        for algorithm in chosen:
            search = _Search(program, algorithm, carrier, all_violations, limit, folder, stop, progress)
            result.results.append(search.result)
            search.run()
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


class _Search:
    """One algorithm."""

    def __init__(
        self, program: Bound, algorithm: Choice, carrier: str, all_violations: bool, limit: int | None,
        folder: Folder | None, stop: StopToken | None, progress: Callable[[str, int], None] | None,
    ) -> None:  # fmt: skip
        self.program, self.algorithm, self.carrier = program, algorithm, carrier
        self.all_violations, self.limit = all_violations, limit
        self.folder, self.user_stop, self.progress = folder, stop, progress
        self.result = Verdict(algorithm.name, expected=program.expected(algorithm.name))
        self.violating: Counter[int] = Counter()
        self.first: tuple[int, int] | None = None
        self.visited = 0

    def run(self) -> None:
        started = perf_counter()
        dpor = Dpor()
        try:
            with self.explorer(dpor) as explorer:
                kinds = explorer.subject.kinds()
                # Of a strategy of its own: the search must not see executions that are not its own.
                explorer.bound = profile(self.program, explorer)["bound"]
                ended = self.search(explorer)
        finally:
            # What stands if this is left by ^C or an error.
            self.result.verdict = f"NOT PROVED: ended after {self.result.classes} classes"
            self.result.seconds = perf_counter() - started
        self.result.violating_classes = {kinds[kind]: count for kind, count in sorted(self.violating.items())}
        self.result.complete = ended and not dpor.unsure
        if self.first is not None:
            self.record(kinds[self.first[1]])
        self.judge(ended, dpor.unsure)

    def explorer(self, strategy: Any) -> Explorer:
        return make_explorer(self.program, self.algorithm, strategy, cpu=cores(1)[0], bell=Bell(), carrier=self.carrier)

    def search(self, explorer: Explorer) -> bool:
        """Until nothing is left (True), or there is a reason to end before."""
        while not (self.user_stop is not None and self.user_stop.stopped):
            count = BLOCK if self.limit is None else min(BLOCK, self.limit - self.visited)
            if count == 0:
                return False
            block = explorer.run(self.visited, count)
            if block["halt"] == "refused":
                raise refusal(self.program, explorer)
            if block["halt"] == "no-memory":
                raise MemoryError("no memory left for the search")
            self.visited += block["ran"] + block["pruned"]
            self.result.classes += block["ran"]
            self.result.sleep_blocked += block["pruned"]
            self.violating.update(kind for _, kind in block["failures"])
            if block["failures"] and self.first is None:
                self.first = block["failures"][0]
            if self.progress is not None:
                self.progress(self.algorithm.name, block["ran"] + block["pruned"])
            if block["halt"] == "stopped":
                return True
            if self.first is not None and not self.all_violations:
                return False
        return False

    def record(self, kind: str) -> None:
        """The first counterexample: the search up to it once more, then its schedule with the history on."""
        assert self.first is not None
        index = self.first[0]
        dpor = Dpor()
        with self.explorer(dpor) as explorer:
            explorer.bound = profile(self.program, explorer)["bound"]
            explorer.run(0, index + 1)
            segments = dpor.segments
            before = self.program.before(explorer)
            recorded = explorer.trace(index, Replay(segments))
            trace = self.program.trace(recorded, explorer, before)
            self.result.trace = trace
            self.result.first = First(index, kind)
            reproducer = Reproducer(
                scenario=self.program.scenario,
                parameters=self.program.parameters,
                algorithm=self.algorithm,
                strategy="dpor",
                seed=0,
                index=index,
                bound=explorer.bound,
                segments=recorded["segments"],
                kind=kind,
                cause=cause(trace) or "",
                digest=recorded["digests"].hex(),
                trace=trace_digest(recorded),
            )
        if self.folder is not None:
            self.result.first.reproducer = str(reproducer.save(self.folder.path / reproducer.name()))

    def judge(self, ended: bool, unsure: bool) -> None:
        result = self.result
        found = sum(result.violating_classes.values())
        if found and self.all_violations and result.complete:
            result.verdict = f"VIOLATED ({found} of {result.classes} classes)"
        elif found:
            result.verdict = f"VIOLATED (after {result.classes} classes)"
        elif result.complete:
            result.verdict = f"VERIFIED (complete, {result.classes} classes)"
        elif unsure and ended:
            result.verdict = "NOT PROVED: a lock is both tried and shared, and not all orders of that are visited"
        wanted = {result.expected} - {"none", None}
        result.as_expected = set(result.violating_classes) == wanted and (bool(found) or result.complete)
