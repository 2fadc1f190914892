"""Types of the compiled module; its own docstrings say more."""

from collections.abc import Iterable

from anonvma_rt.engine.run.explorer import Explorer

# (task, step, touch, place): touch is 0 where it reads, 1 where it writes, 2 for the engine's own work on a lock.
Side = tuple[int, int, int, int]

def listen(paths: Iterable[str]) -> list[str]: ...

class Audit:
    explorer: Explorer
    def __init__(self, explorer: Explorer) -> None: ...
    def close(self) -> None: ...
    @property
    def pairs(self) -> list[tuple[Side, Side, int, int, int, int, int, tuple[int, ...]]]: ...
    @property
    def unkept(self) -> int: ...
