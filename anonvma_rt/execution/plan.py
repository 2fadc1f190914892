"""What hunt, verify and storm are asked: a plan, made and checked once, and carried out for each algorithm in turn."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from anonvma_rt.engine.run.explorer import StopToken
from anonvma_rt.execution.folder import Folder
from anonvma_rt.execution.results import Interrupted, Results
from anonvma_rt.subjects.protocols import Bound, Choice

__all__ = ["LAST_INDEX", "MOST_JOBS", "Plan", "carry_out", "choices"]

LAST_INDEX = 1 << 64  # one more than the largest index of an execution, and the largest seed
MOST_JOBS = 1024

R = TypeVar("R", bound=Results[Any])


@dataclass(frozen=True, kw_only=True)
class Plan:
    """program: what is executed, under each of `choices`. out: the folder for reproducers, None to save none. stop:
    ends everything from any thread."""

    program: Bound
    choices: tuple[Choice, ...]
    out: str | Path | None
    stop: StopToken | None


def choices(program: Bound, named: Iterable[Any] | None) -> tuple[Choice, ...]:
    """Those that a user named, or the usual ones. Raises UserError."""
    return tuple(program.choose(one) for one in (program.usual() if named is None else named))


def carry_out(plan: Plan, result: R, one: Callable[[Choice, Folder], None], interrupted: type[Interrupted]) -> R:
    """Calls `one` for each choice, until the plan's token is set. On ^C raises `interrupted` with the result so far."""
    with Folder(plan.out) as folder:
        try:
            for choice in plan.choices:
                one(choice, folder)
                if plan.stop is not None and plan.stop.stopped:
                    result.interrupted = True
                    break
        except KeyboardInterrupt:
            result.interrupted = True
            raise interrupted(result) from None
    return result
