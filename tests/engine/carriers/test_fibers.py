"""The `fibers` carrier: the same executions as `threads`, on stacks of its own."""

import os
import subprocess
import sys

import pytest
from engine_programs import CPU

from anonvma_rt import Algorithm, Reproducer, UserError, hunt, replay
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.strategy.random import Random
from anonvma_rt.engine.strategy.sticky import Sticky
from anonvma_rt.kernel.scenario import Scenario
from anonvma_rt.lab.explorers import make_explorer
from anonvma_rt.litmus.program import Program


def test_a_violation_found_on_fibers_replays_on_threads(tmp_path):
    first = hunt("merge", algorithms=["unpatched"], carrier="fibers", runs=2000, out=tmp_path).results[0].first
    replayed = replay(Reproducer.load(first.reproducer), times=10)
    assert replayed.reproduced == 10 and replayed.same_trace


def test_a_stack_overflow_in_a_task_is_a_violation_and_no_crash(breaker):
    with Explorer(breaker.Deep(), Sticky(), cpu=CPU, carrier="fibers") as explorer:
        block = explorer.run(0, 50)
        kinds = explorer.subject.kinds()
    assert [kinds[kind] for _, kind in block.failures] == ["stack-overflow"] * 50


def test_another_fault_than_an_overflow_is_still_a_crash():
    """The lab's handler must not hide a bug of anybody else."""
    code = (
        "import ctypes\n"
        "from anonvma_rt.engine.run.explorer import Explorer\n"
        "from anonvma_rt.litmus.program import Program\n"
        "from anonvma_rt.engine.strategy.random import Random\n"
        "with Explorer(Program([[('store', 'x', 1)]]), Random(), carrier='fibers') as e:\n"
        "    e.run(0, 10)\n"
        "    ctypes.string_at(8)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert ended.returncode == -11


def test_many_tasks_and_many_explorers_have_stacks_of_their_own():
    steps = [[("lock", "a"), ("add", "x", 1), ("unlock", "a")]] * 40
    explorers = [Explorer(Program(steps), Random(), seed=s, carrier="fibers") for s in range(4)]
    try:
        for explorer in explorers:
            explorer.submit(0, 200)
        for explorer in explorers:
            explorer.finish()
            assert explorer.collect().ran == 200
    finally:
        for explorer in explorers:
            explorer.close()


def test_one_thread_carries_all_fibers():
    def threads():
        return len(os.listdir("/proc/self/task"))

    before = threads()
    program = Scenario.load("merge").bind({})
    with make_explorer(program, Algorithm.parse("unpatched"), Random(), carrier="fibers"):
        assert threads() == before + 1
    assert threads() == before


def test_an_unknown_carrier_is_refused():
    with pytest.raises(UserError, match='unknown carrier "fiber" \\(did you mean "fibers"\\?\\)'):
        hunt("merge", carrier="fiber")
    with pytest.raises(ValueError, match="a carrier is threads or fibers, not fiber"):
        Explorer(Program([[]]), Random(), carrier="fiber")
