"""Types of the compiled module; its own docstrings say more."""

from anonvma_rt.engine.strategy.pos import Pos

class Guided(Pos):
    def __init__(self) -> None: ...
