"""Types of the compiled module; its own docstrings say more."""

from collections.abc import Iterable

from anonvma_rt.engine.strategy.base import Strategy

class Cuts(Strategy):
    @property
    def fair(self) -> bool: ...
    def __init__(self, cuts: Iterable[tuple[int, int]] = (), fair: bool = False) -> None: ...
