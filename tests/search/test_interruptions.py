"""Bounds on interruptions: the schedules within one, compared with all that there are, and what verify says of them."""

import pytest
from engine_programs import CPU
from hypothesis import given
from hypothesis import strategies as st
from interpreter import interleavings
from random_programs import small_programs, steps

from anonvma_rt import verify
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.search.dpor import Dpor
from anonvma_rt.litmus.program import Program


def search(threads, **bound):
    """(executions, given up, the set of final values without zeros) of a Program."""
    program = Program([steps(thread) for thread in threads])
    ran, pruned, finals = 0, 0, set()
    with Explorer(program, Dpor(**bound), cpu=CPU, carrier="fibers") as explorer:
        while not explorer.strategy.exhausted:
            block = explorer.run(ran, 1)
            ran, pruned = ran + block.ran, pruned + block.pruned
            if block.ran:
                finals.add(frozenset((name, value) for name, value in program.values(explorer).items() if value))
    return ran, pruned, finals


@given(small_programs(7), st.integers(0, 3), st.sampled_from(["preemptions", "delays"]))
def test_a_bound_leaves_the_schedules_within_it_and_no_other(threads, most, counted):
    visited, blocked, finals = search(threads, **{counted: most})
    within = list(interleavings(threads, **{counted: most}))
    assert (visited, blocked) == (len(within), 0)
    assert finals == {final for _, final in within}


@given(small_programs(7), st.integers(0, 3), st.sampled_from(["preemptions", "delays"]))
def test_a_bound_says_whether_it_left_anything_out(threads, most, counted):
    with Explorer(
        Program([steps(thread) for thread in threads]), Dpor(**{counted: most}), carrier="fibers"
    ) as explorer:
        while not explorer.strategy.exhausted:
            explorer.run(0, 64)
        everything = len(list(interleavings(threads)))
        assert explorer.strategy.limited == (len(list(interleavings(threads, **{counted: most}))) < everything)


def test_within_a_bound_the_verdict_says_so():
    within = verify("lkml-2011", {"pages": 2}, ["unpatched", "moveto-tail"], preemptions=1, all_violations=True)
    unpatched, patched = within.results
    assert patched.classes < patched.schedules
    visited = f"{patched.classes} classes in {patched.schedules} schedules"
    assert (
        patched.verdict
        == f"VERIFIED under SC within 1 preemption (complete, {visited}): no violation with fewer than 2 preemptions"
    )
    assert patched.clear_below == 2
    visited = f"of {unpatched.classes} classes in {unpatched.schedules} schedules"
    assert unpatched.verdict == f"VIOLATED within 1 preemption ({sum(unpatched.violating_classes.values())} {visited})"
    # No more than there are, and all of them if the bound is large.
    assert unpatched.classes < verify("lkml-2011", {"pages": 2}, ["unpatched"], all_violations=True).results[0].classes
    assert verify("order", {"pages": 2}, ["patched"], preemptions=9, all_violations=True).results[0].classes == 15
    # The race of 2011 takes one interruption, of either task: the mover's whole way lies between two walks of one call.
    assert unpatched.violating_classes.keys() == {"stale-migration-entry"}
    none = verify("lkml-2011", {"pages": 2}, ["unpatched"], preemptions=0, all_violations=True).results[0]
    assert none.violating_classes == {} and none.complete and not none.as_expected


@pytest.mark.parametrize(("counted", "fewest"), [("preemptions", 1), ("delays", 2)])
def test_bounds_are_raised_until_something_is_found_or_nothing_is_left_out(counted, fewest):
    how = {"iterate": True, "preemptions": 100} if counted == "preemptions" else {"iterate": True, "delays": 100}
    found = verify("lkml-2011", {"pages": 2}, ["unpatched"], **how).results[0]
    what = f"{fewest} {counted if fewest > 1 else counted[:-1]}"
    assert found.clear_below == fewest
    assert found.verdict.startswith("VIOLATED (after ")
    assert found.verdict.endswith(f": no violation with fewer than {what}")
    # A right one never is, and at last it is a proof without a bound.
    proved = verify("order", {"pages": 2}, ["patched"], **how).results[0]
    assert proved.verdict.startswith("VERIFIED under SC (complete, 15 classes in ")
    assert proved.verdict.endswith(f"and no execution has as many as {proved.clear_below} {counted}")
    # All that there are, and not one of them with the last bound less one.
    last = verify("order", {"pages": 2}, ["patched"], **{counted: proved.clear_below - 2}).results[0]
    assert last.verdict.startswith("VERIFIED under SC within ") and last.schedules < proved.schedules


def test_bounds_are_raised_as_far_as_the_limit_allows(tmp_path):
    file = tmp_path / "search.json"
    how = {"iterate": True, "limit": 3000, "checkpoint": file}
    ended = verify("lkml-2011", {"pages": 2}, ["moveto-tail"], **how).results[0]
    assert ended.verdict.startswith("VERIFIED under SC within 2 preemptions (complete, ") and ended.clear_below == 3
    assert ended.as_expected
    again = verify("lkml-2011", {"pages": 2}, ["moveto-tail"], **how).results[0]
    assert (again.verdict, again.classes) == (ended.verdict, ended.classes)
    none = verify("lkml-2011", {"pages": 2}, ["moveto-tail"], iterate=True, limit=1).results[0]
    assert none.verdict.startswith("NOT PROVED: ended after ") and none.clear_below is None and not none.as_expected
