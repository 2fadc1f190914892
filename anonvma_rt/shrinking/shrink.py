"""A failing execution made minimal: the fewest switches, then the smallest parameters that still fail.

The search runs on fibers, and what it found is confirmed on OS threads. It is a pure function of the reproducer and of
the budget, which is in executions: no clock decides anything. Whatever it takes is no worse than what it had, so it
can be ended at any time, and a result is as it was when it is shrunk again.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anonvma_rt.engine.base.bell import StopToken
from anonvma_rt.errors import UserError, at_least, nearest, quote, reason
from anonvma_rt.execution.reproducer import Reproducer, replay
from anonvma_rt.execution.results import Interrupted, Shown
from anonvma_rt.shrinking.parameters import Shrinking, ShrinkPlan
from anonvma_rt.shrinking.schedule import Stopped
from anonvma_rt.subjects.history import Trace
from anonvma_rt.text.writing import try_to_write

__all__ = ["ShrinkInterrupted", "Shrunk", "Size", "shrink", "smaller_name"]

DEFAULT_BUDGET = 20_000  # executions that one search may make
REPLAYS = 10  # of the result, on threads


@dataclass(frozen=True)
class Size:
    """How large an execution is: steps, switches from one task to another, and its parameters."""

    steps: int
    switches: int
    parameters: Mapping[str, int | bool]

    @classmethod
    def of(cls, reproducer: Reproducer) -> "Size":
        return cls(reproducer.steps, reproducer.switches, dict(reproducer.parameters))


@dataclass
class Shrunk(Shown):
    """What a failing execution was, and what became of it.

    executions: made by the search. fewest: whether every execution of these parameters with fewer switches was tried,
    and none has this violation. confirmed: how many of `replays` on threads had it. cause: why it happens, in words.
    reproducer: where it was saved, None if it was not; unsaved says why, if it should have been. minimal: the
    reproducer itself; trace: its history; needs: what a command needs for it.
    """

    scenario: str
    algorithm: str
    kind: str
    before: Size
    after: Size
    executions: int
    fewest: bool
    replays: int
    confirmed: int
    cause: str
    interrupted: bool
    minimal: Reproducer = field(repr=False)
    trace: Trace = field(repr=False)
    reproducer: str | None = None
    unsaved: str | None = None
    needs: str = ""

    shown = "scenario algorithm kind before after executions fewest replays confirmed cause interrupted reproducer"


class ShrinkInterrupted(Interrupted):
    """^C while an execution was shrunk; `result` was saved."""

    what = "shrinking"


def smaller_name(file: str | Path) -> Path:
    """Where the result goes if nobody says: beside the reproducer, with -min in its name. Raises UserError.

    >>> str(smaller_name("reproducers/merge-unpatched-0-12.json"))
    'reproducers/merge-unpatched-0-12-min.json'
    """
    path = Path(file)
    if not path.name:
        raise UserError(f"{quote(str(file))} is not the name of a file")
    return path.with_name(f"{path.stem}-min{path.suffix}")


def shrink(
    reproducer: Reproducer | str | Path,
    out: str | Path | None = None,
    keep: Iterable[str] = (),
    budget: int = DEFAULT_BUDGET,
    stop: StopToken | None = None,
    progress: Callable[[int], None] | None = None,
    own: Iterable[Any] = (),
) -> Shrunk:
    """Makes a failing execution minimal: the same kind of violation with fewer switches, smaller parameters and fewer
    steps.

    reproducer: or the path of its file. out: where to save the result, None to save nothing; never the file it came
    from. keep: names of parameters that stay as they are; the others go towards their minimum, and switches towards
    their default. budget: executions that one search may make. stop: ends it from any thread, with what there is.
    progress: called with the number of executions just made. own: as for Reproducer.load. Raises UserError
    where the reproducer is none, does not fail any more, or `out` cannot be written; ShrinkInterrupted on ^C.

    >>> from anonvma_rt import hunt
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> first = hunt("philosophers", {"seats": 5}, ["right-handed"], runs=5000, out=folder).results[0].first
    >>> shrink(first.reproducer).after
    Size(steps=5, switches=1, parameters={'seats': 2})
    """
    at_least("--budget", budget)
    path = None if isinstance(reproducer, Reproducer) else Path(reproducer)
    original = reproducer if isinstance(reproducer, Reproducer) else Reproducer.load(reproducer, own)
    keep = frozenset(keep)
    for name in sorted(keep):
        if name not in original.parameters:
            raise UserError(f"--keep: unknown parameter {quote(name)}{nearest(name, original.parameters)}")
    target = None if out is None else Path(out)
    if target is not None:
        _try_to_write(target, path)
    name = str(path or original.name())
    search = Shrinking(ShrinkPlan(original, name, keep, budget, target, stop or StopToken(), progress))
    try:
        search.run()
    except Stopped:
        return _result(search, interrupted=True)
    except KeyboardInterrupt:
        if not search.begun:
            raise
        raise ShrinkInterrupted(_result(search, interrupted=True)) from None
    return _result(search, interrupted=False)


def _result(search: Shrinking, interrupted: bool) -> Shrunk:
    """What was found, made again on threads."""
    original = search.original
    search.save()
    minimal = search.minimal
    replayed = replay(minimal, REPLAYS)
    replayed.explorer.close()
    return Shrunk(
        scenario=original.scenario.name, algorithm=original.algorithm.name, kind=original.kind,
        before=Size.of(original), after=Size.of(minimal), executions=search.executions, fewest=search.fewest,
        replays=REPLAYS, confirmed=replayed.reproduced, cause=minimal.cause, interrupted=interrupted, minimal=minimal,
        trace=replayed.trace, reproducer=search.saved.path, unsaved=search.saved.why_not,
        needs=original.scenario.needs,
    )  # fmt: skip


def _try_to_write(target: Path, source: Path | None) -> None:
    """Afterwards is too late to learn that nothing can be written there."""
    try:
        if source is not None and target.exists() and target.samefile(source):
            raise UserError(f"-o {quote(str(target))}: is the reproducer itself, which is kept as it is")
        if not target.is_symlink() and target.is_dir():
            raise UserError(f"-o {quote(str(target))}: is a folder; a file is needed")
        try_to_write(target)
    except (OSError, ValueError) as error:
        raise UserError(f"-o {quote(str(target))}: cannot be written: {reason(error)}") from None
