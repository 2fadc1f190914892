"""The history of an execution of a litmus test: its lines as they are written, with the values that they read."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.records import Recorded
from anonvma_rt.litmus.assemble import VERBS
from anonvma_rt.litmus.compile import Code
from anonvma_rt.subjects.history import Event, Trace

__all__ = ["LitmusTrace"]

READS = ("load", "get", "trylock", "cas")


@dataclass
class LitmusTrace(Trace):
    """lines: those of each task; the note of a step that was made has the number of its line as code, and its value in
    `a`. objects: the names of locks and variables by their offsets. end: the outcome that must not be, in words."""

    lines: Sequence[Sequence[str]]
    objects: dict[int, str]
    end: str

    @classmethod
    def of_code(cls, recorded: Recorded, explorer: Explorer, code: Code) -> "LitmusTrace":
        """From what the explorer of one variant has just recorded."""
        objects = {offset: name for name, offset in code.subject.ids(explorer).items()}
        lines = [[one.text for one in thread.instructions] for thread in code.threads]
        tasks = [thread.name for thread in code.threads]
        trace = cls.read(recorded, tasks, code.subject.kinds(), {}, lines=lines, objects=objects, end="")
        if trace.finding and trace.kind == "assertion":
            forbidden = code.forbidden[trace.finding.a]
            values = ", ".join(f"{n} = {value}" for n, value in code.final(explorer).items() if n in forbidden.words)
            trace.end = f"{forbidden.text}: {values}"
        return trace

    def cause(self) -> str | None:
        if self.finding is None:
            return None
        if self.kind == "assertion":
            return f"The end is one that must not be, {self.end}."
        if self.kind in ("bad-unlock", "use-after-free", "list-corruption"):
            _, task, step, *_ = self.finding
            return f"{self.task(task)} stopped at step {step}, in '{self.next_line(task)}': {self.kind}."
        return super().cause()

    def waiting(self, task: int, does: str = "is at") -> str:
        return f'{self.task(task)} {does} "{self.next_line(task)}"{self.held_by(task)}'

    def next_line(self, task: int) -> str:
        """What the task would have done next; each line that it has done left a note."""
        done = sum(1 for event in self.events if event.is_note and event.task == task)
        return self.lines[task][done] if done < len(self.lines[task]) else "end"

    def object(self, offset: int) -> str:
        return self.objects.get(offset, f"object {offset}")

    def tells(self, lock: int) -> bool:
        return False

    def marks(self) -> list[tuple[Event, str]]:
        """The lines on the names that the verdict speaks of, and on those that they were read from."""
        rows = super().marks()
        names = _names(self.cause() or "")
        names |= {name for _, text in rows if names & _names(text) for name in _names(text)}
        return [(event, text) for event, text in rows if names & _names(text)] or rows

    def _point(self, event: Event, full: bool) -> str | None:
        return "starts" if full and event.what == "start" else None

    def note(self, event: Event, full: bool) -> str | None:
        line = self.lines[event.task][event.code]
        verb, _, rest = line.partition(" ")
        if verb in READS:
            name, *old, register = rest.split()
            return f"{' '.join([verb, name, *old])} -> {register} = {event.a}"
        return f"{line} -> {event.a}" if verb == "add" else line


def _names(text: str) -> set[str]:
    """The names in a text, without the verbs that act on them."""
    return set(re.findall(r"[A-Za-z_]\w*", text)) - set(VERBS)
