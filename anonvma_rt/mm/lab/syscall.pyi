"""Types of the compiled module; its own docstrings say more."""

from typing import Final

BIT_OF_READ_ONLY: Final[int]
VERBS: Final[dict[str, tuple[tuple[str, str, int | str | None], ...]]]
