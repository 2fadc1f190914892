"""The engine against a second opinion: all interleavings of small programs, enumerated by a plain interpreter.

Nothing is reached that the interpreter does not reach; with enough executions everything is; and the uniform walk
reaches each outcome as often as counting says.
"""

from collections import Counter

import pytest
from chi_square import follows
from engine_programs import explore, pct, sample, verdict
from hypothesis import given, settings
from hypothesis import strategies as st
from interpreter import Model
from random_programs import random_threads

from anonvma_rt.engine.strategy import script
from anonvma_rt.engine.strategy.sticky import Sticky
from anonvma_rt.litmus.program import Program

RACE = [("load", "x", "r"), ("add", "x", 1)]


@given(threads=random_threads(tasks=3, steps=4), seed=st.integers(0, 2**64 - 1))
@settings(max_examples=25)
def test_random_executions_reach_only_what_exists(threads, seed):
    program = Program(threads)
    expected = Model(threads).outcomes()
    assert abs(sum(expected.values()) - 1) < 1e-9
    with explore(program, seed=seed) as explorer:
        assert set(sample(program, explorer, 0, 150)) <= set(expected)


@given(threads=random_threads(tasks=2, steps=3), seed=st.integers(0, 2**64 - 1))
@settings(max_examples=25)
def test_random_executions_reach_all_that_exists_as_often_as_it_should(threads, seed):
    """An outcome of probability p is missed by 3 000 executions with probability exp(-3000 p)."""
    program = Program(threads)
    expected = Model(threads).outcomes()
    with explore(program, seed=seed) as explorer:
        reached = sample(program, explorer, 0, 3000)
    assert set(reached) <= set(expected)
    assert {outcome for outcome, p in expected.items() if p > 0.008} <= set(reached)
    assert follows(reached, expected)


@given(threads=random_threads(tasks=4, steps=5), data=st.data())
def test_every_schedule_that_exists_can_be_followed(threads, data):
    """A walk of the interpreter, replayed by the engine: the same final state; one task that must wait: refused."""
    model, choices, ended = Model(threads), [], None
    state, waiting = model.first, None
    while not ended:
        enabled = model.enabled(state)
        disabled = [task for task in range(len(threads)) if task not in enabled]
        if disabled and (waiting is None or data.draw(st.booleans())):
            waiting = len(choices), data.draw(st.sampled_from(disabled))
        task = data.draw(st.sampled_from(enabled))
        choices.append(task)
        state, ended, _ = model.step(state, task)
    program, outcome = Program(threads), (ended, model.values(state))
    with explore(program, script.replay([(task, 1) for task in choices])) as explorer:
        traced = explorer.trace(0)
        assert (verdict(program, traced), tuple(sorted(program.values(explorer).items()))) == outcome
        assert model.follow(traced.segments) == outcome
        if waiting is not None:
            at, task = waiting
            wrong = script.replay([(task, 1) for task in choices[:at]] + [(task, 1)])
            assert explorer.trace(0, wrong).halt == "diverged"


@pytest.mark.parametrize(
    "threads",
    [
        [RACE, RACE],
        [[("load", "x", "r"), ("store", "x", 1)]] * 3,
        [[("lock", "a"), *RACE, ("unlock", "a")], [("trylock", "a", "t"), ("load", "x", "r")], [("await", "x", 1)]],
    ],
    ids=["two", "three", "with locks"],
)
def test_the_uniform_walk_is_uniform(threads):
    """Chi-square over the outcomes, whose probabilities are exact: 1/k at each step with k enabled tasks."""
    program = Program(threads)
    expected = Model(threads).outcomes()
    with explore(program, seed=5) as explorer:
        assert follows(sample(program, explorer, 0, 20_000), expected)


def test_each_of_three_enabled_tasks_is_equally_likely():
    """At the first step of all. 60 000 draws tell 1/3 from 22/64, which a remainder of 6 random bits gives."""
    program = Program([[]] * 3)
    names = {}
    with explore(program, seed=11) as explorer:
        digests = explorer.run(0, 60_000).digests
        counted = Counter(digests[i : i + 8] for i in range(0, len(digests), 8))
        for i in range(200):
            traced = explorer.trace(i)
            names[traced.digests] = tuple(task for task, _ in traced.segments)
    assert len(names) == 6
    orders = Counter({names[digest]: n for digest, n in counted.items()})
    assert follows(orders, dict.fromkeys(orders, 1 / 6))
    for place in range(3):
        first = Counter()
        for order, n in orders.items():
            first[order[place]] += n
        assert follows(first, dict.fromkeys(range(3), 1 / 3))


@pytest.mark.parametrize("n", [2, 5, 20])
def test_the_sticky_walk_stays_n_steps_on_average(n):
    """After each step the running task goes on with probability (n-1)/n: the lengths of runs are geometric."""
    steps = [("load", "x", "r")] * 400
    program = Program([steps, steps])
    runs = Counter()
    with explore(program, Sticky(n), seed=2) as explorer:
        for index in range(60):
            segments = explorer.trace(index).segments
            # What comes before the end of a task is cut short, so only the first half of an execution counts.
            at = 0
            for _, length in segments:
                if at > 300:
                    break
                runs[min(length, 4 * n)] += 1
                at += length
    expected = {k: (1 - 1 / n) ** (k - 1) / n for k in range(1, 4 * n)}
    expected[4 * n] = (1 - 1 / n) ** (4 * n - 1)
    assert follows(runs, expected)


def test_strategies_differ_in_what_they_reach():
    """PCT at depth 1 runs tasks one after the other, so it reaches the serial outcomes and no other."""
    program = Program([RACE, RACE])
    with explore(program, pct(1)) as explorer:
        serial = sample(program, explorer, 0, 200)
    assert {tuple(sorted(dict(values).items())) for _, values in serial} == {
        (("0:r", 0), ("1:r", 1), ("x", 2)),
        (("0:r", 1), ("1:r", 0), ("x", 2)),
    }
