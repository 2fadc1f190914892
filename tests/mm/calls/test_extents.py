"""move_page_tables, extent by extent: how long an extent is, which locks it holds, and what a failed move puts back.

An extent ends at a page-table border of either side and after 64 pages; each is one hold of the two page-table locks.
The failure is the one of kernel-reference Z2: a page table cannot be allocated once some extents have moved.
"""

from errno import ENOMEM

import pytest
from calls import FAR, TABLE, at, compare, migrate, mmap, mremap, munmap, read, touch
from kernels import ALL, built, clean, run, sweep_both, world_at
from looks import anon_vmas, contents, frame, only_list, tables, vmas

from anonvma_rt.kernel.failing import ALLOCATIONS

EVERY = pytest.mark.parametrize("algorithm", ALL)
TAILED = ("moveto-tail", "moveto-tail-merge-only")


def area(page, pages):
    return [mmap(page, pages), touch(page, pages)]


def extents(run_, task=0):
    """Pages moved per hold of the source's page-table lock, from the first move on, in order."""
    found = []
    moving = False
    for event in run_.events:
        moving = moving or event.what == "move"
        if not moving or event.task != task:
            continue
        if event.what == "lock" and run_.world.name(event.a)[2] in ("ptl", "page_table_lock"):
            found.append(0)
        elif event.what == "set":
            found[-1] += 1
    return [pages for pages in found if pages]


# ---- how long they are -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "pages", "to", "expected"),
    [
        (0, 512, FAR + 10, [64] * 7 + [54, 10]),  # the example of kernel-reference 2.10: 9 extents
        (0, 512, FAR, [64] * 8),
        (0, 64, FAR, [64]),
        (0, 65, FAR, [64, 1]),
        (10, 512, FAR + 10, [64] * 7 + [54, 10]),
        (10, 512, FAR, [64] * 7 + [54, 10]),
        (TABLE - 3, 8, FAR, [3, 5]),
        (0, 8, FAR - 3, [3, 5]),
        (TABLE - 3, 8, FAR - 5, [3, 2, 3]),
        (TABLE - 3, 8, FAR - 3, [3, 5]),
        (1, 1, FAR, [1]),
    ],
)
def test_extents_end_at_both_borders_and_after_64_pages(source, pages, to, expected):
    run_ = clean(run(area(source, pages), [mremap(source, pages, to=to)]))
    assert extents(run_) == expected
    assert contents(run_.world, to, pages) == [7] * pages


def test_a_source_without_a_page_table_is_skipped_whole():
    run_ = clean(run([mmap(0, 3 * TABLE), touch(2 * TABLE, 1)], [mremap(0, 3 * TABLE, to=FAR)]))
    assert extents(run_) == [1]
    assert tables(run_.world) == [FAR + 2 * TABLE], "no table is made for what has no ptes"


def test_a_source_with_a_table_but_no_ptes_locks_and_moves_nothing():
    run_ = clean(run([mmap(0, 100), touch(0, 1)], [mremap(50, 20, to=FAR)]))
    assert extents(run_) == [] and run_.notes("clear") == []
    assert tables(run_.world) == [0, FAR]


# ---- which locks they hold -------------------------------------------------------------------------------------------


def nested(outer, inner):
    return [("lock", outer), ("lock", inner), ("unlock", inner), ("unlock", outer)]


def moving_locks(*fields, setup, thread, **options):
    return run(setup, [thread], **options).locks(*fields, between=("move", "split"))


def test_two_page_table_locks_are_nested_source_outside():
    locks = moving_locks("ptl", setup=area(0, 130), thread=mremap(0, 65, to=FAR))
    assert locks == nested(("table", at(0)), ("table", at(FAR))) * 2


def test_one_lock_where_both_sides_share_a_table():
    locks = moving_locks("ptl", setup=area(0, 10), thread=mremap(2, 4, to=20))
    assert locks == [("lock", ("table", at(0))), ("unlock", ("table", at(0)))]


def test_one_lock_per_mm_where_page_table_locks_are_not_split():
    locks = moving_locks(
        "ptl", "page_table_lock", setup=[*area(0, 130), *area(FAR, 1)], thread=mremap(0, 65, to=FAR + 1),
        algorithm="unpatched,single_ptl=true",
    )  # fmt: skip
    assert locks == [("lock", ("mm", 0)), ("unlock", ("mm", 0))] * 2


@pytest.mark.parametrize("algorithm", [name for name in ALL if name != "rmap-locks"])
def test_the_reverse_map_is_not_locked_while_ptes_move(algorithm):
    run_ = run(area(0, 130), [mremap(0, 130, to=FAR)], algorithm=algorithm)
    assert run_.locks("mutex", between=("move", "vma-gone")) == [("lock", ("anon_vma", 1)), ("unlock", ("anon_vma", 1))]
    assert [e.what for e in run_.events if e.what in ("set", "zap")] == ["set"] * 130


