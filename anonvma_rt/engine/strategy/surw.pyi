"""Types of the compiled module; its own docstrings say more."""

from anonvma_rt.engine.run.strategy import Strategy

class Surw(Strategy):
    @property
    def wanted(self) -> int: ...
    @property
    def draws(self) -> bool: ...
    def __init__(self, place: int = 0, draw: int = 0) -> None: ...
