"""Types of the compiled module; its own docstrings say more."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

TYPES: Final[Mapping[str, int]]
OPERATORS: Final[Mapping[str, int]]
OF_ONE: Final[Mapping[str, int]]

def number(what: str, value: Any) -> int: ...
def address(place: int) -> int: ...
def compile_expression(where: str, words: Any, operand: Any) -> list[tuple[int, int]]: ...
def compile_outcome(
    where: str, outcome: Any, names: Sequence[str], variables: Iterable[str], registers: Sequence[str]
) -> list[tuple[int, int]]: ...
