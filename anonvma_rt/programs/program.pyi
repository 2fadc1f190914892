"""Types of the compiled module; its own docstrings say more."""

from collections.abc import Iterable

from anonvma_rt.engine.run.subject import Subject
from anonvma_rt.programs.image import Image

KINDS_OF_PROGRAMS: tuple[str, ...]

class Program(Subject):
    image: Image
    circles: bool
    leaks: bool
    arguments: list[bytes]
    def __init__(
        self,
        image: Image,
        tasks: int,
        arguments: Iterable[str] = ("program",),
        family: Iterable[tuple[int, int]] = (),
        races: str = "report",
        points: Iterable[int] = (),
        late: int = 0,
        spurious: int = 0,
    ) -> None: ...
    @property
    def found(self) -> list[int]: ...
    @property
    def exited(self) -> bool: ...
    @property
    def limited(self) -> bool: ...
    @property
    def unplaced(self) -> bool: ...
    @property
    def family(self) -> list[tuple[int, int]]: ...