def test_rmap_locks_holds_the_root_around_each_extent_outside_the_page_table_locks():
    run_ = run(area(0, 130), [mremap(0, 65, to=FAR)], algorithm="rmap-locks")
    root = ("anon_vma", 1)
    once = [("lock", root), *nested(("table", at(0)), ("table", at(FAR))), ("unlock", root)]
    assert run_.locks("ptl", "mutex", between=("move", "split"))[: 2 * len(once)] == once * 2


def test_each_pte_is_cleared_before_it_is_set_and_none_is_moved_twice():
    run_ = run(area(0, 3), [mremap(0, 3, to=FAR)])
    moved = [(e.what, e.a, e.b) for e in run_.events if e.what in ("clear", "set")]
    assert moved == [step for i in range(3) for step in (("clear", 1, at(i)), ("set", 2, at(FAR + i)))]
    steps = [e.step for e in run_.events if e.what in ("clear", "set")]
    assert len(set(steps)) == 6, "two steps each"


# ---- the move that fails ---------------------------------------------------------------------------------------------

BORDER = FAR - 3  # the destination lies across a table's border, three pages of it below


def failing(pages=8, to=BORDER, fail_after=1, **how):
    return mremap(0, pages, to=to, fail_after=fail_after, errno=ENOMEM, **how)


@EVERY
def test_a_failed_move_puts_everything_back(algorithm):
    run_ = clean(run(area(0, 10), [failing()], after=[compare(0, 1, 9)], algorithm=algorithm))
    assert vmas(run_.world) == [(0, 10, 0)]
    assert [frame(run_.world, i) for i in range(10)] == list(range(1, 11))
    assert only_list(run_.world) == [0] and anon_vmas(run_.world) == [1]
    assert tables(run_.world) == [0], "what the destination had got is freed again"
    assert [c for _, _, c in run_.notes("move")] == [0, 1]
    assert run_.notes("alloc-fails") == [(ALLOCATIONS.index("table"), 0, 0)]
    assert run_.notes("free-page") == []


def test_the_way_back_goes_upwards_and_exactly_over_what_had_moved():
    run_ = run(area(0, 10), [failing()])
    assert [b for _, b, _ in run_.notes("set")] == [at(BORDER + i) for i in range(3)] + [at(i) for i in range(3)]
    assert [a for a, _, _ in run_.notes("set")] == [2] * 3 + [1] * 3


@pytest.mark.parametrize(("fail_after", "moved"), [(0, 0), (1, 512), (2, 1024), (3, 1536)])
def test_the_first_allocation_after_that_many_tables_fails(fail_after, moved):
    # Four tables of eight extents each: a table is allocated, or denied, before the first extent of each.
    pages = 4 * TABLE
    run_ = clean(run(area(0, pages), [failing(pages, FAR, fail_after)]))
    assert len(run_.notes("set")) == 2 * moved
    assert contents(run_.world, 0, pages) == [7] * pages and tables(run_.world) == [0, TABLE, 2 * TABLE, 3 * TABLE]


def test_no_failure_where_no_table_is_needed_any_more():
    run_ = clean(run(area(0, 512), [mremap(0, 512, to=FAR + 10, fail_after=2)]))
    assert extents(run_) == [64] * 7 + [54, 10]
    same = clean(run([*area(0, 10), *area(FAR, 1)], [mremap(0, 10, to=FAR + 1, fail_after=0)]))
    assert vmas(same.world) == [(FAR, FAR + 1, FAR), (FAR + 1, FAR + 11, 0)]


def test_the_destination_stays_unmapped_after_the_failure():
    run_ = clean(run([*area(0, 8), *area(BORDER, 3)], [failing(fail_after=0)]))
    assert vmas(run_.world) == [(0, 8, 0)]
    assert [freed for freed, _, _ in run_.notes("free-page")] == [9, 10, 11]


@EVERY
def test_a_fresh_destination_the_list_before_and_after_moving_back(algorithm):
    thread = [failing()]
    forward = world_at("clear", area(0, 8), thread, nth=0, algorithm=algorithm)
    backward = world_at("clear", area(0, 8), thread, nth=3, algorithm=algorithm)
    assert only_list(forward) == [0, BORDER]
    assert only_list(backward) == ([BORDER, 0] if algorithm == "moveto-tail" else [0, BORDER])


HOME = [mmap(BORDER - 3, 11), touch(BORDER - 3, 11), mremap(BORDER, 8, to=0)]  # comes back across the border, by case 2


@EVERY
def test_a_merged_destination_the_list_before_and_after_moving_back(algorithm):
    thread = [failing(fail_after=0)]
    assert tables(built(*HOME, algorithm=algorithm)) == [0, FAR - TABLE]
    forward = world_at("clear", HOME, thread, nth=0, algorithm=algorithm)
    backward = world_at("clear", HOME, thread, nth=3, algorithm=algorithm)
    destination = BORDER - 3
    assert only_list(forward) == ([0, destination] if algorithm in TAILED else [destination, 0])
    second = {"moveto-tail": [destination, 0], "moveto-tail-merge-only": [0, destination]}
    assert only_list(backward) == second.get(algorithm, [destination, 0])


