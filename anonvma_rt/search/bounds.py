"""What the executions that were made say about those that were not: bounds of probabilities, at 95 % confidence.

All of it is about one strategy's own distribution over interleavings, from which the executions of a hunt are
independent draws. It is an estimate and never a proof. Of a strategy that learns (Strategy.epoch) only whole epochs are
independent, so an epoch is one trial: some of its executions violate something at least as probably as each does.
"""

from collections import Counter
from dataclasses import dataclass
from math import lgamma, log, log1p, sqrt

__all__ = ["ClassCount", "count_classes", "executions_for", "upper_bound_95", "wilson_95"]

MOST_LOGARITHMS = 1000  # of which a sum is more exact than a difference of large ones
MOST_STEPS = 100  # a handful suffices; where rounding keeps the last one from being small, more change nothing


@dataclass(frozen=True)
class ClassCount:
    """The classes of equivalent interleavings among the first executions of a hunt.

    observed: executions that were looked at. distinct: their classes. once: classes that one execution is of.
    unseen_mass: Good and Turing's estimate of the probability that an execution is of none of these classes.
    unseen_upper_95: an upper bound of that probability.
    """

    observed: int
    distinct: int
    executions_per_class: float
    once: int
    unseen_mass: float
    unseen_upper_95: float


def count_classes(rows: bytes | bytearray, epoch: int = 1) -> ClassCount:
    """rows: 8 bytes for each execution, in the order of their indices. Where executions are not independent (epoch)
    nothing is said of unseen classes: the bound is 1.

    The estimate is Good's (Biometrika 1953): as much is unseen as is seen once. The bound is exact whatever the
    distribution. With the classes of the first half as what is known, each execution of the second half is a trial
    whether it is of an unknown one, and the bound of Clopper and Pearson is that of the unknown classes' probability;
    what is known only grows. It is of the order of 1/n where nothing new turns up, where the bound of McAllester and
    Schapire around Good's estimate (COLT 2000) is of the order of 1/sqrt(n).

    >>> count_classes(b"A" * 8 * 599 + b"B" * 8).once
    1
    >>> round(count_classes(b"A" * 8 * 600).unseen_upper_95, 4)
    0.0099
    """
    hashes = memoryview(rows).cast("Q")
    counts = Counter(hashes)
    n, half = len(hashes), len(hashes) // 2
    known = set(hashes[:half])
    unknown = sum(1 for one in hashes[half:] if one not in known)
    once = sum(1 for count in counts.values() if count == 1)
    return ClassCount(
        observed=n,
        distinct=len(counts),
        executions_per_class=n / len(counts) if counts else 0.0,
        once=once,
        unseen_mass=once / n if n else 1.0,
        unseen_upper_95=upper_bound_95(unknown, n - half) if epoch == 1 else 1.0,
    )


def upper_bound_95(hits: int, trials: int, epoch: int = 1) -> float:
    """The largest probability of a hit per trial that fits what was seen, at 95 % confidence, one-sided.

    Exact (Clopper and Pearson, Biometrika 1934): with it, so few hits come with a probability of 5 %. About 3/n without
    a hit. Trials may differ in their probability, as those of a strategy that rotates do; the bound is then of the mean
    (Hoeffding, "On the Distribution of the Number of Successes in Independent Trials", 1956). epoch: so many in a row
    depend on each other, wherever the first of the trials lies in one.

    >>> round(upper_bound_95(0, 20_000) * 20_000, 2)
    3.0
    """
    trials = max(trials - epoch + 1, 0) // epoch
    hits = min(hits, trials)
    if hits == trials:
        return 1.0
    if hits <= MOST_LOGARITHMS:
        choose = sum(log((trials - i) / (hits - i)) for i in range(hits))
    else:
        choose = lgamma(trials + 1) - lgamma(hits + 1) - lgamma(trials - hits + 1)
    p = (hits + 1) / (trials + 1)
    for _ in range(MOST_STEPS):
        # The sum of the probabilities of hits, hits - 1, ... as a multiple of the first.
        total = term = 1.0
        for k in range(hits, 0, -1):
            term *= k * (1 - p) / ((trials - k + 1) * p)
            total += term
            if term < total * 1e-17:
                break
        logarithm = choose + hits * log(p) + (trials - hits) * log1p(-p) + log(total)
        # Newton's method on the logarithm, which is concave: from the second step on it comes down to the solution.
        before = p
        p += (logarithm - log(0.05)) * total * (1 - p) / (trials - hits)
        p = min(p, (1 + before) / 2)
        if p == 1.0 or abs(p - before) <= 1e-12 * p:
            break
    return p


def executions_for(probability: float, epoch: int = 1) -> int:
    """The fewest executions that bound the probability of a violation by this one, at 95 %, if none has one. epoch: as
    for upper_bound_95.

    >>> executions_for(1e-6)
    2995731
    """
    n = max(1, round(log(0.05) / log1p(-probability)))
    while upper_bound_95(0, n) > probability:
        n += 1
    while n > 1 and upper_bound_95(0, n - 1) <= probability:
        n -= 1
    return n * epoch + epoch - 1


def wilson_95(hits: int, trials: int) -> tuple[float, float]:
    """Wilson's interval for the probability of a hit per trial, two-sided, at 95 % (JASA 1927).

    >>> low, high = wilson_95(0, 100)
    >>> low, round(high, 3)
    (0.0, 0.037)
    """
    if trials == 0:
        return 0.0, 1.0
    z = 1.959963984540054
    p = hits / trials
    middle = (p + z * z / (2 * trials)) / (1 + z * z / trials)
    spread = z / (1 + z * z / trials) * sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials))
    low = 0.0 if hits == 0 else max(0.0, middle - spread)
    return low, 1.0 if hits == trials else min(1.0, middle + spread)
