"""The system call mremap: what moves where, what stays, and every refusal with what it leaves behind.

Kernel-reference 2.10 and 2.11. A fixed destination is unmapped before anything else is looked at, so a call that fails
later has still destroyed it; the tests of the arguments themselves come before that.
"""

from errno import EFAULT, EINVAL, ENOMEM

import pytest
from calls import BASE, FAR, FAR2, PAGE, TABLE, at, call, compare, mmap, mremap, munmap, touch
from kernels import ALL, built, clean, run
from looks import anon_vmas, contents, frame, only_list, tables, vmas

from anonvma_rt.mm.lab.kernel import Refused

EVERY = pytest.mark.parametrize("algorithm", ALL)
AREA = mmap(0, 6), touch(0, 2, 1), touch(2, 2, 2), touch(4, 2, 3)
TOP = ((1 << 39) - (1 << 21) - BASE) // PAGE  # where get_unmapped_area begins, downwards


def raw(address, pages, new_pages, to=-1, maymove=1, **how):
    return call("mremap", address, pages, new_pages, to, maymove, -1, **how)


def refused(*steps, **options):
    """The errno of the last step, and the world without and with it."""
    with pytest.raises(Refused) as error:
        built(*steps, **options)
    assert error.value.index == len(steps) - 1
    expecting = steps[-1]._replace(errno=error.value.errno)
    return error.value.errno, built(*steps[:-1], **options), built(*steps[:-1], expecting, **options)


# ---- moving ----------------------------------------------------------------------------------------------------------


@EVERY
def test_a_whole_vma_moves_with_its_pages(algorithm):
    run_ = clean(run(AREA, [mremap(0, 6, to=FAR)], algorithm=algorithm))
    assert vmas(run_.world) == [(FAR, FAR + 6, 0)]
    assert contents(run_.world, FAR, 6) == [1, 1, 2, 2, 3, 3]
    assert [frame(run_.world, FAR + i) for i in range(6)] == [1, 2, 3, 4, 5, 6], "the same pages"
    assert tables(run_.world) == [FAR], "nobody needs the old table"
    assert [(vma, back) for vma, _, back in run_.notes("move")] == [(1, 0)]


