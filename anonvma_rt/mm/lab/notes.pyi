"""Types of the compiled module; its own docstrings say more."""

from typing import Final

ALLOCATIONS: Final[tuple[str, ...]]
NOTES: Final[dict[int, str]]
BUGS: Final[dict[int, str]]
