"""Types of the compiled module; its own docstrings say more."""

from typing import Final

VERBS: Final[dict[str, tuple[tuple[str, str, int | str | None], ...]]]
