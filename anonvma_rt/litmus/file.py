"""Reading a litmus file: TOML text to a checked LitmusDocument, and the lines of a document with values written out.

Instructions and outcomes are lines such as "store x{i} 1", in which an expression in braces stands for its number, and
tables that repeat lines or have them under a condition. The file may come from anyone, so everything is bounded, as in
a scenario file.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from anonvma_rt.engine.run.subject import KINDS as ENGINE_KINDS
from anonvma_rt.errors import ScenarioError, nearest, quote
from anonvma_rt.litmus.assemble import VERBS, WITHOUT_POINT
from anonvma_rt.litmus.program import KINDS as PROGRAM_KINDS
from anonvma_rt.text.expected import Expected, read_expected
from anonvma_rt.text.expression import NAME, evaluate, has_meaning
from anonvma_rt.text.names import read_names
from anonvma_rt.text.parameters import Definitions, Parameter
from anonvma_rt.text.toml import as_table, as_value, check_keys, get_line, get_list, get_word, load_toml, shown

__all__ = ["KINDS", "Block", "Instruction", "Lines", "LitmusDocument", "RawThread", "is_litmus", "read_litmus"]

KINDS = (*PROGRAM_KINDS.values(), *ENGINE_KINDS.values())
MOST_LINES = 10_000  # of all sections together, counted as they are repeated
MOST_OUTCOMES = 256  # forbidden ones, and reachable ones
MOST_VARIANTS = 64
MOST_OF_VARIANTS = 4 * MOST_LINES  # of all variants together
DEEPEST = 8  # tables within each other
DEFAULT_VARIANT = "sc"
_TOP_KEYS = (
    "litmus", "about", "strategy", "interesting", "parameters", "names", "require", "variants", "expect", "classes",
    "setup", "thread", "forbidden", "reachable",
)  # fmt: skip


class Block(NamedTuple):
    """Lines that are there `repeat` times, `name` counting from 0, if `when` holds."""

    lines: "tuple[str | Block, ...]"
    repeat: int | bool | str
    name: str
    when: int | bool | str
    where: str


class RawThread(NamedTuple):
    """A [[thread]]; its name may have numbers in braces, because it may be repeated."""

    name: str
    block: Block


@dataclass(frozen=True)
class LitmusDocument:
    """A litmus file, checked as far as it can be without parameter values. variants: values for parameters by name."""

    name: str
    about: str
    strategy: str
    interesting: tuple[str, ...] | None
    definitions: Definitions
    variants: dict[str, dict[str, int | bool]]
    expect: dict[str, Expected]
    classes: dict[str, int]
    setup: Block
    threads: tuple[RawThread, ...]
    forbidden: Block
    reachable: Block


def is_litmus(text: str, source: str) -> bool:
    """Whether a TOML text is a litmus test (which has the key `litmus`) and not a scenario. Raises ScenarioError."""
    return "litmus" in load_toml(text, source)


def read_litmus(text: str, source: str) -> LitmusDocument:
    """The document in `text`; `source` begins every message. Raises ScenarioError and nothing else."""
    top = load_toml(text, source)
    check_keys(top, _TOP_KEYS, source)
    name = get_line(top, "litmus", source)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,39}", name):
        right = "at most 40 letters, digits, dots, +, - and _"
        raise ScenarioError(f"{source}: litmus: {quote(name)} is not a name ({right})")
    definitions = Definitions.read(top, source)
    threads = [_thread(v, f"{source}: thread {n}") for n, v in enumerate(get_list(top, "thread", source), 1)]
    if not threads:
        raise ScenarioError(f"{source}: thread: there are 0 threads (at least 1 is right)")
    variants = _variants(top, definitions.parameters, source)
    return LitmusDocument(
        name=name,
        about=get_line(top, "about", source),
        strategy=get_line(top, "strategy", source, ""),
        interesting=read_names(top, source),
        definitions=definitions,
        variants=variants,
        expect=_expect(top, variants, source),
        classes=_classes(top, source),
        setup=_section(top, "setup", "steps", source),
        threads=tuple(threads),
        forbidden=_section(top, "forbidden", "outcomes", source),
        reachable=_section(top, "reachable", "outcomes", source),
    )


def _section(top: dict[str, Any], key: str, lines: str, source: str) -> Block:
    if isinstance(top.get(key), str):
        top = {key: [top[key]]}
    where = f"{source}: {key}"
    return Block(_lines(get_list(top, key, source), lines, where, 0), 1, "", True, where)


def _thread(value: object, where: str) -> RawThread:
    table = as_table(value, where)
    check_keys(table, ["name", "repeat", "as", "when", "steps"], where)
    name = get_line(table, "name", where)
    return RawThread(name, _block(table, "steps", f"{where[: where.rindex(' ')]} {quote(name)}", 0))


def _block(table: dict[str, Any], key: str, where: str, depth: int) -> Block:
    if depth > DEEPEST:
        raise ScenarioError(f"{where}: tables are nested too deeply (at most {DEEPEST} levels)")
    if ("repeat" in table) != ("as" in table):
        raise ScenarioError(f'{where}: "repeat" and "as" belong together (repeat = "n", as = "i" counts i from 0)')
    if key not in table:
        raise ScenarioError(f'{where}: the key "{key}" is missing')
    name = get_word(table, "as", where) if "as" in table else ""
    if name and not _is_name(name):
        raise ScenarioError(f"{where}: as: {quote(name)} is not a name, or has a meaning already")
    return Block(
        lines=_lines(get_list(table, key, where), key, where, depth),
        repeat=as_value(table.get("repeat", 1), f"{where}: repeat"),
        name=name,
        when=as_value(table.get("when", True), f"{where}: when"),
        where=where,
    )


def _lines(values: list[object], key: str, where: str, depth: int) -> tuple[str | Block, ...]:
    lines: list[str | Block] = []
    for number, value in enumerate(values, 1):
        place = f"{where}: {key.rstrip('s')} {number}"
        if isinstance(value, str):
            lines.append(get_line({key: value}, key, place))
        elif isinstance(value, dict):
            check_keys(value, ["repeat", "as", "when", key], place)
            lines.append(_block(value, key, place, depth + 1))
        else:
            right = f'a line in quotes, or a table with "{key}"'
            raise ScenarioError(f"{place}: must be {right}, not {shown(value)}")
    return tuple(lines)


def _variants(top: dict[str, Any], parameters: dict[str, Parameter], source: str) -> dict[str, dict[str, int | bool]]:
    variants: dict[str, dict[str, int | bool]] = {}
    tables = as_table(top.get("variants", {}), f"{source}: variants")
    if len(tables) > MOST_VARIANTS:
        raise ScenarioError(f"{source}: variants: there are {len(tables)} (at most {MOST_VARIANTS} are right)")
    for name, value in tables.items():
        where = f"{source}: variants.{name}"
        get_word({"variants": name}, "variants", source)
        table = as_table(value, where)
        check_keys(table, parameters, where)
        for parameter, given in table.items():
            if not isinstance(given, int):
                raise ScenarioError(f"{where}.{parameter}: must be an integer, true or false, not {shown(given)}")
            if problem := parameters[parameter].problem(given):
                raise ScenarioError(f"{where}.{parameter}: {problem}")
        variants[name] = dict(table)
    return variants or {DEFAULT_VARIANT: {}}


def _expect(top: dict[str, Any], variants: Mapping[str, object], source: str) -> dict[str, Expected]:
    expect: dict[str, Expected] = {}
    table = as_table(top.get("expect", {}), f"{source}: expect")
    for name, kind in table.items():
        if name not in variants:
            raise ScenarioError(f"{source}: expect: unknown variant {quote(name)}{nearest(name, variants)}")
        expect[name] = read_expected(kind, KINDS, f"{source}: expect.{name}")
    return expect


def _classes(top: dict[str, Any], source: str) -> dict[str, int]:
    table = as_table(top.get("classes", {}), f"{source}: classes")
    for name, number in table.items():
        if not isinstance(number, int) or isinstance(number, bool):
            raise ScenarioError(f"{source}: classes.{name}: must be a number, not {shown(number)}")
    return dict(table)


# ---- with values -----------------------------------------------------------------------------------------------------


class Instruction(NamedTuple):
    """One line of a thread as the engine's Program takes it: verb, name, operands; `text` is the line, for people.

    marked: whether the file says by a "!" in front of the verb that it is an interesting one.
    """

    words: tuple[str | int, ...]
    text: str
    marked: bool = False

    @classmethod
    def of(cls, text: str, where: str) -> "Instruction":
        """That of a line without braces.

        >>> Instruction.of("store x 1", "example").words
        ('store', 'x', 1)
        """
        verb, *operands = text.split() or [""]
        verb, marked = verb.removeprefix("!"), verb.startswith("!")
        where = f"{where}: {quote(text)}"
        if verb not in VERBS or not set(VERBS[verb][2]) <= set("rv"):
            raise ScenarioError(f"{where}: unknown verb {quote(verb)}{nearest(verb, VERBS)}")
        forms = VERBS[verb][2] if VERBS[verb][1] is None else f"n{VERBS[verb][2]}"
        if len(operands) != len(forms):
            right = " ".join({"n": "NAME", "r": "REGISTER", "v": "VALUE"}[form] for form in forms)
            raise ScenarioError(f"{where}: {verb} takes {right or 'nothing'}")
        words: list[str | int] = [verb]
        for operand, form in zip(operands, forms, strict=True):
            if form == "v" and re.fullmatch(r"-?[0-9]{1,19}", operand):
                words.append(int(operand))
            elif _is_name(operand):
                words.append(operand)
            else:
                right = "a number or a register" if form == "v" else "a name (letters, digits and _, at most 40)"
                raise ScenarioError(f"{where}: {quote(operand)} is not {right}, or has a meaning already")
        if marked and verb in WITHOUT_POINT:
            raise ScenarioError(f"{where}: {verb} is no step of its own, so it cannot be an interesting one")
        return cls(tuple(words), " ".join(map(str, words)), marked)


class Lines:
    """Writes repetitions out; one of it counts the lines of a whole file, because a file may repeat repetitions."""

    def __init__(self, source: str) -> None:
        self.source, self.count, self.of_all = source, 0, 0

    def of_next_variant(self) -> "Lines":
        """Counts anew, but for what all variants may have together."""
        self.count = 0
        return self

    def outcomes(
        self, block: Block, names: Mapping[str, int | bool]
    ) -> Iterator[tuple[str, Mapping[str, int | bool], str]]:
        """of(), where the lines are conditions, which are checked after every execution."""
        for number, line in enumerate(self.of(block, names), 1):
            if number > MOST_OUTCOMES:
                raise ScenarioError(f"{block.where}: more than {MOST_OUTCOMES} outcomes")
            yield line

    def of(self, block: Block, names: Mapping[str, int | bool]) -> Iterator[tuple[str, Mapping[str, int | bool], str]]:
        """(line without braces, the names that it may use, where it stands) for each line of a block."""
        for inner in self.rounds(block, names):
            for line in block.lines:
                if isinstance(line, Block):
                    yield from self.of(line, inner)
                else:
                    self.add()
                    yield fill(line, inner, block.where), inner, block.where

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


def _is_name(word: str) -> bool:
    return re.fullmatch(NAME, word) is not None and not has_meaning(word)
