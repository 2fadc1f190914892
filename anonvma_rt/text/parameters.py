"""What a text may leave open: parameters, the names that it computes of them, and what must hold of their values.

Scenario files, litmus tests and the user's own subjects have the same parameters; here they are read, checked and given
values.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from anonvma_rt.errors import ParameterError, ScenarioError, nearest, quote
from anonvma_rt.text.expression import LIMIT, NAME, evaluate, has_meaning
from anonvma_rt.text.toml import as_table, as_value, check_keys, get_line, get_list, shown

__all__ = [
    "Definitions",
    "Parameter",
    "bind_parameters",
    "holds",
    "parse_parameters",
    "read_bool",
    "read_parameter",
    "spelled",
]

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


@dataclass(frozen=True)
class Parameter:
    """A number or a switch that the user may set with -p NAME=VALUE; a switch if the default is a bool.

    minimum, maximum and multiple_of bound a number; they mean nothing for a switch.
    """

    name: str
    default: int | bool
    minimum: int = 0
    maximum: int = LIMIT - 1
    multiple_of: int = 1
    about: str = ""

    def problem(self, value: int | bool) -> str | None:
        """Why `value` cannot be this parameter's value and what would be right, or None if it can."""
        if isinstance(self.default, bool) or isinstance(value, bool):
            if isinstance(self.default, bool) and isinstance(value, bool):
                return None
            return f"must be {'true or false' if isinstance(self.default, bool) else 'an integer'}, not {shown(value)}"
        if value < self.minimum:
            return f"{shown(value)} is below the minimum {self.minimum}"
        if value > self.maximum:
            return f"{shown(value)} is above the maximum {self.maximum}"
        if value % self.multiple_of:
            down = value - value % self.multiple_of
            near = [str(n) for n in (down, down + self.multiple_of) if self.minimum <= n <= self.maximum]
            right = f" ({' and '.join(near)} {'are' if len(near) == 2 else 'is'})" if near else ""
            return f"{value} is not a multiple of {self.multiple_of}{right}"
        return None


class Definitions(NamedTuple):
    """parameters; names: values and expressions over what stands before them; require: conditions, each with what to
    say where it does not hold."""

    parameters: dict[str, Parameter]
    names: dict[str, int | bool | str]
    require: list[tuple[int | bool | str, str]]

    @classmethod
    def read(cls, top: dict[str, Any], source: str) -> "Definitions":
        """Of a file's top-level table. Raises ScenarioError."""
        parameters = {
            name: read_parameter(name, value, f"{source}: parameters.{name}")
            for name, value in _named(top, "parameters", source).items()
        }
        names = {
            name: as_value(value, f"{source}: names.{name}") for name, value in _named(top, "names", source).items()
        }
        for name in names:
            if name in parameters:
                raise ScenarioError(f"{source}: names.{name}: there is a parameter of this name (choose another name)")
        require = [_requirement(v, f"{source}: require {n}") for n, v in enumerate(get_list(top, "require", source), 1)]
        return cls(parameters, names, require)

    def evaluate(self, bound: Mapping[str, int | bool], source: str) -> dict[str, int | bool]:
        """What a file's expressions may name: these values of its parameters and what it computes of them. Raises
        ParameterError where something that the file requires does not hold."""
        names = dict(bound)
        for name, value in self.names.items():
            names[name] = evaluate(value, names, f"{source}: names.{name}")
        for number, (condition, otherwise) in enumerate(self.require, 1):
            if not holds(condition, names, f"{source}: require {number}: that"):
                given_values = ", ".join(f"{name}={shown(value)}" for name, value in bound.items())
                raise ParameterError(f"{source}: {otherwise} ({given_values})")
        return names


def bind_parameters(
    parameters: Mapping[str, Parameter], values: Mapping[str, str | int | bool], source: str
) -> dict[str, int | bool]:
    """A value for each parameter: the given one, which may be text, or the default. Raises ParameterError."""
    for name in values:
        if name not in parameters:
            hint = nearest(str(name), parameters)
            raise ParameterError(f"{source}: unknown parameter {quote(str(name))}{hint}")
    return {
        name: _value(parameter, values.get(name, parameter.default), f"{source}: parameter {name}")
        for name, parameter in parameters.items()
    }


