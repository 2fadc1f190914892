"""Explorers that visit every class of interleavings of one program under one algorithm, together.

Each has a part of the search; one that has none gets what another sheds at the end of its block. What an explorer found
and what is left of its part are taken over together, so a checkpoint never counts a class twice or forgets one.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

from anonvma_rt.engine.run.explorer import Bell, Explorer, StopToken, cores
from anonvma_rt.engine.search.dpor import Dpor
from anonvma_rt.lab.lab import make_explorer, make_strategy, profile, refusal
from anonvma_rt.search.class_count import Estimate, estimate
from anonvma_rt.search.frontier import Frontier
from anonvma_rt.subjects.protocols import Bound, Choice

__all__ = ["Exhaust"]

SCOUT = "portfolio"
SCOUTS = 512  # executions of a hunt that goes before: what is easily found needs no search
SCOUTS_AT_A_TIME = 64
ALONE = 4096  # executions by one explorer before others help: short searches come again exactly
BLOCK_SECONDS = 0.02
LARGEST_BLOCK = 16384
POLL_SECONDS = 0.02
CHECKPOINT_SECONDS = 10.0


class Exhaust:
    """The search for one algorithm.

    all_violations: go on after the first. limit: executions at most. preemptions: of an execution at most. saved: what
    as_dict() gave. keep: called from time to time, when all explorers rest. After run(), `complete` says whether
    nothing is left; `first` is None or (strategy, index, kind, schedule) of the first violation. Unless all violations
    are wanted, a short hunt goes before: `scouts` is the number of its executions.
    """

    def __init__(
        self, program: Bound, algorithm: Choice, carrier: str, jobs: int, preemptions: int | None,
        all_violations: bool, limit: int | None, stop: StopToken | None, saved: Mapping[str, Any] | None,
        keep: Callable[[], None] | None, progress: Callable[[int], None] | None,
    ) -> None:  # fmt: skip
        self.program, self.algorithm, self.carrier, self.jobs = program, algorithm, carrier, jobs
        self.preemptions, self.all_violations, self.limit = preemptions, all_violations, limit
        self.user_stop, self.keep, self.progress = stop, keep, progress
        self.stop, self.bell = StopToken(), Bell()
        self.frontier = Frontier() if saved is None else Frontier.from_dict(saved)
        self.explorers: list[Explorer] = []
        self.dpor: dict[Explorer, Dpor] = {}
        self.searching: set[Explorer] = set()
        self.working: set[Explorer] = set()
        self.size: dict[Explorer, int] = {}
        self.begun: dict[Explorer, float] = {}
        self.steady = True
        self.visited: int = saved["visited"] if saved else 0
        self.outstanding = 0
        self.classes: int = saved["classes"] if saved else 0
        self.sleep_blocked: int = saved["sleep_blocked"] if saved else 0
        self.violating: Counter[str] = Counter(saved["violating"] if saved else {})
        # With a bound a class may be visited by several schedules: their hashes, and those of violating ones by kind.
        self.seen: set[int] = set(saved["seen"] if saved else ())
        self.seen_violating: dict[str, set[int]] = (
            {k: set(v) for k, v in saved["seen_violating"].items()} if saved else {}
        )
        self.scouts: int = saved["scouts"] if saved else 0
        self.first: tuple[str, int, str, list[tuple[int, int]]] | None = None
        if saved and saved["first"]:
            strategy, index, kind, schedule = saved["first"]
            self.first = strategy, index, kind, [(task, steps) for task, steps in schedule]
        self.bound = 0
        self.estimate: Estimate | None = None

    @property
    def complete(self) -> bool:
        return not self.frontier.parts and not self.searching

    def as_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps; all explorers must rest."""
        left = [self.dpor[explorer].dump() for explorer in self.explorers if explorer in self.searching]
        return {
            "visited": self.visited,
            "scouts": self.scouts,
            "classes": self.classes,
            "sleep_blocked": self.sleep_blocked,
            "violating": dict(self.violating),
            "seen": sorted(self.seen),
            "seen_violating": {kind: sorted(seen) for kind, seen in self.seen_violating.items()},
            "first": self.first,
            **self.frontier.as_dict(left),
        }

    def run(self, estimated: Callable[[Estimate], None] | None = None) -> None:
        """Until nothing is left, or there is a reason to end before. `estimated` is told what to expect."""
        try:
            for cpu in cores(self.jobs):
                self.open(cpu)
                if len(self.explorers) == 1:
                    shape = profile(self.program, self.explorers[0])
                    self.bound = shape["bound"]
                    self.explorers[0].bound = self.bound
                    if self.preemptions is None and not self.visited:
                        if not self.all_violations and not self.scouts:
                            self.scout(shape)
                        self.estimate = estimate(self.explorers[0], shape["steps"])
                        if estimated is not None:
                            estimated(self.estimate)
                self.explorers[-1].bound = self.bound
            self.search()
        finally:
            self.rest()

    def scout(self, shape: Mapping[str, Any]) -> None:
        """A short hunt, which ends with the first violation."""
        explorer, strategy = self.explorers[0], make_strategy(SCOUT)
        strategy.profiled(shape["steps"], shape["task_steps"], shape["task_marks"])
        while self.scouts < SCOUTS and self.first is None:
            block = explorer.run_with(strategy, self.scouts, SCOUTS_AT_A_TIME)
            if block.halt == "refused":
                raise refusal(self.program, explorer)
            self.scouts += block.ran
            if block.failures:
                index, kind = block.failures[0]
                recorded = explorer.trace(index, strategy)
                self.first = SCOUT, index, explorer.subject.kinds()[kind], recorded.segments
                self.scouts = index + 1
                self.violating[self.first[2]] += 1
            if block.halt is not None:
                return

    def open(self, cpu: int) -> None:
        dpor = Dpor(self.preemptions, not self.all_violations)
        explorer = make_explorer(
            self.program, self.algorithm, dpor, cpu=cpu, stop=self.stop, bell=self.bell, carrier=self.carrier
        )
        explorer.observing = self.preemptions is not None
        self.explorers.append(explorer)
        self.dpor[explorer], self.size[explorer] = dpor, 64

    def search(self) -> None:
        saved_at = perf_counter()
        while True:
            rings = self.bell.rings
            for explorer in self.explorers:
                if explorer in self.working and explorer.idle:
                    self.collect(explorer)
            if self.user_stop is not None and self.user_stop.stopped:
                self.stop.stop()
            due = self.keep is not None and perf_counter() - saved_at > CHECKPOINT_SECONDS
            if due and not self.working and self.keep is not None:
                self.keep()
                saved_at, due = perf_counter(), False
            if not due and not self.ended():
                for explorer in self.explorers if self.visited >= ALONE else self.explorers[:1]:
                    self.employ(explorer)
            if not self.working:
                return
            self.bell.wait(rings, POLL_SECONDS)

    def ended(self) -> bool:
        found = self.first is not None and not self.all_violations
        return found or self.stop.stopped or (self.limit is not None and self.visited >= self.limit)

    def employ(self, explorer: Explorer) -> None:
        """Gives it a block to do, if there is anything to do."""
        if explorer in self.working:
            return
        if explorer not in self.searching and self.frontier.parts:
            self.dpor[explorer].load(self.frontier.parts.popleft())
            self.searching.add(explorer)
        if explorer not in self.searching:
            return
        count = self.size[explorer]
        if self.limit is not None:
            count = min(count, self.limit - self.visited - self.outstanding)
        if len(self.explorers) > 1:
            count = min(count, max(ALONE - self.visited, 1)) if self.visited < ALONE else count
        if count > 0:
            explorer.submit(self.visited, count)
            self.working.add(explorer)
            self.outstanding += count
            self.begun[explorer] = perf_counter()
            self.size[explorer] = count

    def collect(self, explorer: Explorer) -> None:
        """Takes over what an idle explorer has found and what its search wants of others."""
        self.steady = False
        dpor, count = self.dpor[explorer], self.size[explorer]
        self.working.discard(explorer)
        self.outstanding -= count
        block = explorer.collect()
        if block.halt == "refused":
            raise refusal(self.program, explorer)
        if block.halt == "no-memory":
            raise MemoryError("no memory left for the search")
        made = block.ran + block.pruned
        kinds = explorer.subject.kinds()
        self.visited += made
        self.classes += block.ran
        self.sleep_blocked += block.pruned
        self.violating.update(kinds[kind] for _, kind in block.failures)
        if self.preemptions is not None:
            hashes = memoryview(block.classes).cast("Q")
            self.seen.update(hashes)
            for index, kind in block.failures:
                self.seen_violating.setdefault(kinds[kind], set()).add(hashes[index - block.first])
        if block.failures and self.first is None:
            index, kind = block.failures[0]
            self.first = "dpor", index, kinds[kind], dpor.found_schedule
        wanted = dpor.escapes()
        if wanted:
            self.frontier.escaped(dpor.tasks(max(wanted)), wanted)
        if dpor.exhausted:
            self.searching.discard(explorer)
        elif self.visited >= ALONE and not self.frontier.parts and len(self.searching) < len(self.explorers):
            given = dpor.shed()
            if given:
                self.frontier.shed(dpor.tasks(given[-1][0]), given)
        seconds = max(perf_counter() - self.begun[explorer], 1e-6)
        self.size[explorer] = max(1, min(int(count * BLOCK_SECONDS / seconds), 4 * count, LARGEST_BLOCK))
        self.steady = True
        if self.progress is not None:
            self.progress(made)

    def rest(self) -> None:
        """Ends the blocks that still run, keeps what they did, and joins all threads; whatever the reason."""
        self.stop.stop()
        for explorer in self.explorers:
            explorer.finish()
        try:
            for explorer in self.explorers:
                if explorer in self.working:
                    self.collect(explorer)
            # Interrupted in the middle of taking something over, the last checkpoint is the better one.
            if self.keep is not None and self.steady:
                self.keep()
        finally:
            for explorer in self.explorers:
                explorer.close()
