"""What scenario and litmus files share: to be read, and to give values to their parameters and names."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from anonvma_rt.errors import ParameterError, ScenarioError, nearest, quote
from anonvma_rt.kernel.algorithm import read_bool
from anonvma_rt.kernel.scenario_file import Parameter
from anonvma_rt.text.expression import evaluate
from anonvma_rt.text.toml import LARGEST_FILE, shown

__all__ = ["bind_names", "bind_parameters", "holds", "read_text"]


def read_text(source: str) -> str:
    """The text of the file at the path `source`. Raises ScenarioError."""
    try:
        with Path(source).open("rb") as file:
            data = file.read(LARGEST_FILE + 1)  # one more than allowed: read_document refuses it
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if len(data) > LARGEST_FILE:
            return "\n" * len(data)  # cut inside a character; the size is what is wrong
        raise ScenarioError(f"{source}: not UTF-8 text (at byte {error.start})") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ScenarioError(f"{source}: cannot be read: {reason}") from None


def bind_parameters(
    parameters: Mapping[str, Parameter], values: Mapping[str, str | int | bool], source: str
) -> dict[str, int | bool]:
    """A value for each parameter: the given one, which may be text, or the default. Raises ParameterError."""
    for name in values:
        if name not in parameters:
            hint = nearest(str(name), parameters)
            raise ParameterError(f"{source}: unknown parameter {quote(str(name))}{hint}")
    return {
        name: _parameter_value(parameter, values.get(name, parameter.default), f"{source}: parameter {name}")
        for name, parameter in parameters.items()
    }


def bind_names(
    bound: Mapping[str, int | bool],
    definitions: Mapping[str, int | bool | str],
    require: Iterable[tuple[int | bool | str, str]],
    source: str,
) -> dict[str, int | bool]:
    """What a file's expressions may name: its parameters and what it computes of them. Raises ParameterError where
    something that the file requires does not hold."""
    names = dict(bound)
    for name, value in definitions.items():
        names[name] = evaluate(value, names, f"{source}: names.{name}")
    for number, (condition, otherwise) in enumerate(require, 1):
        if not holds(condition, names, f"{source}: require {number}: that"):
            given_values = ", ".join(f"{name}={shown(value)}" for name, value in bound.items())
            raise ParameterError(f"{source}: {otherwise} ({given_values})")
    return names


def holds(value: int | bool | str, names: Mapping[str, int | bool], where: str) -> bool:
    """The truth value of an expression, which must have one."""
    result = evaluate(value, names, where)
    if not isinstance(result, bool):
        raise ScenarioError(f"{where}: must be true or false, and {shown(value)} is a number")
    return result


def _parameter_value(parameter: Parameter, given: str | int | bool, where: str) -> int | bool:
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
