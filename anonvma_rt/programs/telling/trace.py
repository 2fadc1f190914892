"""The history of a compiled program's execution: where in its source each step is made, and what the lab's own words
for a thread's life mean to whoever wrote it.

The call stacks were recorded when the execution was made once more. They are looked up all at once, when somebody asks
for the first of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from anonvma_rt.engine.run.records import Recorded
from anonvma_rt.own.history import EmbeddedTrace
from anonvma_rt.subjects.history import Event, decode
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
WORDS = {
    "load": "reads", "store": "writes", "atomic": "updates", "await": "waits for", "take": "takes",
    "read-trylock": "tries to lock for reading",
}  # fmt: skip


@dataclass
class NativeTrace(EmbeddedTrace):
    """path, base: the file that was loaded, and where its globals begin. stacks: of each event, by its place among
    all."""

    path: str = ""
    base: int = 0
    stacks: Sequence[tuple[int, ...]] = field(default=(), repr=False)

    @classmethod
    def of_program(cls, recorded: Recorded, subject: Any) -> "NativeTrace":
        """From what Explorer.trace() returned, with stacks."""
        trace = cls.of_subject(recorded, subject)
        trace.path, trace.base = subject.image.path, subject.image.base
        trace.stacks = _aligned(trace.events, recorded)
        return trace

    @cached_property
    def _frames(self) -> dict[int, tuple[Frame, ...]]:
        """The calls behind each address to return to."""
        addresses = {address for stack in self.stacks for address in stack if 0 < self.base - address < 1 << 32}
        known = lookup(self.path, {address - 1 for address in addresses})
        return {address: known[address - 1] for address in addresses}

    @cached_property
    def _numbers(self) -> dict[int, int]:
        return {id(event): i for i, event in enumerate(self.events)}

    def calls(self, event: Event) -> list[Frame]:
        """The calls of the program that led to it, innermost first."""
        i = self._numbers.get(id(event), -1)
        stack = self.stacks[i] if 0 <= i < len(self.stacks) else ()
        return of_the_user([frame for address in stack for frame in self._frames.get(address, ())])

    def source(self, event: Event) -> Place | None:
        calls = self.calls(event)
        known = calls and calls[0].line and not of_a_library(calls[0])
        return place_at(calls[0].file, calls[0].line) if known else None

    def marks(self) -> list[tuple[Event, str]]:
        return [(event, text.strip()) for event, text in self.texts()]

    def object(self, offset: int) -> str:
        life = self.subject.symbols.life(offset)
        return f"the {life[0]} of {self.task(life[1])}" if life else super().object(offset)

    def _point(self, event: Event, full: bool) -> str | None:
        life = self.subject.symbols.life(event.a)
        if life and (event.what, life[0]) in LIFE:
            return LIFE[event.what, life[0]].format(self.task(life[1])) if full else None
        if event.what in WORDS:
            return f"{WORDS[event.what]} {self.object(event.a)}" if full else None
        return super()._point(event, full)


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
