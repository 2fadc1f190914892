"""UFFDIO_MOVE of many pages, and of huge ones: which move as a whole, and which are split."""

from errno import EAGAIN, EBUSY, EEXIST, EINVAL, ENOENT

import pytest
from calls import FAR, at, call, exit_process, fork, migrate, mmap, munmap, read, touch
from huge import AREA, CHILD, CONTENTS, HUGE, TWO, frames, states
from kernels import built, clean, refuses, sweep_both
from looks import contents

EVERY = pytest.mark.parametrize("algorithm", ["modern", "linux-6.8", "linux-6.19"])
THERE = mmap(FAR, 2 * HUGE, huge=True)
ANY = (0, EAGAIN, EBUSY, ENOENT)


def move(source, to, pages=1, **how):
    return call("uffd_move", at(source), at(to), pages, **how)


@EVERY
def test_pages_move_one_after_the_other(algorithm):
    world = built(mmap(0, 3), touch(0, 1, 5), touch(1, 1, 6), mmap(FAR, 3), move(0, FAR + 1, 2), algorithm=algorithm)
    assert contents(world, FAR, 3) == [None, 5, 6] and states(world, 0, 3) == {"none"}


@EVERY
def test_a_huge_page_moves_as_a_whole_where_both_places_are_aligned(algorithm):
    world = built(*AREA, THERE, move(0, FAR, HUGE), algorithm=algorithm)
    assert states(world) == {"none"} and states(world, FAR) == {"huge"} and contents(world, FAR, HUGE) == CONTENTS
    assert frames(world, FAR)[0] == frames(built(*AREA, algorithm=algorithm))[0]


@EVERY
@pytest.mark.parametrize(("source", "to", "pages"), [(0, FAR, 3), (0, FAR + 1, HUGE), (1, FAR, 2)])
def test_otherwise_it_is_split_and_its_pages_move(source, to, pages, algorithm):
    world = built(*AREA, THERE, move(source, to, pages), algorithm=algorithm)
    assert states(world, source, pages) == {"none"} and states(world, to, pages) == {"present"}
    assert contents(world, to, pages) == CONTENTS[source : source + pages]


@EVERY
def test_the_huge_zero_page_moves_too(algorithm):
    zero = [mmap(0, HUGE, huge=True), read(0, 1)]
    world = built(*zero, THERE, move(0, FAR, HUGE), algorithm=algorithm)
    assert states(world) == {"none"} and {world.pte(at(FAR + n)) for n in (0, 1, 511)} == {("huge", 0, False)}


def test_what_it_refuses():
    refuses(EBUSY, *AREA, THERE, fork(CHILD), move(0, FAR, HUGE), **TWO)
    refuses(EBUSY, *AREA, THERE, fork(CHILD), exit_process(process=CHILD), move(0, FAR, 1), **TWO)
    refuses(EEXIST, *AREA, THERE, touch(FAR, 1), move(0, FAR, HUGE))
    refuses(ENOENT, *AREA, THERE, munmap(0, HUGE), move(0, FAR, HUGE))
    refuses(EINVAL, *AREA, THERE, move(1, FAR, HUGE))
    refuses(EINVAL, *AREA, mmap(FAR, 2), move(0, FAR, 3))
    refuses(EAGAIN, mmap(0, 3), touch(0, 2, 5), mmap(FAR, 3), move(0, FAR, 3))


@EVERY
@pytest.mark.parametrize("pages", [1, HUGE])
@pytest.mark.parametrize(
    "beside", [migrate(0, errno=ANY), call("referenced", at(0)), touch(1, 1, 9, errno=(0, 14)), fork(CHILD)], ids=str
)
def test_whoever_comes_beside_finds_every_entry(beside, pages, algorithm):
    if algorithm == "linux-6.8" and pages == 1:
        algorithm += ",uffd_any_pmd=false"
    for run in sweep_both([*AREA, THERE], [move(0, FAR, pages, errno=ANY)], [beside], algorithm=algorithm, **TWO):
        clean(run)


def test_up_to_6_16_a_migration_entry_was_asked_for_its_page():
    runs = sweep_both([*AREA, THERE], [move(0, FAR, 1, errno=ANY)], [migrate(0, errno=ANY)], algorithm="linux-6.16")
    found = {run.bug for run in runs if run.kind}
    assert found == {"migration-pmd"}
