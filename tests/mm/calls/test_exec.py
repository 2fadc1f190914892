"""exec moves its stack down inside one vma: no order of a list helps, so unmap walks leave such a stack alone.

Kernel-reference 2.19 and Z5. The vma is widened over the new place first, with its vm_pgoff kept: from then on every
index means the new address, while the ptes still are at the old one.
"""

from errno import EFAULT, EINVAL, ENOMEM

import pytest
from calls import BASE, FAR, TABLE, at, call, exec_stack, fork, migrate, mmap, mremap, munmap, touch
from kernels import built, clean, refuses, run, sweep, sweep_both, world_at
from looks import anon_vmas, contents, frame, only_list, pages_at, tables, vmas

HERE, DOWN = 100, 8
STACK = [mmap(HERE, 4, stack=True), touch(HERE, 2, 5), touch(HERE + 3, 1, 6)]
SHIFT = exec_stack(HERE, DOWN)
WIDENING, MOVE, ACROSS = (f"unpatched,stack_flag=false,exec_lock={word}" for word in ("widening", "move", "across"))
STALE = "stale-migration-entry"


# ---- what it does ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["unpatched", "interval-tree", "modern", ACROSS])
@pytest.mark.parametrize("down", [1, 2, 3, 4, 5, 90, 2 * TABLE])
def test_the_stack_keeps_its_pages_and_their_index_at_a_lower_address(down, algorithm):
    before = built(*STACK)
    run_ = clean(run(STACK, [exec_stack(HERE, down)], algorithm=algorithm))
    there = HERE - down
    assert vmas(run_.world) == [(there, there + 4, HERE)]
    assert contents(run_.world, there, 4) == [5, 5, None, 6]
    assert [frame(run_.world, there + i) for i in (0, 1, 3)] == [frame(before, HERE + i) for i in (0, 1, 3)]
    assert pages_at(run_.world, there) == pages_at(before, HERE), "not even the counters change"
    assert contents(run_.world, max(HERE, there + 4), 1) == [None] and anon_vmas(run_.world) == [1]
    assert [v["id"] for v in run_.world.maps()] == [1] and only_list(run_.world) == [there]


def test_the_vma_is_widened_first_and_the_old_end_is_given_up_last():
    world = world_at("clear", STACK, [SHIFT])
    assert vmas(world) == [(HERE - DOWN, HERE + 4, HERE)], "every index already means the new address"
    assert contents(world, HERE, 4) == [5, 5, None, 6]


def test_page_tables_that_are_left_without_a_vma_are_freed():
    def after(first, down, *more):
        return tables(built(mmap(first, 4, stack=True), touch(first, 4), *more, exec_stack(first, down)))

    assert after(TABLE + 1, 8) == [0]
    assert after(TABLE + 1, 1) == [TABLE], "it stays in the same 2 MiB"
    assert after(TABLE - 2, 4) == [0], "two pages were in the upper one"
    assert after(TABLE + 8, 20, mmap(TABLE + 100, 1), touch(TABLE + 100, 1)) == [0, TABLE], "a neighbour's pages"
    assert after(5 * TABLE, 3 * TABLE) == [2 * TABLE]


def test_afterwards_it_is_an_ordinary_vma():
    run_ = clean(run(STACK, [SHIFT, migrate(HERE), exec_stack(HERE - DOWN, 1, errno=EFAULT)]))
    assert vmas(run_.world) == [(HERE - DOWN, HERE - DOWN + 4, HERE)]
    migrated = clean(run([*STACK, SHIFT], [migrate(HERE - DOWN)]))
    assert migrated.counters["migrated"] == 1 and contents(migrated.world, HERE - DOWN, 4) == [5, 5, None, 6]
    moved = built(*STACK, SHIFT, mremap(HERE - DOWN, 2, to=FAR), munmap(HERE - DOWN + 2, 1), touch(FAR, 1, 8))
    assert contents(moved, FAR, 2) == [8, 5]
    assert vmas(built(*STACK, SHIFT, mmap(HERE - DOWN + 4, 2))) == [
        (HERE - DOWN, HERE - DOWN + 4, HERE), (HERE - DOWN + 4, HERE - DOWN + 6, HERE - DOWN + 4),
    ], "its index is not that of its address any more"  # fmt: skip


def test_a_stack_that_nobody_wrote_to_moves_as_well():
    run_ = clean(run([mmap(HERE, 4, stack=True)], [SHIFT, touch(HERE - DOWN, 1)]))
    assert vmas(run_.world) == [(HERE - DOWN, HERE - DOWN + 4, HERE)] and anon_vmas(run_.world) == [1]


