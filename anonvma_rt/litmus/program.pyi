"""Types of the compiled module; its own docstrings say more."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.subject import Subject

KINDS: Final[Mapping[int, str]]

class Program(Subject):
    names: tuple[str, ...]
    registers: tuple[str, ...]
    def __init__(
        self,
        threads: Iterable[Iterable[Sequence[Any]]],
        *,
        setup: Iterable[Sequence[Any]] = (),
        forbidden: Iterable[Sequence[Any]] = (),
        classes: Mapping[str, int] | None = None,
        order: Iterable[tuple[int, int]] = (),
        types: Mapping[str, str] | None = None,
        initial: Mapping[str, int | str] | None = None,
    ) -> None: ...
    def values(self, explorer: Explorer) -> dict[str, int]: ...
    def ids(self, explorer: Explorer) -> dict[str, int]: ...
