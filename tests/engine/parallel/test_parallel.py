"""The carrier `parallel`: real locks exclude, waits end, violations are the ones that the deterministic carriers know,
and whatever a task held when it left, the next execution begins from the same state.

No test depends on who comes first: what must not be never is, and what must be is made certain by a single task, by
blocking, or by thousands of executions under stalls.
"""

import os
import signal
import threading

import pytest

from anonvma_rt.engine.base.bell import StopToken
from anonvma_rt.engine.parallel.storm import STUCK_SECONDS, Storm
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.strategy import script
from anonvma_rt.lab.load import load
from anonvma_rt.litmus.litmus import Litmus
from anonvma_rt.litmus.program import Program

STALLS = {"stall_every": 2, "stall_most": 1500}
CHAOS = [{}, {"every": 3}, {"every": 2, "most": 40}, {"skew": 300}, {"window": 500}, STALLS]


def blow(program, count=200, profile=None, seed=1, record=False, keep=0, times=1):
    with Explorer(program, script.replay(), carrier="fibers") as explorer, Storm(explorer) as storm:
        return [storm.run(i * count, count, profile, seed, record, keep) for i in range(times)][-1]


def kinds(program, block):
    return sorted({program.kinds()[kind] for _, kind in block.failures})


def litmus(threads, forbidden):
    (code,) = Litmus.of("t", threads, forbidden=forbidden).bind({}).codes.values()
    return code.subject


# ---- locks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", CHAOS, ids=str)
@pytest.mark.parametrize("lock, unlock", [("lock", "unlock"), ("write_lock", "write_unlock")])
def test_one_holder_at_a_time(profile, lock, unlock):
    tasks = 5
    threads = {
        f"T{i}": [
            step
            for turn in range(3)
            for step in (f"{lock} a", f"set x {i}", f"get x one{i}_{turn}", f"get x two{i}_{turn}", f"{unlock} a")
        ]
        for i in range(tasks)
    }
    wrong = [f"{when}{i}_{turn} != {i}" for i in range(tasks) for when in ("one", "two") for turn in range(3)]
    block = blow(litmus(threads, wrong), 60, profile)
    assert block.ran == 60 and block.failures == []


@pytest.mark.parametrize("profile", CHAOS, ids=str)
def test_readers_never_see_a_writer_halfway(profile):
    threads = {f"R{i}": ["read_lock a", f"get x r{i}", f"get y s{i}", "read_unlock a"] * 3 for i in range(3)}
    threads["W"] = ["write_lock a", "set x 1", "set y 1", "write_unlock a", "write_lock a", "set x 0", "set y 0"]
    threads["W"].append("write_unlock a")
    block = blow(litmus(threads, [f"r{i} != s{i}" for i in range(3)]), 60, profile)
    assert block.ran == 60 and block.failures == []


def test_a_trylock_that_succeeds_excludes():
    threads = {
        f"T{i}": [f"trylock a got{i}", f"add n got{i}", "await go 1"] for i in range(4)
    }  # Nobody gives the lock back, so one of the four has it.
    threads["last"] = ["await n 1", "store go 1"]
    block = blow(litmus(threads, ["n != 1"]), 60, {"skew": 100})
    assert block.ran == 60 and block.failures == []


def test_additions_are_not_lost_and_loads_are_in_order():
    threads = {f"T{i}": ["add x 1"] * 20 for i in range(4)}
    assert blow(litmus(threads, ["x != 80"]), 100, {"every": 4}).failures == []
    store_buffering = {"A": ["store x 1", "load y r"], "B": ["store y 1", "load x s"]}
    assert blow(litmus(store_buffering, ["r == 0 and s == 0"]), 3000).failures == []


def test_writers_come_through_a_stream_of_readers():
    threads = {f"R{i}": ["read_lock a", f"load x r{i}", "read_unlock a"] * 40 for i in range(3)}
    threads["W"] = ["write_lock a", "store x 1", "write_unlock a"]
    assert blow(litmus(threads, ["x != 1"]), 20, {"every": 2}).ran == 20


