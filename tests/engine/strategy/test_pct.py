"""PCT: what a depth can find and what it cannot, its guarantee, and where its change points fall."""

from itertools import pairwise

import pytest
from engine_programs import CPU, events, explore, failures, pct
from hypothesis import given, settings
from hypothesis import strategies as st
from interpreter import Model

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.strategy.pct import Pct
from anonvma_rt.engine.strategy.random import Random
from anonvma_rt.engine.strategy.sticky import Sticky
from anonvma_rt.litmus.program import Program


def ping_pong(depth):
    """A bug of exactly that depth: `depth` orders between steps of two tasks have to hold, each the reverse of the one
    before. Task 0 writes 1, 2, ... to x, and task 1 has to read each value before the next one is written."""
    writer = [("store", "x", i + 1) for i in range(depth // 2 + 1)]
    reader = [("load", "x", f"r{i}") for i in range((depth + 1) // 2)]
    return [writer, reader], {f"1:r{i}": i + 1 for i in range(len(reader))}


def hits(depth, strategy, count):
    threads, outcome = ping_pong(depth)
    program = Program(threads, forbidden=[outcome])
    with explore(program, strategy, seed=depth) as explorer:
        return len(failures(program, explorer.run(0, count)))


def steps_of(depth):
    return sum(len(thread) + 1 for thread in ping_pong(depth)[0])


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
def test_a_bug_of_depth_d_is_found_with_its_guarantee(depth):
    """At least 1/(n k^(d-1)) of the executions, less a quarter for the luck of the draw."""
    k = steps_of(depth)
    guaranteed = 1 / (2 * k ** (depth - 1))
    count = min(60_000, int(400 / guaranteed))
    assert hits(depth, pct(depth, k), count) >= 0.75 * guaranteed * count


@pytest.mark.parametrize("depth", [2, 3, 4, 5])
def test_a_lesser_depth_never_finds_it(depth):
    """d orders need d - 1 changes of task in the midst of things; and the uniform walk needs no depth."""
    assert hits(depth, pct(depth - 1, steps_of(depth)), 10_000) == 0
    threads, outcome = ping_pong(depth)
    likely = Model(threads).outcomes()
    probability = sum(p for (_, values), p in likely.items() if outcome.items() <= dict(values).items())
    assert hits(depth, Random(), 2_000) == pytest.approx(2_000 * probability, rel=0.5)


LONG = Program([[("load", "x", "r")] * 30] * 3)


@pytest.mark.parametrize("k", [1, 2, 10, 60])
def test_changes_fall_within_k(k):
    """Any other change of task is the end of one; and every step within k is a change point in some execution."""
    seen = set()
    with explore(LONG, pct(4, k)) as explorer:
        for index in range(400):
            at = 1
            traced = explorer.trace(index)
            last = {e.task: e.step for e in events(traced)}
            segments = traced.segments
            for (task, steps), _ in pairwise(segments):
                at += steps
                if last[task] >= at:
                    seen.add(at)
    # A change before the first step is a change of who begins, and one right before a task's end is that end.
    assert seen <= set(range(2, k + 1))
    assert len(seen) >= (k - 1) * 0.9


@given(depth=st.integers(1, 32), k=st.integers(1, 200), index=st.integers(0, 2**63))
@settings(max_examples=40)
def test_there_are_at_most_depth_minus_one_changes(depth, k, index):
    with explore(LONG, pct(depth, k)) as explorer:
        assert explorer.run(index, 1).switches <= depth - 1 + 2


def test_depth_one_runs_tasks_in_every_order_equally_often():
    with explore(LONG, pct(1)) as explorer:
        orders = [tuple(task for task, _ in explorer.trace(i).segments) for i in range(600)]
    assert len(set(orders)) == 6
    assert all(60 < orders.count(order) < 140 for order in set(orders))


def test_a_blocked_task_lets_the_next_priority_run():
    """Priorities hold over blocking: after the lock is free the higher task goes on at once."""
    program = Program(
        [
            [("lock", "a"), ("store", "x", 1), ("unlock", "a"), ("store", "y", 1)],
            [("await", "x", 1), ("lock", "a"), ("load", "y", "r"), ("unlock", "a")],
        ]
    )
    with explore(program, pct(1)) as explorer:
        schedules = {tuple(explorer.trace(i).segments) for i in range(30)}
    assert schedules == {((0, 5), (1, 5)), ((1, 1), (0, 3), (1, 1), (0, 1), (1, 3), (0, 1))}


@pytest.mark.parametrize("depth", [0, -1, 33])
def test_depths_that_are_none(depth):
    with pytest.raises(ValueError, match=f"strategy pct: depth must be from 1 to 32, not {depth}"):
        Pct(depth)


@pytest.mark.parametrize("n", [0, 1, 1_000_001])
def test_sticky_walks_that_are_none(n):
    with pytest.raises(ValueError, match=f"strategy sticky: n must be from 2 to 1000000, not {n}"):
        Sticky(n)


def test_names_parameters_and_clones():
    known = [(Random(), "random", {}), (Sticky(5), "sticky", {"n": 5}), (Pct(4), "pct", {"depth": 4})]
    for strategy, name, parameters in known:
        for same in (strategy, strategy.clone()):
            assert (same.name, same.parameters()) == (name, parameters)
    with Explorer(LONG, Sticky(5), seed=1, cpu=CPU) as one, Explorer(LONG, Sticky(5).clone(), seed=1, cpu=CPU) as two:
        assert one.run(0, 20) == two.run(0, 20)
