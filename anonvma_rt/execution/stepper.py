"""The time machine: an execution that stands before any step of its schedule, forwards, backwards, and by hand.

A position is the number of steps made. To go anywhere, the first steps of the schedule are made again, so nothing of
the execution has to be kept, and whoever looks sees the real state. From any position on another task may be chosen;
what the schedule said after that is then forgotten.
"""

from collections.abc import Callable, Sequence
from typing import Any

from anonvma_rt.engine.run.records import Pending
from anonvma_rt.engine.strategy import script
from anonvma_rt.errors import UserError, nearest, quote
from anonvma_rt.execution.record import Record, record
from anonvma_rt.execution.reproducer import FoundBy, Reproducer
from anonvma_rt.execution.schedule import Schedule
from anonvma_rt.subjects.history import Trace

__all__ = ["Stepper", "find_task"]

BY_HAND = "hand"


class Stepper:
    """One execution, at position 0 first. Use as a context manager, or call close().

    position: steps made. length: steps of the schedule as far as it is known. trace: the history up to the position.
    pending: what each task stands at, as Explorer.trace() says it. over: every task has ended, or a violation ended it.
    by_hand: the schedule is not the recorded one any more.
    """

    def __init__(self, reproducer: Reproducer) -> None:
        self.reproducer = reproducer
        self.program = reproducer.program()
        self.explorer = reproducer.open(self.program)
        self.schedule = reproducer.schedule
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
        return self.schedule.steps

    @property
    def trace(self) -> Trace:
        return self.record.trace

    @property
    def pending(self) -> list[Pending | None]:
        return self.record.pending

    @property
    def over(self) -> bool:
        return self.record.halt is None

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
        self._run(self.schedule.upto(position), position + 1)

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
            pending = self.pending[task]
            if self.over or pending is None or not pending.enabled:
                if made:
                    return made
                raise UserError(self.why_not(task))
            schedule = self.schedule.upto(self.position).then(task)
            if schedule != self.schedule.upto(self.position + 1):
                self.by_hand = True
                self.schedule = schedule
            self._run(schedule, self.position + 2)
        return steps

    def finish(self) -> None:
        """Lets whoever runs go on until it waits, then the next one, to the end."""
        if not self.by_hand:
            self.goto(self.length)
        if not self.over:
            self._run(self.schedule.upto(self.position), None)
            self.schedule = self.record.schedule

    def why_not(self, task: int) -> str:
        name = quote(self.tasks[task])
        pending = self.pending[task]
        if self.over:
            return "the execution is over"
        if pending is None:
            return f"{name} has ended"
        return f"{name} cannot go on: it waits for {self.trace.lock(pending.object)}"

    def result(self) -> Reproducer:
        """The finished execution as a reproducer. Raises UserError where it violates nothing."""
        if not self.over:
            raise UserError("the execution is not over: `finish` ends it")
        if self.kind is None:
            raise UserError("the execution violates nothing, so there is nothing to reproduce")
        if not self.by_hand:
            return self.reproducer
        found = FoundBy(self.kind, BY_HAND, self.reproducer.seed)
        return Reproducer.of(self.record, found, self.reproducer.shrunk_from)

    # ---- for a debugger ----------------------------------------------------------------------------------------------

    def pause(self, while_paused: Callable[[list[str]], None]) -> None:
        """Comes to this position once more and stays there, each task on its own thread, named after it, while
        `while_paused` runs with the names of those threads."""
        if self.over:
            raise UserError("the execution is over: there is no task left to look at")
        names = [f"{task}:{name}" for task, name in enumerate(self.tasks)]

        def paused() -> None:
            while_paused([names[task][:15] for task in self.explorer.name_tasks(names)])

        self.explorer.trace(0, script.replay(self.schedule.upto(self.position)), self.position + 1, hold=paused)

    # ---- within ------------------------------------------------------------------------------------------------------

    def _run(self, schedule: Schedule, until: int | None) -> None:
        made = record(self.program, self.reproducer.algorithm, self.explorer, 0, script.replay(schedule), until=until)
        if made.halt == "diverged":
            raise UserError(f"the schedule cannot be followed beyond step {made.schedule.steps}")
        self.record: Record = made
        self.position = made.schedule.steps
        if self.names is not None:
            self.trace.keep_names_of(self.names)


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
