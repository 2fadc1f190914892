"""The threads of an explorer: pinned, deaf to signals, gone after close; stop tokens, and the GIL.

Nothing here asserts a tight time. Where something must not take for ever, "for ever" is many times what it takes.
"""

import gc
import os
import signal
import threading
import time

import pytest
from engine_programs import BUSY, CPU, WRONG, explore, split_digests, threads, threads_besides

from anonvma_rt.engine.base.bell import Bell, StopToken, cores
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.strategy.random import Random
from anonvma_rt.litmus.program import Program

ENDLESS = Program([[("poll", "x", 1)], [("poll", "x", 2)]])
PATIENCE = 20.0  # seconds

FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}


def status(thread, field):
    with open(f"/proc/self/task/{thread}/status") as lines:
        return next(line.split()[1] for line in lines if line.startswith(field + ":"))


# ---- the pool --------------------------------------------------------------------------------------------------------


def test_one_thread_per_task_pinned_and_deaf():
    before = threads()
    with explore(BUSY) as explorer:
        explorer.run(0, 10)
        own = threads() - before
        assert len(own) == 3
        for thread in own:
            assert status(thread, "Cpus_allowed_list") == str(CPU)
            blocked = int(status(thread, "SigBlk"), 16)
            # All that can be blocked, but for the faults of a body: not KILL and STOP, nor the two signals that libc
            # keeps to itself.
            free = {number for number in range(1, 65) if not blocked >> (number - 1) & 1}
            assert free <= {signal.SIGKILL, signal.SIGSTOP, 32, 33, *FAULTS}
    assert not threads_besides(before)


def test_without_a_core_threads_may_run_anywhere():
    before = threads()
    with explore(BUSY, cpu=-1):
        for thread in threads() - before:
            assert status(thread, "Cpus_allowed") == status(os.getpid(), "Cpus_allowed")


@pytest.mark.parametrize("cpu", [1000, 100_000])
def test_a_core_that_does_not_exist_is_no_obstacle(cpu):
    with explore(BUSY, cpu=cpu) as explorer, explore(BUSY) as other:
        assert explorer.run(0, 5).digests == other.run(0, 5).digests


def test_the_pool_is_closed_and_opened_again():
    before = threads()
    explorer = explore(BUSY)
    whole = explorer.run(0, 20)
    explorer.close_threads()
    assert not threads_besides(before)
    with pytest.raises(RuntimeError, match="closed"):
        explorer.run(0, 1)
    explorer.open_threads()
    assert explorer.run(0, 20) == whole
    with pytest.raises(RuntimeError, match="open"):
        explorer.open_threads()
    explorer.close()
    explorer.close()
    assert not threads_besides(before)


def test_an_explorer_that_is_dropped_takes_its_threads_along():
    before = threads()
    token = StopToken()
    explorer = explore(BUSY, stop=token)
    explorer.run(0, 5)
    del explorer
    gc.collect()
    assert not threads_besides(before)
    # It had nothing to stop, and others may share the token.
    assert not token.stopped


def test_an_explorer_in_a_reference_cycle_is_collected():
    class Own(Explorer):
        pass

    before = threads()
    explorer = Own(ENDLESS, Random(), cpu=CPU)
    explorer.itself = explorer
    explorer.submit(0, 1)
    token = explorer.stop
    del explorer
    gc.collect()
    assert not threads_besides(before)
    assert token.stopped


def test_as_many_tasks_as_there_can_be_and_no_more():
    before = threads()
    program = Program([[("add", "x", 1), ("load", "x", "r")]] * 255)
    with explore(program) as explorer:
        assert len(threads() - before) == 255
        assert explorer.run(0, 20).failures == []
        assert program.values(explorer)["x"] == 255
    with pytest.raises(ValueError, match="1 to 255 threads, not 256"):
        Program([[]] * 256)


# ---- busy, stopped ---------------------------------------------------------------------------------------------------


def test_a_busy_explorer_is_left_alone():
    """What was asked of it too early neither happens nor disturbs the block that runs."""
    with explore(BUSY, seed=3) as explorer:
        quiet = split_digests(explorer.run(0, 20_000))
        explorer.submit(0, 20_000)
        for call in (
            lambda: explorer.submit(0, 1),
            lambda: explorer.run(0, 1),
            lambda: explorer.run_with(Random(), 0, 1, bound=1),
            lambda: explorer.trace(0, until=2),
            lambda: explorer.floor(1),
            explorer.collect,
            lambda: BUSY.values(explorer),
        ):
            with pytest.raises(RuntimeError, match="busy"):
                call()
        explorer.finish()
        assert split_digests(explorer.collect()) == quiet


