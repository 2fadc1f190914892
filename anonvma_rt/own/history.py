"""The history of an execution of the user's own subject: its notes in the words that the subject has for them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from anonvma_rt.engine.run.explorer import EVENT, OPS
from anonvma_rt.engine.run.records import Recorded
from anonvma_rt.subjects.history import LOCK_WORDS, Event, Trace

__all__ = ["EmbeddedTrace", "name_of_object", "names_of_tasks"]


def names_of_tasks(subject: Any) -> list[str]:
    """Those that a subject gives its tasks, and numbers for the rest."""
    given = [str(name) for name in subject.task_names]
    return [given[i] if i < len(given) else f"task {i}" for i in range(subject.tasks)]


def name_of_object(subject: Any, offset: int) -> str:
    """The words of a subject for an offset into the arena."""
    name = subject.object_name(offset)
    return str(name) if name is not None else f"object {offset}"


@dataclass
class EmbeddedTrace(Trace):
    """subject: asked for the words (note_text, object_name, cause). The code of a note is in its event's `what`."""

    subject: Any = None

    @classmethod
    def of_subject(cls, recorded: Recorded, subject: Any) -> "EmbeddedTrace":
        """From what Explorer.trace() returned."""
        events = []
        for step, task, op, code, a, b, c in EVENT.iter_unpack(recorded.events):
            is_note = OPS[op] == "note"
            events.append(Event(step, task, f"note {code}" if is_note else OPS[op], is_note, a, b, c))
        finding = recorded.finding
        kinds = subject.kinds()
        kind = kinds.get(finding.kind, f"violation {finding.kind}") if finding else None
        trace = cls(events, names_of_tasks(subject), {}, {}, finding, kind, lambda offset: None, subject=subject)
        if finding:
            trace.told = subject.cause(kind, *finding[1:]) or trace._usual_cause(kind, *finding[1:])
        return trace

    def object(self, offset: int) -> str:
        return name_of_object(self.subject, offset)

    def positions(self) -> list[str]:
        """The last operation that each task announced, a line each."""
        lines = []
        for task, name in enumerate(self.tasks):
            last = next((e for e in reversed(self.events) if e.task == task and not e.is_note), None)
            lines.append(f"  {name}: {f'at step {last.step}, {self._announced(last)}' if last else 'not begun'}")
        return lines

    def rows(self, full: bool = False) -> Iterator[tuple[int, int, str]]:
        """Where the subject has no notes, every point is worth a row."""
        return super().rows(full or not any(event.is_note for event in self.events))

    def _announced(self, event: Event) -> str:
        return f"{LOCK_WORDS.get(event.what, event.what)} {self.object(event.a)}"

    def _point(self, event: Event, full: bool) -> str | None:
        if full and event.what == "start":
            return "starts"
        return self._announced(event) if full or event.what in LOCK_WORDS else None

    def _note(self, e: Event, pfn: int | None, full: bool) -> str | None:
        code = int(e.what.split()[1])
        said = self.subject.note_text(code, e.a, e.b, e.c)
        return str(said) if said is not None else f"note {code}: {e.a}, {e.b}, {e.c}"

    def _usual_cause(self, kind: str | None, task: int, step: int, a: int, b: int, c: int) -> str:
        who = self.task(task)
        if kind == "deadlock":
            waiting = []
            for i, name in enumerate(self.tasks):
                if a >> i & 1:
                    last = next((e for e in reversed(self.events) if e.task == i and not e.is_note), None)
                    waiting.append(f"{name} waits for {self.object(last.a)}" if last else name)
            return f"Nobody can go on: {'; '.join(waiting)}."
        if kind == "livelock":
            return f"After {a} steps the tasks still have not ended."
        if kind == "use-after-free":
            return f"{who} used {self.object(b)} at step {step}, after it was freed."
        if kind == "bad-unlock":
            return f"{who} unlocked {self.object(c)} at step {step}, and it did not hold it."
        if kind == "lock-order":
            return f"{who} took a lock of class {b} while it held one of class {a}; the order is the opposite one."
        return f"{who} found {kind} at step {step}: {a}, {b}, {c}."
