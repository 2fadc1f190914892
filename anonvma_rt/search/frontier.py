"""What is left of an exhaustive search: parts that nobody searches yet, and the states above all parts.

A state is known by the tasks that were chosen on the way to it. An explorer that searches a part may find that in a
state above it another task should have been tried as well; that task then is a new part. Each part leaves out what was
explored before it in the states above, so no class is in two of them, whoever searches them and in whatever order.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["WHOLE", "Frontier"]

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
