"""Rules 2 and 3: a point announces the operation that it precedes, and the running task decides.

What a point announced is read from the trace of an execution; that it comes before is shown by switching there.
"""

import os
from itertools import pairwise

import pytest
from engine_programs import BUSY, CPU, STRATEGIES, events, explore, verdict
from hypothesis import given, settings
from hypothesis import strategies as st
from interpreter import Model
from random_programs import random_threads

from anonvma_rt.engine.run.subject import ARENA_ROOT
from anonvma_rt.engine.strategy import script
from anonvma_rt.litmus.program import Program

ALL_VERBS = [
    ("lock", "a"),
    ("unlock", "a"),
    ("trylock", "a", "r"),
    ("unlock", "a"),
    ("read_lock", "a"),
    ("read_unlock", "a"),
    ("write_lock", "a"),
    ("write_unlock", "a"),
    ("wait", "a"),
    ("load", "x", "r"),
    ("store", "x", 1),
    ("add", "y", "r"),
    ("cas", "y", 0, 2, "r"),
    ("await", "y", 2),
    ("spin", "y", 2),
    ("use", "o"),
    ("unlink", "o"),
    ("free", "o"),
    ("new", "o"),
]
ANNOUNCED = """
    start lock unlock trylock unlock read-lock read-unlock lock unlock wait load store atomic atomic await load load
    store store store
"""


# ---- rule 2: announced, and before -----------------------------------------------------------------------------------


def test_each_operation_is_announced_once_in_order_with_its_object():
    program = Program([ALL_VERBS])
    with explore(program, script.replay()) as explorer:
        ids = program.ids(explorer)
        traced = explorer.trace(0)
    announced = events(traced)
    assert [e.op for e in announced] == ANNOUNCED.split()
    # What is done to objects is done to the list that they are on, the first thing that there is.
    ids["o"] = ARENA_ROOT
    assert [e.a for e in announced] == [0] + [ids[name] for _, name, *_ in ALL_VERBS]
    assert [e.step for e in announced] == list(range(1, len(ALL_VERBS) + 2))
    assert traced.points == len(ALL_VERBS) + 1
    assert verdict(program, traced) == "ok"


def test_objects_have_stable_small_ids():
    """The same in every explorer and execution, different for different objects, and no addresses."""
    program = Program([[("load", "x", "r"), ("load", "y", "r"), ("load", "x", "q")]] * 2)
    with explore(program) as one, explore(program) as two:
        ids = program.ids(one)
        assert ids == program.ids(two)
        for explorer in (one, two):
            for index in range(20):
                for task in (0, 1):
                    loads = [e.a for e in events(explorer.trace(index)) if e.op == "load" and e.task == task]
                    assert loads == [ids["x"], ids["y"], ids["x"]]
    assert 0 < ids["x"] != ids["y"] > 0
    assert max(ids.values()) < 4096


@pytest.mark.parametrize(
    "segments, seen",
    [([(0, 1), (1, 2), (0, 1)], 0), ([(0, 2), (1, 2)], 1)],
    ids=["stopped at the point of the store", "one step further"],
)
def test_the_point_comes_before_its_operation(segments, seen):
    program = Program([[("store", "x", 1)], [("load", "x", "r")]])
    with explore(program, script.replay(segments)) as explorer:
        assert explorer.run(0, 1).halt is None
        assert program.values(explorer) == {"x": 1, "1:r": seen}


@given(threads=random_threads(), index=st.integers(0, 10**6))
def test_an_operation_happens_in_the_step_of_its_point(threads, index):
    """The interpreter, stepped along the schedule that the engine reports, ends in the same state: so a segment of n
    steps is n operations, none of them by a task that must wait."""
    program = Program(threads)
    with explore(program) as explorer:
        traced = explorer.trace(index)
        outcome = verdict(program, traced), tuple(sorted(program.values(explorer).items()))
    assert Model(threads).follow(traced.segments) == outcome


@given(until=st.integers(0, 12))
def test_until_stops_before_that_step(until):
    """Also where it falls on the step at which a task has ended and another goes on (here 4 and 7)."""
    threads = [[("store", "x", 1), ("store", "x", 2)], [("store", "x", 3), ("store", "x", 4)], [("store", "x", 5)]]
    program = Program(threads)
    done = [0, 0, 1, 2, 2, 3, 4, 4, 5]  # x before step 1, 2, ...
    with explore(program, script.replay()) as explorer:
        assert explorer.trace(0).points == 8
        traced = explorer.trace(0, until=until)
        assert traced.halt == ("until" if until <= 8 else None)
        assert [e.step for e in events(traced)] == list(range(1, min(max(until, 1), 9)))
        assert program.values(explorer)["x"] == (done[until - 1] if 1 <= until <= 8 else 0 if until == 0 else 5)


