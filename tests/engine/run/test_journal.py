"""The journal of an execution, and what else the engine keeps for those who look at one: stops, holds, stacks."""

import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from show_tools import HANDFUL, found

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.records import EVENT, OPS
from anonvma_rt.engine.strategy import script
from anonvma_rt.engine.strategy.random import Random
from anonvma_rt.lab.explorers import make_explorer
from anonvma_rt.litmus.litmus import Litmus
from anonvma_rt.litmus.program import Program
from anonvma_rt.mm.lab.world import World

KERNELS = [one for one in HANDFUL if one[0] not in Litmus.builtin_names()]


def explorer_of(scenario, algorithm, carrier="threads"):
    one = found(scenario, algorithm)
    explorer = make_explorer(one.program(), one.algorithm, script.replay(one.schedule), seed=one.seed, carrier=carrier)
    explorer.bound = one.bound
    return explorer, one


def program_of(*threads):
    words = [[step.split() for step in thread] for thread in threads]
    return Program([[tuple(int(w) if w.isdigit() else w for w in step) for step in thread] for thread in words])


def state_of(explorer):
    world = World(explorer)
    return [
        (world.maps(process), world.lists(process), world.entries(process), world.tables(process))
        for process in range(world.processes)
    ] + [world.page(pfn) for pfn in range(1, world.page_frames)]


@pytest.mark.parametrize("carrier", ["threads", "fibers"])
@pytest.mark.parametrize(("scenario", "algorithm"), KERNELS)
def test_travelling_gives_the_state_in_which_the_execution_stops_before_that_step(scenario, algorithm, carrier):
    explorer, one = explorer_of(scenario, algorithm, carrier)
    with explorer:
        steps = [2, 3, *range(5, one.steps, 9), one.steps]
        stopped = {}
        for step in steps:
            explorer.trace(0, None, step)
            stopped[step] = state_of(explorer)
        explorer.trace(0, None, journal=1)
        for step in [*steps, *reversed(steps), steps[len(steps) // 2], *steps]:
            explorer.travel(step)
            assert state_of(explorer) == stopped[step], step


def test_the_journal_does_not_change_the_execution():
    explorer, _ = explorer_of("lkml-2011", "unpatched")
    with explorer:
        plain = explorer.trace(0)
        kept = explorer.trace(0, None, journal=1, stacks=True)
        for field in ("events", "segments", "finding", "digests", "pending"):
            assert getattr(plain, field) == getattr(kept, field)
        assert len(kept.stacks) == len(kept.events) // EVENT.size


def test_a_journal_of_every_nth_step_is_right_where_it_looked():
    explorer, one = explorer_of("lkml-2011", "unpatched")
    with explorer:
        explorer.trace(0, None, journal=1)
        explorer.travel(1 << 62)
        end = state_of(explorer)
        explorer.trace(0, None, journal=10)
        seen = sorted({step for step, _ in explorer.changes()})
        assert all((step - 1) % 10 == 0 for step in seen if step <= one.steps)
        explorer.travel(1 << 62)
        assert state_of(explorer) == end
        explorer.travel(seen[1])
        there = state_of(explorer)
        explorer.trace(0, None, seen[1])
        assert state_of(explorer) == there


def test_without_a_journal_nobody_travels():
    explorer, _ = explorer_of("lkml-2011", "unpatched")
    with explorer:
        explorer.trace(0)
        with pytest.raises(RuntimeError, match="no journal"):
            explorer.travel(3)


@settings(max_examples=30)
@given(st.integers(0, 1 << 32), st.data())
def test_values_of_a_random_program_at_any_step(seed, data):
    threads = [
        ["lock l", "add x 1", "unlock l", "store y 1"],
        ["load y r", "lock l", "add x 2", "unlock l"],
        ["store x 5", "add y 3"],
    ]
    program = program_of(*threads)
    with Explorer(program, Random(), seed=seed) as explorer:
        segments = explorer.trace(0).segments
        steps = sum(made for _, made in segments)
        step = data.draw(st.integers(2, steps))
        explorer.trace(0, script.replay(segments), step)
        stopped = program.values(explorer)
        explorer.trace(0, script.replay(segments), journal=1)
        end = program.values(explorer)
        explorer.travel(step)
        assert program.values(explorer) == stopped
        explorer.travel(steps + 1)
        assert program.values(explorer) == end


# ---- what a task stands at -------------------------------------------------------------------------------------------


def test_pending_says_what_each_task_would_do_and_whether_it_can():
    program = program_of(["lock a", "unlock a"], ["lock a", "unlock a"], ["store x 1"])
    with Explorer(program, script.replay([(0, 2), (1, 1), (2, 2)])) as explorer:
        told = explorer.trace(0, None, 6)
        lock = program.ids(explorer)["a"]
        assert told.pending == [("unlock", lock, True), ("lock", lock, False), None]
        assert explorer.trace(0).pending == [None, None, None]


def test_before_the_first_step_nothing_has_happened():
    explorer, _ = explorer_of("lkml-2011", "unpatched")
    with explorer:
        told = explorer.trace(0, None, 1)
        assert told.segments == [] and told.events == b"" and told.halt == "until"
        assert told.pending == [("start", 0, True), ("start", 0, True)]


# ---- follow ----------------------------------------------------------------------------------------------------------


def test_follow_makes_of_a_schedule_that_can_be_replayed_the_same_execution():
    explorer, one = explorer_of("lkml-2011", "unpatched")
    with explorer:
        replayed = explorer.trace(0)
        followed = explorer.trace(0, script.follow(one.schedule))
        assert followed.events == replayed.events and followed.segments == replayed.segments


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(-1, 70), st.integers(0, 9)), max_size=20))
def test_follow_comes_to_the_end_whatever_the_schedule_says(segments):
    program = program_of(["lock a", "lock b", "unlock b", "unlock a"], ["lock a", "store x 1", "unlock a"])
    with Explorer(program, script.follow(segments)) as explorer:
        told = explorer.trace(0)
        assert told.halt is None and told.finding is None
        assert sum(steps for _, steps in told.segments) == 9
        again = explorer.trace(0, script.follow(segments).clone())
        assert again.events == told.events


