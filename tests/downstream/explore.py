"""Explores both forms of the downstream subject and prints what was found as JSON."""

import json

from lostcount import LostCount

from anonvma_rt.engine.explorer import Explorer
from anonvma_rt.engine.strategy.random import Random


def explore(locked, runs):
    with Explorer(LostCount(locked), Random(), seed=1) as explorer:
        result = explorer.run(0, runs)
        kinds = explorer.subject.kinds()
    return {
        "ran": result["ran"],
        "halt": result["halt"],
        "failures": [(index, kinds[kind]) for index, kind in result["failures"]],
        "schedules": result["digests"].hex(),
    }


print(json.dumps({"unlocked": explore(False, 1000), "again": explore(False, 1000), "locked": explore(True, 5000)}))
