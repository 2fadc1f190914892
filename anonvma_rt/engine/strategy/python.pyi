"""Types of the compiled module; its own docstrings say more."""

from random import Random
from typing import Final, NamedTuple

from anonvma_rt.engine.strategy.base import Strategy

OPS: Final[tuple[str, ...]]

class Moment(NamedTuple):
    execution: int
    step: int
    current: int | None
    enabled: tuple[int, ...]
    ops: tuple[str | None, ...]
    objects: tuple[int | None, ...]

class PyStrategy(Strategy):
    @property
    def random(self) -> Random: ...
    def begins(self, execution: int) -> None: ...
    def choose(self, moment: Moment) -> int | tuple[int, int]: ...
