"""Huge pages: where a fault gets one, what keeps it whole, what splits it, and a split that has to find every pmd.

Kernel-reference 2.17: a split walks the reverse map twice under the root's lock and counts. A pmd that it misses would
stay huge while its page is none any more, so counted pmds that differ from the mapcount are a BUG (Z7, Z24).
"""

from errno import EFAULT

import pytest
from calls import FAR, FAR2, at, exit_process, fork, migrate, mmap, mprotect, mremap, munmap, read, split, touch
from huge import AREA, AWAY, CHILD, CONTENTS, CUTS, HOME, HUGE, PARENT, TWO, frames, states
from kernels import built, clean, explorer, run, sweep, sweep_both, world_at
from looks import contents, frame, pages_at, tables, vmas, writable

from anonvma_rt.engine.strategy.pct import Pct


def small(world, page=0, process=0, mapped=1):
    """That a huge page's range is mapped by 512 ptes of sound small pages, which lie side by side."""
    assert states(world, page, process=process) == {"present"}
    first, *_ = numbers = frames(world, page, process)
    assert numbers == list(range(first, first + HUGE))
    known = [world.page(number) for number in numbers]
    assert {(p["mapcount"], p["refcount"], p["anon_vma"]) for p in known} == {(mapped, mapped, 1)}
    assert [p["index"] - known[0]["index"] for p in known] == list(range(HUGE))


# ---- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [touch, read])
def test_a_fault_gets_a_huge_page_for_the_2_mib_around_it(verb):
    run_ = clean(run([mmap(0, HUGE, huge=True)], [verb(3, 1)]))
    assert states(run_.world) == {"huge"} and tables(run_.world) == []
    head = frame_of_head(run_.world, 0)
    assert frames(run_.world) == list(range(head, head + HUGE))
    assert contents(run_.world, 3) == [7 if verb is touch else 0], "a read too: there is no huge zero page"
    assert run_.world.page(head) == {
        "mapcount": 1, "refcount": 1, "index": at(0) >> 12, "locked": False, "tag": 0, "order": 9, "anon_vma": 1,
    }  # fmt: skip


def frame_of_head(world, page, process=0):
    state, number, _ = world.pte(at(page), process)
    assert state == "huge"
    return number


def test_a_fault_gets_one_only_where_the_vma_wants_it_and_holds_all_of_it():
    assert states(built(mmap(0, HUGE), touch(0, 1)), 0, 1) == {"present"}
    assert states(built(mmap(0, HUGE - 1, huge=True), touch(0, 1)), 0, 1) == {"present"}
    assert states(built(mmap(1, HUGE, huge=True), touch(1, 1), touch(HUGE, 1)), 1, 1) == {"present"}
    world = built(mmap(-3, HUGE + 6, huge=True), touch(-1, 1), touch(7, 1), touch(HUGE, 1))
    assert [states(world, page, 1) for page in (-1, 7, HUGE)] == [{"present"}, {"huge"}, {"present"}]


