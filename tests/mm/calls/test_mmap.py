"""mmap and munmap: which vmas there are afterwards, which page tables and pages, and who shares an anon_vma.

Kernel-reference 2.3 and 2.7: an unfaulted neighbour never takes a faulted request, while a request without an anon_vma
takes whatever neighbour it finds. Neither reads or writes a page by itself.
"""

import random
from errno import EFAULT, EINVAL, ENOMEM

import pytest
from calls import BASE, FAR, FAR2, PAGE, TABLE, at, call, mmap, mremap, munmap, touch
from kernels import built, clean, run, sweep, sweep_both
from looks import anon_vmas, contents, frame, only_list, tables, vmas

from anonvma_rt import Machine
from anonvma_rt.mm.lab.kernel import Refused

# ---- mmap: what merges -----------------------------------------------------------------------------------------------


def test_fresh_anonymous_memory_is_indexed_by_its_address():
    world = built(mmap(0, 4), mmap(10, 2))
    assert vmas(world) == [(0, 4, 0), (10, 12, 10)]
    assert anon_vmas(world) == [None, None]
    assert tables(world) == []


def test_unfaulted_neighbours_merge_below_above_and_on_both_sides():
    assert vmas(built(mmap(0, 4), mmap(4, 2))) == [(0, 6, 0)]
    assert vmas(built(mmap(4, 2), mmap(0, 4))) == [(0, 6, 0)]
    assert vmas(built(mmap(0, 2), mmap(4, 2), mmap(2, 2))) == [(0, 6, 0)]


def test_the_neighbour_grows_and_no_new_vma_appears():
    below = built(mmap(0, 2), mmap(10, 1), mmap(2, 2))
    assert [v["id"] for v in below.maps()] == [1, 2]
    above = built(mmap(0, 1), mmap(10, 1), mmap(8, 2))
    assert [v["id"] for v in above.maps()] == [1, 2]
    both = built(mmap(4, 2), mmap(0, 2), mmap(2, 2))
    assert [v["id"] for v in both.maps()] == [2], "the lower one takes over the upper one"


def test_a_request_without_anon_vma_merges_with_a_faulted_neighbour():
    world = built(mmap(0, 2), touch(0, 2), mmap(2, 2))
    assert vmas(world) == [(0, 4, 0)]
    assert contents(world, 0, 4) == [7, 7, None, None]
    assert vmas(built(mmap(2, 2), touch(2, 2), mmap(0, 2))) == [(0, 4, 0)]


def test_an_unfaulted_lower_neighbour_inherits_the_anon_vma_of_the_upper_one():
    world = built(mmap(0, 2), mmap(4, 2), touch(4, 2), mmap(2, 2))
    assert vmas(world) == [(0, 6, 0)]
    assert anon_vmas(world) == [1]
    assert only_list(world) == [0], "the swallowed vma is on no list any more"


def test_neighbours_with_different_anon_vmas_do_not_become_one():
    world = built(mmap(0, 2), touch(0, 2), mmap(4, 2), touch(4, 2), mmap(2, 2))
    assert vmas(world) == [(0, 4, 0), (4, 6, 4)], "the lower one takes the request, the upper one stays"
    assert anon_vmas(world) == [1, 2]


def test_a_vma_that_was_moved_keeps_its_index_and_merges_with_no_fresh_neighbour():
    world = built(mmap(0, 2), touch(0, 2), mremap(0, 2, to=FAR), mmap(FAR + 2, 2), mmap(FAR - 2, 2))
    assert vmas(world) == [(FAR - 2, FAR, FAR - 2), (FAR, FAR + 2, 0), (FAR + 2, FAR + 4, FAR + 2)]


def test_an_unfaulted_neighbour_never_takes_a_faulted_request():
    # The moved half comes back between its other half (same anon_vma) and unfaulted memory of the right index.
    apart = mmap(0, 4), touch(0, 4), mremap(2, 2, to=FAR)
    back = mremap(FAR, 2, to=2)
    world = built(*apart, mmap(4, 2), back)
    assert vmas(world) == [(0, 4, 0), (4, 6, 4)]
    assert anon_vmas(world) == [1, None]
    # The same on the other side, and with nobody else to merge with.
    above = built(*apart, munmap(0, 2), mmap(4, 2), back)
    assert vmas(above) == [(2, 4, 2), (4, 6, 4)]
    below = built(*apart, munmap(0, 2), mmap(0, 2), back)
    assert vmas(below) == [(0, 2, 0), (2, 4, 2)]


