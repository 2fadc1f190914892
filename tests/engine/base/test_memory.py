"""Executing allocates nothing: no Python object, and no memory that grows with the number of executions or steps."""

import gc
import sys

import pytest
from engine_programs import BUSY, STRATEGIES, WRONG, explore

from anonvma_rt.engine.strategy import script
from anonvma_rt.engine.strategy.pct import Pct
from anonvma_rt.engine.strategy.random import Random
from anonvma_rt.litmus.program import Program


def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) * 1024


TINY = Program([[("add", "x", 1)], [("load", "x", "r"), ("add", "x", "r")]])


def test_memory_is_flat_over_200_000_executions():
    """In blocks as a hunt submits them; a leak of 32 bytes per execution would be 6 MB."""
    with explore(TINY, Pct(2)) as explorer:
        for first in range(0, 20_000, 5000):
            explorer.run(first, 5000)
        before = resident()
        for first in range(20_000, 220_000, 5000):
            explorer.run(first, 5000)
        assert resident() - before < 3 << 20


def test_memory_is_flat_over_executions_that_fail():
    with explore(WRONG) as explorer:
        explorer.run(0, 1000)
        before = resident()
        for first in range(0, 20_000, 1000):
            assert len(explorer.run(first, 1000).failures) == 1000
        assert resident() - before < 3 << 20


@pytest.mark.parametrize(
    "program, strategy, steps",
    [(Program([[("poll", "x", 1)]]), script.replay, 5_000_000), (Program([[("poll", "x", 1)]] * 2), Random, 200_000)],
    ids=["on and on", "to and fro"],
)
def test_a_hunt_of_long_executions_keeps_no_steps(program, strategy, steps):
    """The events of so many steps would be 240 MB, or 10 MB where each step is a decision. A trace before is over."""
    with explore(program, strategy()) as explorer:
        explorer.bound = 1000
        explorer.run(0, 100)
        explorer.trace(0)
        before = resident()
        explorer.bound = steps
        assert explorer.run(0, 1).longest == steps + 1
        assert resident() - before < 4 << 20


@pytest.mark.parametrize("program", [TINY, BUSY], ids=["tiny", "busy"])
@pytest.mark.parametrize("name", STRATEGIES)
def test_executing_makes_no_python_object(name, program):
    """Blocks counted by the interpreter while one runs, and between its end and the collection of its totals."""
    strategy = STRATEGIES["random" if name == "replay" and program is TINY else name]()
    with explore(program, strategy) as explorer:
        explorer.run(0, 1500)
        gc.collect()
        gc.disable()
        try:
            explorer.submit(0, 1)
            explorer.finish()
            before = sys.getallocatedblocks()
            explorer.submit(0, 1500)
            explorer.finish()
            assert sys.getallocatedblocks() - before <= 5
        finally:
            gc.enable()
        assert explorer.collect().ran == 1500


def test_a_trace_gives_its_memory_back_to_the_next():
    with explore(BUSY) as explorer:
        for index in range(200):
            explorer.trace(index)
        before = resident()
        for index in range(3000):
            explorer.trace(index)
        assert resident() - before < 3 << 20


def test_the_arena_of_a_program_is_small():
    """What is restored before each execution: one header of 16 bytes per name, and the names themselves."""
    with explore(BUSY) as explorer:
        assert explorer.arena_bytes < 512
