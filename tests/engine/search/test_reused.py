"""A search that is handed to another explorer, whose subject has more tasks, is as good as a new one."""

import pytest
from engine_programs import CPU
from interpreter import class_of, interleavings
from random_programs import steps

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.search.dpor import Dpor
from anonvma_rt.engine.search.probe import Probe
from anonvma_rt.litmus.program import Program

TWO = [[("add", "x", 1), ("add", "y", 1)]] * 2
FOUR = [[("add", "x", 1)]] * 4


def explorer_of(threads, strategy):
    return Explorer(Program([steps(thread) for thread in threads]), strategy, cpu=CPU, carrier="fibers")


def test_a_search_begins_anew_with_more_tasks():
    dpor = Dpor()
    with explorer_of(TWO, dpor) as explorer:
        explorer.run(0, 1)
    visited = 0
    with explorer_of(FOUR, dpor) as explorer:
        while not dpor.exhausted:
            visited += explorer.run(visited, 100).ran
    assert visited == len({class_of(done) for done, _ in interleavings(FOUR)})


@pytest.mark.parametrize("before", [TWO, FOUR])
def test_a_probe_begins_anew_with_more_tasks(before):
    probe, fresh = Probe(warm=0), Probe(warm=0)
    with explorer_of(before, probe) as explorer:
        explorer.run(0, 10)
    for strategy in probe, fresh:
        with explorer_of(FOUR, strategy) as explorer:
            explorer.run(0, 100)
    assert probe.weights[-100:] == fresh.weights
