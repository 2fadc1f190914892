"""The initial state of a litmus file: "{ int x = 1; y = &x; 0:r1 = x; int t[2] = {1,2}; spinlock_t l; }"."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from anonvma_rt.litmus.herd.lexer import Token, Tokens
from anonvma_rt.litmus.herd.tree import Address
from anonvma_rt.litmus.herd.types import begins_type, read_stars, read_type

__all__ = ["Initial", "read_initial"]

MOST_ELEMENTS = 64


@dataclass
class Initial:
    """kinds: of those that are declared. variables: what has a value. registers: by thread and name."""

    kinds: dict[str, str] = field(default_factory=dict)
    variables: dict[str, int | Address] = field(default_factory=dict)
    registers: dict[tuple[int, str], int | Address] = field(default_factory=dict)
    arrays: dict[str, int] = field(default_factory=dict)


def read_initial(tokens: Tokens) -> Initial:
    """With its braces."""
    found = Initial()
    where = "the initial state"
    tokens.expect("{", where)
    while not tokens.accept("}"):
        if tokens.accept(";"):
            continue
        _one(tokens, found, where)
        if tokens.next.text != "}":
            tokens.expect(";", where)
    # An array's name, as a value, is where its first element is.
    values: tuple[dict[str, int | Address], dict[tuple[int, str], int | Address]] = (found.variables, found.registers)
    for table in values:
        _point_into(table, found.arrays)
    return found


def _point_into(table: dict, arrays: Mapping[str, int]) -> None:  # type: ignore[type-arg]
    for key, value in table.items():
        if isinstance(value, Address) and value.name in arrays:
            table[key] = Address(f"{value.name}[0]")


def _one(tokens: Tokens, found: Initial, where: str) -> None:
    kind: str | None = None
    if tokens.next.kind == "name" and begins_type(tokens.next.text):
        base, stars = read_type(tokens, where)
        kind = "" if stars else base
    else:
        read_stars(tokens)
    bracket = tokens.accept("[")
    if tokens.next.kind == "number":
        thread = tokens.number(where)
        tokens.expect(":", where)
        tokens.accept("%", "$")
        name = tokens.name(where)
        value = _value(tokens, found, name, where) if tokens.accept("=") else 0
        if isinstance(value, list):
            tokens.fail(f"{where}: a register holds one value", name.line)
        found.registers[thread, name.text] = value
        return
    name = tokens.name(where)
    if bracket:
        tokens.expect("]", where)
    elif tokens.accept("["):
        _array(tokens, found, name, kind, where)
        return
    if kind is not None:
        found.kinds[name.text] = kind
    if tokens.accept("="):
        value = _value(tokens, found, name, where)
        if isinstance(value, list):
            tokens.fail(f"{where}: {name.text} is no array, and has one value", name.line)
        found.variables[name.text] = value


def _array(tokens: Tokens, found: Initial, name: Token, kind: str | None, where: str) -> None:
    size = None if tokens.next.text == "]" else tokens.number(where)
    tokens.expect("]", where)
    values = _value(tokens, found, name, where) if tokens.accept("=") else []
    if not isinstance(values, list):
        if kind is None and size is not None:  # x[1] = 5: one element of an array that was declared before
            found.variables[f"{name.text}[{size}]"] = values
            return
        tokens.fail(f"{where}: the values of {name.text} stand in braces", name.line)
    size = len(values) if size is None else size
    if not max(1, len(values)) <= size <= MOST_ELEMENTS:
        tokens.fail(f"{where}: {name.text} has {size} elements (at most {MOST_ELEMENTS}, and its values)", name.line)
    found.arrays[name.text] = size
    for at in range(size):
        if kind is not None:
            found.kinds[f"{name.text}[{at}]"] = kind
        if at < len(values):
            found.variables[f"{name.text}[{at}]"] = values[at]


def _value(tokens: Tokens, found: Initial, name: Token, where: str) -> int | Address | list[int | Address]:
    if tokens.accept("{"):
        values: list[int | Address] = []
        while not tokens.accept("}"):
            one = _value(tokens, found, name, where)
            if isinstance(one, list):
                tokens.fail(f"{where}: {name.text} is an array of arrays, which is not understood", name.line)
            values.append(one)
            if not tokens.accept(","):
                tokens.expect("}", where)
                break
        return values
    if tokens.accept("("):
        if tokens.next.kind == "name" and begins_type(tokens.next.text):
            read_type(tokens, where)
            tokens.expect(")", where)
            return _value(tokens, found, name, where)
        value = _value(tokens, found, name, where)
        tokens.expect(")", where)
        return value
    if tokens.next.text in ("ATOMIC_INIT", "ATOMIC64_INIT", "ATOMIC_LONG_INIT"):
        tokens.take()
        tokens.expect("(", where)
        number = tokens.number(where)
        tokens.expect(")", where)
        return number
    tokens.accept("&")
    if tokens.next.kind == "name":
        target = tokens.take().text
        if tokens.accept("["):
            target = f"{target}[{tokens.number(where)}]"
            tokens.expect("]", where)
        return Address(target)
    return tokens.number(where)
