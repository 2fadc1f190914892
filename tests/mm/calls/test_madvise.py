"""madvise(MADV_DONTNEED): what it clears, what stays, and what it meets under mmap_sem that faults share."""

from errno import EINVAL, ENOMEM

import pytest
from calls import TABLE, at, call, dontneed, fork, migrate, mmap, read, split, touch
from kernels import ALL, built, clean, refuses, run, sweep, sweep_both
from looks import contents, vmas

from anonvma_rt.search.hunt import hunt

EVERY = pytest.mark.parametrize("algorithm", ALL)


# ---- one thread ------------------------------------------------------------------------------------------------------


@EVERY
def test_the_pages_go_and_the_vma_stays(algorithm):
    world = built(mmap(0, 4), touch(0, 4, 7), dontneed(1, 2), algorithm=algorithm)
    assert contents(world, 0, 4) == [7, None, None, 7]
    assert [(vma.start, vma.end) for vma in vmas(world)] == [(0, 4)]


def test_the_next_access_finds_a_fresh_page():
    world = built(mmap(0, 2), touch(0, 2, 7), dontneed(0, 2), read(0, 1), touch(1, 1, 8))
    assert contents(world, 0, 2) == [0, 8]


def test_a_hole_is_told_and_the_rest_is_done():
    areas = [mmap(0, 2), mmap(4, 2), touch(0, 2, 7), touch(4, 2, 7)]
    refuses(ENOMEM, *areas, dontneed(0, 6))
    assert contents(built(*areas, dontneed(0, 6, errno=ENOMEM)), 0, 6) == [None] * 6
    refuses(ENOMEM, *areas, dontneed(2, 1))
    refuses(ENOMEM, *areas, dontneed(5, 2))


def test_what_is_no_range_is_refused_and_an_empty_one_is_right():
    refuses(EINVAL, mmap(0, 2), call("dontneed", at(0) + 8, 1))
    built(dontneed(0, 0))


def test_the_other_side_of_a_fork_keeps_its_pages():
    world = built(mmap(0, 2), touch(0, 2, 7), fork(1), dontneed(0, 2, process=1), processes=2)
    assert (contents(world, 0, 2), contents(world, 0, 2, process=1)) == ([7, 7], [None, None])


@EVERY
def test_a_huge_page_goes_whole_and_is_split_where_the_range_cuts_it(algorithm):
    huge = [mmap(0, TABLE, huge=True), touch(0, TABLE, 7)]
    state, head, _ = built(*huge, algorithm=algorithm).pte(at(0))
    assert state == "huge"
    world = built(*huge, dontneed(0, TABLE), algorithm=algorithm)
    assert contents(world, 0, TABLE) == [None] * TABLE
    assert (world.page(head)["mapcount"], world.page(head)["refcount"]) == (0, 0)
    world = built(*huge, dontneed(0, 8), algorithm=algorithm)
    assert contents(world, 0, 10) == [None] * 8 + [7, 7]


# ---- beside others ---------------------------------------------------------------------------------------------------


@EVERY
def test_a_migration_beside_it_loses_nothing_and_leaves_nothing(algorithm):
    # Where munmap decodes migration entries, so does this: the page is locked for as long as its entries are there.
    for run_ in sweep_both([mmap(0, 2), touch(0, 2, 7)], [dontneed(0, 1)], [migrate(0)], algorithm=algorithm):
        assert contents(clean(run_).world, 0, 2) == [None, 7]


@EVERY
def test_a_fault_beside_it_ends_before_or_after(algorithm):
    seen = {
        tuple(contents(clean(run_).world, 0, 1))
        for run_ in sweep([mmap(0, 1), touch(0, 1, 7)], [dontneed(0, 1)], [touch(0, 1, 9)], algorithm=algorithm)
    }
    assert seen == {(None,), (9,)}


@pytest.mark.parametrize("algorithm", ["linux-3.4", "linux-4.5", "modern"])
def test_a_split_beside_it_is_waited_for(algorithm):
    huge = [mmap(0, TABLE, huge=True), touch(0, TABLE, 7)]
    for run_ in sweep(huge, [split(0)], [dontneed(0, 8)], algorithm=algorithm):
        assert contents(clean(run_).world, 7, 3) == [None, 7, 7]


def test_it_shares_mmap_sem_with_faults():
    run_ = run([mmap(0, 1)], [dontneed(0, 1)])
    assert run_.locks("mmap_sem") == [("read-lock", ("mm", 0)), ("read-unlock", ("mm", 0))]


# ---- a pmd that is looked at twice -----------------------------------------------------------------------------------

AREA = [mmap(0, TABLE, huge=True)]


def kinds(algorithm, *threads):
    return {run_.kind for run_ in sweep(AREA, *threads, algorithm=algorithm)}


@pytest.mark.parametrize(("algorithm", "bad"), [("linux-3.3", True), ("linux-3.4", False), ("linux-4.5", False)])
def test_up_to_3_3_a_walk_takes_a_huge_page_for_a_bad_table(algorithm, bad):
    assert ("bug-on" in kinds(algorithm, [dontneed(0, TABLE)], [touch(0, 1, 7)])) == bad


@pytest.mark.parametrize(("algorithm", "bad"), [("linux-3.4", True), ("linux-4.4", True), ("linux-4.5", False)])
def test_up_to_4_4_a_fault_without_a_huge_page_looks_for_a_table_that_is_not_there(algorithm, bad):
    """The huge page of another fault is there at the first look only."""
    result = hunt("fallback-vs-dontneed", None, [algorithm], runs=3000).results[0]
    assert result.executions == 3000 and set(result.violations) == ({"bug-on"} if bad else set())
