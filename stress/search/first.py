"""Executions until the first bug: one definition, for the lab's own subjects and for the programs of others.

With each seed a hunt goes on until its first violation, or until it has made as many executions as it may, or there is
no time left. What was not found is told as that: so many executions without the bug, which is a censored life
(stress/report/survival), and never counted as a find.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from threading import Timer
from time import perf_counter
from typing import Any

from anonvma_rt.engine.base.bell import StopToken
from anonvma_rt.search.hunt import hunt
from anonvma_rt.stress.report.survival import Life

__all__ = ["Looked", "look"]


@dataclass
class Looked:
    """What the hunts of one subject found. subject, algorithms: as hunt() takes them. no_bug: kinds of violations
    behind which the search goes on. kinds: of those that were found; points: of an execution, at most."""

    subject: Any
    algorithms: list[Any] | None = None
    no_bug: Collection[str] = ()
    kinds: set[str] = field(default_factory=set)
    points: float = 0.0

    def first(self, strategy: str | None, seed: int, runs: int, seconds: float | None = None) -> tuple[Life, bool]:
        """How long this seed looked, and whether there was time for all of it. strategy: None for the subject's own or
        the usual one. seconds: None for as long as it takes."""
        stop = StopToken()
        timer = None if seconds is None else Timer(max(seconds, 0.01), stop.stop)
        if timer is not None:
            timer.start()
        start = 0
        try:
            while start < runs and not stop.stopped:
                how: dict[str, Any] = {"strategy": strategy, "seed": seed, "start": start, "runs": runs - start}
                how |= {"carrier": "fibers", "classes": 0, "until_violation": True, "stop": stop}
                (found,) = hunt(self.subject, algorithms=self.algorithms, **how).results
                self.points = max(self.points, found.points / max(found.executions, 1))
                if not found.first:
                    start += found.executions
                    break
                start = found.first.index + 1
                if found.first.kind not in self.no_bug:
                    self.kinds.add(found.first.kind)
                    return Life(start, True), True
        finally:
            if timer is not None:
                timer.cancel()
        return Life(start, False), not stop.stopped


def look(looked: Looked, question: Mapping[str, Any]) -> dict[str, Any]:
    """For each strategy of the question and each seed how long it looked, within `seconds` for all of them. `hurried`:
    how many seeds had no time for all of it."""
    lives: dict[str, list[Life]] = {}
    hurried: dict[str, int] = {}
    left = question["seconds"]
    for n, strategy in enumerate(question["strategies"]):
        began = perf_counter()
        share = left / (len(question["strategies"]) - n)
        lives[strategy] = []
        hurried[strategy] = 0
        for seed in range(question["seeds"]):
            # The first one may take what is left for all: a slow program is seen by each strategy so.
            rest = (left if seed == 0 else share) - (perf_counter() - began)
            life, whole = Life(0, False), False
            if rest > 0:
                life, whole = looked.first(strategy, seed, question["runs"], rest)
            lives[strategy].append(life)
            hurried[strategy] += not whole
        left -= perf_counter() - began
    return {"kinds": sorted(looked.kinds), "lives": lives, "hurried": hurried, "points": round(looked.points)}
