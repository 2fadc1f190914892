"""A vma that grows down (MAP_GROWSDOWN): how far a fault makes it grow, with what held, and whom it meets meanwhile."""

from errno import EFAULT

import pytest
from calls import TABLE, call, dontneed, fork, migrate, mmap, mprotect, munmap, read, touch
from kernels import built, clean, run, sweep, sweep_both
from looks import contents, frame, vmas

from anonvma_rt.search.hunt import hunt
from anonvma_rt.search.verify import verify

EVERY = pytest.mark.parametrize("algorithm", ["unpatched", "moveto-tail", "interval-tree", "modern", "linux-6.19"])
STACK = [mmap(1000, 2, grows_down=True), touch(1001, 1, 6)]


@EVERY
@pytest.mark.parametrize("access", [touch, read])
def test_a_fault_below_a_stack_makes_it_grow_to_that_page(access, algorithm):
    world = built(*STACK, access(900, 1), algorithm=algorithm)
    assert vmas(world) == [(900, 1002, 900)]
    assert contents(world, 1000, 2) == [None, 6]


@EVERY
def test_its_pages_keep_their_indices_and_can_migrate(algorithm):
    world = built(*STACK, touch(990, 2, 8), touch(980, 1, 9), migrate(991), migrate(1001), algorithm=algorithm)
    assert [contents(world, at, 1) for at in (980, 990, 991, 1001)] == [[9], [8], [8], [6]]


def test_other_memory_does_not_grow():
    world = built(mmap(1000, 2), touch(999, 1, errno=EFAULT))
    assert vmas(world) == [(1000, 1002, 1000)]


@pytest.mark.parametrize(("distance", "grows"), [(256, True), (255, False)])
def test_it_keeps_away_from_what_is_below(distance, grows):
    below = mmap(100, 1)
    world = built(below, *STACK, touch(101 + distance, 1, errno=0 if grows else EFAULT))
    assert vmas(world)[-1].start == (101 + distance if grows else 1000)
    # Another stack may be as near as it likes.
    near = built(mmap(100, 1, grows_down=True), *STACK, touch(102, 1))
    assert [vma.start for vma in vmas(near)] == [100, 102]


def test_it_grows_to_eight_mebibytes():
    top = [mmap(4 * TABLE + 10, 2, grows_down=True)]
    assert vmas(built(*top, touch(12, 1)))[0].start == 12
    assert vmas(built(*top, touch(11, 1, errno=EFAULT)))[0].start == 4 * TABLE + 10


def test_it_merges_with_its_like_only():
    assert len(vmas(built(mmap(10, 2, grows_down=True), mmap(12, 2)))) == 2
    assert len(vmas(built(mmap(10, 2, grows_down=True), mmap(12, 2, grows_down=True)))) == 1


def test_a_child_has_a_stack_that_grows_for_itself():
    world = built(*STACK, fork(1), touch(950, 1, 5, process=1), algorithm="modern", processes=2)
    assert vmas(world, 0)[0].start == 1000 and vmas(world, 1)[0].start == 950
    assert frame(world, 1001, 0) == frame(world, 1001, 1)


def test_a_part_of_a_stack_that_is_read_only_still_grows_and_does_not_let_write():
    setup = [*STACK, mprotect(1000, 2, False), read(990, 1)]
    assert vmas(built(*setup, touch(985, 1, errno=EFAULT)))[0].start == 985


@pytest.mark.parametrize(
    ("algorithm", "locks"),
    [
        ("linux-6.1", ["read-lock", "read-unlock"]),
        ("linux-6.5", ["read-lock", "read-unlock", "lock", "downgrade", "read-unlock"]),
    ],
)
def test_since_6_5_it_grows_with_mmap_lock_held_for_writing(algorithm, locks):
    run_ = run(STACK, [touch(950, 1)], algorithm=f"{algorithm},vma_locks=no")
    assert [what for what, _ in run_.locks("mmap_sem")] == locks


# ---- whom it meets ---------------------------------------------------------------------------------------------------


@EVERY
def test_two_who_let_it_grow_agree(algorithm):
    for run_ in sweep_both(STACK, [read(950, 1)], [read(960, 1)], algorithm=algorithm):
        assert vmas(clean(run_).world) == [(950, 1002, 950)]


@EVERY
@pytest.mark.parametrize("beside", [migrate(1001), dontneed(1001, 1), fork(1), munmap(1000, 1), call("vmas", 0, 0, 0)])
def test_whoever_looks_at_the_vma_meanwhile_sees_it_whole(beside, algorithm):
    for run_ in sweep(STACK, [read(950, 1)], [beside], algorithm=algorithm, processes=2):
        clean(run_)


@pytest.mark.parametrize("strategy", [None, "pct:depth=3"])
def test_a_page_that_is_mapped_while_its_stack_grows_gets_a_wrong_index_up_to_6_4(strategy):
    """By our reading Linux has had that: vm_start and vm_pgoff change under the anon_vma's lock, and whoever computes
    an index holds a page-table lock. Where that is the mm's only one, which a growing stack takes, the two exclude
    each other."""
    wrong, right = "unpatched", ("unpatched,exclusive_growth=true", "modern", "unpatched,single_ptl=true")
    found = hunt("stack-index", None, [wrong, *right], strategy, runs=1000).results
    assert [set(one.violations) for one in found] == [{"unreachable-pte"}, set(), set(), set()]
    if strategy is None:
        assert [one.complete for one in verify("stack-index", algorithms=right, limit=1000).results] == [True] * 3


def test_munmap_lets_others_in_though_a_stack_follows_from_4_20_to_5_7():
    wrong = "modern,downgrade_beside_stack=true,exclusive_growth=false"
    right = ("modern", "modern,exclusive_growth=false", "modern,downgrade_beside_stack=true", "linux-4.19", "linux-5.8")
    found = hunt("stack-beside-munmap", None, [wrong, *right], runs=1000).results
    assert [set(one.violations) for one in found] == [{"use-after-free"}, *[set()] * 5]
    assert all(one.complete for one in verify("stack-beside-munmap", algorithms=right, limit=1000).results)
