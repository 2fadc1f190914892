"""What hunt, verify and storm are asked: a plan, made and checked once, and carried out for each algorithm in turn."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from anonvma_rt.engine.base.bell import StopToken
from anonvma_rt.errors import MoreToKnow
from anonvma_rt.execution.folder import Folder
from anonvma_rt.execution.results import Interrupted, Results
from anonvma_rt.lab.again import NotReproducible
from anonvma_rt.subjects.protocols import Bound, Choice

__all__ = ["LAST_INDEX", "MOST_JOBS", "Plan", "carry_out", "choices"]

LAST_INDEX = 1 << 64  # one more than the largest index of an execution, and the largest seed
MOST_JOBS = 1024


@dataclass(frozen=True)
class Plan:
    """program: what is executed, under each of `choices`. out: the folder for reproducers, None to save none. stop:
    ends everything from any thread."""

    program: Bound
    choices: tuple[Choice, ...]
    out: str | Path | None
    stop: StopToken | None

    @property
    def what(self) -> tuple[str, Mapping[str, int | bool]]:
        """The first two fields of a Results."""
        return self.program.scenario.name, self.program.parameters

    @property
    def memory(self) -> str:
        return self.program.memory

    @property
    def fail_alloc(self) -> str | None:
        return None if self.program.failing is None else str(self.program.failing)


P = TypeVar("P", bound=Plan)
R = TypeVar("R", bound=Results[Any])


def choices(program: Bound, named: Iterable[Any] | None) -> tuple[Choice, ...]:
    """Those that a user named, or the usual ones. Raises UserError."""
    return tuple(program.choose(one) for one in (program.usual() if named is None else named))


def came_up(program: Bound, search: Callable[[], Any]) -> Bound | None:
    """Makes a search. Where something came up in it that has to be known from the beginning, the program that knows it,
    for a search anew."""
    try:
        search()
    except MoreToKnow:
        more = program.with_more_known()
        if more is None:
            raise
        return more
    return program.with_more_known()


def carry_out(plan: P, result: R, search: Callable[[P, Choice, Folder], Any], stopped: type[Interrupted]) -> R:
    """Runs a search for each choice, which has a `result` and run(), until the plan's token is set. On ^C raises
    `stopped` with the result so far."""
    with Folder(plan.out) as folder:
        try:
            for choice in plan.choices:
                one = search(plan, choice, folder)
                result.results.append(one.result)
                try:
                    one.run()
                except NotReproducible as why:
                    one.result.does_not_come_again(why)
                if plan.stop is not None and plan.stop.stopped:
                    result.interrupted = True
                    break
        except KeyboardInterrupt as error:
            result.interrupted = True
            result.trouble = str(error)
            raise stopped(result) from None
    return result
