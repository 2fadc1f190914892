"""Types of the compiled module; its own docstrings say more."""

from typing import Final

DEFAULT: Final[str]
NAMES: Final[dict[str, tuple[int, str]]]