def test_mmap_over_a_mapping_replaces_it():
    world = built(mmap(0, 6), touch(0, 6), mmap(2, 2))
    assert vmas(world) == [(0, 6, 0)], "unmapped first, then merged with both halves"
    assert contents(world, 0, 6) == [7, 7, None, None, 7, 7]
    assert only_list(world) == [0]


# ---- find_mergeable_anon_vma -----------------------------------------------------------------------------------------

LEFT = mmap(0, 2), touch(0, 2), mremap(0, 2, to=FAR)  # comes back as [0, 2) with an anon_vma of its own, the first
RIGHT = mmap(4, 2), touch(4, 2), mremap(4, 2, to=FAR2)  # comes back as [4, 6), with the second
HOME, HOME2 = mremap(FAR, 2, to=0), mremap(FAR2, 2, to=4)


def test_vmas_that_touch_and_never_merged_share_an_anon_vma():
    world = built(*LEFT, mmap(2, 2), HOME, touch(2, 2))
    assert vmas(world) == [(0, 2, 0), (2, 4, 2)]
    assert anon_vmas(world) == [1, 1]
    assert only_list(world) == [0, 2]
    world = built(*RIGHT, mmap(2, 2), HOME2, touch(2, 2))
    assert anon_vmas(world) == [1, 1]


def test_the_next_neighbour_is_asked_before_the_previous_one():
    world = built(*LEFT, *RIGHT, mmap(2, 2), HOME, HOME2, touch(2, 2))
    assert anon_vmas(world) == [1, 2, 2]


def test_no_anon_vma_is_shared_across_a_gap_or_a_jump_of_the_index():
    gap = built(*LEFT, mmap(3, 2), HOME, touch(3, 2))
    assert anon_vmas(gap) == [1, 2]
    jump = built(mmap(0, 2), touch(0, 2), mremap(0, 2, to=FAR), mmap(FAR + 2, 2), touch(FAR + 2, 2))
    assert anon_vmas(jump) == [1, 2]


# ---- munmap ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "pages", "left"),
    [
        (0, 2, [(2, 8, 2)]),
        (6, 2, [(0, 6, 0)]),
        (3, 2, [(0, 3, 0), (5, 8, 5)]),
        (0, 8, []),
        (-4, 20, []),
        (-4, 6, [(2, 8, 2)]),
        (8, 4, [(0, 8, 0)]),
    ],
)
def test_munmap_splits_where_it_has_to(first, pages, left):
    world = built(mmap(0, 8), touch(0, 8), munmap(first, pages))
    assert vmas(world) == left
    gone = range(max(0, first), min(8, first + pages))
    assert contents(world, 0, 8) == [None if page in gone else 7 for page in range(8)]
    assert only_list(world) == [vma[0] for vma in left] if left else world.lists() == {}


def test_an_unmapped_page_is_freed():
    run_ = clean(run([mmap(0, 2), touch(0, 2)], [munmap(0, 1)]))
    assert run_.world.page(1) | {"index": 0} == {
        "mapcount": 0, "refcount": 0, "index": 0, "locked": False, "tag": 7, "anon_vma": None, "order": 0,
    }  # fmt: skip
    assert [freed for freed, _, _ in run_.notes("free-page")] == [1]
    assert frame(run_.world, 1) == 2


@pytest.mark.parametrize("length", [0, 1 << 40])
def test_munmap_refuses_no_length_and_what_no_address_space_holds(length):
    with pytest.raises(Refused) as refused:
        built(mmap(0, 2), call("munmap", BASE, length))
    assert (refused.value.index, refused.value.errno) == (1, EINVAL)


def test_unaligned_addresses_are_refused():
    for verb in ("mmap", "munmap"):
        with pytest.raises(Refused) as refused:
            built(mmap(0, 2), call(verb, at(0) + 1, 1))
        assert refused.value.errno == EINVAL


