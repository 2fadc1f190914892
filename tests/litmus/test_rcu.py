"""RCU's law: no read-side section spans a grace period, and nothing else is kept in order."""

import pytest
from against_machine import explored
from engine_programs import explore, failures, verdict
from grace import ends
from hypothesis import given, settings
from hypothesis import strategies as st

from anonvma_rt.engine.strategy import script
from anonvma_rt.litmus.program import Program

MODELS = ("sc", "tso", "pso")
LOCK, UNLOCK, GRACE = ("rcu_read_lock",), ("rcu_read_unlock",), ("synchronize_rcu",)
WRITER = [("store", "x", 1), GRACE, ("store", "y", 1)]
READER = [LOCK, ("load", "x", "a"), ("load", "y", "b"), UNLOCK]


def spanned(threads, model):
    return any(("1:b", 1) in end and ("1:a", 1) not in end for end in explored(threads, model)[0])


@pytest.mark.parametrize("model", MODELS)
def test_no_section_spans_a_grace_period(model):
    assert not spanned([WRITER, READER], model)
    assert spanned([[step for step in WRITER if step != GRACE], READER], model)
    assert spanned([WRITER, [step for step in READER if step not in (LOCK, UNLOCK)]], model)


@pytest.mark.parametrize("model", MODELS)
def test_what_was_written_before_a_grace_period_is_seen_by_sections_that_begin_after_it(model):
    """RCU+sync+sync would need two; here the reader sees the late store, so it must see the early one."""
    reader = [LOCK, ("load", "y", "a"), ("load", "x", "b"), UNLOCK]
    late = [frozenset(end) for end in explored([WRITER, reader], model)[0]]
    assert any(("1:a", 1) in end for end in late)
    assert all(("1:b", 1) in end for end in late if ("1:a", 1) in end)


def test_a_section_of_another_domain_keeps_nobody():
    writer = [("store", "x", 1), ("synchronize_srcu", "s"), ("store", "y", 1)]
    own = [("srcu_read_lock", "s", "i"), *READER[1:3], ("srcu_read_unlock", "s", "i")]
    other = [("srcu_read_lock", "q", "i"), *READER[1:3], ("srcu_read_unlock", "q", "i")]
    assert not spanned([writer, own], "sc")
    assert spanned([writer, other], "sc")
    assert spanned([writer, READER], "sc")


accesses = st.one_of(
    st.tuples(st.just("store"), st.sampled_from("xy"), st.integers(1, 2)),
    st.tuples(st.just("load"), st.sampled_from("xy"), st.sampled_from("ab")),
)
sections = st.lists(accesses, min_size=1, max_size=2).map(lambda inner: [LOCK, *inner, UNLOCK])
nested = sections.map(lambda inner: [LOCK, *inner, UNLOCK])
pieces = st.one_of(accesses.map(lambda one: [one]), sections, sections, nested, st.just([GRACE]))
bodies = st.lists(pieces, min_size=1, max_size=2).map(lambda parts: [step for part in parts for step in part])


@settings(max_examples=80, deadline=None)
@given(st.lists(bodies, min_size=2, max_size=3))
def test_small_programs_end_as_the_law_says(threads):
    assert explored(threads, "sc")[0] == ends(threads)


def test_the_law_can_be_broken():
    """The same comparison, for programs whose grace periods are left out in the lab."""
    assert explored([[step for step in WRITER if step != GRACE], READER], "sc")[0] != ends([WRITER, READER])


def hunted(*threads):
    program = Program(threads)
    with explore(program) as explorer:
        return set(failures(program, explorer.run(0, 100)).values())


@pytest.mark.parametrize(
    ("thread", "kind"),
    [
        ([LOCK, GRACE, UNLOCK], "deadlock"),
        ([LOCK, LOCK, UNLOCK, GRACE], "deadlock"),
        ([UNLOCK], "bad-unlock"),
        ([LOCK, UNLOCK, UNLOCK], "bad-unlock"),
        ([("srcu_read_lock", "s", "i"), ("srcu_read_unlock", "q", "i")], "bad-unlock"),
        ([LOCK, ("synchronize_srcu", "s"), UNLOCK], "ok"),
        ([LOCK, LOCK, UNLOCK, UNLOCK, GRACE, LOCK], "ok"),
    ],
)
def test_what_one_thread_does_wrong(thread, kind):
    program = Program([thread])
    with explore(program, script.replay()) as explorer:
        assert verdict(program, explorer.trace(0)) == kind


def test_a_grace_period_waits_for_whoever_waits_for_it():
    waits = [LOCK, ("await", "x", 1), UNLOCK]
    assert hunted(waits, [("store", "x", 1), GRACE]) == set()
    assert "deadlock" in hunted(waits, [GRACE, ("store", "x", 1)])
