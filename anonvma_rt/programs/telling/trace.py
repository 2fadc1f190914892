"""The history of a compiled program's execution: where in its source each step is made, and what the lab's own words
for a thread's life mean to whoever wrote it.

The call stacks were recorded when the execution was made once more. They are looked up all at once, when somebody asks
for the first of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

from anonvma_rt.engine.run.records import Recorded
from anonvma_rt.own.history import EmbeddedTrace, names_of_tasks
from anonvma_rt.programs.telling import causes
from anonvma_rt.programs.telling.seen import Block, Seen, seen
from anonvma_rt.programs.witness import Witness
from anonvma_rt.subjects.history import Event, Told, decode
from anonvma_rt.subjects.places import Place, place_at
from anonvma_rt.subjects.stacks import Frame, lookup, of_a_library, of_the_user

__all__ = ["NativeTrace"]

# What is done to the word that says whether a thread was begun, or has come to its end.
LIFE = {
    ("store", "beginning"): "begins {}",
    ("await", "beginning"): "starts",
    ("store", "end"): "ends",
    ("await", "end"): "joins {}",
}
# The same for a chance, by the place that it has among the tasks of its thread: what the thread asks, and what the
# chance's step means.
ASKS = {-1: "may be late", -2: "may wake for no reason", -3: "chooses"}
SAYS = {-1: "is over", -2: "wakes it", -3: "says yes"}
WORDS = {
    "load": "reads", "store": "writes", "atomic": "updates", "await": "waits for", "take": "takes",
    "read-trylock": "tries to lock for reading",
}  # fmt: skip
NO_BLOCK = Block(0, 0, 0, 0, -1)


@dataclass
class NativeTrace(EmbeddedTrace):
    """path, base: the file that was loaded, and where its globals begin. stacks: of each event, by its place among
    all. seen: what there was to see beside them."""

    path: str = ""
    base: int = 0
    stacks: Sequence[tuple[int, ...]] = field(default=(), repr=False)
    seen: Seen = field(default_factory=Seen, repr=False)

    @classmethod
    def of_program(cls, recorded: Recorded, subject: Any, witness: Witness) -> Self:
        """From what Explorer.trace() returned, with stacks, and from whoever looked at it."""
        trace = cls.read(recorded, names_of_tasks(subject), subject.kinds(), {}, subject=subject)
        trace.path, trace.base = subject.image.path, subject.image.base
        trace.stacks = _aligned(trace.events, recorded)
        trace.tell_calls()
        offsets = {event.a for event in trace.events if not event.is_note}
        offsets |= {one.object for one in trace.pending if one is not None}
        if trace.finding:
            offsets |= {trace.finding.a, trace.finding.b}
        # Of a set of many tasks the number is none.
        trace.seen = seen(witness, {offset for offset in offsets if 0 <= offset < 1 << 63})
        if trace.finding and trace.kind is not None:
            # At once, while the subject can still look at the end.
            trace.why = causes.wrong(trace, trace.kind, trace.finding.task, *trace.finding[3:])
            trace.why = trace.why or trace.judged() or subject.cause(trace.kind, *trace.finding[1:])
        return trace

    # ---- calls -----------------------------------------------------------------------------------------------------

    @cached_property
    def _frames(self) -> dict[int, tuple[Frame, ...]]:
        """The calls behind each address to return to."""
        addresses = {address for stack in self.stacks for address in stack} | self.seen.addresses
        addresses |= set(self.crash.frames if self.crash else ())
        inside = {address for address in addresses if 0 < self.base - address < 1 << 32}
        known = lookup(self.path, {address - 1 for address in inside})
        return {address: known[address - 1] for address in inside}

    @cached_property
    def _numbers(self) -> dict[int, int]:
        return {id(event): i for i, event in enumerate(self.events)}

    def _calls_of(self, stack: Sequence[int]) -> list[Frame]:
        return of_the_user([frame for address in stack for frame in self._frames.get(address, ())])

    def calls(self, event: Event) -> list[Frame]:
        """The calls of the program that led to it, innermost first."""
        i = self._numbers.get(id(event), -1)
        return self._calls_of(self.stacks[i]) if 0 <= i < len(self.stacks) else []

    def calls_at(self, task: int, step: int) -> list[Frame]:
        """The same for the operation that a task has made in a step."""
        made = (event for event in self.events if event.step == step and event.task == task and not event.is_note)
        event = next(made, None)
        return self.calls(event) if event else []

    @property
    def end(self) -> list[Frame]:
        """The calls at the violation."""
        return self._calls_of(self.seen.end)

    def answer(self, what: str) -> list[Frame]:
        """The calls at what was asked for."""
        return self._calls_of(self.seen.answers.get(what, ()))

    def at(self, place: int) -> list[Frame]:
        """The call at a place: how far what it returns to lies before the globals."""
        address = self.base - place - 1
        return of_the_user(lookup(self.path, [address])[address])[:1] if place else []

    def source(self, event: Event) -> Place | None:
        return _place(self.calls(event))

    def told(self) -> list[Told]:
        return causes.told(self)

    def standing(self, task: int) -> list[Frame]:
        if self.finding and self.finding.task == task and self.end:
            return self.end
        waits = task < len(self.pending) and self.pending[task] is not None
        return self._calls_of(self.seen.last[task]) if waits and task < len(self.seen.last) else []

    # ---- words -----------------------------------------------------------------------------------------------------

    def marks(self) -> list[tuple[Event, str]]:
        return [(event, text.strip()) for event, text in self.texts()]

    def object(self, offset: int) -> str:
        life = self.subject.symbols.life(offset)
        return f"the {life[0]} of {self.task(life[1])}" if life else super().object(offset)

    def block_of(self, offset: int) -> Block:
        """The object of the heap that has this byte, or is the last one before it."""
        return self.seen.blocks.get(offset, NO_BLOCK)

    def raced(self, byte: int, stack: int | None) -> str:
        """What a race is about; stack: whose stack the byte is on, counted from its beginning."""
        return self.object(byte) if stack is None else f"a local variable of {self.task(stack)}"

    def waiting(self, task: int, does: str = "waits for") -> str:
        place = _place(self.standing(task))
        return super().waiting(task, does) + (f" ({place.short})" if place else "")

    def _point(self, event: Event, full: bool) -> str | None:
        life = self.subject.symbols.life(event.a)
        if life and (ordinal := self.subject.family[life[1] - 1][1] if life[1] else 0) < 0:
            said = {"store": ASKS[ordinal], "take": SAYS[ordinal], "atomic": "goes on"}
            return said.get(event.what) if full else None
        if life and (event.what, life[0]) in LIFE:
            return LIFE[event.what, life[0]].format(self.task(life[1])) if full else None
        if event.what in WORDS:
            return f"{WORDS[event.what]} {self.object(event.a)}" if full else None
        return super()._point(event, full)


def _place(calls: Sequence[Frame]) -> Place | None:
    known = calls and calls[0].line and not of_a_library(calls[0])
    return place_at(calls[0].file, calls[0].line) if known else None


def _aligned(events: Sequence[Event], recorded: Recorded) -> list[tuple[int, ...]]:
    """The stacks of these events, which may be fewer than what was recorded."""
    if recorded.stacks is None:
        return []
    every = decode(recorded.events, {})
    found = []
    at = 0
    for event in events:
        while every[at] != event:
            at += 1
        found.append(recorded.stacks[at])
        at += 1
    return found
