"""Types of the compiled module; its own docstrings say more."""

from collections.abc import Iterable

from anonvma_rt.engine.strategy.base import Strategy

class Follow(Strategy):
    def __init__(self, segments: Iterable[tuple[int, int]] = ()) -> None: ...
