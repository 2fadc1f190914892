"""A litmus document and values to plain instructions and conditions, and to the Program that the engine runs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.errors import ScenarioError, quote
from anonvma_rt.litmus.assemble import JUMPS, VERBS, WITHOUT_POINT, name_of
from anonvma_rt.litmus.expression import OF_ONE, OPERATORS
from anonvma_rt.litmus.file import Block, LitmusDocument
from anonvma_rt.litmus.lines import CONDITION, Instruction, Lines, fill
from anonvma_rt.litmus.program import Program
from anonvma_rt.text.condition import Word, postfix
from anonvma_rt.text.expression import evaluate, is_free_name
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


class Declared(NamedTuple):
    """What a document says of locks and variables: the classes of locks, the types of variables and what they hold at
    the beginning, a number or the address of another one."""

    classes: Mapping[str, int]
    types: Mapping[str, str]
    initial: Mapping[str, int | str]


@dataclass(frozen=True)
class Code:
    """One variant, written out. registers: the engine's name of each. subject: what the engine runs; stateless."""

    setup: tuple[Instruction, ...]
    threads: tuple[Thread, ...]
    variables: tuple[str, ...]
    registers: Mapping[str, str]
    forbidden: tuple[Outcome, ...]
    reachable: tuple[Outcome, ...]
    declared: Declared
    subject: Program

    def with_marks(self, names: Sequence[Iterable[str]]) -> "Code":
        """The same, in which of each thread the operations on these shared names are the interesting ones."""
        threads = tuple(
            Thread(thread.name, tuple(one._replace(marked=is_marked(one, chosen)) for one in thread.instructions))
            for thread, chosen in zip(self.threads, names, strict=True)
        )
        subject = subject_of(self.setup, threads, self.forbidden, self.registers, self.declared)
        return replace(self, threads=threads, subject=subject)

    def final(self, explorer: Explorer) -> dict[str, int]:
        """Variables, then registers, as the last execution of `explorer` left them."""
        values = self.subject.values(explorer)
        registers = {name: values[place] for name, place in self.registers.items() if place in values}
        return {name: values[name] for name in self.variables} | registers


def subject_of(
    setup: Iterable[Instruction],
    threads: Iterable[Thread],
    forbidden: Iterable[Outcome],
    registers: Mapping[str, str],
    declared: Declared,
) -> Program:
    """What the engine runs. Raises ValueError where the instructions make no sense together."""
    return Program(
        [[engine_words(one) for one in thread.instructions] for thread in threads],
        setup=[one.words for one in setup],
        forbidden=[[registers.get(str(word), word) for word in one.words] for one in forbidden],
        classes=declared.classes,
        types=declared.types,
        initial=declared.initial,
    )


def engine_words(one: Instruction) -> tuple[str | int, ...]:
    return (f"!{one.words[0]}", *one.words[1:]) if one.marked else one.words


def is_marked(one: Instruction, names: Iterable[str | int]) -> bool:
    """Whether it is interesting where what is done to `names` is.

    >>> [is_marked(Instruction.of(line, "example"), ["a"]) for line in ("lock a", "unlock a", "lock b")]
    [True, False, False]
    """
    return one.words[0] not in _NEVER_MARKED and name_of(one.words) in set(names)


def result_of(one: Instruction) -> str:
    """The register that takes the result of an instruction which has one."""
    return str(one.words[1] if one.words[0] == "let" else one.words[-1])


def registers_read(one: Instruction) -> Iterator[str]:
    """Those whose values it goes by.

    >>> list(registers_read(Instruction.of("compare_exchange *p q 1 r", "example")))
    ['p', 'q']
    """
    verb, *operands = one.words
    _, kind, forms = VERBS[verb]
    if verb == "let":
        names = (str(word) for word in operands[1:] if isinstance(word, str) and word[0] != "&")
        yield from (name for name in names if name not in OPERATORS and name not in OF_ONE)
        return
    for operand, form in zip(operands, forms if kind is None else f"n{forms}", strict=True):
        if form == "v" and isinstance(operand, str) and operand[0] != "&":
            yield operand
        elif form == "n" and str(operand)[0] == "*":
            yield str(operand)[1:]


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
        declared = self.declared()
        of_words = dict.fromkeys(name for name, kind in shared.items() if kind == _VARIABLE and name[0] != "*")
        variables = tuple(of_words | dict.fromkeys([*declared.types, *declared.initial]))
        registers = self.registers(threads, shared)
        forbidden = self.outcomes(self.document.forbidden, variables, registers)
        reachable = self.outcomes(self.document.reachable, variables, registers)
        try:
            subject = subject_of(setup, threads, forbidden, registers, declared)
        except ValueError as error:
            raise ScenarioError(f"{self.source}: {error}") from None
        return Code(setup, threads, variables, registers, forbidden, reachable, declared, subject)

    def instructions(self, block: Block, names: Mapping[str, int | bool]) -> tuple[Instruction, ...]:
        return tuple(self.lines.instructions(block, names))

    def declared(self) -> Declared:
        initial: dict[str, int | str] = {}
        for name, value in self.document.initial.items():
            address = isinstance(value, str) and value.startswith("&")
            where = f"{self.source}: initial.{name}"
            initial[name] = str(value) if address else int(evaluate(value, self.names, where))
        addressed = [str(value)[1:] for value in initial.values() if str(value)[0] == "&"]
        for name in [*initial, *self.document.types, *addressed]:
            if not is_free_name(name):
                raise ScenarioError(f"{self.source}: {quote(name)} is not a name, or has a meaning already")
        return Declared(self.document.classes, self.document.types, initial)

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

    def registers(self, threads: Iterable[Thread], shared: Mapping[str, object]) -> dict[str, str]:
        """The engine's name of each register. Their names differ, so that outcomes can name them as they are."""
        registers: dict[str, str] = {}
        for at, thread in enumerate(threads):
            given = {result_of(one) for one in thread.instructions if "r" in VERBS[one.words[0]][2]}
            for one in thread.instructions if any(one.words[0] in JUMPS for one in thread.instructions) else ():
                for name in registers_read(one):
                    if name not in given:
                        where = f"{self.source}: thread {quote(thread.name)}: {quote(one.text)}"
                        otherwise = "a variable: load it first" if name in shared else "given no value by this thread"
                        raise ScenarioError(f"{where}: {quote(name)} is {otherwise}")
            for one in thread.instructions:
                if "r" not in VERBS[one.words[0]][2] or (name := result_of(one)) == CONDITION:
                    continue
                where = f"{self.source}: thread {quote(thread.name)}: {quote(one.text)}"
                if name in shared or name in self.names:
                    raise ScenarioError(f"{where}: {quote(name)} is not only a register (choose another name)")
                if registers.setdefault(name, f"{at}:{name}") != f"{at}:{name}":
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
