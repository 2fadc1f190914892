"""Types of the compiled module; its own docstrings say more."""

from anonvma_rt.engine.run.strategy import Strategy

class Probe(Strategy):
    @property
    def weights(self) -> list[float]: ...
    def __init__(self, warm: int = 32) -> None: ...
