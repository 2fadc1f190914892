"""The steps of one thread as they are written: registers and labels of their own, and values on the way to a step.

A value is a row of words in reverse Polish notation, and its C type; where a step needs one word, a register takes it.
"""

from typing import NamedTuple, NoReturn

from anonvma_rt.errors import ScenarioError
from anonvma_rt.litmus.assemble import VERBS

__all__ = ["Emitter", "Step", "Value", "Word", "variables_of"]

Word = int | str
Step = tuple[Word, ...]


class Value(NamedTuple):
    """kind: as in herd/types.py."""

    words: tuple[Word, ...]
    kind: str = ""

    def wrapped(self, kind: str) -> "Value":
        """What a register or a variable of that type makes of it."""
        return Value((*self.words, kind), kind) if kind not in ("", self.kind) else Value(self.words, kind)


def variables_of(step: Step) -> list[str]:
    """The variables that a step names, or takes the addresses of."""
    acts = VERBS[step[0]][1] == VERBS["load"][1] and not str(step[1]).startswith("*")
    addressed = [word[1:] for word in step if isinstance(word, str) and len(word) > 1 and word.startswith("&")]
    return [*([str(step[1])] if acts else []), *addressed]


class Emitter:
    """where: begins every message, without the line."""

    def __init__(self, source: str, where: str) -> None:
        self.source, self.where = source, where
        self.steps: list[Step] = []
        self.temporaries = self.labels = 0

    def fail(self, line: int, what: str) -> NoReturn:
        raise ScenarioError(f"{self.source}: line {line}: {self.where}: {what}")

    def emit(self, *words: Word) -> None:
        self.steps.append(words)

    def begin_statement(self) -> None:
        """Nobody needs a value on the way of the statement before."""
        self.temporaries = 0

    def temporary(self) -> str:
        """A register that no text of a file can name."""
        self.temporaries += 1
        return f".{self.temporaries}"

    def label(self) -> str:
        self.labels += 1
        return f"L{self.labels}"

    def let(self, register: str, value: Value) -> None:
        self.emit("let", register, *value.words)

    def set(self, register: str, value: Value) -> None:
        """let, or where the last step has just given the value to a register on the way, that step gives it to this."""
        last = self.steps[-1] if self.steps else ()
        fresh = len(value.words) == 1 and str(value.words[0]).startswith(".") and last[-1:] == value.words
        if fresh and self.gives(last):
            self.steps[-1] = (*last[:-1], register)
        else:
            self.let(register, value)

    def gives(self, step: Step) -> bool:
        """Whether its last word is the register that takes its result."""
        return step[0] != "let" and VERBS[step[0]][2].endswith("r")

    def operand(self, value: Value) -> Word:
        """One word for a value: a number, a register, or an address."""
        return value.words[0] if len(value.words) == 1 else self.register(value)

    def register(self, value: Value) -> str:
        """A register that has the value."""
        word = value.words[0]
        if len(value.words) == 1 and isinstance(word, str) and not word.startswith("&"):
            return word
        temporary = self.temporary()
        self.let(temporary, value)
        return temporary
