"""The huge zero page (3.8): what a read maps where a huge page may be, and what becomes of it."""

from errno import ENOMEM

import pytest
from calls import FAR, at, collapse, dontneed, fork, migrate, mmap, mprotect, mremap, munmap, read, touch
from huge import CHILD, HUGE, TWO, states
from kernels import built, clean, sweep_both
from looks import contents

# By what a write to it does.
WHOLE = ["linux-3.8", "linux-4.6", "linux-6.13", "modern"]
SMALL = ["linux-5.8", "linux-6.12"]
EVERY = pytest.mark.parametrize("algorithm", WHOLE + SMALL)
READ = [mmap(0, HUGE, huge=True), read(3, 1)]
ANY = (0, 11)


def zeroes(world, page=0, pages=HUGE, process=0):
    return {world.pte(at(number), process)[1:] for number in range(page, page + pages)} == {(0, False)}


@EVERY
def test_a_read_maps_it_and_no_page(algorithm):
    world = built(*READ, algorithm=algorithm)
    assert states(world) == {"huge"} and zeroes(world) and not world.tables()
    assert contents(world, 0, 4) == [0] * 4


def test_before_it_was_there_a_read_got_a_huge_page():
    world = built(*READ, algorithm="linux-3.7")
    assert states(world) == {"huge"} and world.pte(at(0))[1] > 0


@pytest.mark.parametrize("algorithm", WHOLE)
def test_a_write_gets_a_huge_page(algorithm):
    world = built(*READ, touch(5, 1, 7), algorithm=algorithm)
    assert states(world) == {"huge"} and world.pte(at(5))[2]
    assert contents(world, 4, 3) == [0, 7, 0]


@pytest.mark.parametrize("algorithm", WHOLE)
def test_without_memory_for_one_its_pmd_is_split(algorithm):
    """And this page is not to be had, either."""
    world = built(*READ, touch(5, 1, 7, fails=("page", 0), errno=ENOMEM), algorithm=algorithm)
    assert states(world) == {"present"} and zeroes(world)


@pytest.mark.parametrize("algorithm", SMALL)
def test_from_5_8_to_6_12_a_write_got_a_small_page(algorithm):
    world = built(*READ, touch(5, 1, 7), algorithm=algorithm)
    assert states(world) == {"present"} and zeroes(world, 6, 500) and world.pte(at(5))[1] > 0
    assert contents(world, 4, 3) == [0, 7, 0]


@EVERY
def test_a_child_has_it_too_and_each_writes_for_itself(algorithm):
    world = built(*READ, fork(CHILD), touch(3, 1, 7), algorithm=algorithm, **TWO)
    assert zeroes(world, process=CHILD) and contents(world, 3) == [7] and contents(world, 3, process=CHILD) == [0]


@EVERY
@pytest.mark.parametrize(
    ("cut", "left"),
    [
        (munmap(0, 100), range(100, HUGE)),
        (dontneed(0, 100), range(100, HUGE)),
        (mprotect(0, 100, False), range(HUGE)),
        (mremap(0, 100, to=FAR), [*range(100, HUGE), *range(FAR, FAR + 100)]),
    ],
    ids=["munmap", "dontneed", "mprotect", "mremap"],
)
def test_a_part_of_it_is_cut_off_by_the_pte(cut, left, algorithm):
    world = built(*READ, cut, algorithm=algorithm)
    assert {world.pte(at(page)) for page in left} == {("present", 0, False)}


@EVERY
def test_it_moves_goes_and_stays_as_a_whole(algorithm):
    far = [mmap(FAR, HUGE, huge=True)]
    moved = built(*READ, mremap(0, HUGE, to=FAR), algorithm=algorithm)
    assert states(moved, FAR) == {"huge"} and zeroes(moved, FAR) and states(moved) == {"none"}
    gone = built(*READ, dontneed(0, HUGE), *far, algorithm=algorithm)
    assert states(gone) == {"none"}
    assert zeroes(built(*READ, collapse(0), algorithm=algorithm)), "there is nothing to collapse"


BESIDE = {
    "a write": touch(0, 1, 8),
    "a read": read(0, 1),
    "mprotect": mprotect(0, 2, False),
    "dontneed": dontneed(0, HUGE),
    "mremap": mremap(0, HUGE, to=FAR),
    "fork": fork(CHILD),
    "migration": migrate(HUGE - 1, errno=ANY),
}


@EVERY
@pytest.mark.parametrize("beside", BESIDE)
def test_a_write_beside_other_calls(beside, algorithm):
    world = (*READ, touch(HUGE - 1, 1, 5)) if beside == "migration" else READ
    for run in sweep_both(world, [touch(3, 1, 7, errno=(0, 14))], [BESIDE[beside]], algorithm=algorithm, **TWO):
        clean(run)
