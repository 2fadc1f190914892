"""What a value from a file must look like: one way to say it, for JSON, TOML and the rows of stores.

A shape takes a value and the place where it stands, and gives the value back or raises ShapeError: one line with the
place, what would be right, and what is there. Shapes of tables are made of shapes, so what a file may hold is declared
and not programmed, and whoever has the checked value needs no further doubt. Everything has an upper bound.

>>> point = record({"x": whole(0, 9), "name": line()})
>>> point({"x": 3, "name": "a"}, "file.json")["x"]
3
>>> point({"x": 10, "name": "a"}, "file.json")
Traceback (most recent call last):
...
anonvma_rt.text.shape.ShapeError: file.json: x: must be a whole number from 0 to 9, not 10
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from anonvma_rt.errors import ScenarioError, nearest, quote
from anonvma_rt.text.expression import LIMIT

__all__ = [
    "LAST", "VALUE", "Shape", "ShapeError", "digest", "either", "line", "list_of", "maybe", "number",
    "one_of", "record", "shown", "switch", "table_of", "text", "tuple_of", "whole", "wholes", "word", "wrong",
]  # fmt: skip

LAST = (1 << 64) - 1  # the largest seed or index
LONGEST_LINE = 300  # characters of one string that is a name or a sentence

Shape: TypeAlias = Callable[[Any, str], Any]


class ShapeError(ScenarioError):
    """A file has something in it that it cannot have."""


def shown(value: object) -> str:
    """A value for a message: short whatever it is, and without recursion into what may be nested very deeply."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value) if abs(value) < LIMIT else "a number of 2**62 or more"
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    return f"a {type(value).__name__}"


def wrong(where: str, right: str, value: object) -> ShapeError:
    return ShapeError(f"{where}: must be {right}, not {shown(value)}")


# ---- values ----------------------------------------------------------------------------------------------------------


def whole(low: int = 0, high: int = LAST) -> Shape:
    def check(value: Any, where: str) -> int:
        if type(value) is not int or not low <= value <= high:
            raise wrong(where, f"a whole number from {low} to {_spelled(high)}", value)
        return value

    return check


def number(low: float, high: float) -> Shape:
    """A float; a whole number will do."""

    def check(value: Any, where: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise wrong(where, f"a number from {low:g} to {high:g}", value)
        return float(value)

    return check


def switch(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise wrong(where, "true or false", value)
    return value


def VALUE(value: Any, where: str) -> int | bool:
    """What a parameter may have."""
    if not isinstance(value, int) or abs(value) >= LIMIT:
        raise wrong(where, "true, false or a whole number below 2**62", value)
    return value


def line(most: int = LONGEST_LINE, least: int = 1) -> Shape:
    """Printable characters without a line end."""

    def check(value: Any, where: str) -> str:
        if not isinstance(value, str):
            raise wrong(where, "a string", value)
        if not least <= len(value) <= most or not value.isprintable():
            raise wrong(where, f"one line of {least} to {most} characters", value)
        return value

    return check


def text(most: int) -> Shape:
    """Any number of lines, of at most so many bytes as UTF-8."""

    def check(value: Any, where: str) -> str:
        if not isinstance(value, str):
            raise wrong(where, "a string", value)
        try:
            size = len(value.encode()) if len(value) <= most else most + 1
        except UnicodeEncodeError:
            raise wrong(where, "text that UTF-8 can hold", value) from None
        if size > most:
            raise ShapeError(f"{where}: must be at most {most} bytes long")
        return value

    return check


def word(pattern: str, right: str) -> Shape:
    def check(value: Any, where: str) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise wrong(where, right, value)
        return value

    return check


def digest(digits: int) -> Shape:
    """So many hexadecimal digits."""
    return word(f"[0-9a-f]{{{digits}}}", f"{digits} hexadecimal digits")


def one_of(what: str, choices: Iterable[str]) -> Shape:
    known = tuple(choices)

    def check(value: Any, where: str) -> str:
        if not isinstance(value, str) or value not in known:
            hint = nearest(value, known) if isinstance(value, str) else f" (choices: {', '.join(known)})"
            raise ShapeError(f"{where}: unknown {what} {shown(value)}{hint}")
        return value

    return check


def maybe(shape: Shape) -> Shape:
    """Or null."""
    return lambda value, where: None if value is None else shape(value, where)


def either(test: Callable[[Any], bool], one: Shape, other: Shape) -> Shape:
    """One shape where `test` of the value holds, the other where it does not."""
    return lambda value, where: (one if test(value) else other)(value, where)


# ---- of several ------------------------------------------------------------------------------------------------------


def list_of(shape: Shape, most: int, least: int = 0) -> Shape:
    def check(value: Any, where: str) -> list[Any]:
        if not isinstance(value, list):
            raise wrong(where, "a list", value)
        if not least <= len(value) <= most:
            raise ShapeError(f"{where}: must have {least} to {_spelled(most)} entries, not {len(value)}")
        return [shape(one, f"{where}: {at}") for at, one in enumerate(value, 1)]

    return check


def wholes(low: int, high: int, most: int) -> Shape:
    """A list of whole numbers, checked without a call for each."""

    def check(value: Any, where: str) -> list[int]:
        if not isinstance(value, list):
            raise wrong(where, "a list", value)
        if len(value) > most:
            raise ShapeError(f"{where}: must have at most {_spelled(most)} entries, not {len(value)}")
        if value and (set(map(type, value)) != {int} or min(value) < low or max(value) > high):
            raise ShapeError(f"{where}: must be a list of whole numbers from {low} to {_spelled(high)}")
        return value

    return check


def tuple_of(*shapes: Shape) -> Shape:
    """A list with exactly these entries."""

    def check(value: Any, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) != len(shapes):
            raise wrong(where, f"a list of {len(shapes)} entries", value)
        return tuple(shape(one, f"{where}: {at}") for at, (shape, one) in enumerate(zip(shapes, value, strict=True), 1))

    return check


def table_of(shape: Shape, most: int, key: Shape | None = None) -> Shape:
    """A table with any keys, one line each unless `key` says more."""
    key = key or line()

    def check(value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise wrong(where, "a table", value)
        if len(value) > most:
            raise ShapeError(f"{where}: must have at most {_spelled(most)} entries, not {len(value)}")
        return {key(name, f"{where}: a key"): shape(one, f"{where}: {quote(name)}") for name, one in value.items()}

    return check


def record(fields: Mapping[str, Shape], optional: Mapping[str, Shape] | None = None, others: bool = False) -> Shape:
    """A table with these keys. others: further ones are left out of the result, and not refused."""
    every = {**fields, **(optional or {})}

    def check(value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise wrong(where, "a table", value)
        for name in fields:
            if name not in value:
                raise ShapeError(f'{where}: the key "{name}" is missing')
        if not others:
            for name in value:
                if name not in every:
                    raise ShapeError(f"{where}: unknown key {quote(name)}{nearest(name, every)}")
        return {name: every[name](one, f"{where}: {name}") for name, one in value.items() if name in every}

    return check


def _spelled(number: int) -> str:
    power = number.bit_length()
    if number >= 1 << 20 and number & number - 1 == 0:
        return f"2**{power - 1}"
    if number >= 1 << 20 and number & number + 1 == 0:
        return f"2**{power} - 1"
    return str(number)
