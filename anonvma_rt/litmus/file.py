"""Reading a litmus file: TOML text to a checked LitmusDocument.

Instructions and outcomes are lines such as "store x{i} 1", in which an expression in braces stands for its number, and
tables that repeat lines, have them under a condition of parameters (when), or are branches and loops of a thread. The
file may come from anyone, so everything is bounded, as in a scenario file.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from anonvma_rt.engine.run.subject import KINDS as ENGINE_KINDS
from anonvma_rt.errors import ScenarioError, nearest, quote
from anonvma_rt.litmus.program import KINDS as PROGRAM_KINDS
from anonvma_rt.text.expected import Expected, read_expected
from anonvma_rt.text.expression import is_free_name
from anonvma_rt.text.names import read_names
from anonvma_rt.text.parameters import Definitions, Parameter
from anonvma_rt.text.toml import as_table, as_value, check_keys, get_line, get_list, get_word, load_toml, shown

__all__ = ["KINDS", "Block", "Branch", "Line", "LitmusDocument", "RawThread", "is_litmus", "read_litmus"]

KINDS = (*PROGRAM_KINDS.values(), *ENGINE_KINDS.values())
MOST_VARIANTS = 64
DEEPEST = 8  # tables within each other
DEFAULT_VARIANT = "sc"
_TOP_KEYS = (
    "litmus", "about", "strategy", "interesting", "parameters", "names", "require", "variants", "expect", "classes",
    "types", "initial", "setup", "thread", "forbidden", "reachable",
)  # fmt: skip


class Block(NamedTuple):
    """Lines that are there `repeat` times, `name` counting from 0, if `when` holds."""

    lines: "tuple[Line, ...]"
    repeat: int | bool | str
    name: str
    when: int | bool | str
    where: str


class Branch(NamedTuple):
    """`if` with its `else`, or a `while`, of a condition over registers.

    most: how often a loop is unrolled; None: it is a real one.
    """

    loop: bool
    condition: str
    most: int | bool | str | None
    steps: Block
    otherwise: Block
    where: str


Line = str | Block | Branch


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
    types: dict[str, str]
    initial: dict[str, int | bool | str]
    setup: Block
    threads: tuple[RawThread, ...]
    forbidden: Block
    reachable: Block

    @property
    def parameters(self) -> dict[str, Parameter]:
        return self.definitions.parameters


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
        types=_types(top, source),
        initial=_initial(top, source),
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
    if name and not is_free_name(name):
        raise ScenarioError(f"{where}: as: {quote(name)} is not a name, or has a meaning already")
    return Block(
        lines=_lines(get_list(table, key, where), key, where, depth),
        repeat=as_value(table.get("repeat", 1), f"{where}: repeat"),
        name=name,
        when=as_value(table.get("when", True), f"{where}: when"),
        where=where,
    )


def _lines(values: list[object], key: str, where: str, depth: int) -> tuple[Line, ...]:
    lines: list[Line] = []
    for number, value in enumerate(values, 1):
        place = f"{where}: {key.rstrip('s')} {number}"
        if isinstance(value, str):
            lines.append(get_line({key: value}, key, place))
        elif isinstance(value, dict) and key == "steps" and ("if" in value or "while" in value):
            lines.append(_branch(value, place, depth + 1))
        elif isinstance(value, dict):
            check_keys(value, ["repeat", "as", "when", key], place)
            lines.append(_block(value, key, place, depth + 1))
        else:
            right = f'a line in quotes, or a table with "{key}"'
            raise ScenarioError(f"{place}: must be {right}, not {shown(value)}")
    return tuple(lines)


def _branch(table: dict[str, Any], where: str, depth: int) -> Branch:
    loop = "while" in table
    check_keys(table, ["while", "most", "steps"] if loop else ["if", "steps", "else"], where)
    otherwise = {"steps": table.get("else", [])}
    return Branch(
        loop=loop,
        condition=get_line(table, "while" if loop else "if", where),
        most=as_value(table["most"], f"{where}: most") if "most" in table else None,
        steps=_block({"steps": table["steps"]} if "steps" in table else {}, "steps", where, depth),
        otherwise=_block(otherwise, "steps", f"{where}: else", depth),
        where=where,
    )


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


def _types(top: dict[str, Any], source: str) -> dict[str, str]:
    table = as_table(top.get("types", {}), f"{source}: types")
    return {name: get_word(table, name, f"{source}: types") for name in table}


def _initial(top: dict[str, Any], source: str) -> dict[str, int | bool | str]:
    table = as_table(top.get("initial", {}), f"{source}: initial")
    return {name: as_value(value, f"{source}: initial.{name}") for name, value in table.items()}
