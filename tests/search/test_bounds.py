"""What is said of executions that were not made: bounds that hold as often as they claim to."""

import random
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonvma_rt import hunt
from anonvma_rt.kernel.scenario import Scenario
from anonvma_rt.lab.explorers import make_explorer, profile
from anonvma_rt.lab.strategies import make_strategy
from anonvma_rt.search.bounds import count_classes, executions_for, upper_bound_95


def as_rows(classes):
    return b"".join(one.to_bytes(8, "little") for one in classes)


@given(st.integers(1, 80).flatmap(lambda n: st.tuples(st.integers(0, n - 1), st.just(n))))
def test_the_upper_bound_is_the_one_at_which_so_few_hits_have_a_probability_of_5_percent(case):
    hits, trials = case
    p = upper_bound_95(hits, trials)
    tail = sum(comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(hits + 1))
    assert tail == pytest.approx(0.05, rel=1e-9)


@pytest.mark.parametrize(("hits", "trials"), [(0, 10**12), (5 * 10**8, 10**9), (10**9 - 1, 10**9), (3, 2**64 - 1)])
def test_the_upper_bound_of_very_many_executions(hits, trials):
    bound = upper_bound_95(hits, trials)
    assert hits / trials < bound < (hits + 2 * hits**0.5 + 8) / trials
    assert bound <= 1


def test_what_is_counted():
    counted = count_classes(as_rows([7, 7, 7, 1, 2, 2**64 - 1, 7, 1]))
    assert (counted.observed, counted.distinct, counted.executions_per_class) == (8, 4, 2.0)
    assert (counted.once, counted.unseen_mass) == (2, 2 / 8)
    # Two of the four in the second half are of classes that the first has not.
    assert counted.unseen_upper_95 == upper_bound_95(2, 4)


def test_nothing_is_known_of_nothing():
    counted = count_classes(b"")
    assert (counted.observed, counted.distinct, counted.executions_per_class, counted.once) == (0, 0, 0.0, 0)
    assert counted.unseen_mass == counted.unseen_upper_95 == 1.0
    assert count_classes(as_rows([5])).unseen_upper_95 == 1.0


DISTRIBUTIONS = {
    "a few": [1.0] * 8,
    "many": [1.0] * 3000,
    "zipf": [1 / (i + 1) for i in range(5000)],
    "one and dust": [1000.0] + [1.0] * 400,
    "rarer and rarer": [2.0**-i for i in range(60)],
}


@pytest.mark.parametrize("weights", DISTRIBUTIONS.values(), ids=DISTRIBUTIONS)
def test_the_bound_on_what_is_unseen_holds_and_the_estimate_is_near(weights):
    draw = random.Random(1)
    total, trials, n = sum(weights), 200, 400
    failed, errors = 0, 0.0
    for _ in range(trials):
        sample = draw.choices(range(len(weights)), weights, k=n)
        seen = set(sample)
        unseen = 1 - sum(weights[i] for i in seen) / total
        counted = count_classes(as_rows(sample))
        failed += unseen > counted.unseen_upper_95
        errors += counted.unseen_mass - unseen
    # 5 % of 200, and three standard deviations.
    assert failed <= 19
    # Good's estimate is of a sample that is smaller by one.
    assert abs(errors / trials) < 0.02


def test_the_guarantee_of_pct_is_of_the_numbers_that_it_used():
    scenario = Scenario.load("merge")
    result = hunt(scenario, algorithms=["unpatched"], strategy="pct:depth=3", runs=2000, carrier="fibers").results[0]
    program = scenario.bind({})
    with make_explorer(program, program.choose("unpatched"), make_strategy("pct"), carrier="fibers") as explorer:
        k = profile(program, explorer).steps
    proved = result.pct_guarantee
    assert (proved.tasks, proved.steps, proved.depth) == (2, k, 3)
    assert proved.probability == 1 / (2 * k**2)
    assert k < proved.longest < 2 * k, "more than the profile knew, and said"
    # The bug needs two switches; it is found far more often than is proved.
    assert sum(result.violations.values()) / 2000 > proved.probability


def test_depth_1_needs_no_change_point_and_other_strategies_prove_nothing():
    one = hunt("order", {"pages": 1}, ["patched"], "pct:depth=1", runs=10).results[0].pct_guarantee
    assert (one.probability, one.longest) == (1 / 2, one.steps)
    assert hunt("order", {"pages": 1}, ["patched"], "pos", runs=10).results[0].pct_guarantee is None


def test_a_bound_holds_where_the_executions_of_an_epoch_depend_on_each_other():
    """All executions of an epoch violate something, or none does: the worst there can be."""
    rng = random.Random(0)
    epoch, rate, runs = 16, 0.02, 1000
    wrong = naive = 0
    for _ in range(1000):
        start = rng.randrange(epoch)
        epochs = [rng.random() < rate for _ in range(runs // epoch + 2)]
        hits = sum(epochs[i // epoch] for i in range(start, start + runs))
        wrong += upper_bound_95(hits, runs, epoch) < rate
        naive += upper_bound_95(hits, runs) < rate
    assert wrong <= 70 < 200 < naive


def test_a_strategy_that_learns_has_one_trial_in_each_epoch():
    found = hunt("merge", algorithms=["moveto-tail"], strategy="guided", runs=1024).results[0]
    assert found.upper_bound_95 == upper_bound_95(0, 3) and found.classes.unseen_upper_95 == 1.0
    assert executions_for(0.5, 256) == 5 * 256 + 255 and upper_bound_95(0, executions_for(0.5, 256), 256) <= 0.5
    short = hunt("merge", algorithms=["moveto-tail"], strategy="guided", confidence=0.5).results[0]
    assert short.ended == "confidence" and short.executions == executions_for(0.5, 256)
