"""The history of an execution of the user's own subject: its notes in the words that the subject has for them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from anonvma_rt.engine.calls.calls import BAD_CALLS, CALL_NOTES
from anonvma_rt.engine.run.records import Recorded
from anonvma_rt.engine.run.subject import KINDS
from anonvma_rt.subjects.history import LOCK_WORDS, Event, Trace

__all__ = ["EmbeddedTrace", "name_of_object", "names_of_tasks"]

# How a call, a return and the end of all are announced, and what they are.
CALLS = {"load": "call", "read-trylock": "return", "store": "end"}


def names_of_tasks(subject: Any) -> list[str]:
    """Those that a subject gives its tasks, and numbers for the rest."""
    given = [str(name) for name in subject.task_names]
    return [given[i] if i < len(given) else f"task {i}" for i in range(subject.tasks)]


def name_of_object(subject: Any, offset: int) -> str:
    """The words of a subject for an offset into the arena."""
    if subject.judge is not None and offset == subject.judge.word:
        return "the order of calls"
    name = subject.object_name(offset)
    return str(name) if name is not None else f"object {offset}"


@dataclass
class EmbeddedTrace(Trace):
    """subject: asked for the words (note_text, object_name, cause). why: what it says of the violation, if anything."""

    subject: Any
    why: str | None = None

    @classmethod
    def of_subject(cls, recorded: Recorded, subject: Any) -> Self:
        """From what Explorer.trace() returned."""
        trace = cls.read(recorded, names_of_tasks(subject), subject.kinds(), {}, subject=subject)
        trace.tell_calls()
        if trace.finding:
            # At once, while the subject can still look at the end.
            trace.why = trace.judged() or subject.cause(trace.kind, *trace.finding[1:])
        return trace

    def tell_calls(self) -> None:
        """Calls and returns by their own words: no lock is there, only an order."""
        judge = self.subject.judge
        if judge is not None:
            self.events = [
                event if event.is_note or event.a != judge.word else event._replace(what=CALLS[event.what])
                for event in self.events
            ]

    def judged(self) -> str | None:
        """What the judge of its calls says of the violation, if it is his."""
        if self.kind == "bad-call" and self.finding and self.finding.a in BAD_CALLS:
            return f"{self.task(self.finding.task)} {BAD_CALLS[self.finding.a]}."
        if self.kind == "not-linearizable" and self.subject.judge is not None:
            return str(self.subject.judge.why(self.tasks))
        return None

    def cause(self) -> str | None:
        if self.why or self.finding is None:
            return self.why
        _, task, step, a, b, c = self.finding
        who = self.task(task)
        if self.kind == "use-after-free":
            return f"{who} used {self.object(b)} at step {step}, after it was freed."
        if self.kind in KINDS.values():
            return super().cause()
        return f"{who} found {self.kind} at step {step}: {a}, {b}, {c}."

    def object(self, offset: int) -> str:
        return name_of_object(self.subject, offset)

    def positions(self) -> list[str]:
        """The last operation that each task announced, a line each."""
        lines = []
        for task, name in enumerate(self.tasks):
            last = next((e for e in reversed(self.events) if e.task == task and not e.is_note), None)
            lines.append(f"  {name}: {f'at step {last.step}, {self._announced(last)}' if last else 'not begun'}")
        return lines

    def _announced(self, event: Event) -> str:
        return f"{LOCK_WORDS.get(event.what, event.what)} {self.object(event.a)}"

    def texts(self, full: bool = False) -> Iterator[tuple[Event, str]]:
        """Where the subject has no notes, every point is worth a row."""
        return super().texts(full or not any(event.is_note and event.code not in CALL_NOTES for event in self.events))

    def _point(self, event: Event, full: bool) -> str | None:
        # Calls and returns have a note each.
        if event.what in CALLS.values():
            return None
        return super()._point(event, full)

    def note(self, event: Event, full: bool) -> str | None:
        if event.code in CALL_NOTES and self.subject.judge is not None:
            return str(self.subject.judge.note_text(event.code, event.a, event.b))
        said = self.subject.note_text(event.code, event.a, event.b, event.c)
        return str(said) if said is not None else super().note(event, full)
