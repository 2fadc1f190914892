"""A bandit that learns which arm yields most per second: Thompson sampling with a gamma posterior for each rate.

Hits come as a Poisson process of unknown rate, of which the gamma distribution is the conjugate prior, so an arm is
drawn as often as it is likely to be the best one. Source: Thompson (Biometrika 1933); Marsaglia and Tsang, "A simple
method for generating gamma variables" (ACM TOMS 2000).
"""

from math import cos, log, pi, sqrt

from anonvma_rt.engine.parallel.storm import Draws

__all__ = ["Bandit"]

PRIOR_HITS, PRIOR_SECONDS = 0.5, 0.01


class Bandit:
    """n arms, all unknown. seed: of the lab's own random numbers.

    >>> bandit = Bandit(2, seed=1)
    >>> for arm, hits in ((0, 0), (1, 500)):
    ...     bandit.tell(arm, hits, seconds=1.0)
    >>> {bandit.choose() for _ in range(50)}
    {1}
    """

    def __init__(self, n: int, seed: int) -> None:
        self.hits, self.seconds = [0] * n, [0.0] * n
        self.draws = Draws(seed, 1 << 63)

    def tell(self, arm: int, hits: int, seconds: float) -> None:
        """What a turn of an arm brought."""
        self.hits[arm] += hits
        self.seconds[arm] += seconds

    def choose(self) -> int:
        """The arm to use next; one that had no turn yet comes first."""
        if 0.0 in self.seconds:
            return self.seconds.index(0.0)
        rates = [
            self.gamma(hits + PRIOR_HITS) / (seconds + PRIOR_SECONDS)
            for hits, seconds in zip(self.hits, self.seconds, strict=True)
        ]
        return rates.index(max(rates))

    def gamma(self, shape: float) -> float:
        """A draw from the gamma distribution of that shape and scale 1."""
        if shape < 1:
            return self.gamma(shape + 1) * self.positive() ** (1 / shape)
        d = shape - 1 / 3
        c = 1 / sqrt(9 * d)
        while True:
            x = self.normal()
            v = (1 + c * x) ** 3
            if v > 0 and log(self.positive()) < x * x / 2 + d - d * v + d * log(v):
                return d * v

    def normal(self) -> float:
        return sqrt(-2 * log(self.positive())) * cos(2 * pi * self.positive())

    def positive(self) -> float:
        return 1.0 - float(self.draws.uniform())
