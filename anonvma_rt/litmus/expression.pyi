"""Types of the compiled module; its own docstrings say more."""

from collections.abc import Mapping
from typing import Final

TYPES: Final[Mapping[str, int]]
OPERATORS: Final[Mapping[str, int]]
OF_ONE: Final[Mapping[str, int]]

def address(place: int) -> int: ...
