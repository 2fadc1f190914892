"""Types of the compiled module; its own docstrings say more."""

from typing import Any, Final

ALLOCATIONS: Final[tuple[str, ...]]
NOTES: Final[dict[int, str]]
BUGS: Final[dict[int, str]]
COUNTERS: Final[tuple[str, ...]]
KINDS: Final[dict[int, str]]

def names(enum: Any, prefix: str = "", between: str = "-") -> dict[int, str]: ...
