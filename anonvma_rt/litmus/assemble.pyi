"""Types of the compiled module; its own docstrings say more."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

VERBS: Final[Mapping[Any, tuple[Any, ...]]]
WITHOUT_POINT: Final[tuple[str, ...]]
JUMPS: Final[tuple[str, ...]]
RCU: Final[str]

def is_name(word: object) -> bool: ...
def name_of(step: Any) -> str | None: ...
def kinds_of_names(sections: Any, classes: Mapping[str, int], variables: Iterable[str] = ()) -> dict[str, int]: ...
def unprotected(threads: Any, aliased: Iterable[str] = ()) -> set[str]: ...
