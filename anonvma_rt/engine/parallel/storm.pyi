"""Types of the compiled module; its own docstrings say more."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from anonvma_rt.engine.run.explorer import Explorer

MOST_PAUSES: Final[int]
PROFILE: Final[tuple[str, ...]]
STUCK_SECONDS: Final[float]

class Draws:
    def __init__(self, seed: int, index: int) -> None: ...
    def uniform(self) -> float: ...

class Storm:
    @property
    def explorer(self) -> Explorer: ...
    def __init__(
        self,
        explorer: Explorer,
        cpus: Iterable[int] | None = None,
        stuck: Callable[[Sequence[tuple[int, str, int, int | None]]], None] | None = None,
    ) -> None: ...
    def __enter__(self) -> Storm: ...
    def __exit__(self, *exception: object) -> None: ...
    def close(self) -> None: ...
    def run(
        self,
        first: int,
        count: int,
        profile: Mapping[str, int] | None = None,
        seed: int = 0,
        record: bool = False,
        keep: int = 0,
        seconds: float = 0.0,
    ) -> dict[str, Any]: ...
    def collect(self, first: int = 0) -> dict[str, Any]: ...
    def waiting(self) -> list[tuple[int, str, int, int | None]]: ...