@EVERY
def test_a_merged_destination_shrinks_again_after_the_failure(algorithm):
    run_ = clean(run(HOME, [failing(fail_after=0)], algorithm=algorithm))
    assert vmas(run_.world) == [(0, 8, BORDER), (BORDER - 3, BORDER, BORDER - 3)]
    assert contents(run_.world, 0, 8) == [7] * 8 and contents(run_.world, BORDER - 3, 11) == [7] * 3 + [None] * 8
    assert anon_vmas(run_.world) == [1, 1]


@EVERY
def test_only_the_whole_patch_tails_twice(algorithm):
    run_ = run(HOME, [failing(fail_after=0)], algorithm=algorithm)
    assert len(run_.notes("tail")) == {"moveto-tail": 2, "moveto-tail-merge-only": 1}.get(algorithm, 0)
    fresh = run(area(0, 8), [failing()], algorithm=algorithm)
    assert len(fresh.notes("tail")) == (algorithm == "moveto-tail")


@EVERY
def test_a_failed_move_that_was_to_grow_unmaps_its_whole_destination(algorithm):
    run_ = clean(run([*area(0, 8), munmap(6, 2)], [failing(6, BORDER, 1, new_pages=20)], algorithm=algorithm))
    assert vmas(run_.world) == [(0, 6, 0)] and contents(run_.world, 0, 6) == [7] * 6


def test_an_unfaulted_self_merge_that_fails_keeps_its_mapping():
    # Zero pages give the source a table; the source grows over the destination, and shrinks again.
    setup = [mmap(TABLE - 4, 4), read(TABLE - 4, 4)]
    run_ = clean(run(setup, [mremap(TABLE - 4, 4, to=TABLE, fail_after=0, errno=ENOMEM)]))
    assert vmas(run_.world) == [(TABLE - 4, TABLE, TABLE - 4)]
    assert contents(run_.world, TABLE - 4, 4) == [0] * 4


@pytest.mark.parametrize("algorithm", ["unpatched", "moveto-tail", "interval-tree"])
def test_the_way_back_of_a_failed_move_fails_where_the_source_never_had_a_table(algorithm):
    """A comment in move_vma says that the way back finds its page tables. It does not where a part of the source that
    nobody touched shares a table of the destination with one that somebody did."""
    first = TABLE - 1
    setup = [mmap(first, 3), touch(first + 1, 2, 3)]
    world = built(*setup, mremap(first, 3, to=FAR - 2, fail_after=1, errno=ENOMEM), algorithm=algorithm)
    assert contents(world, first, 3) == [None, None, 3], "the page that had moved is lost"


# ---- whole tables of pmds --------------------------------------------------------------------------------------------

GIG = 512 * TABLE  # pages of a table of pmds


def gib_move(algorithm):
    """A move of 1 GiB with pages in the first and in the last of its tables, beside nobody."""
    setup = [mmap(0, GIG), touch(0, 1, 7), touch(GIG - 1, 1, 8)]
    return clean(run(setup, [mremap(0, GIG, 3 * GIG)], algorithm=algorithm))


@pytest.mark.parametrize(("algorithm", "at_once"), [("linux-5.14,pud_moves=false", False), ("linux-5.14", True)])
def test_tables_of_pmds_move_under_one_hold_since_5_11(algorithm, at_once):
    moved = gib_move(algorithm)
    assert [moved.world.pte(at(3 * GIG + page))[0] for page in (0, 1, GIG - 1)] == ["present", "none", "present"]
    assert len(moved.notes("table-move")) == 2
    between = moved.locks("mutex", "page_table_lock", between=("table-move", "table-move"))
    assert (between == []) == at_once


def test_what_is_no_whole_table_of_pmds_moves_as_before():
    setup = [mmap(0, GIG + TABLE), touch(0, 1, 7), touch(GIG, 1, 8)]
    moved = clean(run(setup, [mremap(0, GIG + 1, 3 * GIG)], algorithm="linux-5.14"))
    assert [moved.world.pte(at(3 * GIG + page))[0] for page in (0, GIG)] == ["present", "present"]
    # Not at the beginning of one.
    moved = clean(run(setup, [mremap(0, GIG, 3 * GIG + TABLE)], algorithm="linux-5.14"))
    assert moved.world.pte(at(3 * GIG + TABLE))[0] == "present"


def test_a_page_in_it_migrates_beside_the_move():
    setup = [mmap(0, GIG), touch(0, 1, 7)]
    for run_ in sweep_both(setup, [mremap(0, GIG, 3 * GIG)], [migrate(0)], algorithm="linux-5.14"):
        clean(run_)
