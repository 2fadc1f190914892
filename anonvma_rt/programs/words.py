"""What a compiled program's history means: its objects by the names of its variables, and its violations in words."""

import ctypes
from typing import Any

from anonvma_rt.programs.program import Program
from anonvma_rt.programs.telling.symbols import Symbols
from anonvma_rt.programs.witness import Witness

__all__ = ["Native"]

PRINTED, NOTED = 1, 2
# Of a thread's tasks that are no threads: what it is that they decide.
CHANCES = {-1: "the time", -2: "an idle wake-up", -3: "a choice"}


class Native(Program):
    """A Program that gives names to what is in its histories. symbols: of its image; witness: who looks at it."""

    symbols: Symbols
    witness: Witness | None = None

    @property
    def task_names(self) -> tuple[str, ...]:
        names = ["main"]
        for parent, ordinal in self.family:
            if ordinal < 0:
                names.append(f"{CHANCES[ordinal]} of {names[parent]}")
            else:
                names.append(f"thread {ordinal + 1}" if parent == 0 else f"{names[parent]}.{ordinal + 1}")
        return tuple(names)

    def object_name(self, offset: int) -> str | None:
        return self.symbols.name(offset)

    def note_text(self, code: int, a: int, b: int, c: int) -> str | None:
        if code in (PRINTED, NOTED):
            text = b"".join(n.to_bytes(8, "little", signed=True) for n in (a, b, c)).rstrip(b"\0")
            said = text.decode(errors="replace")
            return f"prints {said!r}" if code == PRINTED else said
        return None

    def cause(self, kind: str, task: int, step: int, a: int, b: int, c: int) -> str | None:
        who = self.thread(task)
        said = {
            "assertion": lambda: f"{who}: assertion {self.text(a)!r} failed ({self.text(b)}:{c}).",
            "abort": lambda: f"{who} called abort().",
            "uncaught-exception": lambda: f"{who} threw an exception that nobody caught: {self.text(a)}.",
            "exit-code": lambda: f"The program ended with exit code {c}.",
            "destroyed": lambda: f"{who} used a {self.text(a)} that was destroyed: {self.symbols.name(b)}.",
            "bad-call": lambda: f"{who}: {self.text(a)}.",
        }
        return said[kind]() if kind in said else None

    def thread(self, task: int) -> str:
        """The name of a task."""
        return dict(enumerate(self.task_names)).get(task, f"thread {task}")

    def text(self, offset: int) -> str:
        """A string of the program's."""
        return ctypes.string_at(self.image.base + offset).decode(errors="replace") if offset else "?"

    def values(self, explorer: Any) -> dict[str, int]:
        return self.symbols.values()
