"""What a subject announces is all that its tasks tell each other: independent steps may be swapped.

A proof and a count of classes rest on that (engine/order/relation.pxd). Neighbours that are independent by what they
announce are swapped, and the execution must stay in its class: the same operations, the same end.
"""

import pytest
from engine_programs import CPU, events

from anonvma_rt.engine.strategy import script
from anonvma_rt.lab.explorers import make_explorer, prepare, profile
from anonvma_rt.lab.load import load
from anonvma_rt.lab.strategies import make_strategy

READS = ("load", "await")
SHARES = ("read-lock", "read-unlock")
SMALL = {"pages": 2}
MOST = 200


def independent(one, other):
    """As events of a trace; a try is taken to depend on everything that is done to its lock."""
    if "start" in (one.op, other.op) or one.a != other.a:
        return True
    return any(one.op in group and other.op in group for group in (READS, SHARES, ("wait",)))


def swaps(name, algorithm):
    """(swaps that were made, those that left the class), in one execution of each class that a short hunt sees."""
    described = load(name)
    program = described.bind(SMALL if "pages" in described.parameters else {})
    made, left, first = 0, [], {}
    strategy = make_strategy("pos")
    with make_explorer(program, program.choose(algorithm), strategy, carrier="fibers", cpu=CPU) as explorer:
        prepare(explorer, profile(program, explorer))
        explorer.observing = True
        block = explorer.run(0, 4000)
        for index, one in enumerate(memoryview(block.classes).cast("Q")):
            first.setdefault(one, index)
        # Where a violation cuts an execution short, the others' steps before it are part of what was done.
        failing = {index for index, _ in block.failures}
        for index in sorted(set(first.values()) - failing)[:MOST]:
            done = events(explorer.trace(index))
            for k in range(len(done) - 1):
                if done[k].task == done[k + 1].task or not independent(done[k], done[k + 1]):
                    continue
                order = [event.task for event in done]
                order[k], order[k + 1] = order[k + 1], order[k]
                other = explorer.trace(0, script.replay([(task, 1) for task in order]))
                made += 1
                if other.classes != block.classes[8 * index : 8 * index + 8]:
                    left.append((index, done[k], done[k + 1]))
    return made, left


@pytest.mark.parametrize(
    ("name", "algorithm"),
    [
        ("lkml-2011", "moveto-tail"),
        ("merge", "unpatched"),
        ("peek", "peeking"),
        ("own-locks", "unpatched"),
        ("fault-during-fork", "modern"),
        ("order", "unpatched"),
        ("iriw", "sc"),
        ("philosophers", "one-left-handed"),
        ("error-path", "moveto-tail"),
        ("exec-stack", "moveto-tail"),
        ("fork-child-first", "unpatched"),
        ("reused-root", "unpatched"),
        ("unlocked-new-anon-vma", "unpatched"),
    ],
)
def test_neighbours_that_are_independent_may_be_swapped(name, algorithm):
    made, left = swaps(name, algorithm)
    assert made > 3
    assert left == []
