"""What the verbs find: a Result for each algorithm, and the Results of all of them.

The attributes that `--json` shows are listed by name in `shown`, in their order there; the others are for whoever calls
from Python.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any, ClassVar, Generic, TypeVar

from anonvma_rt.execution.folder import Folder
from anonvma_rt.execution.record import Record
from anonvma_rt.execution.reproducer import FoundBy, Reproducer
from anonvma_rt.lab.again import NOT_REPRODUCIBLE, NotReproducible
from anonvma_rt.subjects.history import Trace
from anonvma_rt.subjects.protocols import SC
from anonvma_rt.text.expected import Expected, as_expected

__all__ = ["First", "Interrupted", "Result", "Results", "Shown"]


@dataclass
class First:
    """The first violation by index. reproducer: where it was saved, None if it was not. drawn: the place that SURW had
    drawn to put in order, by its name, and place: its offset; None where it drew none."""

    index: int
    kind: str
    reproducer: str | None = None
    drawn: str | None = None
    place: int | None = None


class Shown:
    """shown: the attributes that as_dict() has."""

    shown: ClassVar[str]

    def as_dict(self) -> dict[str, Any]:
        """The fields of `--json`."""
        return {name: _plain(getattr(self, name)) for name in self.shown.split()}


@dataclass
class Result(Shown):
    """What was found of one algorithm.

    expected: a kind or several of which each is right, "none", or None where the scenario says nothing. seconds: of the
    executions alone. trace: the history of the first violation; reproducer: its file's content; unsaved: why the file
    could not be written. not_reproducible: what differed when an execution was made again; then it is the one verdict.
    """

    algorithm: str
    expected: Expected | None = None
    as_expected: bool = True
    seconds: float = 0.0
    trace: Trace | None = None
    reproducer: Reproducer | None = None
    unsaved: str | None = None
    not_reproducible: str | None = None

    def does_not_come_again(self, why: NotReproducible) -> None:
        """Whatever else was found is no race, and is not told."""
        self.not_reproducible = str(why)
        self.trace = self.reproducer = None
        self.judge([NOT_REPRODUCIBLE])

    def judge(self, kinds: Iterable[str], otherwise: bool = True) -> None:
        """Whether the kinds that were found are those that were expected."""
        self.as_expected = as_expected(self.expected, kinds) and otherwise

    def keep(self, record: Record, found: FoundBy, folder: Folder) -> str | None:
        """Takes a recorded violation over and saves it; the path of its file, if there is one."""
        reproducer = Reproducer.of(record, found)
        if self.reproducer is None:
            self.trace, self.reproducer = record.trace, reproducer
        saved = folder.keep(reproducer)
        self.unsaved = saved.why_not or self.unsaved
        return saved.path


R = TypeVar("R", bound=Result)


@dataclass
class Results(Shown, Generic[R]):
    """One scenario, litmus test or subject under one or more algorithms. trouble: what it was stuck at when it was
    interrupted, "" where it was not stuck. needs: what a command needs for a reproducer of it (protocols.Described)."""

    scenario: str
    parameters: Mapping[str, int | bool]
    results: list[R] = field(default_factory=list)
    interrupted: bool = False
    trouble: str = ""
    needs: str = ""
    memory: str = SC

    @property
    def as_expected(self) -> bool:
        return all(result.as_expected for result in self.results)


class Interrupted(KeyboardInterrupt):
    """^C; `result` holds what was found up to then. No thread is left."""

    what: ClassVar[str]

    def __init__(self, result: Any) -> None:
        super().__init__(f"{self.what} was interrupted")
        self.result = result


def _plain(value: Any) -> Any:
    if hasattr(value, "as_dict"):
        return value.as_dict()
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
