"""Types of the compiled module; its own docstrings say more."""

from anonvma_rt.engine.run.subject import Memory

TOO_MANY_VARIABLES: int
MODELS: dict[str, int]

class Buffers(Memory):
    @property
    def each(self) -> int: ...
    def __init__(self, model: str, variables: int = 0) -> None: ...
    def tasks(self, bodies: int) -> int: ...
