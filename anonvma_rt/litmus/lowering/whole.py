"""A litmus file as a Program: its threads, the types and initial values of what they share, and what must not be.

`exists` and `~exists` forbid their proposition, so that a violation says that the state is reached; `forall` forbids
its contrary. A filter is joined to either. A file with addresses for values has words of 64 bits only, as herd has.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from anonvma_rt.errors import ScenarioError
from anonvma_rt.litmus.assemble import VERBS
from anonvma_rt.litmus.compile import registers_read, result_of
from anonvma_rt.litmus.expression import TYPES
from anonvma_rt.litmus.herd.tree import TRUE, Address, Atom, Join, Not, Proposition, Test, Thread, Truth
from anonvma_rt.litmus.herd.types import LOCK, SRCU
from anonvma_rt.litmus.lines import Instruction
from anonvma_rt.litmus.lowering.c import CThread, Shared
from anonvma_rt.litmus.lowering.emitter import Step, Word, variables_of
from anonvma_rt.litmus.lowering.x86 import X86Thread, kinds_of, register_of

__all__ = ["Lowered", "has_loops", "lower"]

_NO_WORDS = (LOCK, SRCU)


class Lowered(NamedTuple):
    """variables: those that the threads know. registers: those of each thread that the file names. forbidden: words for
    the engine, none where nothing is."""

    threads: tuple[tuple[Step, ...], ...]
    variables: tuple[str, ...]
    types: Mapping[str, str]
    initial: Mapping[str, Word]
    registers: tuple[tuple[str, ...], ...]
    forbidden: tuple[Word, ...]


def lower(test: Test, unroll: int) -> Lowered:
    """unroll: the most rounds of a loop that does more than look. Raises ScenarioError, with the line."""
    kinds = {name: kind for name, kind in _kinds(test).items() if kind not in _NO_WORDS}
    wide = any(isinstance(value, Address) for value in (*test.initial.values(), *test.registers.values()))
    threads = _threads(test, {} if wide else kinds, unroll)
    if (
        not wide
        and test.arch == "C"
        and any(_is_address(word) for one in threads for step in one.steps for word in step)
    ):
        threads = _threads(test, {}, unroll)
        wide = True
    if test.arch != "C":
        kinds = dict(kinds_of([one for one in threads if isinstance(one, X86Thread)]))
    names = [tuple(dict.fromkeys([*_given(test, at), *one.registers])) for at, one in enumerate(threads)]
    steps = tuple(_from_zero((*_settings(test, at), *one.steps)) for at, one in enumerate(threads))
    if wide:
        # An address would not survive in an int, so nothing is cut off.
        steps = tuple(tuple(tuple(w for w in step if w not in TYPES) for step in one) for one in steps)
    variables = _variables(test, steps)
    return Lowered(
        threads=steps,
        variables=variables,
        types={} if wide else {name: kind for name, kind in kinds.items() if kind and name in variables},
        initial={name: _word(value) for name, value in test.initial.items() if name in variables and value != 0},
        registers=tuple(names),
        forbidden=_forbidden(test, variables, names),
    )


def has_loops(test: Test) -> bool:
    """Whether it matters how often loops are unrolled."""
    if test.arch != "C":
        return False
    return any(step == ("beyond",) for one in _threads(test, {}, 1) for step in one.steps)


def _threads(test: Test, kinds: Mapping[str, str], unroll: int) -> list[CThread | X86Thread]:
    def one(at: int, thread: Thread) -> CThread | X86Thread:
        if test.arch == "C":
            given = [name for number, name in test.registers if number == at]
            return CThread(test.source, f"P{at}", thread, Shared(kinds, test.arrays), given, unroll)
        return X86Thread(test.source, f"P{at}", thread, test.arch, test.kinds)

    return [one(at, thread) for at, thread in enumerate(test.threads)]


def _kinds(test: Test) -> dict[str, str]:
    """The types of shared variables: as declared, else as the parameters have them, the widest one."""
    kinds: dict[str, str] = {}
    for thread in test.threads:
        for parameter in thread.parameters:
            named = parameter.name
            for name in [f"{named}[{i}]" for i in range(test.arrays[named])] if named in test.arrays else [named]:
                before = kinds.setdefault(name, parameter.kind)
                if before != parameter.kind and before not in _NO_WORDS:
                    kinds[name] = ""
    return kinds | dict(test.kinds)


def _is_address(word: Word) -> bool:
    return isinstance(word, str) and word.startswith("&") and len(word) > 1


def _from_zero(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The same, in which registers that nothing has set before they are read are 0, as herd has it."""
    known: set[str] = set()
    unset: dict[str, None] = {}
    for step in steps:
        one = Instruction(step, "")
        unset |= dict.fromkeys(name for name in registers_read(one) if name not in known)
        if "r" in VERBS[step[0]][2]:
            known.add(result_of(one))
    return (*(("let", name, 0) for name in unset), *steps)


