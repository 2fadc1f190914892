"""Explores both forms of the downstream subject and prints what was found as JSON."""

import json

from lostcount import LostCount, Turns

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.strategy.portfolio import Portfolio
from anonvma_rt.engine.strategy.random import Random


def explore(locked, runs, strategy=None):
    with Explorer(LostCount(locked), strategy or Random(), seed=1) as explorer:
        result = explorer.run(0, runs)
        kinds = explorer.subject.kinds()
    return {
        "ran": result.ran,
        "halt": result.halt,
        "failures": [(index, kinds[kind]) for index, kind in result.failures],
        "schedules": result.digests.hex(),
    }


found = {
    "unlocked": explore(False, 1000),
    "again": explore(False, 1000),
    "locked": explore(True, 5000),
    "in turns": explore(False, 10, Turns()),
    "in turns, in a portfolio": explore(False, 10, Portfolio([Turns(), Turns()])),
}
print(json.dumps(found))
