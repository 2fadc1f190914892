"""brk: the heap grows at its end, and that growth takes no lock of the reverse map (case 2, kernel-reference 2.8)."""

from errno import EINVAL, ENOMEM

import pytest
from calls import BASE, at, brk, call, fork, migrate, mmap, mprotect, mremap, touch
from kernels import ALL, broken, built, clean, refuses, run, sweep
from looks import anon_vmas, contents, frame, only_list, vmas

from anonvma_rt.mm.lab.kernel import Refused

HEAP = [brk(0, 4), touch(0, 4)]


def test_the_first_brk_makes_a_vma_and_the_next_ones_extend_it():
    assert vmas(built(brk(0, 4))) == [(0, 4, 0)]
    world = built(brk(0, 4), brk(4, 1), touch(0, 5), brk(5, 3), touch(7, 1, 9))
    assert vmas(world) == [(0, 8, 0)] and [v["id"] for v in world.maps()] == [1]
    assert contents(world, 0, 8) == [7] * 5 + [None, None, 9], "the heap is writable, and new pages are empty"
    assert anon_vmas(world) == [1] and only_list(world) == [0]


@pytest.mark.parametrize("algorithm", ALL)
def test_growing_at_the_end_is_case_2_and_takes_no_lock_of_the_reverse_map(algorithm):
    run_ = clean(run(HEAP, [brk(4, 2)], algorithm=algorithm))
    assert run_.notes("merge") == [(1, 2, 0)]
    assert run_.locks("mutex", "page_table_lock", "ptl") == []
    assert run_.locks("mmap_sem") == [("lock", ("mm", 0)), ("unlock", ("mm", 0))]


def test_in_a_tree_the_key_changes_and_so_the_lock_is_taken():
    run_ = clean(run(HEAP, [brk(4, 2), migrate(3)], algorithm="interval-tree"))
    assert ("lock", ("anon_vma", 1)) in run_.locks("mutex", between=("merge", "step"))
    assert run_.counters["migrated"] == 1


def test_a_walk_may_meet_the_growing_end_and_finds_its_page():
    for algorithm in ("unpatched", "interval-tree"):
        for first, second in [([migrate(3)], [brk(4, 2)]), ([brk(4, 2)], [migrate(3)])]:
            for run_ in sweep(HEAP, first, second, algorithm=algorithm):
                assert contents(clean(run_).world, 0, 4) == [7] * 4 and vmas(run_.world) == [(0, 6, 0)]
                assert run_.counters["migrated"] == 1 and frame(run_.world, 3) != 4


def test_a_heap_that_was_moved_or_protected_or_forked_does_not_grow_and_a_new_vma_begins():
    assert vmas(built(*HEAP, mprotect(0, 4, False), brk(4, 2))) == [(0, 4, 0), (4, 6, 4)]
    assert vmas(built(*HEAP, mremap(0, 4, to=20), brk(24, 2))) == [(20, 24, 0), (24, 26, 24)], "its index jumps"
    world = built(*HEAP, fork(1), brk(4, 2), brk(4, 2, process=1), touch(4, 1, 9, process=1), processes=2)
    assert vmas(world, 0) == [(0, 6, 0)], "the parent's chain is singular"
    assert vmas(world, 1) == [(0, 4, 0), (4, 6, 4)], "a forked child's is not"
    assert world.maps(1)[0]["chain"] != world.maps(1)[1]["chain"]


def test_between_two_areas_brk_fills_no_gap():
    # The page behind the new break has to be free as well.
    refuses(ENOMEM, *HEAP, mmap(8, 2), brk(4, 4))
    assert vmas(built(*HEAP, mmap(9, 2), brk(4, 4))) == [(0, 8, 0), (9, 11, 9)]


def test_bad_arguments_are_refused():
    refuses(EINVAL, brk(0, 0))
    refuses(EINVAL, call("brk", BASE + 1, 1))
    refuses(ENOMEM, call("brk", (1 << 39) - 4096, 2))
    refuses(ENOMEM, call("brk", BASE, 1 << 28))


def test_above_the_limit_of_vmas_brk_is_refused(breaker):
    # The limit is passed, not reached: the kernel looks before it knows that the heap would only grow.
    clean(broken(breaker, "most-vmas", HEAP, [brk(4, 1)]))
    for step in (brk(9, 1), mmap(20, 1)):
        clean(broken(breaker, "most-vmas", HEAP, [step, brk(12, 1, errno=ENOMEM)]))


def test_the_result_of_brk_is_no_errno():
    # The new break, which is an address.
    with pytest.raises(Refused) as refused:
        built(call("brk", at(0), 1, errno=ENOMEM))
    assert refused.value.errno == 0
