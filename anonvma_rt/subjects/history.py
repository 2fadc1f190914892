"""The history of one execution: what each task did, as rows, as a table with a column per task, and why it went wrong.

The engine records points and notes as numbers. A subject extends Trace with its own names for objects and its own
sentences for notes and violations; what the engine itself finds has its words here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from signal import Signals
from textwrap import wrap
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from anonvma_rt.engine.run.records import EVENT, OPS, Crash, Finding, Pending, Recorded
from anonvma_rt.subjects.loops import Loop, first_rounds, loops_of
from anonvma_rt.subjects.places import Place, cells
from anonvma_rt.subjects.stacks import Frame, calls

if TYPE_CHECKING:
    from anonvma_rt.subjects.scenes import Key, Scenes

__all__ = ["Event", "Told", "Trace", "decode"]

LOCK_WORDS = {
    "lock": "locks",
    "trylock": "tries to lock",
    "read-lock": "locks for reading",
    "unlock": "unlocks",
    "read-unlock": "unlocks",
    "downgrade": "downgrades",
}


class Event(NamedTuple):
    """A point (`what` is the operation, a the object) or a note (`what` is its name, `code` its number), at the step it
    belongs to."""

    step: int
    task: int
    what: str
    is_note: bool
    a: int
    b: int
    c: int
    code: int = 0


class Told(NamedTuple):
    """Somebody who takes part in a violation: what was done, by which task (-1: nobody knows), at which step if that is
    known, and the calls that led there, innermost first."""

    what: str
    task: int
    step: int | None
    calls: list[Frame]


def decode(data: bytes, notes: Mapping[int, str]) -> list[Event]:
    """The events in what the engine recorded; notes: the names of the subject's codes, as far as they have one."""
    return [
        Event(step, task, notes.get(code, f"note {code}"), True, a, b, c, code)
        if OPS[op] == "note"
        else Event(step, task, OPS[op], False, a, b, c)
        for step, task, op, code, a, b, c in EVENT.iter_unpack(data)
    ]


FLUSH = "flush"


def _buffers(tasks: Sequence[str], each: int) -> list[str]:
    """The names of those who flush the buffers of each task, `each` of them, as one."""
    return [f"{name}'s buffer{'s' if each > 1 else ''}" for name in tasks] if each else []


