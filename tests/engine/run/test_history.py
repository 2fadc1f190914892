"""Rule 5: history is bought only on failure. A hunt keeps digests; a trace is the same execution, run again."""

import pytest
from engine_programs import BUSY, STRATEGIES, WRONG, all_events, events, explore, split_digests
from hypothesis import given, settings
from hypothesis import strategies as st
from random_programs import random_threads

from anonvma_rt.engine.run.records import Block
from anonvma_rt.engine.strategy import script
from anonvma_rt.engine.strategy.sticky import Sticky
from anonvma_rt.litmus.program import Program

names = st.sampled_from(sorted(set(STRATEGIES) - {"replay"}))


def check_history(program, explorer, index, hunted):
    """The traced execution is the hunted one, and so is its replay, by another explorer and with another seed."""
    traced = explorer.trace(index)
    assert traced.digests == split_digests(hunted)[index - hunted.first]
    found = {i: kind for i, kind in hunted.failures}.get(index)
    assert (traced.finding.kind if traced.finding else None) == found
    with explore(program, script.replay(traced.segments), seed=99) as other:
        again = other.trace(12345)
        values = program.values(other)
    for field in ("digests", "segments", "finding", "events", "points", "switches"):
        assert getattr(again, field) == getattr(traced, field)
    explorer.run(index, 1)
    assert program.values(explorer) == values
    return traced


@given(threads=random_threads(), name=names, seed=st.integers(0, 2**64 - 1), index=st.integers(0, 19))
def test_the_trace_of_an_index_is_the_hunts_execution(threads, name, seed, index):
    program = Program(threads)
    with explore(program, STRATEGIES[name](), seed=seed) as explorer:
        check_history(program, explorer, index, explorer.run(0, 20))


@given(name=names, seed=st.integers(0, 2**64 - 1))
@settings(max_examples=20)
def test_the_trace_of_a_failure_shows_the_failure(name, seed):
    with explore(WRONG, STRATEGIES[name](), seed=seed) as explorer:
        hunted = explorer.run(0, 30)
        assert hunted.failures
        for index, kind in hunted.failures[:4]:
            traced = check_history(WRONG, explorer, index, hunted)
            last, found = events(traced)[-1], traced.finding
            # An inversion is found in the step before the acquire, which is then not even tried.
            assert (found.kind, found.task, found.step) == (kind, last.task, last.step)


def test_tracing_changes_nothing_that_comes_later():
    with explore(BUSY) as explorer:
        before = explorer.run(0, 50)
        explorer.trace(3)
        explorer.trace(4, script.replay(), until=5)
        assert explorer.run(0, 50) == before


def test_replay_by_the_explorer_of_a_hunt():
    """The strategy of the explorer is its own again afterwards, and so is the bound."""
    with explore(BUSY, Sticky(3), seed=4) as explorer:
        explorer.bound = 1000
        hunted = explorer.run(0, 10)
        traced = explorer.trace(7)
        replayed = explorer.run_with(script.replay(traced.segments), 0, 1, bound=500)
        assert replayed.digests == traced.digests
        assert explorer.bound == 1000
        assert explorer.strategy.name == "sticky"
        assert explorer.run(0, 10) == hunted


def test_a_hunt_keeps_no_history():
    with explore(BUSY) as explorer:
        result = explorer.run(0, 100)
        assert type(result) is Block
        assert result.classes == b""
        traced = explorer.trace(5)
        assert {e.step for e in events(traced)} == set(range(1, traced.points + 1))
        # A shorter trace has nothing of the longer one before it.
        assert len(all_events(explorer.trace(5, until=4))) < 10


def test_every_step_of_the_program_leaves_a_note():
    """code is the number of the step in its thread, a the value that it read or wrote."""
    steps = [("store", "x", 5), ("add", "x", 2), ("load", "x", "r"), ("cas", "x", 7, 1, "c"), ("trylock", "a", "t")]
    program = Program([steps])
    with explore(program, script.replay()) as explorer:
        notes = [e for e in all_events(explorer.trace(0)) if e.op == "note"]
    assert [(e.step, e.code, e.a) for e in notes] == [(2, 0, 5), (3, 1, 7), (4, 2, 7), (5, 3, 1), (6, 4, 1)]


# ---- replay ----------------------------------------------------------------------------------------------------------

PAIR = Program([[("lock", "a"), ("store", "x", value), ("unlock", "a")] for value in (1, 2)])


@pytest.mark.parametrize(
    "segments",
    [[(0, 2), (1, 2)], [(0, 9)], [(0, 4), (0, 1)], [(2, 1)], [(63, 1)], [(64, 1)], [(2**32, 1)], [(2**63, 1)]],
    ids=str,
)
def test_a_schedule_that_the_program_cannot_follow_diverges(segments):
    with explore(PAIR, script.replay(segments)) as explorer:
        result = explorer.run(0, 10)
        assert (result.halt, result.ran, result.failures) == ("diverged", 0, [])
        # And does no harm to what comes next.
        assert explorer.run_with(script.replay(), 0, 10).ran == 10


@pytest.mark.parametrize(
    "segments",
    [[], [(0, 4)], [(0, 0), (0, 2)], [(0, 4), (1, 4)], [(0, 1)] * 4, [(0, 4), (1, 2**64 - 1)]],
    ids=str,
)
def test_past_its_end_a_schedule_goes_on_sequentially(segments):
    with explore(PAIR, script.replay(segments)) as explorer:
        assert explorer.trace(0).segments == [(0, 4), (1, 4)]


@pytest.mark.parametrize("segments", [[(0,)], [(0, -1)], [(0, 2**64)], [("0", 1)], [None], 5])
def test_what_is_no_schedule(segments):
    with pytest.raises((TypeError, ValueError, OverflowError)):
        script.replay(segments)


def test_a_clone_has_the_same_schedule():
    strategy = script.replay([(0, 1), (1, 1)])
    with explore(PAIR, strategy) as one, explore(PAIR, strategy.clone()) as two:
        assert one.run(0, 3) == two.run(0, 3)
