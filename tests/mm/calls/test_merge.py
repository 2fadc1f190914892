"""vma_merge as mremap meets it: cases 1, 2 and 3, who takes the root's mutex, and in which order a walk sees the vmas.

The order of the anon_vma list is what the 2011 bug is about. 948f017b moves the entries of a merged destination to the
tail; the root lock that vma_adjust takes in cases 1 and 3 is another matter, and case 2 takes none.
"""

import pytest
from calls import FAR, compare, mmap, mremap, munmap, read, touch
from kernels import ALL, built, clean, run, world_at
from looks import anon_vmas, contents, only_list, tables, vmas

# A third of [0, 6) is moved away; the rest stays. By case of the way back: what is moved, which vma takes it.
AREA = mmap(0, 6), touch(0, 6)
MOVED = {1: 2, 2: 4, 3: 0}
APART = {
    1: ([(0, 2, 0), (4, 6, 4), (FAR, FAR + 2, 2)], [0, FAR, 4]),
    2: ([(0, 4, 0), (FAR, FAR + 2, 4)], [0, FAR]),
    3: ([(2, 6, 2), (FAR, FAR + 2, 0)], [2, FAR]),
}
TAILED = ("moveto-tail", "moveto-tail-merge-only")
CASES = pytest.mark.parametrize("case", [1, 2, 3])
EVERY = pytest.mark.parametrize("algorithm", ALL)


def away(case):
    return [*AREA, mremap(MOVED[case], 2, to=FAR)]


def back(case, **how):
    return mremap(FAR, 2, to=MOVED[case], **how)


def between_merge_and_move(run_, *fields):
    return run_.locks(*fields, between=("merge", "move"))


@CASES
@EVERY
def test_a_fresh_destination_is_the_last_of_the_list(case, algorithm):
    run_ = clean(run(AREA, [mremap(MOVED[case], 2, to=FAR)], algorithm=algorithm))
    layout, order = APART[case]
    assert vmas(run_.world) == layout
    assert only_list(run_.world) == order
    assert run_.notes("merge") == [] and len(run_.notes("fresh-vma")) == 1
    assert run_.notes("tail") == [], "nothing is moved to the tail where nothing merged"


def test_a_fresh_destination_is_on_the_list_before_it_has_its_range():
    # 3.2 clones first and places then: for a moment a walk meets the source's range twice.
    run_ = run(AREA, [mremap(2, 2, to=FAR)])
    end = next(i for i, e in enumerate(run_.events) if e.what == "fresh-vma")
    points = [e for e in run_.events[:end] if e.what in ("lock", "unlock", "store")]
    fields = [run_.world.name(e.a)[2] for e in points]
    assert fields == ["mmap_sem", "mutex", "head", "mutex", "vm_start", "vm_end", "vm_pgoff"]


@CASES
@EVERY
def test_the_way_back_merges_into_the_older_vma(case, algorithm):
    run_ = clean(run(away(case), [back(case)], after=[compare(0, 0, 6)], algorithm=algorithm))
    assert [(c, locked) for _, c, locked in run_.notes("merge")] == [(case, case != 2)]
    assert run_.notes("fresh-vma") == []
    assert vmas(run_.world) == [(0, 6, 0)]
    assert only_list(run_.world) == [0], "the source and what was swallowed are on no list"
    assert contents(run_.world, 0, 6) == [7] * 6
    assert contents(run_.world, FAR, 2) == [None] * 2
    assert tables(run_.world) == [0]


@CASES
@EVERY
def test_only_the_patch_puts_the_destination_behind_the_source(case, algorithm):
    world = world_at("clear", away(case), [back(case)], algorithm=algorithm)
    assert only_list(world) == ([FAR, 0] if algorithm in TAILED else [0, FAR])


@CASES
@EVERY
def test_vma_adjust_takes_the_root_mutex_in_cases_1_and_3_only(case, algorithm):
    locks = between_merge_and_move(run(away(case), [back(case)], algorithm=algorithm), "mutex")
    adjust = [] if case == 2 else [("lock", ("anon_vma", 1)), ("unlock", ("anon_vma", 1))]
    unlink = [("lock", ("anon_vma", 1)), ("unlock", ("anon_vma", 1))] if case == 1 else []
    tail = [("lock", ("anon_vma", 1)), ("unlock", ("anon_vma", 1))] if algorithm in TAILED else []
    assert locks == adjust + unlink + tail


@CASES
def test_the_range_changes_under_the_mutex_and_the_swallowed_vma_is_unlinked_after_it(case):
    run_ = run(away(case), [back(case)])
    merge = next(i for i, e in enumerate(run_.events) if e.what == "merge")
    move = next(i for i, e in enumerate(run_.events) if e.what == "move")
    steps = []
    for event in run_.events[merge:move]:
        if event.what in ("lock", "unlock", "store"):
            steps.append((event.what, run_.world.name(event.a)[2]))
    lock, unlock, resize = ("lock", "mutex"), ("unlock", "mutex"), [("store", "vm_start"), ("store", "vm_pgoff")]
    expected = {
        1: [lock, ("store", "vm_end"), unlock, lock, ("store", "head"), unlock],
        2: [("store", "vm_end")],
        3: [lock, *resize, unlock],
    }
    assert steps == expected[case]
    assert len(run_.notes("vma-gone")) == (2 if case == 1 else 1), "the source, and in case 1 what was swallowed"


