"""Types of the compiled module; its own docstrings say more."""

from typing import Final

CHOICES: Final[dict[str, tuple[str, ...]]]
FIELDS: Final[tuple[str, ...]]