def holds(value: int | bool | str, names: Mapping[str, int | bool], where: str) -> bool:
    """The truth value of an expression, which must have one."""
    result = evaluate(value, names, where)
    if not isinstance(result, bool):
        raise ScenarioError(f"{where}: must be true or false, and {shown(value)} is a number")
    return result


def parse_parameters(assignments: Iterable[str]) -> dict[str, str]:
    """The -p options of the command line as a mapping for bind(). Raises ParameterError.

    >>> parse_parameters(["pages=64", "exact=false"])
    {'pages': '64', 'exact': 'false'}
    """
    values: dict[str, str] = {}
    for assignment in assignments:
        name, equals, value = (part.strip() for part in assignment.partition("="))
        if not (name and equals and value):
            raise ParameterError(f"parameter {quote(assignment)} is not of the form NAME=VALUE")
        if name in values:
            raise ParameterError(f"parameter {quote(name)} is given twice")
        values[name] = value
    return values


def spelled(values: Mapping[str, int | bool]) -> str:
    """The same the other way round.

    >>> spelled({"pages": 4, "exact": True})
    'pages=4 exact=true'
    """
    return " ".join(f"{name}={str(value).lower()}" for name, value in values.items())


def read_bool(text: str) -> bool | None:
    """true, yes, on, 1 and their opposites, in any case; None for any other text."""
    word = text.strip().lower()
    return True if word in _TRUE else False if word in _FALSE else None


def read_parameter(name: str, value: object, where: str) -> Parameter:
    """One entry of the table `parameters`. Raises ScenarioError."""
    table = as_table(value, where)
    check_keys(table, ["default", "min", "max", "multiple_of", "about"], where)
    about = get_line(table, "about", where, "")
    default = table.get("default")
    if isinstance(default, bool):
        for key in ("min", "max", "multiple_of"):
            if key in table:
                raise ScenarioError(f"{where}: {key} has no meaning for a parameter that is true or false")
        return Parameter(name, default, about=about)
    numbers: dict[str, Any] = {"default": default, "min": 0, "max": LIMIT - 1, "multiple_of": 1} | table
    for key in ("default", "min", "max", "multiple_of"):
        number = numbers[key]
        if key == "default" and number is None:
            raise ScenarioError(f'{where}: the key "default" is missing (an integer, true or false)')
        if not isinstance(number, int) or isinstance(number, bool) or abs(number) >= LIMIT:
            right = "an integer, true or false" if key == "default" else "an integer"
            raise ScenarioError(f"{where}: {key}: must be {right}, not {shown(number)}")
    if numbers["multiple_of"] < 1:
        raise ScenarioError(f"{where}: multiple_of: must be at least 1, not {numbers['multiple_of']}")
    parameter = Parameter(name, numbers["default"], numbers["min"], numbers["max"], numbers["multiple_of"], about)
    if problem := parameter.problem(parameter.default):
        raise ScenarioError(f"{where}: default: {problem}")
    return parameter


def _value(parameter: Parameter, given: str | int | bool, where: str) -> int | bool:
    value: int | bool | None
    if not isinstance(given, str):
        if not isinstance(given, int):
            raise ParameterError(f"{where}: must be an integer, true, false or text, not {shown(given)}")
        value = given
    elif isinstance(parameter.default, bool):
        value = read_bool(given)
        if value is None:
            raise ParameterError(f"{where}: must be true or false, not {quote(given)}")
    else:
        try:
            value = evaluate(given, {}, where)
        except ScenarioError as error:
            raise ParameterError(str(error)) from None
    if problem := parameter.problem(value):
        raise ParameterError(f"{where}: {problem}")
    return value


def _requirement(value: object, where: str) -> tuple[int | bool | str, str]:
    table = as_table(value, where)
    check_keys(table, ["that", "otherwise"], where)
    if "that" not in table:
        raise ScenarioError(f'{where}: the key "that" is missing')
    return as_value(table["that"], f"{where}: that"), get_line(table, "otherwise", where)


def _named(top: dict[str, Any], key: str, source: str) -> dict[str, Any]:
    """The table at `key`, whose keys become names in expressions."""
    table = as_table(top.get(key, {}), f"{source}: {key}")
    for name in table:
        if not re.fullmatch(NAME, name):
            raise ScenarioError(f"{source}: {key}: {quote(name)} is not a name (letters, digits and _, at most 40)")
        if has_meaning(name):
            raise ScenarioError(f"{source}: {key}.{name}: the name has a meaning already (choose another name)")
    return table
