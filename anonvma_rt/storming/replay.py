"""From the wild to a replay: the log of a violating execution becomes a schedule of the deterministic carrier.

The log orders steps by their tickets. What a step does besides its announced operation (a look at a directory of page
tables, say) may have happened a little later, while others made steps; then the replay becomes another execution at a
place that `retrace` names, and the step that looked too early, or the one it should have waited for, is moved by a few
places. A schedule counts only if the replay ends in the same kind of violation.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.records import Kept
from anonvma_rt.engine.strategy import script
from anonvma_rt.engine.strategy.script import Script

__all__ = ["Confirmation", "confirm"]

ROUNDS = 32  # moves that are kept before a log is given up
FARTHEST = 24  # places that a step is moved, counted in steps of other tasks

Line = tuple[int, int]  # of a log: task, signature


@dataclass(frozen=True)
class Confirmation:
    """How the replay of a log ended. outcome: "confirmed", "repaired", or why not: "another violation", "no violation",
    "lost" (the replay became another execution). strategy: what makes the violation come again, None where it does not.
    """

    outcome: str
    strategy: Script | None = None


def confirm(explorer: Explorer, log: Kept) -> Confirmation:
    """Replays a log, and repairs it where it can."""
    steps = list(zip(log.tasks, memoryview(log.signatures).cast("H"), strict=True))
    strategy, seen = _replayed(explorer, log.index, steps)
    if seen == log.kind:
        return Confirmation("confirmed", strategy)
    outcome = "lost" if strategy.lost else "no violation" if seen is None else "another violation"
    for _ in range(ROUNDS):
        if not strategy.lost:
            break
        reached = strategy.at
        for candidate in _moved(steps, reached):
            strategy, seen = _replayed(explorer, log.index, candidate)
            if seen == log.kind:
                return Confirmation("repaired", strategy)
            if strategy.at > reached:
                steps = candidate
                break
        else:
            break
    return Confirmation(outcome)


def _replayed(explorer: Explorer, index: int, steps: list[Line]) -> tuple[Script, int | None]:
    strategy = script.retrace(
        bytes(task for task, _ in steps), array("H", (signature for _, signature in steps)).tobytes()
    )
    done = explorer.run_with(strategy, index, 1)
    return strategy, done.failures[0].kind if done.failures else None


def _moved(steps: list[Line], at: int) -> Iterator[list[Line]]:
    """Schedules in which step `at` might be what was recorded: the task's step before it is made later, or a step that
    another task made before that one is."""
    if at >= len(steps):
        return
    task = steps[at][0]
    before = _last(steps, at, task)
    if before is None:
        return
    for place in range(at - 1, max(before, at - 1 - FARTHEST), -1):
        yield _moved_to(steps, before, place)
    for other in {t for t, _ in steps[:before]} - {task}:
        step = _last(steps, before, other)
        if step is not None:
            yield _moved_to(steps, step, before)


def _last(steps: list[Line], end: int, task: int) -> int | None:
    """The last step of a task before `end`."""
    return next((i for i in range(end - 1, -1, -1) if steps[i][0] == task), None)


def _moved_to(steps: list[Line], step: int, place: int) -> list[Line]:
    """The step right behind the one that is at `place` now."""
    return [*steps[:step], *steps[step + 1 : place + 1], steps[step], *steps[place + 1 :]]
