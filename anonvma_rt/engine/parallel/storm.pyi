"""Types of the compiled module; its own docstrings say more."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.records import StormBlock, Waiting

MOST_PAUSES: Final[int]
NUMBERS: Final[tuple[str, ...]]
STUCK_SECONDS: Final[float]

class Storm:
    @property
    def explorer(self) -> Explorer: ...
    def __init__(
        self,
        explorer: Explorer,
        cpus: Iterable[int] | None = None,
        stuck: Callable[[Sequence[Waiting]], None] | None = None,
    ) -> None: ...
    def __enter__(self) -> Storm: ...
    def __exit__(self, *exception: object) -> None: ...
    def close(self) -> None: ...
    def run(
        self,
        first: int,
        count: int,
        delays: Mapping[str, int] | None = None,
        seed: int = 0,
        record: bool = False,
        keep: int = 0,
        seconds: float = 0.0,
    ) -> StormBlock: ...
    def collect(self, first: int = 0) -> StormBlock: ...
    def waiting(self) -> list[Waiting]: ...
