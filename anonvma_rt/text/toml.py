"""TOML text to plain values, and the checks that every reader of such values needs.

A TOML file may come from anyone, so size and depth are bounded before it is parsed, and every error is one line: where,
what is wrong and what would be right. `where` is a path for people, such as `x.toml: setup step 3`.
"""

import json
import re
import tomllib
from collections.abc import Iterable, Sequence
from typing import Any

from anonvma_rt.errors import ScenarioError, nearest, quote
from anonvma_rt.text.shape import line, shown

__all__ = [
    "LARGEST_FILE",
    "as_table",
    "as_toml",
    "as_value",
    "check_keys",
    "get_line",
    "get_list",
    "get_word",
    "load_toml",
    "shown",
]

LARGEST_FILE = 1 << 20  # bytes
LONGEST_LINE, MOST_DOTS = 4096, 32  # tomllib takes time quadratic in the depth of a dotted key
MOST_DOTS_OF_ALL = 20_000  # and linear in the number of dots, a few microseconds each

_LINE = line()


def load_toml(text: str, source: str) -> dict[str, Any]:
    """The top-level table of a TOML text of at most 1 MiB. Raises ScenarioError, with the place if TOML is bad."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise ScenarioError(f"{source}: not UTF-8 text (at character {error.start})") from None
    if size > LARGEST_FILE:
        raise ScenarioError(f"{source}: larger than 1 MiB, which is the most for a scenario")
    dots = 0
    for number, row in enumerate(text.split("\n"), 1):
        if len(row) > LONGEST_LINE:
            raise ScenarioError(f"{source}: line {number}: longer than {LONGEST_LINE} characters")
        if row.count(".") > MOST_DOTS and not row.lstrip().startswith("#"):
            raise ScenarioError(f"{source}: line {number}: more than {MOST_DOTS} dots (no key is nested so deeply)")
        dots += 0 if row.lstrip().startswith("#") else row.count(".")
    if dots > MOST_DOTS_OF_ALL:
        raise ScenarioError(f"{source}: more than {MOST_DOTS_OF_ALL} dots in all (as in names of tables)")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", str(error), re.DOTALL)
        if not found:
            raise ScenarioError(f"{source}: {str(error)[:200]}") from None
        what, line_number, column = found[1][:200], found[2], found[3]  # it may repeat a very long key
        place = f"line {line_number}, column {column}" if line_number else f"line {text.count(chr(10)) + 1}, at the end"
        raise ScenarioError(f"{source}: {place}: {what}") from None
    except RecursionError:
        raise ScenarioError(f"{source}: values are nested too deeply") from None
    except ValueError as error:  # tomllib lets some through, e.g. a number of more than 4300 digits
        raise ScenarioError(f"{source}: {error}") from None


def check_keys(table: dict[str, Any], known: Iterable[str], where: str) -> None:
    """Refuses the first key that is not known, and suggests the nearest that is."""
    known = list(known)
    for key in table:
        if key not in known:
            raise ScenarioError(f"{where}: unknown key {quote(key)}{nearest(key, known)}")


def as_table(value: object, where: str) -> dict[str, Any]:
    """The value itself, which must be a table."""
    if not isinstance(value, dict):
        raise ScenarioError(f"{where}: must be a table, not {shown(value)}")
    return value


def get_list(table: dict[str, Any], key: str, where: str) -> list[object]:
    """The list at `key`; empty if the key is missing."""
    value = table.get(key, [])
    if not isinstance(value, list):
        raise ScenarioError(f"{where}: {key}: must be a list, not {shown(value)}")
    return value


def get_line(table: dict[str, Any], key: str, where: str, default: str | None = None) -> str:
    """The one-line string at `key`, which must be there unless a default is given."""
    if key not in table:
        if default is None:
            raise ScenarioError(f'{where}: the key "{key}" is missing')
        return default
    return str(_LINE(table[key], f"{where}: {key}"))


def get_word(table: dict[str, Any], key: str, where: str) -> str:
    """The name at `key`: something that people type and that file names are made of."""
    name = get_line(table, key, where)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", name):
        right = "at most 40 letters, digits, dots, - and _"
        raise ScenarioError(f"{where}: {key}: {quote(name)} is not a name ({right})")
    return name


def as_value(value: object, where: str) -> int | bool | str:
    """The value itself, which must be something that expression.evaluate() takes."""
    if isinstance(value, int | str):
        return value
    raise ScenarioError(f"{where}: must be an integer, true, false or an expression in quotes, not {shown(value)}")


def as_toml(value: int | bool | str | Sequence[str]) -> str:
    """A value as it stands in a TOML text."""
    return json.dumps(value, ensure_ascii=False)