def test_a_temporary_stack_gets_no_huge_page_and_a_moved_one_does():
    setup = [mmap(4 * TABLE, TABLE, huge=True, stack=True), touch(4 * TABLE, 1, 5)]
    assert built(*setup).pte(at(4 * TABLE))[0] == "present"
    run_ = clean(run([*setup, exec_stack(4 * TABLE, TABLE), munmap(3 * TABLE, 1)], [touch(3 * TABLE + 1, 1)]))
    assert run_.world.pte(at(3 * TABLE + 1))[0] == "present", "not all of that huge page is mapped"
    moved = built(mmap(0, 1, huge=True, stack=True), exec_stack(0, TABLE), mmap(0, TABLE, huge=True), touch(0, 1))
    assert moved.pte(at(0))[0] == "huge"


# ---- errno -----------------------------------------------------------------------------------------------------------


def test_what_cannot_be_shifted_is_refused():
    refuses(EINVAL, *STACK, exec_stack(HERE, 0))
    refuses(EINVAL, *STACK, call("exec", at(HERE), (BASE >> 12) + HERE + 1))
    refuses(EFAULT, *STACK, exec_stack(HERE + 1, 1))
    refuses(EFAULT, *STACK, exec_stack(HERE - 1, 1))
    refuses(EFAULT, mmap(HERE, 4), SHIFT)
    refuses(EFAULT, SHIFT)
    refuses(ENOMEM, *STACK, mmap(HERE - DOWN - 1, 2), SHIFT)
    refuses(ENOMEM, *STACK, mmap(HERE + 4, 1), SHIFT)
    assert len(built(*STACK, mmap(HERE - DOWN - 1, 1), mmap(HERE + 5, 1), SHIFT).maps()) == 3, "both may touch"


def test_a_stack_is_merged_with_nothing_before_it_was_moved():
    assert len(vmas(built(mmap(HERE, 4, stack=True), mmap(HERE + 4, 4), mmap(HERE - 4, 4)))) == 3


# ---- walks meanwhile -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["unpatched", "moveto-tail", "interval-tree", "modern"])
def test_the_unmap_walk_passes_over_a_stack_that_exec_still_builds(algorithm):
    run_ = clean(run(STACK, [migrate(HERE)], algorithm=algorithm))
    assert run_.counters == {"benign_misses": 10, "migrated": 0, "aborted": 1, "failed_allocations": 0}, (
        "ten passes, and it is given up"
    )
    assert run_.notes("unmap") == [] and contents(run_.world, HERE, 4) == [5, 5, None, 6]
    for first, second in [([SHIFT], [migrate(HERE)]), ([migrate(HERE)], [SHIFT])]:
        for race in sweep(STACK, first, second, algorithm=algorithm):
            assert contents(clean(race).world, HERE - DOWN, 4) == [5, 5, None, 6]


def test_z5_without_the_flag_an_entry_is_left_behind():
    # Walk 1 leaves an entry at the old address; exec widens the vma; walk 2 computes the new address; the entry moves.
    assert {r.kind for r in sweep_both(STACK, [migrate(HERE)], [SHIFT], algorithm=WIDENING)} == {None, STALE}


def test_the_lock_around_the_move_alone_does_not_help():
    assert {r.kind for r in sweep_both(STACK, [migrate(HERE)], [SHIFT], algorithm=MOVE)} == {None, STALE}


@pytest.mark.parametrize("algorithm", ["unpatched", ACROSS])
def test_the_flag_helps_and_so_does_the_lock_across_widening_and_move(algorithm):
    for first, second in [([migrate(HERE)], [SHIFT]), ([SHIFT], [migrate(HERE)])]:
        assert {r.kind for r in sweep_both(STACK, first, second, algorithm=algorithm)} == {None}


@pytest.mark.parametrize("algorithm", [WIDENING + ",ordering=tail", WIDENING + ",ordering=double-walk"])
def test_no_order_of_the_list_helps(algorithm):
    assert STALE in {r.kind for r in sweep_both(STACK, [migrate(HERE)], [SHIFT], algorithm=algorithm)}


def test_a_copy_of_a_temporary_stack_is_one_too():
    run_ = clean(run([*STACK, fork(1)], [migrate(HERE)], processes=2))
    assert run_.counters["aborted"] == 1 and run_.notes("unmap") == []
    # One of the two is an ordinary vma by now, and the walk unmaps there only; then it gives up and puts it back.
    run_ = clean(run([*STACK, fork(1), SHIFT], [migrate(HERE - DOWN)], processes=2))
    assert run_.counters["aborted"] == 1 and {vma for vma, _, _ in run_.notes("unmap")} == {1}
    assert contents(run_.world, HERE - DOWN) == [5]
