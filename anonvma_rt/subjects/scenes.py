"""Scenes: the state of the subject after each step of a recorded execution, as what it was and what has changed.

The engine's journal says which words changed before which step; whoever knows the subject (kernel_scenes.py, and the
litmus tests here) reads them as named values. A value is what JSON can hold; None means that it is not there any more.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from anonvma_rt.engine.run.explorer import Explorer

__all__ = ["END", "Scenes", "changed_steps", "value_scenes"]


END = 1 << 62  # for Explorer.travel(): after the last step


@dataclass(frozen=True)
class Scenes:
    """first: every value before step 1. later: (step, values that the step changed), in order.

    The names are "value:x" for a variable or register of a litmus test. Of a simulated kernel they are "vmas" (a row
    each: name, process, start, end, vm_pgoff, anon_vma), "list:3" (the vmas of anon_vma 3 in order), "pte:0:0x1000" of
    process 0 (state, page, writable) and "page:9" (mapcount, references, locked, anon_vma, index, tag).

    >>> Scenes({"value:x": 0}, [(3, {"value:x": 1})]).at(2), Scenes({"value:x": 0}, [(3, {"value:x": 1})]).at(3)
    ({'value:x': 0}, {'value:x': 1})
    """

    first: Mapping[str, Any]
    later: Sequence[tuple[int, Mapping[str, Any]]]

    def at(self, step: int) -> dict[str, Any]:
        """Every value after `step`."""
        state = dict(self.first)
        for _, changes in self.later[: bisect_right(self.later, step, key=lambda one: one[0])]:
            state |= changes
        return {name: value for name, value in state.items() if value is not None}

    def each(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """(step, every value after it) at the beginning (step 0) and after each step that changed something."""
        state = dict(self.first)
        yield 0, dict(state)
        for step, changes in self.later:
            state |= changes
            yield step, {name: value for name, value in state.items() if value is not None}


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
    first = {f"value:{name}": value for name, value in state.items()}
    later = []
    for step, _ in changed_steps(explorer):
        now = values(explorer)
        changes = {f"value:{name}": value for name, value in now.items() if value != state[name]}
        if changes:
            later.append((step, changes))
            state = dict(now)
    return Scenes(first, later)
