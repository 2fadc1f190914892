"""The time machine: an execution that stands before any step of its schedule, forwards, backwards, and by hand.

A position is the number of steps made. To go anywhere, the first steps of the schedule are made again, so nothing of
the execution has to be kept, and whoever looks sees the real state. From any position on another task may be chosen;
what the schedule said after that is then forgotten.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from anonvma_rt import __version__
from anonvma_rt.engine.run.records import Pending
from anonvma_rt.engine.strategy import script
from anonvma_rt.errors import UserError, nearest, quote
from anonvma_rt.execution.reproducer import Reproducer, trace_digest
from anonvma_rt.kernel.cause import cause
from anonvma_rt.lab.lab import make_explorer
from anonvma_rt.subjects.history import Trace

__all__ = ["Stepper", "find_task"]

BY_HAND = "hand"
Segments = list[tuple[int, int]]


class Stepper:
    """One execution, at position 0 first. Use as a context manager, or call close().

    position: steps made. length: steps of the schedule as far as it is known. trace: the history up to the position.
    pending: what each task stands at, as Explorer.trace() says it. over: every task has ended, or a violation ended it.
    by_hand: the schedule is not the recorded one any more.
    """

    def __init__(self, reproducer: Reproducer) -> None:
        self.reproducer = reproducer
        self.program = reproducer.program()
        self.explorer = make_explorer(self.program, reproducer.algorithm, script.replay(), seed=reproducer.seed)
        self.explorer.bound = reproducer.bound
        self.before = self.program.before(self.explorer)
        self.segments: Segments = list(reproducer.segments)
        self.by_hand = False
        self.names: Trace | None = None
        self.goto(self.length)
        self.names = self.trace
        self.goto(0)

    def __enter__(self) -> "Stepper":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self.explorer.close()

    # ---- going -------------------------------------------------------------------------------------------------------

    @property
    def length(self) -> int:
        return sum(steps for _, steps in self.segments)

    @property
    def tasks(self) -> Sequence[str]:
        return self.trace.tasks

    @property
    def kind(self) -> str | None:
        """The violation that the execution has come to, or None."""
        return self.trace.kind

    def goto(self, position: int) -> None:
        """Makes the first steps of the schedule again. Raises UserError where it has not so many."""
        if not 0 <= position <= self.length:
            end = "nobody has decided who makes the next step" if self.by_hand else "the execution has no more steps"
            raise UserError(f"there is no step {position} (0 to {self.length}): {end}")
        self._run(cut(self.segments, position), position + 1)

    def forward(self, steps: int = 1) -> None:
        if self.position == self.length and self.over:
            raise UserError("the execution is over")
        self.goto(min(self.position + steps, max(self.length, self.position + 1)))

    def back(self, steps: int = 1) -> None:
        if self.position == 0:
            raise UserError("this is the beginning")
        self.goto(max(0, self.position - steps))

    def until(self, wanted: Callable[[Any], bool]) -> bool:
        """Goes on until an event that is wanted has happened; False, and no move, where the schedule has none."""
        for event in self.whole().events:
            if event.step > self.position and wanted(event):
                self.goto(event.step)
                return True
        return False

    def to_the_violation(self) -> bool:
        """To the end of the schedule; whether it is a violation."""
        self.goto(self.length)
        return self.kind is not None

    def whole(self) -> Trace:
        """The history of the whole schedule as far as it is known; the position stays."""
        position = self.position
        self.goto(self.length)
        trace = self.trace
        self.goto(position)
        return trace

    # ---- by hand -----------------------------------------------------------------------------------------------------

    def choose(self, task: int, steps: int = 1) -> int:
        """Lets a task make the next steps, whatever the schedule says; how many it made: fewer where it had to wait.
        Raises UserError where it cannot make one."""
        for made in range(steps):
            stands = self.pending[task]
            if self.over or stands is None or not stands[2]:
                if made:
                    return made
                raise UserError(self.why_not(task))
            segments = merged([*cut(self.segments, self.position), (task, 1)])
            if segments != cut(self.segments, self.position + 1):
                self.by_hand = True
                self.segments = segments
            self._run(cut(self.segments, self.position + 1), self.position + 2)
        return steps

    def finish(self) -> None:
        """Lets whoever runs go on until it waits, then the next one, to the end."""
        if not self.by_hand:
            self.goto(self.length)
        if not self.over:
            self._run(cut(self.segments, self.position), None)
            self.segments = merged(self.recorded.segments)

    def why_not(self, task: int) -> str:
        name = quote(self.tasks[task])
        stands = self.pending[task]
        if self.over:
            return "the execution is over"
        if stands is None:
            return f"{name} has ended"
        return f"{name} cannot go on: it waits for {self.trace.lock(stands[1])}"

    def result(self) -> Reproducer:
        """The finished execution as a reproducer. Raises UserError where it violates nothing."""
        if not self.over:
            raise UserError("the execution is not over: `finish` ends it")
        if self.kind is None:
            raise UserError("the execution violates nothing, so there is nothing to reproduce")
        if not self.by_hand:
            return self.reproducer
        return replace(
            self.reproducer,
            strategy=BY_HAND,
            index=0,
            segments=self.segments,
            kind=self.kind,
            cause=cause(self.trace) or "",
            digest=self.recorded.digests.hex(),
            trace=trace_digest(self.recorded),
            version=__version__,
        )

    # ---- for a debugger ----------------------------------------------------------------------------------------------

    def hold(self, while_held: Callable[[list[str]], None]) -> None:
        """Comes to this position once more and stays there, each task on its own thread, named after it, while
        `while_held` runs with the names of those threads."""
        if self.over:
            raise UserError("the execution is over: there is no task left to look at")
        names = [f"{task}:{name}" for task, name in enumerate(self.tasks)]

        def held() -> None:
            while_held([names[task][:15] for task in self.explorer.name_tasks(names)])

        self.explorer.trace(0, script.replay(cut(self.segments, self.position)), self.position + 1, hold=held)

    # ---- within ------------------------------------------------------------------------------------------------------

    def _run(self, segments: Segments, until: int | None) -> None:
        recorded = self.explorer.trace(0, script.replay(segments), until)
        made = sum(steps for _, steps in recorded.segments)
        if recorded.halt == "diverged":
            raise UserError(f"the schedule cannot be followed beyond step {made}")
        self.recorded = recorded
        self.position = made
        self.trace = self.program.trace(recorded, self.explorer, self.before)
        if self.names is not None:
            self.trace.name_vmas_like(self.names)
        self.pending: list[Pending | None] = recorded.pending
        self.over = recorded.halt is None


def cut(segments: Iterable[tuple[int, int]], position: int) -> Segments:
    """The first steps of a schedule.

    >>> cut([(0, 3), (1, 4)], 5)
    [(0, 3), (1, 2)]
    """
    kept: Segments = []
    for task, steps in segments:
        if position <= 0:
            break
        kept.append((task, min(steps, position)))
        position -= steps
    return kept


def merged(segments: Iterable[tuple[int, int]]) -> Segments:
    """The same schedule with one segment for each run of a task.

    >>> merged([(0, 3), (0, 1), (1, 1)])
    [(0, 4), (1, 1)]
    """
    result: Segments = []
    for task, steps in segments:
        if result and result[-1][0] == task:
            result[-1] = (task, result[-1][1] + steps)
        else:
            result.append((task, steps))
    return result


def find_task(tasks: Sequence[str], word: str) -> int:
    """The task of that name, number, or beginning of a name. Raises UserError."""
    if word in tasks:
        return tasks.index(word)
    if word.isdecimal() and int(word) < len(tasks):
        return int(word)
    found = [i for i, name in enumerate(tasks) if name.startswith(word)]
    if len(found) != 1:
        raise UserError(f"unknown task {quote(word)}{nearest(word, tasks)}")
    return found[0]