@pytest.mark.parametrize("program, unit", [(BUSY, 1), (ENDLESS, 0)], ids=["between executions", "within an execution"])
def test_a_stop_token_ends_a_block(program, unit):
    token = StopToken()
    with explore(program, stop=token) as explorer:
        timer = threading.Timer(0.1, token.stop)
        timer.start()
        start = time.monotonic()
        result = explorer.run(0, 3_000_000)
        assert time.monotonic() - start < PATIENCE
        timer.join()
        assert result.halt == "stopped"
        # Whatever was completed is kept.
        assert len(split_digests(result)) == result.ran < 3_000_000
        assert (result.ran > 0) == unit
        assert explorer.run(0, 10).ran == 0
        token.reset()
        if unit:
            assert explorer.run(0, 1).digests == result.digests[:8]


def test_close_ends_a_running_block():
    before = threads()
    start = time.monotonic()
    with explore(ENDLESS) as explorer:
        explorer.submit(0, 1)
    assert time.monotonic() - start < PATIENCE
    assert not threads_besides(before)


def test_one_token_and_one_bell_for_several_explorers():
    token, bell = StopToken(), Bell()
    with explore(ENDLESS, stop=token, bell=bell) as one, explore(BUSY, stop=token, bell=bell) as two:
        one.submit(0, 1)
        rings = bell.rings
        two.submit(0, 100)
        bell.wait(rings, PATIENCE)
        assert bell.rings == rings + 1 and two.idle and not one.idle
        assert two.collect().ran == 100
        token.stop()
        one.finish()
        assert one.collect().halt == "stopped"


def test_waiting_at_a_bell_ends_by_time():
    start = time.monotonic()
    Bell().wait(0, 0.05)
    assert 0.04 < time.monotonic() - start < PATIENCE


# ---- Python threads --------------------------------------------------------------------------------------------------


def test_the_gil_is_free_while_a_block_runs():
    ticks, done = [0], threading.Event()

    def tick():
        while not done.is_set():
            ticks[0] += 1
            time.sleep(0.0005)

    ticker = threading.Thread(target=tick)
    with explore(BUSY) as explorer:
        ticker.start()
        before = ticks[0]
        explorer.run(0, 10_000)
        during = ticks[0] - before
        done.set()
        ticker.join()
    # It takes a tenth of a second or more.
    assert during >= 5


def test_explorers_in_python_threads():
    """Two at once, each built, run and closed by a thread that is not the main one."""
    expected = {}
    for seed in (1, 2):
        with explore(BUSY, seed=seed) as explorer:
            expected[seed] = explorer.run(0, 3000)
    found = {}

    def hunt(seed, cpu):
        with explore(BUSY, seed=seed, cpu=cpu) as explorer:
            found[seed] = explorer.run(0, 3000)

    before = threads()
    hunters = [threading.Thread(target=hunt, args=pair) for pair in zip((1, 2), cores(2), strict=True)]
    for hunter in hunters:
        hunter.start()
    for hunter in hunters:
        hunter.join()
    assert found == expected
    assert not threads_besides(before)


def test_cores_are_those_of_the_process():
    assert set(cores(1)) <= os.sched_getaffinity(0)
    assert len(cores(5)) == 5
    assert set(cores(64)) == os.sched_getaffinity(0)


def test_explorers_come_and_go():
    """Neither threads, nor file descriptors, nor mappings are left behind."""
    before = threads()
    for i in range(60):
        with explore(WRONG if i % 2 else BUSY, seed=i) as explorer:
            explorer.run(0, 3)
        if i == 20:
            with open("/proc/self/maps") as maps:
                mappings = len(maps.readlines())
            descriptors = len(os.listdir("/proc/self/fd"))
    assert not threads_besides(before)
    assert len(os.listdir("/proc/self/fd")) <= descriptors
    with open("/proc/self/maps") as maps:
        assert len(maps.readlines()) <= mappings + 20