@EVERY
def test_a_part_that_comes_back_alone_merges_and_leaves_the_rest_where_it_is(algorithm):
    world = built(*AREA, mremap(2, 4, to=FAR), mremap(FAR, 2, to=2), algorithm=algorithm)
    assert vmas(world) == [(0, 4, 0), (FAR + 2, FAR + 4, 4)]
    assert contents(world, 0, 6) == [7, 7, 7, 7, None, None]
    assert contents(world, FAR, 4) == [None, None, 7, 7]


@EVERY
def test_a_destination_created_later_is_already_behind_the_source(algorithm):
    setup = [*AREA, mremap(0, 3, to=FAR)]
    run_ = clean(run(setup, [mremap(3, 3, to=FAR + 3)], algorithm=algorithm))
    assert [case for _, case, _ in run_.notes("merge")] == [2]
    assert vmas(run_.world) == [(FAR, FAR + 6, 0)]
    assert len(run_.notes("tail")) == (algorithm in TAILED), "moved to the tail, where it is already"


@EVERY
def test_a_move_that_grows_merges_with_its_new_length(algorithm):
    world = built(*away(2), mremap(FAR, 2, to=4, new_pages=5), algorithm=algorithm)
    assert vmas(world) == [(0, 9, 0)]
    assert contents(world, 0, 9) == [7] * 6 + [None] * 3


# ---- sources that were never written to ------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize(
    ("source", "pages", "to", "left"),
    [
        ((3, 3), (3, 3), 6, [(6, 9, 6)]),
        ((3, 3), (3, 3), 0, [(0, 3, 0)]),
        ((3, 6), (3, 3), 9, [(6, 12, 6)]),
        ((3, 6), (6, 3), 0, [(0, 6, 0)]),
        ((3, 6), (5, 2), 9, [(3, 5, 3), (7, 11, 7)]),
    ],
)
def test_an_unfaulted_source_may_merge_with_itself(source, pages, to, left, algorithm):
    run_ = clean(run([mmap(*source)], [mremap(*pages, to=to)], algorithm=algorithm))
    assert len(run_.notes("merge")) == 1
    assert vmas(run_.world) == left
    assert run_.notes("tail") == [], "one vma: there is no order"


@EVERY
def test_a_source_may_be_swallowed_by_the_merge_with_itself(algorithm):
    # Between [0, 2) and [4, 8) the upper half of the latter fits: case 1, and the caller's vma is no more.
    setup = [mmap(0, 2), mmap(4, 4), read(4, 4)]
    run_ = clean(run(setup, [mremap(6, 2, to=2)], algorithm=algorithm))
    assert [case for _, case, _ in run_.notes("merge")] == [1]
    assert vmas(run_.world) == [(0, 6, 0)] and contents(run_.world, 0, 8) == [None] * 2 + [0] * 4 + [None] * 2
    assert run_.notes("move") == [(1, 1, 0)]


@EVERY
def test_an_unfaulted_source_takes_the_index_of_its_new_address(algorithm):
    assert vmas(built(mmap(0, 2), mremap(0, 2, to=FAR), algorithm=algorithm)) == [(FAR, FAR + 2, FAR)]


@EVERY
@pytest.mark.parametrize(("neighbour", "to", "case"), [((0, 4), 4, 2), ((4, 4), 2, 3)])
def test_an_unfaulted_source_merges_into_a_faulted_neighbour(neighbour, to, case, algorithm):
    # The two are on no common list, so there is no order to keep, and none to complain about.
    setup = [mmap(*neighbour), touch(*neighbour), mmap(FAR, 2)]
    run_ = clean(run(setup, [mremap(FAR, 2, to=to)], algorithm=algorithm))
    assert [c for _, c, _ in run_.notes("merge")] == [case]
    assert vmas(run_.world) == [(min(neighbour[0], to), max(neighbour[0] + 4, to + 2), min(neighbour[0], to))]
    assert anon_vmas(run_.world) == [1]


@EVERY
def test_an_unfaulted_source_joins_two_unfaulted_and_faulted_neighbours(algorithm):
    setup = [mmap(0, 2), mmap(4, 2), touch(4, 2), mmap(FAR, 2)]
    run_ = clean(run(setup, [mremap(FAR, 2, to=2)], algorithm=algorithm))
    assert [c for _, c, _ in run_.notes("merge")] == [1]
    assert vmas(run_.world) == [(0, 6, 0)]
    assert anon_vmas(run_.world) == [1] and only_list(run_.world) == [0]


@EVERY
def test_zero_pages_move_with_an_unfaulted_source(algorithm):
    world = built(mmap(0, 2), read(0, 2), mremap(0, 2, to=FAR), compare(FAR, FAR, 2), algorithm=algorithm)
    assert contents(world, FAR, 2) == [0, 0]
    assert anon_vmas(world) == [None]


@EVERY
def test_a_faulted_source_never_takes_the_index_of_its_new_address(algorithm):
    world = built(*AREA, mremap(0, 6, to=FAR), algorithm=algorithm)
    assert vmas(world) == [(FAR, FAR + 6, 0)]
    assert [world.page(n)["index"] - world.page(1)["index"] for n in range(1, 7)] == [0, 1, 2, 3, 4, 5]
    part = built(*AREA, mremap(2, 2, to=FAR), munmap(0, 6), algorithm=algorithm)
    assert vmas(part) == [(FAR, FAR + 2, 2)]
