"""The first failing execution of a hunt, which ends soon after it."""

from anonvma_rt.search.hunt import hunt

LIMIT = 20_000


def first_found(folder, scenario, parameters=None, algorithm="unpatched", strategy=None, seed=0, carrier="threads"):
    """The file of its reproducer."""
    start, runs = 0, 250
    while start < LIMIT:
        result = hunt(
            scenario, parameters, [algorithm], strategy, carrier, seed, start=start, runs=runs, classes=0, out=folder
        )
        if result.results[0].first is not None:
            return result.results[0].first.reproducer
        start, runs = start + runs, 2 * runs
    raise AssertionError(f"no violation of {scenario} under {algorithm} in {LIMIT} executions")
