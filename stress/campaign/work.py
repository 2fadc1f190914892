"""What a worker does: the executions of one range.

A range is a pure function of its unit, so it may run anywhere, be lost and run again. Everything that the code needs to
know comes in the unit; the worker's own version must be the one that the unit was made by.
"""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import Event, Thread

from anonvma_rt import __version__
from anonvma_rt.engine.base.bell import StopToken
from anonvma_rt.errors import UserError
from anonvma_rt.lab.load import described_by, own_named
from anonvma_rt.search.hunt import hunt
from anonvma_rt.stress.campaign.cell import Unit
from anonvma_rt.stress.campaign.totals import MOST_INDICES, Done
from anonvma_rt.subjects.protocols import Described

__all__ = ["RangeTimeout", "WrongVersion", "run_range"]

PATIENCE = 10.0  # seconds to end in, once a range was told to stop


class WrongVersion(UserError):
    """A worker has another anonvma_rt than the runner, so its executions may be others."""


class RangeTimeout(Exception):
    """A range took longer than the campaign allows."""


@contextmanager
def _deadline(seconds: float, stop: StopToken) -> Iterator[None]:
    """Stops a range that takes too long; where it does not even stop, the worker has to go."""
    over = Event()

    def watch() -> None:
        if not over.wait(seconds):
            stop.stop()
            if not over.wait(seconds + PATIENCE):
                os.kill(os.getpid(), signal.SIGKILL)

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


@lru_cache(maxsize=16)
def _described(text: str, source: str, own: tuple[str, ...]) -> Described:
    return described_by(text, source, [own_named(name) for name in own])


def run_range(unit: Unit) -> Done:
    """Executes a range. Raises WrongVersion, RangeTimeout, and what hunt() raises."""
    if unit["version"] != __version__:
        raise WrongVersion(f"a worker has anonvma_rt {__version__} and the runner {unit['version']}: install the same")
    stop = StopToken()
    with _deadline(unit["timeout"], stop):
        found = hunt(
            _described(unit["text"], unit["source"], tuple(unit["own"])),
            unit["parameters"],
            [unit["algorithm"]],
            strategy=unit["strategy"],
            carrier=unit["carrier"],
            seed=unit["seed"],
            start=unit["start"],
            runs=unit["runs"],
            classes=unit["classes"],
            stop=stop,
        )
    (result,) = found.results
    if result.executions < unit["runs"]:
        raise RangeTimeout(
            f"{result.executions} of {unit['runs']} executions in {unit['timeout']:g} s: choose a smaller `range`, or "
            "a larger `timeout`"
        )
    reproducer = None if result.reproducer is None else json.dumps(result.reproducer.as_dict(), indent=1)
    return Done(result.as_dict(), result.indices[:MOST_INDICES], reproducer)
