"""How long strategies look until they find something: survival curves, and whether two of them differ.

The clock is the number of executions. A cell that found nothing is censored: it says that the bug survived so many
executions, and not how many it would have survived. Kaplan and Meier (1958) for the curves, the log-rank test of Mantel
(1966) for the difference; both are a few lines, so they need no package.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from math import erfc, exp, pi, sqrt
from typing import NamedTuple

__all__ = ["Life", "LogRank", "chi_square_tail", "curve", "log_rank", "median"]


class Life(NamedTuple):
    """One cell: executions up to and with the first violation, or executions without one."""

    executions: int
    found: bool


class LogRank(NamedTuple):
    """statistic is chi-square with `freedom` degrees of freedom if all groups are alike; p its tail."""

    statistic: float
    freedom: int
    p: float


class _Group:
    """Counts of a group: how many were still looking at a time, how many found something then."""

    def __init__(self, lives: Sequence[Life]) -> None:
        self._ends = sorted(life.executions for life in lives)
        self.events = Counter(life.executions for life in lives if life.found)

    def at_risk(self, at: int) -> int:
        return len(self._ends) - bisect_left(self._ends, at)


def curve(lives: Sequence[Life]) -> list[tuple[int, float]]:
    """The estimate of Kaplan and Meier: (executions, share that has found nothing yet) after each step down.

    >>> curve([Life(3, True), Life(5, False), Life(9, True), Life(9, True)])
    [(0, 1.0), (3, 0.75), (9, 0.0)]
    """
    steps, share = [(0, 1.0)], 1.0
    group = _Group(lives)
    for at in sorted(group.events):
        share *= 1 - group.events[at] / group.at_risk(at)
        steps.append((at, share))
    return steps


def median(lives: Sequence[Life]) -> int | None:
    """Executions after which half have found something; None where half of them never did.

    >>> median([Life(3, True), Life(5, False), Life(9, True), Life(9, True)])
    9
    """
    return next((at for at, share in curve(lives) if share <= 0.5), None)


def log_rank(groups: Mapping[str, Sequence[Life]]) -> LogRank | None:
    """Whether the groups differ; None where there is nothing to compare (one group, or no event).

    >>> test = log_rank({"a": [Life(n, True) for n in (1, 2, 3)], "b": [Life(n, True) for n in (9, 10, 11)]})
    >>> round(test.statistic, 3), test.freedom, round(test.p, 3)
    (5.052, 1, 0.025)
    """
    compared = [_Group(lives) for lives in groups.values() if lives]
    size = len(compared)
    observed_less_expected = [0.0] * size
    covariance = [[0.0] * size for _ in compared]
    for at in sorted({at for group in compared for at in group.events}):
        at_risk = [group.at_risk(at) for group in compared]
        events = [group.events[at] for group in compared]
        n, d = sum(at_risk), sum(events)
        spread = d * (n - d) / (n - 1) if n > 1 else 0.0
        for i, mine in enumerate(at_risk):
            observed_less_expected[i] += events[i] - d * mine / n
            for j, other in enumerate(at_risk):
                covariance[i][j] += spread * (mine / n) * ((i == j) - other / n)
    # A group that was never at risk with another has nothing to say, and one of the rest follows from the others.
    free = [i for i in range(size) if covariance[i][i] > 1e-12][:-1]
    if not free:
        return None
    solved = _solve([[covariance[i][j] for j in free] for i in free], [observed_less_expected[i] for i in free])
    if solved is None:
        return None
    statistic = max(0.0, sum(observed_less_expected[i] * x for i, x in zip(free, solved, strict=True)))
    return LogRank(statistic, len(free), chi_square_tail(statistic, len(free)))


def chi_square_tail(x: float, freedom: int) -> float:
    """The probability that a chi-square variable is larger than x: the finite sums for whole degrees of freedom.

    >>> round(chi_square_tail(3.841459, 1), 4), round(chi_square_tail(5.991465, 2), 4)
    (0.05, 0.05)
    """
    half = x / 2
    if freedom % 2:
        total, term = erfc(sqrt(half)), 2 * sqrt(half / pi) * exp(-half)
        first = 3
    else:
        total, term = 0.0, exp(-half)
        first = 2
    for degrees in range(first, freedom + 1, 2):
        total += term
        term *= x / degrees
    return min(1.0, total)


def _solve(matrix: list[list[float]], right: list[float]) -> list[float] | None:
    """The solution of a small linear system, by elimination with pivots; None for a singular one."""
    size = len(right)
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for column in range(size):
        pivot = max(range(column, size), key=lambda i: abs(rows[i][column]))
        if abs(rows[pivot][column]) < 1e-12:
            return None
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for i in range(column + 1, size):
            factor = rows[i][column] / rows[column][column]
            rows[i] = [a - factor * b for a, b in zip(rows[i], rows[column], strict=True)]
    solution = [0.0] * size
    for i in reversed(range(size)):
        known = sum(rows[i][j] * solution[j] for j in range(i + 1, size))
        solution[i] = (rows[i][size] - known) / rows[i][i]
    return solution
