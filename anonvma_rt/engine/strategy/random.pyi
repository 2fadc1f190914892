"""Types of the compiled module; its own docstrings say more."""

from anonvma_rt.engine.run.strategy import Strategy

class Random(Strategy):
    def __init__(self) -> None: ...
