"""Explorers at work together: blocks of executions are handed out, and taken back in whatever order they end.

How large a block is depends on the clock and changes nothing of what is found. Whatever ends a run, ^C included, no
block is left running, and what was done is taken over.
"""

from collections.abc import Callable
from time import perf_counter
from typing import Any

from anonvma_rt.engine.base.bell import Bell, StopToken
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.records import Block
from anonvma_rt.errors import UserError
from anonvma_rt.lab.explorers import checked, make_explorer
from anonvma_rt.lab.strategies import strategy_name
from anonvma_rt.subjects.protocols import Bound, Choice

__all__ = ["LARGEST_BLOCK", "Diverged", "Pump"]

FIRST_BLOCK = 16  # executions
LARGEST_BLOCK = 8192
BLOCK_SECONDS = 0.03  # how long an explorer works before it reports
POLL_SECONDS = 0.02  # how long a signal or a stop token can go unseen


class Diverged(UserError):
    """A strategy chose a task that cannot make a step."""


class Pump:
    """explorers: those that open() made, in order; outstanding: executions that they have to do. stop: the user's
    token, which ends run() from any thread. steady: no block is between an explorer and its taker, so what was taken
    and what the explorers have agree. Use as a context manager: the explorers are closed at its end."""

    def __init__(self, program: Bound, stop: StopToken | None) -> None:
        self.program, self.user_stop = program, stop
        self.stop, self.bell = StopToken(), Bell()
        self.explorers: list[Explorer] = []
        self.working: dict[Explorer, tuple[int, float]] = {}  # how many executions, and since when
        self.size: dict[Explorer, int] = {}
        self.steady = True
        self.stuck = False

    def __enter__(self) -> "Pump":
        return self

    def __exit__(self, *exception: object) -> None:
        for explorer in self.explorers:
            explorer.close()

    def open(self, choice: Choice, strategy: Any, **options: Any) -> Explorer:
        """One more explorer; its options are those of Explorer."""
        explorer = make_explorer(self.program, choice, strategy, stop=self.stop, bell=self.bell, **options)
        self.explorers.append(explorer)
        self.size[explorer] = FIRST_BLOCK
        return explorer

    def run(
        self, give: Callable[[Explorer, int], tuple[int, int] | None], take: Callable[[Explorer, Block], None]
    ) -> None:
        """Until nobody works and nobody gets work. give: (first, count) for an idle explorer, about so many executions,
        or None; take: what an explorer did. Raises what a block ended with, and whatever a signal handler raises."""
        try:
            while True:
                rings = self.bell.rings
                for explorer in [one for one in self.working if one.idle]:
                    self._take(explorer, take)
                if self.user_stop is not None and self.user_stop.stopped:
                    return
                for explorer in self.explorers:
                    if explorer not in self.working:
                        self._give(explorer, give)
                if not self.working:
                    return
                self.bell.wait(rings, POLL_SECONDS)
                for explorer in self.working:
                    explorer.look()
        finally:
            self.stop.stop()
            for explorer in self.explorers:
                explorer.finish()
            # Whoever takes something over may want to execute something.
            self.stop.reset()
            while self.working:
                self._take(next(iter(self.working)), take)

    @property
    def outstanding(self) -> int:
        return sum(count for count, _ in self.working.values())

    def _give(self, explorer: Explorer, give: Callable[[Explorer, int], tuple[int, int] | None]) -> None:
        if self.stuck:
            return
        self.steady = False
        block = give(explorer, self.size[explorer])
        if block is not None:
            explorer.submit(*block)
            self.working[explorer] = block[1], perf_counter()
        self.steady = True

    def _take(self, explorer: Explorer, take: Callable[[Explorer, Block], None]) -> None:
        self.steady = False
        count, begun = self.working.pop(explorer)
        size = int(count * BLOCK_SECONDS / max(perf_counter() - begun, 1e-6))
        self.size[explorer] = max(1, min(size, 4 * count, LARGEST_BLOCK))
        block = checked(self.program, explorer, explorer.collect())
        if block.halt == "diverged":
            why = explorer.strategy.failure
            said = f"{type(why).__name__}: {why}" if why else "it chose a task that cannot make a step"
            raise Diverged(f"strategy {strategy_name(explorer.strategy)}: {said}") from why
        # What was stuck once may be so in every execution; blocks that were handed out before it are still made.
        self.stuck = self.stuck or block.halt == "stuck"
        take(explorer, block)
        self.steady = True
