"""Whether a sample follows a distribution that is known exactly."""


def follows(observed, expected):
    """Whether counts agree with {outcome: probability}: False in one of a million honest samples. Rare ones are one.

    What cannot happen must not have happened.
    """
    assert not set(observed) - set(expected), "something was seen that cannot be"
    total = sum(observed.values())
    cells, rare = [], [0, 0.0]
    for cell, weight in expected.items():
        mean = float(weight * total)
        if mean >= 8:
            cells.append((observed.get(cell, 0), mean))
        else:
            rare = [rare[0] + observed.get(cell, 0), rare[1] + mean]
    if rare[1] >= 8:
        cells.append(tuple(rare))
    statistic = sum((seen - mean) ** 2 / mean for seen, mean in cells)
    freedom = len(cells) - 1
    # Wilson and Hilferty's approximation of the quantile at 4.75 standard deviations.
    limit = freedom * (1 - 2 / (9 * freedom) + 4.75 * (2 / (9 * freedom)) ** 0.5) ** 3 if freedom else 1e-6
    return statistic <= limit
