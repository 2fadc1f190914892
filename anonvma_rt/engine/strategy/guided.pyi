"""Types of the compiled module; its own docstrings say more."""

from anonvma_rt.engine.strategy.pos import Pos

class Guided(Pos):
    @property
    def epoch(self) -> int: ...
    def __init__(self) -> None: ...
