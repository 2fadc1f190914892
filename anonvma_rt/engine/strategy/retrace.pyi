"""Types of the compiled module; its own docstrings say more."""

from anonvma_rt.engine.strategy.base import Strategy

class Retrace(Strategy):
    @property
    def at(self) -> int: ...
    @property
    def lost(self) -> bool: ...
    def __init__(self, tasks: bytes, marks: bytes) -> None: ...
