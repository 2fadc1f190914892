"""Types of the compiled module; its own docstrings say more."""

from typing import Final

ARENA_ROOT: Final[int]
CHECKED: Final[set[str]]

def api_version() -> int: ...