def test_a_task_that_cannot_go_on_waits_and_makes_its_steps_later():
    # The schedule wants task 1 to take the lock that task 0 holds.
    program = program_of(["lock a", "store x 1", "unlock a"], ["lock a", "store y 1", "unlock a"])
    with Explorer(program, script.follow([(0, 2), (1, 4), (0, 2)])) as explorer:
        told = explorer.trace(0)
        assert told.segments == [(0, 2), (1, 1), (0, 2), (1, 3)]


# ---- holds and stacks ------------------------------------------------------------------------------------------------


def comms():
    return {path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")}


def test_a_held_execution_has_a_named_thread_for_each_task_that_has_begun():
    explorer, one = explorer_of("lkml-2011", "unpatched")
    seen = []
    with explorer:

        def look():
            with pytest.raises(RuntimeError, match="busy"):
                explorer.trace(0)
            seen.append((explorer.name_tasks(["first", "second"]), comms(), threading.active_count()))

        before, after = 10, one.schedule[0][1] + 5
        told = explorer.trace(0, None, before, hold=look)
        assert told.events == explorer.trace(0, None, before).events
        explorer.trace(0, None, after, hold=look)
        explorer.trace(0, None, 1, hold=look)
    assert [tasks for tasks, _, _ in seen] == [[1], [0, 1]], "before the first step there is nothing to hold"
    assert "second" in seen[0][1] and {"first", "second"} <= seen[1][1]


def test_whatever_goes_wrong_while_it_is_held_the_execution_ends():
    explorer, _ = explorer_of("lkml-2011", "unpatched")
    with explorer:
        with pytest.raises(ZeroDivisionError):
            explorer.trace(0, None, 10, hold=lambda: 1 // 0)
        explorer.stop.reset()
        assert explorer.trace(0).halt is None


def test_fibers_have_no_threads_to_name():
    explorer, _ = explorer_of("lkml-2011", "unpatched", "fibers")
    seen = []
    with explorer:
        explorer.trace(0, None, 10, hold=lambda: seen.append(explorer.name_tasks(["first", "second"])))
    assert seen == [[]]


def test_every_event_has_the_stack_of_the_task_that_made_it():
    explorer, _ = explorer_of("lkml-2011", "unpatched")
    with explorer:
        told = explorer.trace(0, stacks=True)
    events = list(EVENT.iter_unpack(told.events))
    assert len(events) == len(told.stacks)
    # Below the bodies the two tasks stand on the same engine; above it each has calls of its own.
    for event, stack in zip(events, told.stacks, strict=True):
        assert len(stack) >= (5 if OPS[event[2]] != "start" else 3)