def _variables(test: Test, threads: tuple[tuple[Step, ...], ...]) -> tuple[str, ...]:
    """In the order of their first mention: what steps do something to, and what there is an address of."""
    found: dict[str, None] = {}
    for steps in threads:
        for step in steps:
            found.update(dict.fromkeys(variables_of(step)))
    pointers = [value for value in (*test.initial.values(), *test.registers.values()) if isinstance(value, Address)]
    return tuple(found | {value.name: None for value in pointers})


def _word(value: int | Address) -> Word:
    return f"&{value.name}" if isinstance(value, Address) else value


def _given(test: Test, at: int) -> Iterator[str]:
    for thread, name in test.registers:
        if thread == at:
            yield _canonical(test, name)


def _settings(test: Test, at: int) -> Iterator[Step]:
    for (thread, name), value in test.registers.items():
        if thread == at:
            yield ("let", _canonical(test, name), _word(value))


def _canonical(test: Test, register: str) -> str:
    found = register_of(register) if test.arch != "C" else None
    return found[0] if found else register


# ---- the condition ---------------------------------------------------------------------------------------------------


def _forbidden(test: Test, variables: tuple[str, ...], registers: list[tuple[str, ...]]) -> tuple[Word, ...]:
    condition = test.condition
    wanted: Proposition = condition.proposition if condition.quantifier != "forall" else Not(condition.proposition)
    if condition.filter != TRUE:
        wanted = Join("and", condition.filter, wanted)
    spelled = _Condition(test, variables, registers)
    for place in condition.locations:
        spelled.value_of(place, 0)
    if wanted == Not(TRUE):
        return ()
    return tuple(spelled.words(wanted))


class _Condition:
    def __init__(self, test: Test, variables: tuple[str, ...], registers: list[tuple[str, ...]]) -> None:
        self.test, self.registers, self.variables = test, registers, variables
        self.shared = {p.name for thread in test.threads for p in thread.parameters}
        self.shared |= {*variables, *test.initial, *test.kinds}

    def words(self, node: Proposition) -> Iterator[Word]:
        match node:
            case Truth(value=value):
                yield int(value)
            case Not(operand=operand):
                yield from (*self.words(operand), "!")
            case Join(op=op, left=left, right=right):
                yield from (*self.words(left), *self.words(right), op)
            case Atom(place=place, op=op, value=value, line=line):
                yield self.value_of(place, line)
                if isinstance(value, str):
                    yield self.value_of(value, line)
                else:
                    yield self.constant(value, line)
                yield op

    def constant(self, value: int | Address, line: int) -> Word:
        if isinstance(value, int):
            return value
        name = f"{value.name}[0]" if value.name in self.test.arrays else value.name
        if name not in self.shared and name.split("[")[0] not in self.test.arrays:
            raise ScenarioError(f"{self.test.source}: line {line}: {value.name} is no shared variable")
        return f"&{name}"

    def value_of(self, place: str, line: int) -> Word:
        """A word for what a place holds in the end; what no thread touches is what it was in the beginning."""
        thread, colon, name = place.partition(":")
        if colon:
            if int(thread) >= len(self.test.threads):
                raise ScenarioError(f"{self.test.source}: line {line}: {place}: there is no thread P{thread}")
            name = _canonical(self.test, name)
            return f"{thread}:{name}" if name in self.registers[int(thread)] else 0
        if place in self.test.arrays:
            return self.constant(Address(place), line)
        if place in self.variables:
            return place
        if place not in self.shared and place.split("[")[0] not in self.test.arrays:
            raise ScenarioError(f"{self.test.source}: line {line}: {place} is no shared variable")
        return _word(self.test.initial.get(place, 0))
