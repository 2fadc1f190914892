"""The Python calls from several threads at once, from asyncio, after fork, and without a GIL where Python has none."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from anonvma_rt import Machine, PyStrategy, Recording, Scenario, StopToken, hunt, replay, verify
from anonvma_rt.execution.reproducer import Reproducer

RUNS = 1500


class Lowest(PyStrategy):
    def choose(self, moment):
        return self.random.choice(moment.enabled)


def digest(scenario="merge", **options):
    (one,) = hunt(scenario, algorithms=["unpatched"], runs=RUNS, **options).results
    return one.schedules_sha256, tuple(one.indices)


def test_hunts_in_several_threads_at_once_are_the_same_as_one_after_the_other():
    kinds = [{"seed": seed, "carrier": carrier} for seed in range(3) for carrier in ("threads", "fibers")]
    alone = [digest(**options) for options in kinds]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda options: digest(**options), kinds))
    assert together == alone and len(set(alone)) == 3


def test_one_scenario_object_serves_all_threads(tmp_path):
    scenario = Scenario.load("merge")
    found = hunt(scenario, algorithms=["unpatched"], runs=RUNS, out=tmp_path).results[0].first.reproducer
    reproducer = Reproducer.load(found)

    def replays(_):
        replayed = replay(reproducer, times=20)
        replayed.explorer.close()
        return replayed.reproduced

    def verifies(_):
        return verify(scenario, {"pages": 1}).results[1].classes

    with ThreadPoolExecutor(6) as pool:
        first, second = pool.map(replays, range(4)), pool.map(verifies, range(4))
        assert list(first) == [20] * 4 and len(set(second)) == 1


def test_strategies_in_python_in_several_threads():
    options = {"strategy": Lowest(), "carrier": "threads"}
    (alone,) = {hunt("order", algorithms=["patched"], runs=150, **options).results[0].schedules_sha256}
    with ThreadPoolExecutor(3) as pool:
        together = pool.map(
            lambda _: hunt("order", algorithms=["patched"], runs=150, **options).results[0].schedules_sha256, range(3)
        )
        assert set(together) == {alone}


def test_machines_and_recordings_in_several_threads():
    def drive(number):
        recording = Recording(f"r{number}")
        process = recording.process()
        at = process.mmap(8)
        process.write(at, number)
        machine = Machine()
        mine = machine.process()
        place = mine.mmap(4)
        for page in range(50):
            mine.write(place + page % 4 * 4096, page)
            machine.migrate(mine.pte(place + page % 4 * 4096).pfn)
        return process.read(at), mine.read(place), machine.check()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(drive, range(8))) == [(number, 48, []) for number in range(8)]


def test_the_gil_is_free_while_a_hunt_runs_in_another_thread():
    ticks, done = [0], threading.Event()

    def tick():
        while not done.is_set():
            ticks[0] += 1
            time.sleep(0.001)

    counter = threading.Thread(target=tick)
    counter.start()
    hunt("lkml-2011", algorithms=["unpatched"], runs=30_000)
    done.set()
    counter.join()
    assert ticks[0] > 10


def test_asyncio_goes_on_while_a_thread_hunts_and_can_stop_it():
    async def main():
        token, beats = StopToken(), 0
        hunting = asyncio.create_task(
            asyncio.to_thread(hunt, "lkml-2011", {}, ["moveto-tail"], runs=1 << 40, stop=token)
        )
        while beats < 10:
            await asyncio.sleep(0.01)
            beats += 1
        token.stop()
        return await asyncio.wait_for(hunting, 60)

    result = asyncio.run(main())
    assert result.interrupted and result.results[0].executions > 0


def test_several_hunts_as_tasks_of_asyncio():
    async def main():
        return await asyncio.gather(*(asyncio.to_thread(digest, seed=seed) for seed in (0, 1, 0)))

    first, second, third = asyncio.run(main())
    assert first == third != second


@pytest.mark.parametrize("during", [False, True], ids=["after a hunt", "while another thread hunts"])
def test_after_fork_the_child_hunts_as_the_parent_does(during):
    expected = digest()
    token = StopToken()
    other = threading.Thread(target=lambda: hunt("merge", algorithms=["moveto-tail"], runs=1 << 40, stop=token))
    if during:
        other.start()
        time.sleep(0.05)
    try:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                signal.alarm(60)
                python = hunt("order", algorithms=["patched"], runs=20, strategy=Lowest()).results[0].executions
                os.write(write, b"same" if digest() == expected and python == 20 else b"other")
            finally:
                os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            assert pipe.read() == b"same"
        os.waitpid(child, 0)
    finally:
        token.stop()
        if during:
            other.join()


def test_without_a_gil(tmp_path):
    """The modules say that they need none; where a free-threaded Python has the package, threads hunt in it at once."""
    found = next(filter(shutil.which, ("python3.14t", "python3.13t")), None)
    if found is None:
        pytest.skip("no free-threaded Python here (python3.13t, python3.14t)")
    code = (
        "import sys, anonvma_rt\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "one = lambda seed: anonvma_rt.hunt('merge', algorithms=['unpatched'], runs=500, seed=seed)"
        ".results[0].schedules_sha256\n"
        "alone = [one(seed) for seed in range(3)]\n"
        "assert list(ThreadPoolExecutor(3).map(one, range(3))) == alone\n"
        "print(sys._is_gil_enabled())\n"
    )
    done = subprocess.run([found, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    if "No module named 'anonvma_rt'" in done.stderr or "is a checkout whose compiled half" in done.stderr:
        pytest.skip(f"anonvma_rt is not built for {found}")
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr
    assert sys.version_info >= (3, 11)
