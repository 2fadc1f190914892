"""Types of the compiled module; its own docstrings say more."""

from collections.abc import Callable, Iterable
from typing import Final

from anonvma_rt.engine.run.strategy import Strategy

MEMBERS: Final[tuple[Callable[[], Strategy], ...]]

def drawing() -> Strategy: ...

class Portfolio(Strategy):
    @property
    def members(self) -> tuple[Strategy, ...]: ...
    def __init__(self, members: Iterable[Strategy] | None = None) -> None: ...