@EVERY
@pytest.mark.parametrize(
    ("part", "left"),
    [
        ((0, 2), [(2, 6, 2), (FAR, FAR + 2, 0)]),
        ((2, 2), [(0, 2, 0), (4, 6, 4), (FAR, FAR + 2, 2)]),
        ((4, 2), [(0, 4, 0), (FAR, FAR + 2, 4)]),
    ],
)
def test_a_part_moves_and_keeps_its_index(part, left, algorithm):
    world = built(*AREA, mremap(*part, to=FAR), algorithm=algorithm)
    assert vmas(world) == left
    assert anon_vmas(world) == [1] * len(left)
    assert contents(world, FAR, 2) == [1 + part[0] // 2] * 2
    assert contents(world, *part) == [None] * 2


def test_the_source_is_split_only_when_its_ptes_have_moved():
    run_ = run(AREA, [mremap(2, 2, to=FAR)])
    what = [e.what for e in run_.events if e.what in ("fresh-vma", "set", "split", "zap", "vma-gone")]
    assert what == ["fresh-vma", "set", "set", "split", "split", "vma-gone"]


@EVERY
def test_what_was_at_the_destination_is_gone(algorithm):
    run_ = clean(run([*AREA, mmap(FAR, 8), touch(FAR, 8, 9)], [mremap(0, 2, to=FAR + 2)], algorithm=algorithm))
    assert contents(run_.world, FAR, 8) == [9, 9, 1, 1, 9, 9, 9, 9]
    assert vmas(run_.world) == [(2, 6, 2), (FAR, FAR + 2, FAR), (FAR + 2, FAR + 4, 0), (FAR + 4, FAR + 8, FAR + 4)]
    assert [freed for freed, _, _ in run_.notes("free-page")] == [9, 10]


def test_moving_out_and_back_restores_everything():
    world = built(*AREA, mremap(0, 6, to=FAR), mremap(FAR, 6, to=0), compare(0, 1, 1))
    assert vmas(world) == [(0, 6, 0)]
    assert [frame(world, i) for i in range(6)] == [1, 2, 3, 4, 5, 6]
    assert tables(world) == [0]


def test_a_length_of_zero_duplicates_the_mapping_and_not_the_pages():
    # The old DOS-emulation case: the kernels before 4.14 allow it for private memory too.
    world = built(*AREA, mremap(2, 0, to=FAR, new_pages=3))
    assert vmas(world) == [(0, 6, 0), (FAR, FAR + 3, 2)]
    assert contents(world, 0, 6) == [1, 1, 2, 2, 3, 3] and contents(world, FAR, 3) == [None] * 3
    assert only_list(world) == [0, FAR]


# ---- without a fixed address -----------------------------------------------------------------------------------------


def test_the_same_length_asks_for_nothing():
    assert vmas(built(*AREA, mremap(0, 6), mremap(100, 3), mremap(0, 6, maymove=False))) == [(0, 6, 0)]


@EVERY
def test_growing_where_there_is_room_takes_no_lock_of_the_reverse_map(algorithm):
    setup = [*AREA, mmap(9, 2)]
    run_ = clean(run(setup, [mremap(4, 2, new_pages=5, maymove=False)], algorithm=algorithm))
    assert vmas(run_.world) == [(0, 9, 0), (9, 11, 9)], "it now touches the next vma and does not merge with it"
    assert run_.locks("mutex") == [] and run_.notes("merge") == [] and run_.notes("move") == []
    assert contents(run_.world, 0, 9) == [1, 1, 2, 2, 3, 3, None, None, None]


@EVERY
def test_growing_where_there_is_none_moves_to_the_highest_gap(algorithm):
    world = built(*AREA, mmap(7, 1), mremap(4, 2, new_pages=4), algorithm=algorithm)
    assert vmas(world) == [(0, 4, 0), (7, 8, 7), (TOP - 4, TOP, 4)]
    assert contents(world, TOP - 4, 4) == [3, 3, None, None]


def test_the_gap_below_what_is_mapped_highest_comes_next():
    setup = [call("mmap", -1, 2), *AREA, mremap(0, 2, new_pages=3)]
    assert vmas(built(*setup)) == [(2, 6, 2), (TOP - 5, TOP - 2, 0), (TOP - 2, TOP, TOP - 2)]
    gap = [call("mmap", -1, 2), call("mmap", -1, 3), call("mmap", -1, 1), munmap(TOP - 5, 3), *AREA]
    assert vmas(built(*gap, mremap(0, 2, new_pages=3)))[1:3] == [(TOP - 6, TOP - 5, TOP - 6), (TOP - 5, TOP - 2, 0)]


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "step",
    [
        raw(at(0) + 1, 2, 2, at(FAR)),
        raw(at(0) + 1, 2, 3),
        raw(at(0), 2, 2, at(FAR) + 8),
        raw(at(0), 2, 0, at(FAR)),
        raw(at(0), 2, 0),
        raw(at(0), 2, 2, at(FAR), maymove=0),
        raw(at(0), 2, 2, (1 << 39) - PAGE),
        mremap(0, 4, to=0),
        mremap(0, 4, to=3),
        mremap(2, 4, to=1),
        mremap(2, 2, to=0, new_pages=3),
        mremap(1, 4, to=4, new_pages=1),
        mremap(0, 2, to=1, new_pages=1),
        mremap(2, 0, to=2, new_pages=2),
        mremap(2, 0, to=1, new_pages=2),
    ],
)
def test_einval_comes_before_anything_is_touched(step):
    errno, before, after = refused(*AREA, mmap(FAR, 4), touch(FAR, 4, 9), step)
    assert errno == EINVAL
    assert vmas(after) == vmas(before) and after.lists() == before.lists()
    assert contents(after, 0, 6) == contents(before, 0, 6) and contents(after, FAR, 4) == [9] * 4


