"""Scenes: the state of the subject after each step of a recorded execution, as what it was and what has changed.

The engine's journal says which words changed before which step; whoever knows the subject reads them as values. What a
value is of says its Key. None means that it is not there any more.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from anonvma_rt.engine.run.explorer import Explorer

__all__ = [
    "END", "VMAS", "Entry", "EntryAt", "Key", "ListOf", "PageFrame", "PageState", "Scenes", "Value", "VmaRow", "Walker",
    "WalkerState", "changed_steps", "state_at", "value_scenes",
]  # fmt: skip

END = 1 << 62  # for Explorer.travel(): after the last step


# ---- what a value is of; str() is its name in the data of a page -----------------------------------------------------


@dataclass(frozen=True, order=True)
class Value:
    """A variable or register of a subject whose state is a few named values: a number."""

    name: str

    def __str__(self) -> str:
        return f"value:{self.name}"


@dataclass(frozen=True)
class Vmas:
    """All vmas of a simulated kernel: a list of VmaRow."""

    def __str__(self) -> str:
        return "vmas"


VMAS = Vmas()


@dataclass(frozen=True, order=True)
class ListOf:
    """The list of an anon_vma: the names of its vmas, in order."""

    anon_vma: int

    def __str__(self) -> str:
        return f"list:{self.anon_vma}"


@dataclass(frozen=True, order=True)
class EntryAt:
    """What a page table holds for an address: an Entry."""

    process: int
    address: int

    def __str__(self) -> str:
        return f"pte:{self.process}:{self.address:#x}"


@dataclass(frozen=True, order=True)
class PageFrame:
    """A page: a PageState."""

    pfn: int

    def __str__(self) -> str:
        return f"page:{self.pfn}"


@dataclass(frozen=True, order=True)
class Walker:
    """A task that walks the reverse map: a WalkerState. It follows from the history and not from the memory."""

    task: int

    def __str__(self) -> str:
        return f"walker:{self.task}"


Key = Value | Vmas | ListOf | EntryAt | PageFrame | Walker


# ---- values ----------------------------------------------------------------------------------------------------------


class VmaRow(NamedTuple):
    name: str
    process: int
    start: int
    end: int
    pgoff: int
    anon_vma: int


class Entry(NamedTuple):
    """state: "present", "migration" or "huge"."""

    state: str
    page: int
    writable: bool


class PageState(NamedTuple):
    """anon_vma: None where the page has none. pgoff: its index."""

    mapcount: int
    refcount: int
    locked: int
    anon_vma: int | None
    pgoff: int
    tag: int


class WalkerState(NamedTuple):
    """vma: the name of the one that it looked at last, "" before the first."""

    kind: str
    page: int
    anon_vma: int
    vma: str


# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scenes:
    """first: every value before step 1. later: (step, values that the step changed), in order.

    >>> x = Value("x")
    >>> Scenes({x: 0}, [(3, {x: 1})]).at(2) == {x: 0}, Scenes({x: 0}, [(3, {x: 1})]).at(3) == {x: 1}
    (True, True)
    """

    first: Mapping[Key, Any]
    later: Sequence[tuple[int, Mapping[Key, Any]]]

    def at(self, step: int) -> dict[Key, Any]:
        """Every value after `step`."""
        return state_at(self.first, self.later, step)

    def each(self) -> Iterator[tuple[int, dict[Key, Any]]]:
        """(step, every value after it) at the beginning (step 0) and after each step that changed something."""
        state = dict(self.first)
        yield 0, dict(state)
        for step, changes in self.later:
            state |= changes
            yield step, {key: value for key, value in state.items() if value is not None}


def state_at(first: Mapping[Key, Any], later: Sequence[tuple[int, Mapping[Key, Any]]], step: int) -> dict[Key, Any]:
    """Every value after `step`, where `first` are those at the beginning and `later` the changes."""
    state = dict(first)
    for _, changes in later[: bisect_right(later, step, key=lambda one: one[0])]:
        state |= changes
    return {key: value for key, value in state.items() if value is not None}


def changed_steps(explorer: Explorer) -> Iterator[tuple[int, list[int]]]:
    """Takes the explorer through the recorded execution: (step, offsets of the words that it changed), the memory being
    as it was after that step."""
    for before, changes in groupby(explorer.changes(), key=lambda change: change[0]):
        explorer.travel(before)
        yield before - 1, [offset for _, offset in changes]
    explorer.travel(END)


def value_scenes(explorer: Explorer, values: Callable[[Explorer], Mapping[str, int]]) -> Scenes:
    """Of a subject whose state is a few named values."""
    explorer.travel(0)
    state = dict(values(explorer))
    first: dict[Key, Any] = {Value(name): value for name, value in state.items()}
    later: list[tuple[int, dict[Key, Any]]] = []
    for step, _ in changed_steps(explorer):
        now = values(explorer)
        changes: dict[Key, Any] = {Value(name): value for name, value in now.items() if value != state[name]}
        if changes:
            later.append((step, changes))
            state = dict(now)
    return Scenes(first, later)
