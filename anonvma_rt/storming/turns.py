"""Who gets the next turn: a bandit that learns which delays yield most per second.

Thompson sampling with a gamma posterior for each rate: hits come as a Poisson process of unknown rate, of which the
gamma distribution is the conjugate prior, so an arm is drawn as often as it is likely to be the best one. Source:
Thompson (Biometrika 1933).
"""

from random import Random

__all__ = ["Bandit"]

PRIOR_HITS, PRIOR_SECONDS = 0.5, 0.01


class Bandit:
    """n arms, all unknown.

    >>> bandit = Bandit(2, seed=1)
    >>> for arm, hits in ((0, 0), (1, 500)):
    ...     bandit.tell(arm, hits, seconds=1.0)
    >>> {bandit.choose() for _ in range(50)}
    {1}
    """

    def __init__(self, n: int, seed: int) -> None:
        self.hits, self.seconds = [0] * n, [0.0] * n
        self.random = Random(seed)

    def tell(self, arm: int, hits: int, seconds: float) -> None:
        """What a turn of an arm brought."""
        self.hits[arm] += hits
        self.seconds[arm] += seconds

    def choose(self) -> int:
        """The arm to use next; one that had no turn yet comes first."""
        if 0.0 in self.seconds:
            return self.seconds.index(0.0)
        rates = [
            self.random.gammavariate(hits + PRIOR_HITS, 1 / (seconds + PRIOR_SECONDS))
            for hits, seconds in zip(self.hits, self.seconds, strict=True)
        ]
        return rates.index(max(rates))
