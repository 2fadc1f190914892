"""A litmus document and values to plain instructions and conditions, and to the Program that the engine runs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.errors import ScenarioError, quote
from anonvma_rt.litmus.assemble import VERBS, WITHOUT_POINT, name_of
from anonvma_rt.litmus.file import Block, Instruction, Lines, LitmusDocument, fill
from anonvma_rt.litmus.program import Program
from anonvma_rt.text.condition import Word, postfix
from anonvma_rt.text.toml import get_word

__all__ = ["Code", "Compiler", "Outcome", "Thread"]

# A name that is interesting stands for what is done to it, but for these: a lock is of interest to whoever takes it.
_NEVER_MARKED = (*WITHOUT_POINT, "unlock", "read_unlock", "write_unlock", "downgrade")

_VARIABLE = VERBS["load"][1]
_SETUP_VERBS = ("store", "set", "add")


class Thread(NamedTuple):
    """One racing task and its instructions, in order."""

    name: str
    instructions: tuple[Instruction, ...]


class Outcome(NamedTuple):
    """A condition over the final state: as text, as words for the engine, and what its other names stand for."""

    text: str
    words: tuple[Word, ...]
    names: Mapping[str, int | bool]
    where: str


@dataclass(frozen=True)
class Code:
    """One variant, written out. registers: the thread of each. subject: what the engine runs; it keeps no state."""

    setup: tuple[Instruction, ...]
    threads: tuple[Thread, ...]
    variables: tuple[str, ...]
    registers: Mapping[str, int]
    forbidden: tuple[Outcome, ...]
    reachable: tuple[Outcome, ...]
    classes: Mapping[str, int]
    subject: Program

    def with_marks(self, names: Sequence[Iterable[str]]) -> "Code":
        """The same, in which of each thread the operations on these shared names are the interesting ones."""
        threads = tuple(
            Thread(thread.name, tuple(one._replace(marked=is_marked(one, chosen)) for one in thread.instructions))
            for thread, chosen in zip(self.threads, names, strict=True)
        )
        subject = subject_of(self.setup, threads, self.forbidden, self.registers, self.classes)
        return replace(self, threads=threads, subject=subject)

    def final(self, explorer: Explorer) -> dict[str, int]:
        """Variables, then registers, as the last execution of `explorer` left them."""
        values = self.subject.values(explorer)
        registers = {name: values[f"{thread}:{name}"] for name, thread in self.registers.items()}
        return {name: values[name] for name in self.variables} | registers


def subject_of(
    setup: Iterable[Instruction],
    threads: Iterable[Thread],
    forbidden: Iterable[Outcome],
    registers: Mapping[str, int],
    classes: Mapping[str, int],
) -> Program:
    """What the engine runs. Raises ValueError where the instructions make no sense together."""
    places = {name: f"{thread}:{name}" for name, thread in registers.items()}
    return Program(
        [[engine_words(one) for one in thread.instructions] for thread in threads],
        setup=[one.words for one in setup],
        forbidden=[[places.get(str(word), word) for word in one.words] for one in forbidden],
        classes=classes,
    )


def engine_words(one: Instruction) -> tuple[str | int, ...]:
    return (f"!{one.words[0]}", *one.words[1:]) if one.marked else one.words


def is_marked(one: Instruction, names: Iterable[str | int]) -> bool:
    """Whether it is interesting where what is done to `names` is.

    >>> [is_marked(Instruction.of(line, "example"), ["a"]) for line in ("lock a", "unlock a", "lock b")]
    [True, False, False]
    """
    return one.words[0] not in _NEVER_MARKED and name_of(one.words) in set(names)


class Compiler:
    """Writes one variant out, for `names` with values."""

    def __init__(self, document: LitmusDocument, names: Mapping[str, int | bool], lines: Lines) -> None:
        self.document, self.names, self.source = document, names, lines.source
        self.lines = lines

    def code(self) -> Code:
        setup = self.instructions(self.document.setup, self.names)
        for one in setup:
            if one.words[0] not in _SETUP_VERBS or not isinstance(one.words[2], int) or one.marked:
                right = f"{', '.join(_SETUP_VERBS)} of numbers"
                raise ScenarioError(f"{self.source}: setup: {quote(one.text)}: only {right} are right there")
        threads = self.threads()
        every = [*setup, *(one for thread in threads for one in thread.instructions)]
        shared = {name: VERBS[one.words[0]][1] for one in every if (name := name_of(one.words)) is not None}
        variables = tuple(name for name, kind in shared.items() if kind == _VARIABLE)
        registers = self.registers(threads, shared)
        forbidden = self.outcomes(self.document.forbidden, variables, registers)
        reachable = self.outcomes(self.document.reachable, variables, registers)
        classes = self.document.classes
        try:
            subject = subject_of(setup, threads, forbidden, registers, classes)
        except ValueError as error:
            raise ScenarioError(f"{self.source}: {error}") from None
        return Code(setup, threads, variables, registers, forbidden, reachable, classes, subject)

    def instructions(self, block: Block, names: Mapping[str, int | bool]) -> tuple[Instruction, ...]:
        return tuple(Instruction.of(line, where) for line, _, where in self.lines.of(block, names))

    def threads(self) -> tuple[Thread, ...]:
        threads: dict[str, Thread] = {}
        for raw in self.document.threads:
            for inner in self.lines.rounds(raw.block, self.names):
                name = get_word({"name": fill(raw.name, inner, raw.block.where)}, "name", raw.block.where)
                if name in threads:
                    raise ScenarioError(f"{self.source}: there are two threads of the name {quote(name)}")
                once = Block(raw.block.lines, 1, "", True, f"{self.source}: thread {quote(name)}")
                threads[name] = Thread(name, self.instructions(once, inner))
        return tuple(threads.values())

    def registers(self, threads: Iterable[Thread], shared: Mapping[str, object]) -> dict[str, int]:
        """The thread of each register. Their names differ, so that outcomes can name them as they are."""
        registers: dict[str, int] = {}
        for at, thread in enumerate(threads):
            for one in thread.instructions:
                if not VERBS[one.words[0]][2].endswith("r"):
                    continue
                name = str(one.words[-1])
                where = f"{self.source}: thread {quote(thread.name)}: {quote(one.text)}"
                if name in shared or name in self.names:
                    raise ScenarioError(f"{where}: {quote(name)} is not only a register (choose another name)")
                if registers.setdefault(name, at) != at:
                    raise ScenarioError(f"{where}: another thread has a register {quote(name)} (names must differ)")
        return registers

    def outcomes(self, block: Block, variables: Iterable[str], registers: Iterable[str]) -> tuple[Outcome, ...]:
        places = [*variables, *registers]
        for name in places:
            if name in self.names:
                raise ScenarioError(f"{self.source}: {quote(name)} has a meaning already (choose another name)")
        return tuple(
            Outcome(line, tuple(postfix(line, places, names, where)), names, where)
            for line, names, where in self.lines.outcomes(block, self.names)
        )