def test_ranges_that_only_touch_do_not_overlap():
    assert vmas(built(*AREA, mremap(0, 3, to=6))) == [(3, 6, 3), (6, 9, 0)]
    assert vmas(built(*AREA, munmap(0, 3), mremap(3, 3, to=0))) == [(0, 3, 3)]
    assert contents(built(*AREA, mremap(2, 0, to=4, new_pages=2)), 0, 6) == [1, 1, 2, 2, None, None]


def test_an_old_length_of_0_makes_an_empty_mapping_until_it_is_refused():
    copied = built(*AREA, mremap(0, 0, to=FAR, new_pages=2), algorithm="linux-4.9")
    assert vmas(copied) == [(0, 6, 0), (FAR, FAR + 2, 0)] and contents(copied, FAR, 2) == [None, None]
    for algorithm in ("linux-4.14", "modern", "linux-6.19"):
        errno, before, after = refused(*AREA, mremap(0, 0, to=FAR, new_pages=2), algorithm=algorithm)
        assert errno == EINVAL and vmas(after) == vmas(before)
        assert refused(*AREA, mremap(100, 0, to=FAR, new_pages=2), algorithm=algorithm)[0] == EFAULT


def test_what_grows_in_place_joins_what_is_behind_since_6_1():
    """6.1 has the index wrong where only the end of the vma is named, and then nothing grows."""
    steps = (mmap(0, 10), touch(0, 2, 1), munmap(6, 2))
    for release, whole, end in (("6.0", 2, 2), ("6.1", 1, None), ("6.2", 1, 1), ("6.17", 1, 1)):
        for first, wanted in ((0, whole), (4, end)):
            step = mremap(first, 6 - first, new_pages=8 - first, maymove=False)
            if wanted is None:
                assert refused(*steps, step, algorithm=f"linux-{release}")[0] == ENOMEM
            else:
                assert len(vmas(built(*steps, step, algorithm=f"linux-{release}"))) == wanted, release


@EVERY
@pytest.mark.parametrize(
    "source", [(7, 2), (5, 2), (-1, 2), (5, 4), (100, 1)], ids=["hole", "over the end", "before", "two vmas", "nowhere"]
)
def test_efault_outside_one_mapping_still_unmaps_the_destination(source, algorithm):
    setup = [*AREA, mmap(8, 2), mmap(FAR, 4), touch(FAR, 4, 9)]
    errno, before, after = refused(*setup, mremap(*source, to=FAR + 1), algorithm=algorithm)
    assert errno == EFAULT
    assert contents(before, FAR, 4) == [9] * 4
    assert contents(after, FAR, 4) == [9 if not 1 <= i < 1 + source[1] else None for i in range(4)]
    assert contents(after, 0, 6) == [1, 1, 2, 2, 3, 3]


def test_efault_after_shrinking_has_unmapped_the_tail():
    errno, _, after = refused(*AREA, mremap(7, 4, to=FAR, new_pages=2))
    assert errno == EFAULT
    errno, _, after = refused(*AREA, munmap(0, 1), mremap(0, 4, to=FAR, new_pages=2))
    assert errno == EFAULT
    assert contents(after, 0, 6) == [None, 1, None, None, 3, 3], "the tail of the source went before the look at it"


def test_a_refused_step_of_a_thread_names_task_step_and_errno():
    run_ = run(AREA, [touch(0, 1)], [mremap(0, 2, to=FAR), mremap(0, 2, to=FAR2)])
    assert run_.halt == "refused"
    assert run_.explorer.refusal == (1, 1, EFAULT)


def test_a_step_that_is_expected_to_fail_must_fail():
    run_ = run(AREA, [mremap(0, 2, to=FAR, errno=EFAULT)])
    assert run_.halt == "refused"
    assert run_.explorer.refusal == (0, 0, 0)


def test_a_move_across_many_tables_keeps_every_page():
    pages = 3 * TABLE + 7
    world = built(mmap(-3, pages), touch(-3, pages), mremap(-3, pages, to=FAR + 11))
    assert contents(world, FAR + 11, pages) == [7] * pages
    assert len({frame(world, FAR + 11 + i) for i in range(pages)}) == pages
    assert tables(world) == [FAR, FAR + TABLE, FAR + 2 * TABLE, FAR + 3 * TABLE]
