"""Types of the compiled module; its own docstrings say more."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from anonvma_rt.engine.run.subject import BuildRefused, Subject
from anonvma_rt.mm.hooks.rule import Rule

class Refused(BuildRefused):
    index: int
    errno: int
    code: int
    def __init__(self, index: int, code: int) -> None: ...

class Kernel(Subject):
    def __init__(
        self,
        fields: Mapping[str, Any],
        processes: int,
        setup: Sequence[Sequence[Any]],
        threads: Sequence[Sequence[Sequence[Any]]],
        after: Sequence[Sequence[Any]],
        interesting: Iterable[Iterable[str]] | None = None,
        failing: Any = None,
        rule: Rule | None = None,
        cpus: list[int] | None = None,
    ) -> None: ...
    @property
    def processes(self) -> int: ...
    @property
    def rule(self) -> Rule | None: ...