def _of_bodies(events: list[Event], bodies: int, each: int) -> list[Event]:
    """The events with flushes as notes of one task for each body."""
    if not each:
        return events
    return [
        event
        if event.task < bodies
        else event._replace(task=bodies + (event.task - bodies) // each, what=FLUSH, is_note=True)
        for event in events
    ]


def _of_all(recorded: Recorded, bodies: int) -> list[Pending | None]:
    """What each task stood at, where the buffers of a task are one; nothing is said of several."""
    if recorded.buffers <= 1:
        return recorded.pending
    return [*recorded.pending[:bodies], *[None] * bodies]


@dataclass
class Trace:
    """The recorded events of an execution, with all that is needed to name what they speak of.

    tasks: names by task id. kind: the name of the violation in `finding`. pending: what each task stood at in the end,
    as Explorer.trace() says it.
    """

    events: list[Event]
    tasks: Sequence[str]
    finding: Finding | None
    kind: str | None
    pending: Sequence[Pending | None]
    # Where the code was, if it crashed or was stuck.
    crash: Crash | None = field(default=None, kw_only=True)
    # Of a livelock: what the tasks do again and again; the events end with the first round.
    loops: Sequence[Loop] = field(default=(), kw_only=True)

    @classmethod
    def read(
        cls, recorded: Recorded, tasks: Sequence[str], kinds: Mapping[int, str], notes: Mapping[int, str], **more: Any
    ) -> Self:
        """From what Explorer.trace() returned; more: what the class has besides."""
        finding = recorded.finding
        kind = kinds.get(finding.kind, f"violation {finding.kind}") if finding else None
        # Of what goes on for ever once is enough.
        loops = loops_of(recorded.events) if kind == "livelock" else []
        events = first_rounds(recorded.events) if loops else recorded.events
        return cls(
            _of_bodies(decode(events, notes), len(tasks), recorded.buffers),
            [*tasks, *_buffers(tasks, recorded.buffers)],
            finding,
            kind,
            _of_all(recorded, len(tasks)),
            crash=recorded.crash,
            loops=loops,
            **more,
        )

    # ---- what a subject may say better -----------------------------------------------------------------------------

    def object(self, offset: int) -> str:
        """The words for an object of a point, by its offset into the arena."""
        return f"object {offset}"

    def lock(self, offset: int) -> str:
        """A short name for a lock, which tells it from every other one."""
        return self.object(offset)

    def tells(self, lock: int) -> bool:
        """Whether what is done to the lock is worth a row."""
        return True

    def note(self, event: Event, full: bool) -> str | None:
        """The words for a note, None where it is not worth a row."""
        return f"{event.what}: {event.a}, {event.b}, {event.c}"

    def source(self, event: Event) -> Place | None:
        """Where in the source it is made; None where nobody knows."""
        return None

    def told(self) -> list[Told]:
        """Those who take part in the violation, where the calls of each are known."""
        return []

    def standing(self, task: int) -> list[Frame]:
        """The calls in which a task that has not ended stands at the end, where they are known."""
        return []

    def cause(self) -> str | None:
        """Why it went wrong, in one or two plain sentences; None without a violation."""
        if self.finding is None:
            return None
        _, task, step, a, b, c = self.finding
        match self.kind:
            case "deadlock":
                waiting = [self.waiting(i) for i in range(len(self.tasks)) if a >> i & 1]
                return f"Nobody can go on: {'; '.join(waiting)}."
            case "lost-wakeup":
                waiting = [self.waiting(i) for i in range(len(self.tasks)) if a >> i & 1]
                return f"Nobody is left who would wake anybody: {'; '.join(waiting)}."
            case "livelock" if b:
                spinning = [self.waiting(i, "spins on") for i in range(len(self.tasks)) if b >> i & 1]
                return f"{'; '.join(spinning)}, and nobody is left who would change it."
            case "livelock":
                return f"After {a} steps the tasks still have not ended.{self._loops()}"
            case "bad-unlock" | "wrong-root-unlock":
                return f"{self.task(task)} unlocked {self.object(c)} at step {step}, and it did not hold it."
            case "lock-order":
                who = self.task(task)
                return f"{who} took a lock of class {b} while it held one of class {a}; the order is the opposite one."
            case "crash":
                return f"{self.task(task)} crashed at step {step}: {self._signal(a, b, c)}{self._calls()}."
            case "stuck":
                return f"{self.task(task)} is stuck: it came to no point after step {step}{self._calls()}."
            case "stack-overflow":
                return f"{self.task(task)} used up its stack of {a >> 10} KiB at step {step}."
        return f"{self.task(task)} stopped at step {step}: {self.kind}."

    def _signal(self, number: int, offset: int, nowhere: int) -> str:
        """The signal, and for an access the address: c of the finding says that no address space has it."""
        name = Signals(number).name
        if name not in ("SIGSEGV", "SIGBUS"):
            return name
        if nowhere:
            return f"{name}, by a pointer that points nowhere, as in what was freed"
        return (
            f"{name} at {f'{self.object(offset)} ' if offset >= 0 else ''}{self.crash.address if self.crash else 0:#x}"
        )

    def _calls(self) -> str:
        found = calls(self.crash.frames) if self.crash else []
        return f", in {', called by '.join(found)}" if found else ""

    def _loops(self) -> str:
        rounds = [
            f"{self.task(loop.task)} makes the same {loop.length} steps from step {loop.first} on"
            for loop in self.loops
        ]
        return f" Again and again {'; '.join(rounds)}." if rounds else ""

    def waiting(self, task: int, does: str = "waits for") -> str:
        """What a task waits for at the end, and who has it, in words."""
        stands = self.pending[task] if task < len(self.pending) else None
        what = self.object(stands.object) if stands else "something"
        return f"{self.task(task)} {does} {what}{self.held_by(task)}"

    def held_by(self, task: int) -> str:
        """Who has what a task waits for at the end, in words; nothing where it is no lock, or nobody has it."""
        from anonvma_rt.subjects.locks import locks_of

        stands = self.pending[task] if task < len(self.pending) else None
        if stands is None or stands.op not in ("lock", "read-lock", "wait"):
            return ""
        end = self.events[-1].step if self.events else 0
        holds = [
            f"{'it itself' if hold.task == task else self.task(hold.task)} holds"
            f"{' for reading' if hold.shared else ''} since step {hold.first}"
            for hold in locks_of(self.events, self.pending, end).holds
            if hold.lock == stands.object and not hold.given_back
        ]
        return f", which {' and '.join(holds)}" if holds else ""

    def keep_names_of(self, longer: "Trace") -> None:
        """Takes over the names in a longer history, so that a thing has one name at every step of it."""

    # ---- what `show` draws, where the subject has it ---------------------------------------------------------------

    def missed(self) -> "Key | None":
        """What the violation is about, as scenes name it."""
        return None

    def key(self, event: Event) -> "Key | None":
        """What an event says something of, as scenes name it."""
        return None

    def misses(self) -> list[Event]:
        """The looks that did not see what they should have seen."""
        return []

    def accesses(self) -> list[tuple[Event, str]]:
        """The two accesses that explain the violation, each with a heading; empty where they are not known."""
        return []

    def concerns(self, event: Event) -> bool:
        """Whether an event has to do with what the check found at the end."""
        return True

    def must_find(self, event: Event) -> bool:
        """Whether a search begins here that must not miss anything."""
        return False

    def marks(self) -> list[tuple[Event, str]]:
        """The notes that say what became of something, each with its text."""
        return [(event, text.strip()) for event, text in self.texts() if event.is_note]

    def walkers(self) -> "list[tuple[int, dict[Key, Any]]]":
        """Where each search is, in the form of Scenes.later."""
        return []

    def stale(self, scenes: "Scenes", end: int) -> "dict[Key, int]":
        """What is left at the end and nobody comes for any more, and the step from which on."""
        return {}

    # ---- rows and the table ----------------------------------------------------------------------------------------

    def task(self, task: int) -> str:
        return self.tasks[task] if 0 <= task < len(self.tasks) else "the check"

    def texts(self, full: bool = False) -> Iterator[tuple[Event, str]]:
        """The events that are worth a row, each with its text; with `full`, every point too."""
        for event in self.events:
            text: str | None
            if event.what == FLUSH:
                text = f"{self.object(event.a)} = {event.b} becomes visible"
            else:
                text = self.note(event, full) if event.is_note else self._point(event, full)
            if text:
                yield event, text

    def rows(self, full: bool = False) -> Iterator[tuple[int, int, str]]:
        """(step, task, text) of these."""
        for event, text in self.texts(full):
            yield event.step, event.task, text

    def _point(self, event: Event, full: bool) -> str | None:
        if event.what == "start":
            return "starts" if full else None
        if event.what in LOCK_WORDS and (full or self.tells(event.a)):
            return f"{LOCK_WORDS[event.what]} {self.object(event.a)}"
        return f"{event.what} {self.object(event.a)}" if full else None

    def table(self, width: int = 110, full: bool = False) -> str:
        """The interleaving as text: one row per happening, a column per task, long gaps of one task elided."""
        rows = list(self.texts(full))
        places = [self.source(event) for event, _ in rows]
        heading, cell = cells(places)
        margin = max(map(len, (heading, *cell.values()))) + 2 if heading else 0
        column = max(24, (width - 8 - margin) // max(1, len(self.tasks)) - 1)
        names = "".join(name[: column - 1].ljust(column) for name in self.tasks)
        lines = [f"   step  {heading:{margin}}{names}".rstrip()]
        for (event, text), place in zip(rows, places, strict=True):
            left = f"{event.step:7d}  {cell.get(place, '') if place else '':{margin}}"
            for i, part in enumerate(wrap(text, column - 1, subsequent_indent="  ") or [""]):
                start = left if i == 0 else " " * len(left)
                lines.append(f"{start}{' ' * column * max(0, event.task)}{part}".rstrip())
        return "\n".join(lines)