def test_mmap_refuses_no_length_and_addresses_that_no_process_has():
    top = 1 << 39
    for address, pages, errno in [(BASE, 0, EINVAL), (top - PAGE, 2, ENOMEM), (top, 1, ENOMEM)]:
        with pytest.raises(Refused) as refused:
            built(call("mmap", address, pages))
        assert refused.value.errno == errno
    assert len(built(call("mmap", top - PAGE, 1)).maps()) == 1


# ---- page tables -----------------------------------------------------------------------------------------------------


def test_a_page_table_appears_with_the_first_fault_in_its_2_mib():
    assert tables(built(mmap(0, 3 * TABLE))) == []
    assert tables(built(mmap(0, 3 * TABLE), touch(TABLE, 1))) == [TABLE]
    assert tables(built(mmap(0, 3 * TABLE), touch(TABLE - 1, 2))) == [0, TABLE]


AREA = mmap(TABLE - 2, TABLE + 4), touch(TABLE - 2, TABLE + 4)  # the end of a table, a whole one, the start of a third


@pytest.mark.parametrize(
    ("unmapped", "left"),
    [
        ((TABLE - 2, 1), [0, TABLE, 2 * TABLE]),
        ((TABLE - 2, 2), [TABLE, 2 * TABLE]),
        ((TABLE, TABLE - 1), [0, TABLE, 2 * TABLE]),
        ((TABLE, TABLE), [0, 2 * TABLE]),
        ((TABLE - 1, TABLE + 2), [0, 2 * TABLE]),
        ((TABLE - 2, TABLE + 4), []),
        ((2 * TABLE + 1, 5), [0, TABLE, 2 * TABLE]),
        ((2 * TABLE, 2), [0, TABLE]),
    ],
)
def test_a_page_table_is_freed_exactly_when_no_vma_is_left_in_its_2_mib(unmapped, left):
    assert tables(built(*AREA, munmap(*unmapped))) == left


def test_a_vma_without_any_page_keeps_the_table_of_its_neighbour():
    assert tables(built(mmap(0, 2), touch(0, 2), mmap(100, 2), munmap(0, 2))) == [0]


def test_the_last_vma_to_go_frees_the_table_even_if_it_had_no_page_in_it():
    assert tables(built(mmap(0, 2), touch(0, 2), mmap(100, 2), munmap(0, 2), munmap(100, 2))) == []


# ---- with mmap_sem held for reading ----------------------------------------------------------------------------------

HELD, KEPT = ["lock", "unlock"], ["lock", "downgrade", "read-unlock"]


@pytest.mark.parametrize("algorithm", ["linux-4.20", "modern", "linux-6.19"])
@pytest.mark.parametrize(
    ("calls", "locks"),
    [
        ([munmap(0, 2)], KEPT),
        ([mremap(0, 4, new_pages=2)], KEPT),
        ([munmap(8, 2)], HELD),
        ([mmap(0, 2)], HELD),
        ([mremap(0, 4, FAR, 2)], HELD),
    ],
    ids=["munmap", "mremap that shrinks", "nothing to unmap", "mmap over it", "mremap to another place"],
)
def test_a_call_that_ends_with_unmapping_gives_half_of_mmap_sem_back_before(calls, locks, algorithm):
    setup = [mmap(0, 4), touch(0, 4)]
    assert [what for what, _ in run(setup, calls, algorithm=algorithm).locks("mmap_sem")] == locks
    assert [what for what, _ in run(setup, calls, algorithm="linux-4.19").locks("mmap_sem")] == HELD


@pytest.mark.parametrize(("algorithm", "meet"), [("linux-4.19", False), ("linux-4.20", True)])
def test_a_fault_elsewhere_comes_in_while_munmap_clears_ptes(algorithm, meet):
    setup = [mmap(0, 4), touch(0, 4), mmap(TABLE, 1)]
    between = set()
    for run_ in sweep(setup, [munmap(0, 4)], [touch(TABLE, 1, 9)], algorithm=algorithm):
        clean(run_)
        order = [event.task for event in run_.events if event.what in ("zap", "fault")]
        between.add(0 in order[: order.index(1)] and 0 in order[order.index(1) :])
        assert contents(run_.world, TABLE, 1) == [9]
    assert meet in between and (meet or between == {False})