def test_a_deadlock_is_a_verdict_without_a_clock():
    program = Program([[("lock", "a"), ("add", "n", 1), ("await", "n", 2), ("lock", "b")],
                       [("lock", "b"), ("add", "n", 1), ("await", "n", 2), ("lock", "a")]])  # fmt: skip
    block = blow(program, 30)
    assert len(block.failures) == 30 and kinds(program, block) == ["deadlock"]
    ordered = Program([[("lock", "a"), ("lock", "b"), ("unlock", "b"), ("unlock", "a")]] * 4)
    assert blow(ordered, 200, STALLS).failures == []


def test_orders_of_lock_classes_that_do_not_fit_are_found_although_each_task_learned_its_own():
    steps = ["lock {0}", "lock {1}", "unlock {1}", "unlock {0}"]
    threads = [[tuple(s.format(*order).split()) for s in steps] for order in ("ab", "ba")]
    threads[1].insert(0, ("await", "done", 1))
    threads[0].append(("store", "done", 1))
    program = Program(threads, classes={"a": 1, "b": 2})
    block = blow(program, 20)
    assert len(block.failures) == 20 and kinds(program, block) == ["lock-order"]
    fits = Program([threads[0], threads[0]], classes={"a": 1, "b": 2})
    assert blow(fits, 20).failures == []


# ---- violations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("thread, kind", [
    ([("free", "o"), ("use", "o")], "use-after-free"),
    ([("unlink", "o"), ("unlink", "o")], "list-corruption"),
    ([("unlock", "a")], "bad-unlock"),
    ([("read_unlock", "a")], "bad-unlock"),
    ([("lock", "a"), ("free", "a"), ("unlock", "a")], "use-after-free"),
    ([("free", "a"), ("wait", "a")], "use-after-free"),
    ([("free", "a"), ("trylock", "a", "r")], "use-after-free"),
    ([("lock", "a"), ("lock", "a")], "lock-order"),
], ids=str)  # fmt: skip
def test_a_violation_has_the_kind_that_it_has_on_the_other_carriers(thread, kind):
    classes = {"a": 3} if any("a" in step for step in thread) else {}
    program = Program([thread, [("load", "x", "r")]], classes=classes)
    block = blow(program, 20, record=True, keep=4)
    assert len(block.failures) == 20 and kinds(program, block) == [kind]
    with Explorer(program, script.replay(), carrier="fibers") as explorer:
        assert kinds(program, explorer.run(0, 1)) == [kind]
        for index, number, tasks, marks in block.kept:
            assert explorer.run_with(script.retrace(tasks, marks), index, 1).failures == [(index, number)]


@pytest.mark.parametrize("waits", ["lock", "read_lock", "wait"])
def test_who_waits_at_a_lock_that_is_freed_sees_it(waits):
    program = Program([[("lock", "a"), ("store", "go", 1), ("free", "a")], [("await", "go", 1), (waits, "a")]])
    block = blow(program, 60, {"every": 2, "most": 400})
    assert len(block.failures) == 60 and kinds(program, block) == ["use-after-free"]


def test_a_task_that_leaves_with_locks_held_takes_the_others_along_and_the_next_execution_is_whole():
    """The holder goes wrong while three others wait at what it holds: each in another way."""
    waiters = [[("await", "go", 1), (verb, lock)] for verb, lock in (("lock", "a"), ("read_lock", "b"), ("wait", "a"))]
    holder = [("lock", "a"), ("write_lock", "b"), ("store", "go", 1), ("free", "o"), ("use", "o")]
    program = Program([holder, *waiters, [("await", "never", 1)]])
    block = blow(program, 40, times=2)
    assert block.ran == 40 and kinds(program, block) == ["use-after-free"]


# ---- logs ------------------------------------------------------------------------------------------------------------


