"""Types of the compiled module; its own docstrings say more."""

from typing import Final

BIT_OF_READ_ONLY: Final[int]
BIT_OF_NO_ACCESS: Final[int]
PROT_WORDS: Final[tuple[str, ...]]
VERBS: Final[dict[str, tuple[tuple[str, str, int | str | None], ...]]]

def rights(writable: bool | None, prot: str | None = None) -> int: ...
