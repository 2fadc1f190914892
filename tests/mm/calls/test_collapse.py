"""khugepaged: which small pages become a huge one, and what it meets while it takes the table away."""

from errno import EAGAIN, EINVAL, ENOMEM

import pytest
from calls import TABLE, at, collapse, dontneed, fork, migrate, mmap, mprotect, read, split, touch
from kernels import ALL, built, clean, refuses, sweep_both
from looks import contents

EVERY = pytest.mark.parametrize("algorithm", ALL)
# A range that may have a huge page, with small ones at its beginning: they came before the rest of it.
SMALL = [mmap(0, 256, huge=True), touch(0, 2, 7), mmap(256, 256, huge=True)]
ANY = (0, 11, 16, 22)


@EVERY
def test_small_pages_become_a_huge_one_with_their_contents(algorithm):
    world = built(*SMALL, touch(1, 1, 8), collapse(0), algorithm=algorithm)
    assert world.pte(at(0))[0] == "huge" and not world.tables()
    assert contents(world, 0, 4) == [7, 8, 0, 0]


@EVERY
def test_every_page_of_a_table_can_be_small(algorithm):
    """All 512 are locked at once."""
    full = [mmap(0, 256, huge=True), touch(0, 256, 7), mmap(256, 256, huge=True), touch(256, 256, 8)]
    world = built(*full, collapse(0), algorithm=algorithm)
    assert world.pte(at(0))[0] == "huge"
    assert contents(world, 0, TABLE) == [7] * 256 + [8] * 256


@EVERY
def test_what_was_split_comes_together_again(algorithm):
    huge = [mmap(0, TABLE, huge=True), touch(0, TABLE, 7)]
    assert built(*huge, split(0), collapse(0), algorithm=algorithm).pte(at(0))[0] == "huge"


def test_who_does_not_want_a_huge_page_gets_none():
    refuses(EINVAL, mmap(0, TABLE), touch(0, 1, 7), collapse(0))
    refuses(EINVAL, mmap(0, 256, huge=True), touch(0, 1, 7), collapse(0))
    refuses(EINVAL, mmap(0, TABLE, huge=True), collapse(0))
    refuses(ENOMEM, *SMALL, collapse(0, fails=("page", 0)))


def test_a_page_that_is_not_written_to_stays_until_3_19_and_one_is_enough_since():
    reading = [mmap(0, 256, huge=True), touch(0, 1, 7), read(1, 1), mmap(256, 256, huge=True)]
    refuses(EINVAL, *reading, collapse(0), algorithm="linux-3.19")
    assert built(*reading, collapse(0), algorithm="linux-4.0").pte(at(0))[0] == "huge"
    locked = [*SMALL, mprotect(0, TABLE, False)]
    for algorithm in ("linux-3.19", "linux-4.0", "linux-5.8"):
        refuses(EINVAL, *locked, collapse(0), algorithm=algorithm)


def test_a_page_of_two_processes_stays_until_5_7():
    shared = [*SMALL, fork(1), touch(1, 1, 9)]
    refuses(EAGAIN, *shared, collapse(0), algorithm="linux-4.0", processes=2)
    world = built(*shared, collapse(0), algorithm="linux-5.8", processes=2)
    assert world.pte(at(0))[0] == "huge" and contents(world, 0, 2) == [7, 9]
    assert contents(world, 0, 2, process=1) == [7, 7]


BESIDE = {
    "migrate": migrate(0, errno=ANY),
    "dontneed": dontneed(0, 2),
    "touch": touch(0, 1, 9),
    "fork": fork(1),
    "collapse": collapse(0, errno=ANY),
}


@EVERY
@pytest.mark.parametrize("beside", BESIDE.values(), ids=BESIDE)
def test_nothing_is_lost_beside_another_call(algorithm, beside):
    for run in sweep_both(SMALL, [collapse(0, errno=ANY)], [beside], algorithm=algorithm, processes=2):
        clean(run)


def test_without_the_roots_lock_a_restore_walk_misses_the_table():
    algorithm = "unpatched,collapse_unlocked=true"
    runs = sweep_both(SMALL, [collapse(0, errno=ANY)], [migrate(0, errno=ANY)], algorithm=algorithm)
    assert any(run.kind == "stale-migration-entry" for run in runs)