def test_the_log_of_a_violation_is_a_schedule_that_replays():
    order = load("order").bind({})
    program = order.make_subject(order.choose("unpatched"))
    with Explorer(program, script.replay(), carrier="fibers") as explorer, Storm(explorer) as storm:
        for first in range(0, 4000, 50):
            block = storm.run(first, 50, STALLS, 1, True, 32)
            if block.kept:
                break
        assert block.kept, "the stalls make it all but certain"
        for index, kind, tasks, marks in block.kept:
            assert explorer.run_with(script.retrace(tasks, marks), index, 1).failures == [(index, kind)]
        assert len(block.kept) + block.unkept == len(block.failures)


def test_a_record_that_is_not_followed_says_where():
    program = Program([[("load", "x", "r"), ("store", "x", 1)], [("load", "x", "r")]])
    start, load, store = 0, 8, 9
    with Explorer(program, script.replay(), carrier="fibers") as explorer:
        for wrong in range(3):
            ops = [start, load, store]
            ops[wrong] = 1
            retraced = script.retrace(bytes([0, 0, 0]), b"".join(op.to_bytes(2, "little") for op in ops))
            assert explorer.run_with(retraced, 0, 1).halt == "diverged"
            assert retraced.lost and retraced.at == wrong
    with pytest.raises(ValueError, match="3 tasks for 2 bytes"):
        script.retrace(b"abc", b"ab")


# ---- the life of a storm ---------------------------------------------------------------------------------------------


def test_sixteen_tasks_on_few_cores_come_to_an_end():
    program = Program([[("lock", "a"), ("add", "x", 1), ("unlock", "a"), ("load", "x", "r")]] * 16)
    block = blow(program, 20, {"every": 5})
    assert block.ran == 20 and block.failures == [] and block.halt is None


def test_a_token_ends_a_storm_in_the_middle_of_an_execution():
    stop = StopToken()
    program = Program([[("poll", "x", 1)], [("poll", "x", 1)]])
    with Explorer(program, script.replay(), carrier="fibers", stop=stop) as explorer, Storm(explorer) as storm:
        threading.Timer(0.05, stop.stop).start()
        assert storm.run(0, 10).halt == "stopped"
        stop.reset()
        assert explorer.idle


def test_a_signal_handler_that_raises_ends_a_storm():
    program = Program([[("poll", "x", 1)], [("poll", "x", 1)]])
    with Explorer(program, script.replay(), carrier="fibers") as explorer, Storm(explorer) as storm:
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            storm.run(0, 10)
        timer.join()
        assert storm.collect().halt == "stopped" and storm.collect().ran == 0


def test_the_explorer_is_as_it_was_after_a_storm_and_a_storm_after_the_explorer():
    program = Program([[("new", "o"), ("add", "x", 1)], [("add", "x", 1)]])
    with Explorer(program, script.replay(), carrier="fibers") as explorer:
        before = explorer.run(0, 50).digests
        for _ in range(3):
            with Storm(explorer) as storm:
                assert storm.run(0, 50).ran == 50
                assert explorer.run(0, 50).digests == before
                assert storm.run(0, 50).failures == []
        assert explorer.run(0, 50).digests == before


def test_bad_values_are_refused():
    with Explorer(Program([[("add", "x", 1)]]), script.replay()) as explorer, Storm(explorer) as storm:
        with pytest.raises(ValueError, match="no delays have other"):
            storm.run(0, 1, {"other": 1})
        with pytest.raises(ValueError, match="skew must be from 0"):
            storm.run(0, 1, {"skew": -1})
        with pytest.raises(ValueError, match="at least one"):
            storm.run(0, 0)
        storm.close()
        with pytest.raises(RuntimeError, match="closed"):
            storm.run(0, 1)


def test_the_watchdog_has_time_and_nobody_waits_in_an_idle_storm():
    with Explorer(Program([[("add", "x", 1)]]), script.replay()) as explorer, Storm(explorer) as storm:
        assert storm.waiting() == [] and STUCK_SECONDS >= 1
