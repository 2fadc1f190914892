"""The state of an exhaustive search: what it has found (Tally), and what is left of it (Frontier): parts that nobody
searches yet, and the states above all parts. A checkpoint keeps both, of the same moment.

A state is known by the tasks that were chosen on the way to it. An explorer that searches a part may find that in a
state above it another task should have been tried as well; that task then is a new part. Each part leaves out what was
explored before it in the states above, so no class is in two of them, whoever searches them and in whatever order.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from anonvma_rt.engine.run.records import Block
from anonvma_rt.errors import UserError, quote
from anonvma_rt.execution.schedule import Schedule

__all__ = ["WHOLE", "Found", "Frontier", "Tally"]

Part = dict[str, Any]
WHOLE: Part = {"tasks": [], "explored": [], "backtrack": [], "sleep": 0, "root": 0}


@dataclass
class State:
    """Who was enabled and who slept, who is explored already or by somebody, who is to be: sets of tasks as bits."""

    enabled: int
    sleep: int
    explored: int
    backtrack: int


class Frontier:
    """Begins with the whole search as one part; see Dpor.load for what a part is.

    >>> frontier = Frontier()
    >>> frontier.parts.popleft() == WHOLE, bool(frontier.parts)
    (True, False)
    """

    def __init__(self) -> None:
        self.parts: deque[Part] = deque([WHOLE])
        self.states: dict[tuple[int, ...], State] = {}

    def shed(self, tasks: Sequence[int], given: Sequence[tuple[int, int, int, int, int]]) -> None:
        """Takes over what Dpor.shed gave away; `tasks` are those that were chosen on the way to the last state."""
        for depth, *sets in given:
            self.states[tuple(tasks[:depth])] = State(*sets)
        for depth, *_ in given:
            self._open(tuple(tasks[:depth]))

    def escaped(self, tasks: Sequence[int], wanted: Mapping[int, int]) -> None:
        """What Dpor.escapes told: {depth: tasks as bits}, of the states on the way along `tasks`."""
        for depth, who in wanted.items():
            path = tuple(tasks[:depth])
            self.states[path].backtrack |= who
            self._open(path)

    def _open(self, path: tuple[int, ...]) -> None:
        """A part for each task that is to be explored in a state and is not."""
        state = self.states[path]
        left = state.backtrack & state.enabled & ~state.explored & ~state.sleep
        while left:
            bit = left & -left
            left ^= bit
            self.parts.append(
                {
                    "tasks": [*path, bit.bit_length() - 1],
                    "explored": [0] * (len(path) + 1),
                    "backtrack": [self.states[path[:depth]].backtrack for depth in range(len(path) + 1)],
                    "sleep": state.sleep | state.explored,
                    "root": len(path) + 1,
                }
            )
            state.explored |= bit

    def must_fit(self, tasks: int) -> None:
        """Raises UserError where it is of a program with more tasks."""
        paths = [*self.states, *(part["tasks"] for part in self.parts)]
        if any(path and max(path) >= tasks for path in paths):
            raise UserError(f"--checkpoint: belongs to another program: this one has {tasks} tasks")

    def as_dict(self, searched: Sequence[Part] = ()) -> dict[str, Any]:
        """For a checkpoint; `searched`: what is left of the parts that explorers have."""
        states = [[list(path), s.enabled, s.sleep, s.explored, s.backtrack] for path, s in self.states.items()]
        return {"parts": [*searched, *self.parts], "states": states}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Frontier":
        made = cls()
        made.parts = deque(dict(part) for part in data["parts"])
        made.states = {tuple(path): State(*sets) for path, *sets in data["states"]}
        return made


@dataclass(frozen=True)
class Found:
    """The first violation, and the strategy that came to it."""

    strategy: str
    index: int
    kind: str
    schedule: Schedule


@dataclass
class Tally:
    """visited: executions of the search, each of a class, given up (sleep_blocked) or of a violating class that was
    visited before (repeated). scouts: executions of the short hunt that went before. violating: classes by kind, or
    executions while nobody told their classes. limited: a bound left something out.

    A violating class may be visited several times, where others had done different things when it was cut short:
    `seen_violating` has the hashes of these classes by kind, `seen_exits` of those that exit() cut short. With a bound
    any class may, and `seen` has the hashes of all.
    """

    visited: int = 0
    scouts: int = 0
    classes: int = 0
    sleep_blocked: int = 0
    repeated: int = 0
    violating: Counter[str] = field(default_factory=Counter)
    seen: set[int] = field(default_factory=set)
    seen_violating: dict[str, set[int]] = field(default_factory=dict)
    seen_exits: set[int] = field(default_factory=set)
    limited: bool = False
    first: Found | None = None

    def add(
        self, block: Block, kinds: Mapping[int, str], endings: Sequence[int] = (), exits: Sequence[int] = ()
    ) -> None:
        """A block of the search. endings: the class of each execution that failed, where the search told them;
        exits: of each that a task ended for all."""
        self.visited += block.ran + block.pruned
        self.classes += block.ran
        self.sleep_blocked += block.pruned
        hashes = memoryview(block.classes).cast("Q")
        self.seen.update(hashes)
        if len(hashes):
            endings = [hashes[index - block.first] for index, _ in block.failures]
        else:
            self._add_exits(exits)
        for (_, kind), ending in zip_longest(block.failures, endings):
            seen = self.seen_violating.setdefault(kinds[kind], set()) if ending is not None else set()
            again = ending in seen and not len(hashes)
            self.classes -= again
            self.repeated += again
            self.violating[kinds[kind]] += not again
            if ending is not None:
                seen.add(ending)

    def _add_exits(self, endings: Iterable[int]) -> None:
        for ending in endings:
            again = ending in self.seen_exits
            self.classes -= again
            self.repeated += again
            self.seen_exits.add(ending)

    def must_fit(self, kinds: Iterable[str]) -> None:
        """Raises UserError where it found something that these are not the kinds of."""
        for kind in {*self.violating, *self.seen_violating} - set(kinds):
            raise UserError(f"--checkpoint: belongs to another program: this one has no violation {quote(kind)}")

    def as_dict(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            "first": self.first and list(self.first.__dict__.values()),
            "violating": dict(self.violating),
            "seen": sorted(self.seen),
            "seen_violating": {kind: sorted(seen) for kind, seen in self.seen_violating.items()},
            "seen_exits": sorted(self.seen_exits),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Tally":
        first = data["first"]
        return cls(
            data["visited"], data["scouts"], data["classes"], data["sleep_blocked"], data["repeated"],
            Counter(data["violating"]), set(data["seen"]),
            {kind: set(seen) for kind, seen in data["seen_violating"].items()}, set(data["seen_exits"]),
            data["limited"],
            first and Found(first[0], first[1], first[2], Schedule((task, steps) for task, steps in first[3])),
        )  # fmt: skip
