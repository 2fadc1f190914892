"""Types of the compiled module; its own docstrings say more."""

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.records import Place

class Places:
    @property
    def shared(self) -> list[Place]: ...
    def __init__(self, explorer: Explorer) -> None: ...
    def close(self) -> None: ...
