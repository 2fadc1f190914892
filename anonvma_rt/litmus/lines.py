"""The lines of a litmus document with values written out: instructions of the engine's Program, and outcomes.

Branches and loops become labels and jumps, behind a `let` of their condition.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from anonvma_rt.errors import ScenarioError, nearest, quote
from anonvma_rt.litmus.assemble import VERBS, WITHOUT_POINT
from anonvma_rt.litmus.file import Block, Branch
from anonvma_rt.text.condition import Word, names_in, postfix, words_of
from anonvma_rt.text.expression import CONSTANTS, evaluate, is_free_name
from anonvma_rt.text.toml import shown

__all__ = ["CONDITION", "MOST_LINES", "MOST_OF_VARIANTS", "MOST_OUTCOMES", "Instruction", "Lines", "fill"]

MOST_LINES = 10_000  # of all sections together, counted as they are repeated
MOST_OUTCOMES = 256  # forbidden ones, and reachable ones
MOST_OF_VARIANTS = 4 * MOST_LINES  # of all variants together

CONDITION = "."  # the register that decides the next jump

_FORMS = {"n": "NAME", "r": "REGISTER", "v": "VALUE", "l": "LABEL"}
_NAME_IS = "a name (letters, digits and _, at most 40)"
# What an operand of each form may be beside a name: a pattern, and how the right ones are called.
_RIGHT = {
    "n": (r"\*(.*)", f"{_NAME_IS} or *REGISTER"),
    "v": (r"&(.*)", "a number or a register"),
    "r": (r"", _NAME_IS),
    "l": (r"", _NAME_IS),
}


class Instruction(NamedTuple):
    """One line of a thread as the engine's Program takes it: verb, name, operands; `text` is the line, for people, and
    empty where the line is part of another one.

    marked: whether the file says by a "!" in front of the verb that it is an interesting one.
    """

    words: tuple[str | int, ...]
    text: str
    marked: bool = False

    @classmethod
    def of(cls, text: str, where: str, names: Mapping[str, int | bool] | None = None) -> "Instruction":
        """That of a line without braces; `names` have values already.

        >>> Instruction.of("store x 1", "example").words
        ('store', 'x', 1)
        >>> Instruction.of("let r = q * 2", "example").words
        ('let', 'r', 'q', 2, '*')
        """
        verb, *operands = text.split() or [""]
        verb, marked = verb.removeprefix("!"), verb.startswith("!")
        where = f"{where}: {quote(text)}"
        if verb not in VERBS:
            raise ScenarioError(f"{where}: unknown verb {quote(verb)}{nearest(verb, VERBS)}")
        if marked and verb in WITHOUT_POINT:
            raise ScenarioError(f"{where}: {verb} is no step of its own, so it cannot be an interesting one")
        if verb == "let":
            return cls._of_let(text, where, names or {})
        _, kind, forms = VERBS[verb]
        forms = forms if kind is None else f"n{forms}"
        if len(operands) != len(forms):
            right = " ".join(_FORMS[form] for form in forms)
            raise ScenarioError(f"{where}: {verb} takes {right or 'nothing'}")
        words = [_operand(operand, form, where) for operand, form in zip(operands, forms, strict=True)]
        return cls((verb, *words), " ".join([verb, *map(str, words)]), marked)

    @classmethod
    def _of_let(cls, text: str, where: str, names: Mapping[str, int | bool]) -> "Instruction":
        found = re.fullmatch(r"let\s+(\S+)\s*=([^=].*)", text.strip())
        if found is None:
            raise ScenarioError(f'{where}: let takes REGISTER = EXPRESSION, such as "let r = q + 1"')
        register, expression = found[1], found[2].strip()
        if not is_free_name(register):
            raise ScenarioError(f"{where}: {quote(register)} is not {_NAME_IS}, or has a meaning already")
        words, _ = words_of(expression, _registers_in(expression, where, names), names, where)
        return cls(("let", register, *words), f"let {register} = {expression}")


def _operand(operand: str, form: str, where: str) -> str | int:
    if form == "v" and re.fullmatch(r"-?[0-9]{1,19}", operand):
        return int(operand)
    pattern, right = _RIGHT[form]
    behind = re.fullmatch(pattern, operand)
    if not is_free_name(behind[1] if behind and pattern else operand):
        raise ScenarioError(f"{where}: {quote(operand)} is not {right}, or has a meaning already")
    return operand


def _registers_in(expression: str, where: str, names: Mapping[str, int | bool]) -> set[str]:
    return {name for name in names_in(expression, where) if name not in names and name not in CONSTANTS}


class Lines:
    """Writes repetitions out; one of it counts the lines of a whole file, because a file may repeat repetitions."""

    def __init__(self, source: str) -> None:
        self.source, self.count, self.of_all, self.branches = source, 0, 0, 0

    def of_next_variant(self) -> "Lines":
        """Counts anew, but for what all variants may have together."""
        self.count = 0
        return self

    def outcomes(
        self, block: Block, names: Mapping[str, int | bool]
    ) -> Iterator[tuple[str, Mapping[str, int | bool], str]]:
        """(condition without braces, the names that it may use, where it stands); they are checked after every
        execution."""
        for number, (inner, line) in enumerate(self._lines(block, names), 1):
            if number > MOST_OUTCOMES:
                raise ScenarioError(f"{block.where}: more than {MOST_OUTCOMES} outcomes")
            assert isinstance(line, str)
            yield fill(line, inner, block.where), inner, block.where

    def instructions(self, block: Block, names: Mapping[str, int | bool]) -> Iterator[Instruction]:
        for inner, line in self._lines(block, names):
            if isinstance(line, Branch):
                yield from self._loop(line, inner) if line.loop else self._choice(line, inner)
            else:
                yield Instruction.of(fill(line, inner, block.where), block.where, inner)

    def _choice(self, branch: Branch, names: Mapping[str, int | bool]) -> Iterator[Instruction]:
        otherwise, behind = self._label(), self._label()
        yield from self._condition(branch, names, "if", otherwise)
        yield from self.instructions(branch.steps, names)
        if branch.otherwise.lines:
            yield Instruction(("jump", behind), "")
        yield Instruction(("label", otherwise), "")
        yield from self.instructions(branch.otherwise, names)
        yield Instruction(("label", behind), "")

    def _loop(self, loop: Branch, names: Mapping[str, int | bool]) -> Iterator[Instruction]:
        again, behind = self._label(), self._label()
        if loop.most is None:
            yield Instruction(("label", again), "")
            yield from self._condition(loop, names, "while", behind)
            yield from self.instructions(loop.steps, names)
            yield Instruction(("jump", again), "")
        else:
            most = evaluate(loop.most, names, f"{loop.where}: most")
            if isinstance(most, bool) or most < 0:
                raise ScenarioError(f"{loop.where}: most: must be a number from 0 on, not {shown(most)}")
            for _ in range(most):
                self.add()
                yield from self._condition(loop, names, "while", behind)
                yield from self.instructions(loop.steps, names)
            yield from self._condition(loop, names, "while", behind)
            yield Instruction(("beyond",), f"a round after the most of {most}")
        yield Instruction(("label", behind), "")

    def _label(self) -> str:
        self.branches += 1
        return f".{self.branches}"

    def _condition(
        self, branch: Branch, names: Mapping[str, int | bool], word: str, otherwise: str
    ) -> Iterator[Instruction]:
        """Leads on where it holds."""
        text = fill(branch.condition, names, branch.where)
        where = f"{branch.where}: {word}"
        words: list[Word] = postfix(text, _registers_in(text, where, names), names, where)
        self.add()
        yield Instruction(("let", CONDITION, *words), f"{word} {text}")
        yield Instruction(("jump_unless", CONDITION, otherwise), "")

    def _lines(
        self, block: Block, names: Mapping[str, int | bool]
    ) -> Iterator[tuple[Mapping[str, int | bool], str | Branch]]:
        for inner in self.rounds(block, names):
            for line in block.lines:
                if isinstance(line, Block):
                    yield from self._lines(line, inner)
                else:
                    self.add()
                    yield inner, line

    def rounds(self, block: Block, names: Mapping[str, int | bool]) -> Iterator[Mapping[str, int | bool]]:
        """The names of each round of a block; none where its condition does not hold."""
        times = evaluate(block.repeat, names, f"{block.where}: repeat")
        if isinstance(times, bool) and block.name:
            raise ScenarioError(f"{block.where}: repeat: must be a number, not {shown(times)}")
        if block.name in names:
            raise ScenarioError(f"{block.where}: as: {quote(block.name)} has a meaning already (choose another name)")
        for i in range(times):
            self.add()
            inner = {**names, block.name: i} if block.name else names
            when = evaluate(block.when, inner, f"{block.where}: when")
            if not isinstance(when, bool):
                raise ScenarioError(f"{block.where}: when: must be true or false, and {shown(when)} is a number")
            if when:
                yield inner

    def add(self) -> None:
        self.count += 1
        self.of_all += 1
        if self.count > MOST_LINES:
            raise ScenarioError(f"{self.source}: more than {MOST_LINES} steps, outcomes and repetitions")
        if self.of_all > MOST_OF_VARIANTS:
            raise ScenarioError(
                f"{self.source}: more than {MOST_OF_VARIANTS} steps and outcomes in all variants together"
            )


def fill(line: str, names: Mapping[str, int | bool], where: str) -> str:
    """The line with numbers in the places of braces.

    >>> fill("lock fork{(i + 1) % n}", {"i": 2, "n": 3}, "example")
    'lock fork0'
    """
    return re.sub(r"\{([^{}]*)\}", lambda found: str(int(evaluate(found[1], names, where))), line)
