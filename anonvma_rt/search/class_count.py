"""How many classes of interleavings a search will have to visit: an estimate with its spread, before it begins."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.search.probe import Probe
from anonvma_rt.execution.budget import Clock
from anonvma_rt.lab.explorers import checked
from anonvma_rt.subjects.protocols import Bound

__all__ = ["Estimate", "estimate"]

PROBES = 1000
FEWEST = 16  # that say anything
AT_A_TIME = 64
MOST_STEPS = 5_000_000  # of all probes together: long executions are probed less often


@dataclass(frozen=True)
class Estimate:
    """classes: the mean over the probes; spread: the standard error of that mean; probes: random descents made.

    The distribution has a long tail: where few descents carry most of the weight, the mean is more often too small than
    too large, and the spread too.
    """

    classes: float
    spread: float
    probes: int

    def __str__(self) -> str:
        return f"about {_round(self.classes)} classes (± {_round(self.spread)}, {self.probes} probes)"


def _round(value: float) -> str:
    return f"{value:.2g}" if value >= 1e6 else f"{float(f'{value:.2g}'):,.0f}".replace(",", " ")


def mean_of(weights: Sequence[float]) -> Estimate:
    """
    >>> mean_of([4.0, 0.0])
    Estimate(classes=2.0, spread=2.0, probes=2)
    """
    n = len(weights)
    mean = sum(weights) / n if n else 0.0
    variance = sum((weight - mean) ** 2 for weight in weights) / (n - 1) if n > 1 else 0.0
    return Estimate(mean, sqrt(variance / n) if n else 0.0, n)


def estimate(program: Bound, explorer: Explorer, steps: int, clock: Clock) -> Estimate | None:
    """Sends random descents through an explorer, which is idle; `steps` is the length of a long execution. None where
    the time is over before there are enough of them."""
    probe, sent = Probe(), 0
    most = max(FEWEST, min(PROBES, MOST_STEPS // max(1, steps)))
    while sent < most and not clock.look():
        size = min(max(1, sent), AT_A_TIME, most - sent)  # nobody knows yet how long one takes
        if checked(program, explorer, explorer.run_with(probe, sent, size)).halt is not None:
            break
        sent += size
    weights = probe.weights
    return mean_of(weights) if len(weights) >= FEWEST else None
