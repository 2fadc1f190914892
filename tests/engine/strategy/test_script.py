"""A list that is followed: what its numbers count, what becomes of an entry that does not fit, who goes on after it."""

import pytest
from engine_programs import explore

from anonvma_rt.engine.strategy import script
from anonvma_rt.litmus.program import Program

# Steps of a task: its start and one for each line.
FREE = Program([[("store", "x", 1)] * 4, [("store", "y", 1)] * 4])
# The second task waits at its second step for the first one's third.
WAITS = Program([[("store", "x", 0), ("store", "go", 1), ("store", "x", 1)], [("await", "go", 1), ("store", "x", 2)]])


@pytest.mark.parametrize(
    ("program", "strategy", "segments"),
    [
        (FREE, script.replay(), [(0, 5), (1, 5)]),
        (FREE, script.replay([(1, 2), (0, 0), (0, 3)]), [(1, 2), (0, 5), (1, 3)]),
        (WAITS, script.follow([(1, 3), (0, 9)]), [(1, 1), (0, 3), (1, 2), (0, 1)]),
        (FREE, script.follow([(0, 9), (1, 2)]), [(0, 5), (1, 5)]),
        (FREE, script.cuts([(0, 2), (1, 1), (0, 1), (5, 3), (1, 3)]), [(0, 2), (1, 5), (0, 3)]),
        # Where only one task can go on nothing is asked, so that the first cut still stands when the other can again.
        (WAITS, script.cuts([(1, 3), (0, 1)]), [(1, 1), (0, 3), (1, 2), (0, 1)]),
        (FREE, script.cuts([(0, 1)], fair=True), [(0, 1), (1, 5), (0, 4)]),
        (FREE, script.drawn([(1, 2), (2, 1), (3, 0)]), [(1, 2), (0, 1), (1, 3), (0, 4)]),
    ],
)
@pytest.mark.parametrize("carrier", ["threads", "fibers"])
def test_a_list_is_followed_as_its_policies_say(program, strategy, segments, carrier):
    with explore(program, strategy, carrier=carrier) as explorer:
        recorded = explorer.trace(0)
        assert (recorded.segments, recorded.halt) == (segments, None)
        assert explorer.trace(7, strategy.clone()).segments == segments


@pytest.mark.parametrize("segments", [[(1, 3)], [(0, 6)], [(0, 6), (1, 5)], [(2, 1)], [(2**63, 1)], [(0, 2**64 - 1)]])
def test_a_replay_that_does_not_fit_diverges(segments):
    with explore(WAITS, script.replay(segments)) as explorer:
        assert explorer.run(0, 1).halt == "diverged"


def test_a_retrace_says_where_another_execution_begins():
    start, store = 0, 9
    with explore(FREE) as explorer:
        for tasks, ops, at, lost in [
            ([0, 1, 0], [start, start, store], 3, False),
            ([0, 1, 0], [start, store, store], 1, True),
            ([0, 7], [start, start], 1, True),
        ]:
            signatures = b"".join(op.to_bytes(2, "little") for op in ops)
            strategy = script.retrace(bytes(tasks), signatures)
            assert (explorer.run_with(strategy, 0, 1).halt == "diverged") is lost
            assert (strategy.at, strategy.lost) == (at, lost)
    with pytest.raises(ValueError, match="2 tasks for 2 bytes of signatures"):
        script.retrace(b"ab", b"cd")