def test_where_a_page_table_is_a_fault_gets_a_small_page():
    world = built(mmap(0, HUGE // 2, huge=True), touch(0, 1), mmap(HUGE // 2, HUGE // 2, huge=True), touch(1, 1))
    assert vmas(world) == [(0, HUGE, 0)] and states(world, 0, 2) == {"present"}


def test_huge_and_small_memory_do_not_merge():
    assert len(vmas(built(mmap(0, HUGE, huge=True), mmap(HUGE, 8)))) == 2


def test_two_faults_at_once_make_one_huge_page():
    for run_ in sweep([mmap(0, HUGE, huge=True)], [touch(0, 1, 5)], [touch(1, 1, 6)]):
        assert contents(clean(run_).world, 0, 2) == [5, 6] and states(run_.world) == {"huge"}
        assert pages_at(run_.world, 0)["refcount"] == 1


# ---- what keeps it whole ---------------------------------------------------------------------------------------------


def test_a_move_by_whole_2_mib_keeps_it_huge():
    run_ = clean(run(AREA, [mremap(0, HUGE, to=FAR)]))
    assert states(run_.world, FAR) == {"huge"} and states(run_.world, 0) == {"none"}
    assert contents(run_.world, FAR, HUGE) == CONTENTS and run_.notes("huge-split") == []
    assert [address for _, address, _ in run_.notes("huge-move")] == [at(FAR)]
    assert pages_at(run_.world, FAR)["mapcount"] == 1


def test_mprotect_of_all_of_it_keeps_it_huge_and_takes_the_right_to_write():
    setup = [*AREA, mprotect(0, HUGE, False)]
    world = built(*setup, touch(0, 1, 9, errno=EFAULT))
    assert states(world) == {"huge"} and writable(world, 0, 1) == [False] and contents(world, 0, HUGE) == CONTENTS
    run_ = clean(run(setup, [mprotect(0, HUGE, True), touch(0, 1, 9)]))
    assert frame_of_head(run_.world, 0) == frame_of_head(world, 0) and writable(run_.world, 0, 1) == [True]
    assert contents(run_.world, 0, HUGE) == [9, *CONTENTS[1:]], "mapped once, so written to where it is"


def test_munmap_of_all_of_it_frees_it_as_one():
    run_ = clean(run(AREA, [munmap(0, HUGE)]))
    assert len(run_.notes("free-page")) == 1 and run_.notes("huge-split") == [] and vmas(run_.world) == []


def test_fork_shares_it_without_the_right_to_write():
    world = built(*AREA, fork(CHILD), **TWO)
    assert frame_of_head(world, 0, CHILD) == frame_of_head(world, 0, PARENT)
    assert {"mapcount": 2, "refcount": 2, "anon_vma": 1}.items() <= pages_at(world, 0).items()
    assert writable(world, 0, 1, PARENT) == writable(world, 0, 1, CHILD) == [False]
    assert tables(world, CHILD) == []


@pytest.mark.parametrize(("writer", "other"), [(PARENT, CHILD), (CHILD, PARENT)])
def test_a_write_to_a_shared_one_copies_all_of_it(writer, other):
    setup = [*AREA, fork(CHILD)]
    run_ = clean(run(setup, [touch(1, 1, 9, process=writer)], **TWO))
    assert states(run_.world, process=writer) == states(run_.world, process=other) == {"huge"}
    assert contents(run_.world, 0, HUGE, writer) == [5, 9, *CONTENTS[2:]]
    assert contents(run_.world, 0, HUGE, other) == CONTENTS
    assert pages_at(run_.world, 0, writer)["anon_vma"] == (1 if writer == PARENT else 2)
    for process in (writer, other):
        assert {"mapcount": 1, "refcount": 1}.items() <= pages_at(run_.world, 0, process).items()
    assert writable(run_.world, 0, 1, writer) == [True] and writable(run_.world, 0, 1, other) == [False]
    # The other one is alone with the page of before.
    again = clean(run([*setup, touch(1, 1, 9, process=writer)], [touch(2, 1, 8, process=other)], **TWO))
    assert frame_of_head(again.world, 0, other) == frame_of_head(run_.world, 0, other)
    assert contents(again.world, 0, 4, other) == [5, 5, 8, 0]


# ---- what splits it --------------------------------------------------------------------------------------------------


def test_a_split_makes_512_small_pages_with_the_counters_and_contents_of_before():
    run_ = clean(run(AREA, [split(0)]))
    small(run_.world)
    assert contents(run_.world, 0, HUGE) == CONTENTS and writable(run_.world, 0, HUGE) == [True] * HUGE
    assert tables(run_.world) == [0]
    assert [(phase, counted) for _, phase, counted in run_.notes("huge-split")] == [(0, 0), (1, 1), (2, 1)]
    locks = [what for what, name in run_.locks("mutex") if name == ("anon_vma", 1)]
    assert locks == ["trylock", "unlock"], "one hold of the root's lock for both walks"
    gone = clean(run([*AREA, split(0)], [munmap(0, HUGE)]))
    assert len(gone.notes("free-page")) == HUGE, "each is freed by itself"


def test_a_split_finds_the_pmds_of_all_processes():
    run_ = clean(run([*AREA, fork(CHILD)], [split(0)], **TWO))
    for process in (PARENT, CHILD):
        small(run_.world, process=process, mapped=2)
        assert writable(run_.world, 0, 1, process) == [False]
    assert [counted for _, _, counted in run_.notes("huge-split")] == [0, 2, 2]
    # Afterwards a write copies one small page.
    run_ = clean(run([*AREA, fork(CHILD), split(0)], [touch(1, 1, 9, process=CHILD)], **TWO))
    assert contents(run_.world, 0, 3, CHILD) == [5, 9, 5] and contents(run_.world, 0, 3) == [5, 5, 5]


def test_a_second_split_is_no_error_and_changes_nothing():
    run_ = clean(run([*AREA, split(0)], [split(0)]))
    assert run_.notes("huge-split") == []
    small(run_.world)


@pytest.mark.parametrize("algorithm", ["unpatched", "interval-tree", "modern,thp=3.2,cow_splits=false"])
@pytest.mark.parametrize("cut", CUTS)
def test_whoever_cuts_it_splits_it_first(cut, algorithm):
    step, left, pages = CUTS[cut]
    run_ = clean(run(AREA, [step], algorithm=algorithm))
    assert vmas(run_.world) == left
    assert [phase for _, phase, _ in run_.notes("huge-split")] == [0, 1, 2]
    for page in pages:
        assert contents(run_.world, page) == [CONTENTS[page]]
        assert {"mapcount": 1, "refcount": 1}.items() <= pages_at(run_.world, page).items()
    gone = sorted(set(range(HUGE)) - set(pages))
    assert len(run_.notes("free-page")) == (0 if "part" in cut else len(gone))
    if cut == "mremap of a part":
        assert contents(run_.world, FAR, 100) == CONTENTS[:100]


@pytest.mark.parametrize("algorithm", ["unpatched", "moveto-tail", "modern,thp=3.2,cow_splits=false"])
def test_a_move_to_where_no_2_mib_begin_splits_it(algorithm):
    run_ = clean(run(AREA, [mremap(0, HUGE, to=FAR + 1)], algorithm=algorithm))
    assert states(run_.world, FAR + 1) == {"present"} and contents(run_.world, FAR + 1, HUGE) == CONTENTS
    assert vmas(run_.world) == [(FAR + 1, FAR + 1 + HUGE, 0)] and len(run_.notes("huge-split")) == 3


def test_a_migration_splits_first_and_moves_one_small_page():
    run_ = clean(run(AREA, [migrate(0)]))
    assert run_.counters["migrated"] == 1 and states(run_.world) == {"present"}
    numbers = frames(run_.world)
    assert numbers[1:] == list(range(numbers[1], numbers[1] + HUGE - 1)) and numbers[0] > numbers[-1]
    assert contents(run_.world, 0, HUGE) == CONTENTS
    assert frame(run_.world, 1) == numbers[1]


def test_exit_frees_it_whoever_goes_first(breaker):
    for order in [(PARENT, CHILD), (CHILD, PARENT)]:
        steps = [exit_process(process=process) for process in order]
        run_ = clean(run([*AREA, fork(CHILD)], steps, **TWO))
        assert len(run_.notes("free-page")) == 1
        living = breaker.census(run_.explorer)
        assert [living[kind] for kind in ("vma", "anon_vma", "avc", "table")] == [0] * 4


# ---- races -----------------------------------------------------------------------------------------------------------


def bugs(runs):
    return {(run_.kind, run_.bug) for run_ in runs}


@pytest.mark.parametrize("algorithm", ["unpatched", "interval-tree-thp-unfixed"])
def test_z7_a_split_between_two_places_counts_too_few_pmds(algorithm):
    # The walk looks at the destination, the pmd moves there, and the walk looks at the source.
    assert bugs(sweep_both(AWAY, [HOME], [split(FAR)], algorithm=algorithm)) == {
        (None, None),
        ("bug-on", "split-count"),
    }


@pytest.mark.parametrize("algorithm", ["moveto-tail", "rmap-locks", "interval-tree", "modern"])
def test_the_order_of_the_list_or_the_root_lock_keep_a_split_from_missing_it(algorithm):
    for first, second in [([split(FAR)], [HOME]), ([HOME], [split(FAR)])]:
        for run_ in sweep_both(AWAY, first, second, algorithm=algorithm):
            assert clean(run_).world.pte(at(HUGE))[0] in ("huge", "present")


@pytest.mark.parametrize("before", [[], [mprotect(0, HUGE, False)]], ids=["", "read-only"])
@pytest.mark.parametrize("other", [munmap(0, HUGE), mprotect(0, HUGE, False), mprotect(0, HUGE, True)], ids=str)
def test_z24_a_split_that_looks_without_the_lock_misses_a_pmd_that_is_none_for_a_moment(other, before):
    """A change of protection clears the pmd and sets it again, whether the right is taken or given (3.15.5)."""
    peeking = {"algorithm": "unpatched,split_peeks=true"}
    changes = other.verb == "munmap" or other.args[2] == bool(before)
    wrong = {("bug-on", "split-count")} if changes else set()
    assert bugs(sweep([*AREA, *before], [other], [split(0)], **peeking)) == {(None, None)} | wrong
    assert bugs(sweep([*AREA, *before], [other], [split(0)])) == {(None, None)}


def test_linux_3_0_splits_a_huge_page_before_it_moves_any_of_it():
    """get_old_pmd() up to 37a1c49a91ad: so nothing moves past a walk that counts pmds."""
    run_ = clean(run(AWAY[:3], AWAY[3:], algorithm="linux-3.0"))
    assert run_.notes("huge-split") and not run_.notes("huge-move")
    assert run_.world.pte(at(FAR))[0] == "present"
    assert bugs(sweep_both(AWAY, [HOME], [split(FAR)], algorithm="linux-3.0")) == {(None, None)}


@pytest.mark.parametrize("algorithm", ["unpatched", "modern"])
def test_everybody_waits_for_a_split_that_is_under_way(algorithm):
    others = [touch(1, 1, 9)], [fork(CHILD)], [mprotect(0, HUGE, False)], [munmap(0, HUGE)], [mremap(0, HUGE, to=FAR2)]
    for other in others:
        for run_ in sweep(AREA, [split(0)], other, algorithm=algorithm, **TWO):
            assert clean(run_).notes("huge-split") or run_.world.pte(at(0))[0] != "huge"


def test_splitting_pmds_are_marked_between_the_walks():
    world = world_at("huge-split", AREA, [split(0)], nth=2)
    assert states(world) == {"present"} and writable(world, 0, 1) == [True]


@pytest.mark.parametrize("algorithm", ["moveto-tail", "interval-tree", "modern", "linux-6.19"])
def test_forks_copies_splits_and_moves_at_random_agree(algorithm):
    strategy = Pct(3)
    strategy.profiled(400)
    threads = [fork(CHILD)], [split(0)], [touch(0, 1, 9), mremap(0, HUGE, to=FAR), touch(FAR + 1, 1, 8)]
    made = explorer(AREA, *threads, algorithm=algorithm, strategy=strategy, **TWO)
    done = made.run(0, 300)
    names = made.subject.kinds()
    assert {names[kind] for _, kind in done.failures} == set() and done.halt is None
