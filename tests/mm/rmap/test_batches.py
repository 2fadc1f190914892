"""Pages that migrate together (6.3): all are unmapped before one is moved, and nobody waits for a page's lock while he
has others. Before, each was done with before the next one was begun."""

import pytest
from calls import FAR, at, call, compare, fork, migrate, mmap, mprotect, mremap, munmap, read, touch
from kernels import clean, explorer, run, sweep
from looks import contents

from anonvma_rt.engine.strategy.pct import Pct
from anonvma_rt.engine.strategy.sticky import Sticky
from anonvma_rt.search.hunt import hunt

FOUR = [mmap(0, 4), touch(0, 1, 1), touch(1, 1, 2), touch(2, 1, 3), touch(3, 1, 4)]
TOGETHER, ONE_BY_ONE = "modern", "modern,batches=no"


def move(page, pages):
    return call("move_pages", at(page), pages)


def stages(run_):
    """unmap, restore and the end, of each page, in their order."""
    found = []
    for event in run_.events:
        if event.is_note and event.what == "unmap":
            found.append(("unmap", event.c))
        elif event.is_note and event.what == "migrate" and event.c == 1:
            found.append(("moved", event.a))
    return found


@pytest.mark.parametrize("algorithm", [TOGETHER, ONE_BY_ONE])
def test_all_are_unmapped_before_one_is_moved_or_each_in_turn(algorithm):
    run_ = clean(run(FOUR, [move(0, 4)], algorithm=algorithm))
    if algorithm == TOGETHER:
        assert stages(run_) == [("unmap", n) for n in range(1, 5)] + [("moved", n) for n in range(1, 5)]
    else:
        assert stages(run_) == [(what, n) for n in range(1, 5) for what in ("unmap", "moved")]
    assert contents(run_.world, 0, 4) == [1, 2, 3, 4] and run_.counters["migrated"] == 4


def test_more_pages_than_a_batch_has_go_in_several():
    setup = [mmap(0, 70), touch(0, 70)]
    run_ = clean(run(setup, [move(0, 70)], algorithm=TOGETHER))
    done = stages(run_)
    assert done[:65] == [("unmap", n) for n in range(1, 65)] + [("moved", 1)]
    assert done[128:135] == [("unmap", n) for n in range(65, 71)] + [("moved", 65)]
    assert run_.counters["migrated"] == 70


OTHERS = {
    "a write": [touch(1, 1, 7), compare(1, 1, 1)],
    "reads": [read(0, 4)],
    "munmap": [munmap(1, 2)],
    "mremap": [mremap(0, 2, to=FAR), mremap(FAR, 2, to=0)],
    "mprotect": [mprotect(1, 2, False)],
    "compaction": [migrate(2)],
    "another batch": [move(1, 3)],
    "dontneed": [call("dontneed", at(1), 2)],
    "UFFDIO_MOVE": [mmap(8, 1), call("uffd_move", at(1), at(8), 1, errno=(0, 11, 16))],
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("algorithm", [TOGETHER, ONE_BY_ONE, "linux-6.19"])
def test_a_batch_beside_others(algorithm, other):
    for run_ in sweep(FOUR, [move(0, 4)], OTHERS[other], algorithm=algorithm):
        clean(run_)
        assert not any(run_.world.page(n)["locked"] for n in range(1, 5))
    for strategy in (Sticky(), Pct(3)):
        strategy.profiled(400)
        with explorer(FOUR, [move(0, 4)], OTHERS[other], algorithm=algorithm, strategy=strategy) as made:
            assert made.run(0, 500).failures == []


def test_a_batch_leaves_a_page_alone_that_somebody_else_has_isolated():
    moved = set()
    for run_ in sweep(FOUR, [move(0, 4)], [migrate(2)], algorithm=TOGETHER):
        assert clean(run_).counters["aborted"] == 0
        moved.add(run_.counters["migrated"])
    assert moved == {4, 5}, "once, or by both in turn"


def test_a_page_that_is_locked_waits_for_the_second_round():
    """UFFDIO_MOVE has page 2 locked: the batch goes on without, and takes it alone afterwards."""
    orders = []
    for run_ in sweep([*FOUR, mmap(8, 1)], [call("uffd_move", at(1), at(8), 1)], [move(0, 4)], algorithm=TOGETHER):
        orders.append([n for what, n in stages(clean(run_)) if what == "moved"])
        assert sorted(orders[-1]) in ([1, 2, 3, 4], [1, 3, 4])
    assert [1, 3, 4, 2] in orders and [1, 3, 4] in orders


@pytest.mark.parametrize(
    ("algorithm", "kinds"),
    [
        ("linux-6.2", set()),
        ("linux-6.3", set()),
        ("linux-6.3,isolate=false", set()),
        ("linux-6.3,batches=waiting", set()),
        ("linux-6.3,batches=waiting,isolate=false", {"lock-order"}),
    ],
)
def test_two_batches_wait_for_each_other_where_both_guards_are_gone(algorithm, kinds):
    (found,) = hunt("two-batches", {}, [algorithm], runs=400).results
    assert set(found.violations) == kinds


@pytest.mark.parametrize(
    ("algorithm", "bug"),
    [
        ("unpatched", True),
        ("unpatched,restore_compares=true", False),
        ("moveto-tail,ordering=none", True),
        ("moveto-tail,ordering=none,restore_compares=true", False),
    ],
)
def test_the_entry_of_another_page_is_decoded_or_compared(algorithm, bug):
    """What a walk left behind in the child is met by the restore walk of the parent's page at the same index."""
    setup = [
        mmap(0, 2), touch(0, 2), fork(1), touch(1, 1, 9),
        mremap(1, 1, to=FAR, process=1),
    ]  # fmt: skip
    walks = [migrate(FAR, process=1), migrate(1)]
    kinds = set()
    for run_ in sweep(setup, walks, [mremap(FAR, 1, to=1, process=1)], algorithm=algorithm, processes=2):
        kinds.add(run_.kind if run_.kind is None or run_.kind != "bug-on" else run_.bug)
    assert ("page-not-locked" in kinds) == bug and ("stale-migration-entry" in kinds) != bug