@pytest.mark.parametrize("algorithm", ["linux-4.20", "modern"])
def test_a_fault_in_what_is_being_unmapped_finds_nothing(algorithm):
    setup = [mmap(0, 4), touch(0, 4, 7)]
    for run_ in sweep_both(setup, [munmap(0, 4)], [touch(0, 1, 9, errno=(0, EFAULT))], algorithm=algorithm):
        assert vmas(clean(run_).world) == []


# ---- finding a vma among many ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_every_vma_of_many_is_found_and_no_hole_is(seed):
    dice = random.Random(seed)
    places = list(range(0, 600, 3))  # two pages each, and a hole of one between them
    dice.shuffle(places)
    gone = set(places[::2])
    setup = [mmap(page, 2) for page in places]
    dice.shuffle(places)
    setup += [munmap(page, 2) for page in places if page in gone]
    setup += [touch(page, 2, 1 + page, errno=EFAULT if page in gone else 0) for page in places]
    setup += [touch(page + 2, 1, errno=EFAULT) for page in places]
    left = sorted(set(places) - gone)
    world = built(*setup)
    assert vmas(world) == [(page, page + 2, page) for page in left]
    assert contents(world, left[0], 2) == [1 + left[0]] * 2
    # Moved into the holes of those that went, and with a part of each unmapped: starts and ends change in their place.
    moves = [mremap(page, 2, to=hole) for page, hole in zip(left, sorted(gone), strict=False)]
    ends = [munmap(hole, 1) for _, hole in zip(left, sorted(gone), strict=False)]
    world = built(*setup, *moves, *ends)
    assert vmas(world) == [(hole + 1, hole + 2, page + 1) for page, hole in zip(left, sorted(gone), strict=False)]


def test_the_first_and_the_last_vma_come_and_go():
    low, high = [mmap(page, 1) for page in range(0, 40, 2)], [mmap(page, 1) for page in range(41, 81, 2)]
    setup = [*reversed(low), *high, *(munmap(page, 1) for page in range(0, 20, 2)), munmap(79, 1), munmap(77, 1)]
    world = built(*setup, call("mmap", -1, 1), touch(75, 1), touch(20, 1), touch(79, 1, errno=EFAULT))
    assert [vma.start for vma in vmas(world)][:-1] == [*range(20, 40, 2), *range(41, 77, 2)]


# ---- where memory of no given address goes ---------------------------------------------------------------------------

HUGE = TABLE * PAGE


@pytest.mark.parametrize(
    ("release", "whole", "more"),
    [("linux-6.6", False, False), ("linux-6.8", True, True), ("linux-6.12", True, False), ("linux-7.0", True, False)],
)
def test_what_may_hold_huge_pages_begins_where_one_can(release, whole, more):
    """efa7df3e3bb5 (6.7) whatever is long enough, d4148aeab412 (6.12) what is as long as some huge pages."""
    process = Machine(release).process()
    top = process.mmap(1)
    aligned = process.mmap(TABLE)
    assert aligned == ((top - HUGE) & -HUGE if whole else top - HUGE)
    longer = process.mmap(TABLE + 1)
    assert longer == ((aligned - HUGE - PAGE) & -HUGE if more else aligned - HUGE - PAGE)
    gap = top - (aligned + HUGE)
    assert process.mmap(TABLE - 1) == (top if gap else longer) - HUGE + PAGE, "a shorter one: the highest gap"


@pytest.mark.parametrize(("release", "whole"), [("linux-6.6", False), ("linux-6.12", True), ("linux-6.18", True)])
def test_what_grows_to_a_huge_page_and_has_to_move_does_so_too(release, whole):
    process = Machine(release).process()
    top = process.mmap(2)
    process.mprotect(top + PAGE, 1, writable=False)
    process.write(top, 7)
    moved = process.mremap(top, 1, TABLE)
    assert moved == ((top - HUGE) & -HUGE if whole else top - HUGE) and process.read(moved) == 7


def test_where_no_gap_has_room_to_align_the_highest_that_fits_is_taken():
    process = Machine("linux-6.12").process()
    last = (1 << 39) - (1 << 21)
    process.mmap((last - (1 << 30)) // PAGE, at=1 << 30)
    process.munmap((1 << 30) + PAGE, TABLE)
    process.mmap((1 << 30) // PAGE - 1, at=PAGE)
    assert process.mmap(TABLE) == (1 << 30) + PAGE
