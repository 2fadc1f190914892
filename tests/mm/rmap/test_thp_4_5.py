"""Huge pages since 4.5: a pmd is split without its page, parts of which ptes map then; the page is split by itself.

Until it is, references are the head's, each part counts its ptes, and the page knows how many pmds show it
(ddc58f27f9ee, eef1b3ba053a). A split of the page goes through migration entries (e9b61f19858a), and since 4.14 a page
migrates whole.
"""

import pytest
from calls import (
    FAR,
    at,
    call,
    deferred_split,
    dontneed,
    exit_process,
    fork,
    migrate,
    mprotect,
    mremap,
    munmap,
    split,
    touch,
)  # fmt: skip
from huge import AREA, AWAY, CHILD, CONTENTS, CUTS, HOME, HUGE, PARENT, TWO, frames, states
from kernels import clean, explorer, run, sweep_both
from looks import contents, pages_at, vmas, writable

from anonvma_rt.engine.strategy.pct import Pct

# With all parts left where they are by a split, as until 6.11.
ERAS = ["unpatched,thp=4.5", "interval-tree-shared,thp=4.5", "modern", "linux-6.19,split_zeroes=false"]
eras = pytest.mark.parametrize("algorithm", ERAS)


# ---- a pmd -----------------------------------------------------------------------------------------------------------


@eras
@pytest.mark.parametrize("cut", CUTS)
def test_whoever_cuts_it_splits_the_pmd_and_leaves_the_page(cut, algorithm):
    step, left, pages = CUTS[cut]
    run_ = clean(run(AREA, [step], algorithm=algorithm))
    assert vmas(run_.world) == left and run_.notes("huge-split") == []
    assert len(run_.notes("pmd-split")) == 1 and run_.notes("free-page") == []
    for page in pages:
        assert contents(run_.world, page) == [CONTENTS[page]]
        mapped = HUGE if "part" in cut else len(pages)
        assert {"mapcount": 1, "refcount": mapped}.items() <= pages_at(run_.world, page).items(), "all are the head's"
    if cut == "mremap of a part":
        assert contents(run_.world, FAR, 100) == CONTENTS[:100]


@eras
def test_the_last_entry_frees_the_page_as_a_whole(algorithm):
    run_ = clean(run(AREA, [munmap(0, 100), munmap(200, HUGE), munmap(100, 100)], algorithm=algorithm))
    assert len(run_.notes("free-page")) == 1


@eras
def test_a_fork_shares_the_parts_that_are_left(algorithm):
    run_ = clean(run([*AREA, munmap(5, 500)], [fork(CHILD)], algorithm=algorithm, **TWO))
    assert pages_at(run_.world, 0, CHILD)["mapcount"] == 2 and pages_at(run_.world, 0)["refcount"] == 2 * (HUGE - 500)
    assert writable(run_.world, 0, 1) == writable(run_.world, 0, 1, CHILD) == [False]
    clean(run([*AREA, munmap(5, 500), fork(CHILD)], [exit_process(process=PARENT)], algorithm=algorithm, **TWO))


def test_a_write_after_a_fork_copies_one_small_page_since_5_8_and_all_of_it_before():
    setup, write = [*AREA, fork(CHILD)], [touch(1, 1, 9, process=CHILD)]
    before = clean(run(setup, write, algorithm="unpatched,thp=4.14", **TWO))
    assert states(before.world, process=CHILD) == {"huge"}
    run_ = clean(run(setup, write, algorithm="modern", **TWO))
    same = [a == b for a, b in zip(frames(run_.world), frames(run_.world, process=CHILD), strict=True)]
    assert same.count(True) == HUGE - 1 and not same[1]
    assert states(run_.world) == {"huge"} and states(run_.world, process=CHILD) == {"present"}
    assert contents(run_.world, 0, 3, CHILD) == [5, 9, 5] and contents(run_.world, 0, 3) == [5, 5, 5]


@pytest.mark.parametrize("algorithm", ["unpatched,thp=4.5", "unpatched,thp=4.14", "linux-6.19"])
def test_a_page_that_nobody_else_maps_any_more_is_written_to_where_it_is(algorithm):
    setup = [*AREA, fork(CHILD), exit_process(process=PARENT)]
    before = clean(run(setup, [], algorithm=algorithm, **TWO))
    after = clean(run(setup, [touch(1, 1, 9, process=CHILD)], algorithm=algorithm, **TWO))
    assert frames(before.world, process=CHILD) == frames(after.world, process=CHILD)
    assert states(after.world, process=CHILD) == {"huge"}


# ---- the page --------------------------------------------------------------------------------------------------------


