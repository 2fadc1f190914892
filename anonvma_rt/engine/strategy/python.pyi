"""Types of the compiled module; its own docstrings say more."""

from random import Random
from typing import NamedTuple

from anonvma_rt.engine.run.strategy import Strategy

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
