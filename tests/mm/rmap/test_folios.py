"""Folios of other sizes than a huge page's (mTHP, 6.8): 2**order pages with one lock and one count of references, which
a fault maps by their ptes at once."""

import pytest
from calls import (
    FAR,
    at,
    call,
    deferred_split,
    dontneed,
    fork,
    migrate,
    mmap,
    mprotect,
    mremap,
    munmap,
    read,
    split,
    touch,
)
from huge import CHILD, PARENT, TWO
from kernels import built, clean, run, sweep_both
from looks import contents, pages_at

from anonvma_rt.kernel.machine import Machine

EVERY = pytest.mark.parametrize("algorithm", ["modern", "linux-6.8", "linux-6.19"])
ORDER, NR = 2, 4
AREA = [mmap(0, 4 * NR, huge=ORDER), touch(1, 1, 5), touch(NR, 1, 6)]
ANY = (0, 11, 14, 16, 2, 22)


def frames(world, page=0, pages=NR, process=0):
    return [world.pte(at(page + number), process)[1] for number in range(pages)]


def one_folio(world, page=0, process=0):
    first, *rest = frames(world, page, process=process)
    return rest == [first + 1, first + 2, first + 3] and pages_at(world, page, process)["order"] == ORDER


@EVERY
def test_a_write_maps_all_pages_of_one(algorithm):
    world = built(*AREA, algorithm=algorithm)
    assert one_folio(world) and one_folio(world, NR) and contents(world, 0, 5) == [0, 5, 0, 0, 6]
    assert {"mapcount": 1, "refcount": NR}.items() <= pages_at(world, 2).items()
    assert world.pte(at(2 * NR))[0] == "none"


@pytest.mark.parametrize("algorithm", ["linux-6.6", "unpatched"])
def test_before_6_8_there_are_none(algorithm):
    world = built(*AREA, algorithm=algorithm)
    assert world.pte(at(0))[0] == "none" and pages_at(world, 1)["order"] == 0


@EVERY
def test_where_something_is_in_the_way_a_page_is_small(algorithm):
    assert pages_at(built(mmap(0, 4, huge=ORDER), read(0, 1), touch(1, 1), algorithm=algorithm), 1)["order"] == 0
    assert pages_at(built(mmap(1, 6, huge=ORDER), touch(1, 1), algorithm=algorithm), 1)["order"] == 0
    assert one_folio(built(mmap(1, 8, huge=ORDER), touch(6, 1), algorithm=algorithm), NR), "aligned by its address"


@EVERY
def test_a_child_shares_it_and_each_write_copies_a_page(algorithm):
    world = built(*AREA, fork(CHILD), touch(1, 1, 8), algorithm=algorithm, **TWO)
    assert one_folio(world, 0, CHILD) and contents(world, 0, NR, CHILD) == [0, 5, 0, 0]
    assert contents(world, 0, NR) == [0, 8, 0, 0] and pages_at(world, 1, PARENT)["order"] == 0


@EVERY
def test_it_migrates_as_a_whole(algorithm):
    before = frames(built(*AREA, algorithm=algorithm))
    for step in (migrate(1), call("move_pages", at(2), 1)):
        world = built(*AREA, step, algorithm=algorithm)
        assert one_folio(world) and frames(world)[0] not in before and contents(world, 0, NR) == [0, 5, 0, 0]


@EVERY
def test_a_split_makes_small_pages(algorithm):
    run_ = clean(run(AREA, [split(1)], algorithm=algorithm))
    assert pages_at(run_.world, 1)["order"] == 0 and contents(run_.world, 0, 5) == [0, 5, 0, 0, 6]
    assert one_folio(run_.world, NR)


@EVERY
def test_what_is_half_unmapped_is_split_when_memory_is_short(algorithm):
    run_ = clean(run([*AREA, munmap(0, 1)], [deferred_split()], algorithm=algorithm))
    assert pages_at(run_.world, 1)["order"] == 0 and contents(run_.world, 1) == [5]


@EVERY
def test_the_last_entry_frees_it(algorithm):
    run_ = clean(run(AREA, [munmap(0, 2), munmap(2, 2)], algorithm=algorithm))
    assert len(run_.notes("free-page")) == 1


FIRST = {
    "migration": migrate(1, errno=ANY),
    "split": split(1, errno=ANY),
    "UFFDIO_MOVE": call("uffd_move", at(1), at(FAR), 2, errno=ANY),
}
BESIDE = {
    "write": touch(2, 1, 9),
    "mremap": mremap(1, 2, to=FAR + 8),
    "fork": fork(CHILD),
    "munmap": munmap(1, 2),
    "mprotect": mprotect(1, 1, False),
    "dontneed": dontneed(0, NR),
    "migration of the other one": migrate(NR, errno=ANY),
}


@EVERY
@pytest.mark.parametrize("first", FIRST)
@pytest.mark.parametrize("beside", BESIDE)
def test_nothing_goes_wrong_beside_other_calls(first, beside, algorithm):
    setup = [*AREA, mmap(FAR, NR, huge=ORDER)]
    for done in sweep_both(setup, [FIRST[first]], [BESIDE[beside]], algorithm=algorithm, **TWO):
        clean(done)


@EVERY
def test_two_faults_map_one_folio(algorithm):
    for done in sweep_both([mmap(0, NR, huge=ORDER)], [touch(1, 1, 5)], [touch(2, 1, 6)], algorithm=algorithm):
        clean(done)
        assert one_folio(done.world) and contents(done.world, 0, NR) == [0, 5, 6, 0]


@pytest.mark.parametrize("huge", [-1, 9, 20])
def test_there_are_no_other_orders(huge):
    process = Machine("modern").process()
    assert process.mmap(16, huge=ORDER) and process.mmap(16, huge=True)
    with pytest.raises(ValueError, match=f"an order from 2 to 8, not {huge}"):
        process.mmap(16, huge=huge)