@eras
@pytest.mark.parametrize("before", [[], [mprotect(0, 1, False)], [munmap(5, 500)]], ids=["pmd", "ptes", "some"])
def test_a_split_of_the_page_gives_each_part_its_own_counters(before, algorithm):
    run_ = clean(run([*AREA, *before, fork(CHILD)], [split(0)], algorithm=algorithm, **TWO))
    assert [phase for _, phase, _ in run_.notes("huge-split")] == [0, 3]
    for page in (0, 1, 4, HUGE - 1):
        for process in (PARENT, CHILD):
            assert contents(run_.world, page, 1, process) == [CONTENTS[page]]
            assert {"mapcount": 2, "refcount": 2}.items() <= pages_at(run_.world, page, process).items()
    assert len(run_.notes("free-page")) == (500 if munmap(5, 500) in before else 0), "what nothing maps goes"


@eras
def test_a_second_split_is_no_error(algorithm):
    assert clean(run([*AREA, split(0)], [split(0)], algorithm=algorithm)).notes("huge-split") == []


@eras
def test_what_is_mapped_in_part_is_split_later(algorithm):
    run_ = clean(run([*AREA, munmap(5, 500)], [deferred_split()], algorithm=algorithm))
    assert [phase for _, phase, _ in run_.notes("huge-split")] == [0, 3] and len(run_.notes("free-page")) == 500
    assert clean(run(AREA, [deferred_split()], algorithm=algorithm)).notes("huge-split") == []
    gone = clean(run([*AREA, munmap(5, 500), munmap(0, HUGE)], [deferred_split()], algorithm=algorithm))
    assert gone.notes("huge-split") == [], "a page that is freed leaves the queue"


@pytest.mark.parametrize("whole", [False, True], ids=["4.5", "4.14"])
def test_a_migration_splits_it_up_to_4_13_and_takes_all_of_it_since(whole):
    run_ = clean(run(AREA, [migrate(1)], algorithm=f"unpatched,thp={'4.14' if whole else '4.5'}"))
    assert run_.counters["migrated"] == 1 and contents(run_.world, 0, HUGE) == CONTENTS
    assert states(run_.world) == ({"huge"} if whole else {"present"})
    assert (run_.notes("huge-split") == []) == whole


def test_one_that_ptes_map_migrates_whole_too():
    run_ = clean(run([*AREA, munmap(5, 500), fork(CHILD)], [migrate(0)], algorithm="modern", **TWO))
    assert contents(run_.world, 0, 5) == contents(run_.world, 0, 5, CHILD) == CONTENTS[:5]
    assert pages_at(run_.world, 0)["refcount"] == 2 * (HUGE - 500) and run_.notes("huge-split") == []


def test_move_pages_of_one_address_takes_the_whole_page_since_4_14():
    run_ = clean(run(AREA, [call("move_pages", at(3), 1)], algorithm="modern"))
    assert run_.counters["migrated"] == 1 and states(run_.world) == {"huge"}


# ---- races -----------------------------------------------------------------------------------------------------------

OTHERS = [touch(1, 1, 9), fork(CHILD), mprotect(0, 1, False), munmap(3, 2), mremap(0, 4, to=FAR), dontneed(1, 1)]


@pytest.mark.parametrize("algorithm", ["moveto-tail,thp=4.5,split_sync=true", "modern"])
@pytest.mark.parametrize("other", OTHERS, ids=lambda step: step.verb)
@pytest.mark.parametrize("agent", [split(0), migrate(0), deferred_split()], ids=lambda step: step.verb)
def test_a_split_and_a_migration_against_everybody(agent, other, algorithm):
    """The entries of the few parts that are left."""
    strategy = Pct(3)
    strategy.profiled(100)
    setup = [*AREA, munmap(5, HUGE)]
    made = explorer(setup, [agent], [other], algorithm=algorithm, strategy=strategy, **TWO)
    done = made.run(0, 150)
    names = made.subject.kinds()
    assert {names[kind] for _, kind in done.failures} == set() and done.halt is None


@pytest.mark.parametrize("algorithm", ["moveto-tail,thp=4.14", "modern", "linux-6.19"])
def test_a_huge_pmd_that_moves_against_a_migration(algorithm):
    for first, second in [([migrate(FAR)], [HOME]), ([HOME], [migrate(FAR)])]:
        for run_ in sweep_both(AWAY, first, second, algorithm=algorithm):
            assert clean(run_).world.pte(at(HUGE))[0] in ("huge", "present")


def test_since_6_12_a_split_puts_the_zero_page_where_nothing_is_but_zeroes():
    run_ = clean(run(AREA, [split(0)], algorithm="linux-6.19"))
    assert frames(run_.world).count(0) == HUGE - 4 and contents(run_.world, 0, HUGE) == CONTENTS
    assert len(run_.notes("free-page")) == HUGE - 4