# ---- rule 3: the running task decides --------------------------------------------------------------------------------


@given(threads=random_threads(), name=st.sampled_from(sorted(set(STRATEGIES) - {"replay"})), index=st.integers(0, 999))
def test_switches_are_the_changes_of_task(threads, name, index):
    program = Program(threads)
    with explore(program, STRATEGIES[name]()) as explorer:
        traced = explorer.trace(index)
        tasks = [task for task, _ in traced.segments]
        assert traced.switches == len(tasks) - 1
        assert all(a != b for a, b in pairwise(tasks))
        assert sum(steps for _, steps in traced.segments) == traced.points


@pytest.mark.parametrize("tasks", [1, 2, 5, 64])
def test_a_sequential_schedule_switches_once_per_further_task(tasks):
    program = Program([[("load", "x", "r"), ("add", "x", 1)]] * tasks)
    with explore(program, script.replay()) as explorer:
        traced = explorer.trace(0)
        assert traced.segments == [(task, 3) for task in range(tasks)]
        assert traced.switches == tasks - 1
        assert explorer.run(0, 100).switches == 100 * (tasks - 1)
        assert program.values(explorer)["x"] == tasks


def voluntary_switches():
    total = 0
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/status") as status:
            total += next(int(line.split()[1]) for line in status if line.startswith("voluntary_ctxt"))
    return total


@pytest.mark.parametrize("segments, per_execution", [([(0, 200), (1, 201), (0, 1)], 2), ([], 0)])
def test_threads_hand_over_only_where_the_task_changes(segments, per_execution):
    """Counted by the system: 400 points in an execution, and the threads sleep at the changes between them only."""
    steps = [("load", "x", "r")] * 200
    with explore(Program([steps, steps]), script.replay(segments)) as explorer:
        before = voluntary_switches()
        result = explorer.run(0, 500)
        slept = voluntary_switches() - before
    assert result.ran == 500
    # At most one more per execution, from its last task to the first one of the next.
    assert slept <= 500 * (per_execution + 2) + 100


AB_BA = Program(
    [
        [("lock", "a"), ("lock", "b"), ("unlock", "b"), ("unlock", "a")],
        [("lock", "b"), ("lock", "a"), ("unlock", "a"), ("unlock", "b")],
    ]
)


def test_a_deadlock_is_an_empty_set_of_enabled_tasks():
    """Seen at the step where the second task blocks, not after a time: 20 000 executions, thousands of deadlocks."""
    with explore(AB_BA) as explorer:
        result = explorer.run(0, 20_000)
        assert {kind for _, kind in result.failures} == {1}
        assert len(result.failures) > 5_000
        traced = explorer.trace(0, script.replay([(0, 2), (1, 2)]))
        assert verdict(AB_BA, traced) == "deadlock"
        found = traced.finding
        assert (found.step, found.a) == (5, 0b11)  # and who is blocked
        assert [e.op for e in events(traced)] == ["start", "lock", "start", "lock"]


def test_a_deadlock_is_found_when_the_last_other_task_ends():
    program = Program([[("lock", "a")], [("lock", "a")], [("await", "x", 1)]])
    with explore(program, script.replay()) as explorer:
        traced = explorer.trace(0)
    assert verdict(program, traced) == "deadlock"
    assert traced.finding.a == 0b110


@pytest.mark.parametrize("name", STRATEGIES)
def test_totals_are_sums_over_executions(name):
    with explore(BUSY, STRATEGIES[name](), cpu=CPU) as explorer:
        block = explorer.run(0, 60)
        single = [explorer.run(i, 1) for i in range(60)]
    assert block.points == sum(one.points for one in single)
    assert block.switches == sum(one.switches for one in single)
    assert block.longest == max(one.longest for one in single) == 27


def test_the_longest_execution_of_a_block_may_be_anywhere_in_it():
    program = Program([[("await", "x", 3), ("store", "y", 1)], [("add", "x", 1)] * 5])  # nine points, or a deadlock
    with explore(program) as explorer:
        lengths = [explorer.run(i, 1).longest for i in range(40)]
        assert set(lengths) == {8, 9}
        assert [explorer.run(0, n).longest for n in range(1, 41)] == [max(lengths[:n]) for n in range(1, 41)]


@settings(max_examples=20)
@given(threads=random_threads())
def test_no_step_is_spent_on_waiting(threads):
    """Blocking costs nothing: however often tasks wait, a program that ends takes one step per operation and thread."""
    program = Program(threads)
    with explore(program) as explorer:
        for index in range(20):
            result = explorer.run(index, 1)
            if not result.failures:
                assert result.points == sum(len(thread) + 1 for thread in threads)
