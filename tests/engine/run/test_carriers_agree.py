"""The same executions on every carrier, hash for hash: each strategy of the lab on six scenarios."""

import pytest

from anonvma_rt import hunt
from anonvma_rt.lab.explorers import CARRIERS
from anonvma_rt.lab.load import load
from anonvma_rt.lab.strategies import STRATEGIES

# Plain moves, a fork that copies, huge pages that split, locks that are tried; two litmus tests, one of which stops.
SCENARIOS = ("lkml-2011", "fork-child-first", "thp-split-vs-move", "fault-during-fork", "order", "lock-order")


def hashes(scenario, strategy, runs):
    """The digest of each carrier, and what else must not depend on who runs the tasks."""
    algorithm = load(scenario).bind({}).usual()[0]
    found = set()
    for carrier in CARRIERS:
        one = hunt(scenario, None, [algorithm], strategy, carrier, seed=7, runs=runs).results[0]
        assert one.executions == runs and one.points > runs
        found.add((one.schedules_sha256, one.points, one.switches, tuple(one.violations.items()), tuple(one.indices)))
    return found


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_two_thousand_executions_of_every_strategy_are_the_same_on_every_carrier(scenario):
    every = [hashes(scenario, strategy, 2000) for strategy in STRATEGIES]
    assert [len(found) for found in every] == [1] * len(STRATEGIES)
    # Else one hash could stand for all of them; without marks SURW is URW.
    assert len(set.union(*every)) >= len(STRATEGIES) - 1


@pytest.mark.long
@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_hundred_thousand_executions_are_the_same_on_every_carrier(scenario, strategy):
    assert len(hashes(scenario, strategy, 200_000)) == 1
