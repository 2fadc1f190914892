"""Types of the compiled module; its own docstrings say more."""

from anonvma_rt.engine.run.strategy import Strategy

class Surw(Strategy):
    @property
    def wanted(self) -> int: ...
    def __init__(self, place: int = 0) -> None: ...
