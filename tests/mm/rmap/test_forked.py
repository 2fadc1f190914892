"""Worlds made by hand: chains of two as a fork leaves them, without the fork, and entries that were left behind.

A forked child's vmas are on two lists, their own anon_vma's and the parent's. Copying, tailing and unlinking go over
the whole chain, and a vma that has such a chain merges with no newcomer. Whoever decodes a stale entry stops there.
"""

from errno import ENOMEM

import pytest
from calls import FAR, FAR2, TABLE, compare, migrate, mmap, mremap, munmap, read, touch
from kernels import ALL, broken, clean
from looks import anon_vmas, contents, vmas

from anonvma_rt.kernel.algorithm import PRESETS

EVERY = pytest.mark.parametrize("algorithm", ALL)
AREA = [mmap(0, 6), touch(0, 6)]
APART = [*AREA, mremap(2, 2, to=FAR)]
OWN, PARENT = 1, 2
STALE = 2  # the page whose entry is left behind


def orders(world):
    """Each list as the first pages of its vmas."""
    starts = {v["id"]: vma.start for v, vma in zip(world.maps(), vmas(world), strict=True)}
    return {anon_vma: [starts[vma] for vma in order] for anon_vma, order in world.lists().items()}


def chains(world):
    return [v["chain"] for v in world.maps()]


# ---- chains of two ---------------------------------------------------------------------------------------------------


@EVERY
def test_a_fresh_destination_is_the_last_of_every_list(breaker, algorithm):
    world = clean(broken(breaker, "forked", AREA, [mremap(2, 2, to=FAR)], algorithm=algorithm)).world
    assert orders(world) == {OWN: [0, FAR, 4], PARENT: [0, FAR, 4]}
    assert chains(world) == [[OWN, PARENT]] * 3, "own first, root last"


@EVERY
def test_a_merged_destination_goes_to_the_tail_of_every_list(breaker, algorithm):
    # The move itself asserts the order on each list where the patch promises it; here all of [0, 6) is left at the end.
    setup = [*AREA, mremap(4, 2, to=FAR), mremap(FAR, 1, to=FAR2)]
    run_ = clean(broken(breaker, "forked", setup, [mremap(FAR2, 1, to=4)], algorithm=algorithm))
    tailed = algorithm in ("moveto-tail", "moveto-tail-merge-only")
    order = [FAR + 1, 0] if tailed else [0, FAR + 1]
    assert orders(run_.world) == {OWN: order, PARENT: order}


@EVERY
def test_the_root_is_locked_once_for_all_lists_of_a_chain(breaker, algorithm):
    run_ = clean(broken(breaker, "forked", APART, [mremap(FAR, 2, to=2)], algorithm=algorithm))
    locks = run_.locks("mutex", between=("merge", "move"))
    root = [("lock", ("anon_vma", PARENT)), ("unlock", ("anon_vma", PARENT))]
    tailed = algorithm in ("moveto-tail", "moveto-tail-merge-only")
    assert locks == root * (3 if tailed else 2), "vma_adjust, unlinking of what was swallowed, and the tail"


@EVERY
def test_a_failed_move_tails_the_source_on_every_list(breaker, algorithm):
    step = mremap(0, 6, to=FAR - 2, fail_after=1, errno=ENOMEM)
    run_ = clean(broken(breaker, "forked", AREA, [step], algorithm=algorithm))
    assert orders(run_.world) == {OWN: [0], PARENT: [0]}
    assert contents(run_.world, 0, 6) == [7] * 6


@EVERY
def test_splitting_and_unmapping_go_over_the_whole_chain(breaker, algorithm):
    run_ = clean(broken(breaker, "forked", AREA, [munmap(2, 2)], algorithm=algorithm))
    assert chains(run_.world) == [[OWN, PARENT]] * 2
    assert orders(run_.world) == {OWN: [0, 4], PARENT: [0, 4]}
    run_ = clean(broken(breaker, "forked", AREA, [munmap(0, 6)], algorithm=algorithm))
    living = breaker.census(run_.explorer)
    assert (living["anon_vma"], living["avc"]) == (0, 0), "the child drops its reference on the root"


def test_the_root_outlives_its_list_while_a_child_refers_to_it(breaker):
    run_ = broken(breaker, "forked", AREA, [munmap(0, 6)])
    puts = [e.a for e in run_.events if e.what == "atomic" and run_.world.name(e.a)[0] == "anon_vma"]
    dropped = [run_.world.name(a)[1] for a in puts]
    assert dropped == [OWN, PARENT, PARENT], "its own, its reference on the root, and that of the root's list"


def test_freeing_waits_for_whoever_has_the_root_locked(breaker):
    # Two children of one root. While a migration in one walks under the root's mutex, the other one is freed.
    setup = [mmap(0, 2), touch(0, 2), mmap(4, 2), touch(4, 2)]
    threads = [munmap(0, 2)], [migrate(4)]
    root = ("anon_vma", 3, "mutex")
    whole = clean(broken(breaker, "siblings", setup, *threads))
    points = [e for e in whole.events if not e.is_note]
    unlinked = next(e.step for e in points if e.task == 0 and e.what == "unlock" and whole.world.name(e.a) == root)
    begin = next(e.step for e in points if e.task == 1)
    walking = next(e.step for e in points if e.task == 1 and whole.world.name(e.a) == root)
    schedule = [(0, unlinked), (1, walking - begin + 1), (0, 1)]
    run_ = clean(broken(breaker, "siblings", setup, *threads, schedule=schedule))
    assert run_.counters["migrated"] == 1
    undisturbed, disturbed = (
        [e.what for e in r.events if e.task == 0 and not e.is_note and r.world.name(e.a) == root] for r in (whole, run_)
    )
    assert undisturbed == ["lock", "unlock", "load"]
    assert disturbed == ["lock", "unlock", "load", "lock", "unlock"]


def test_a_request_without_anon_vma_merges_with_no_forked_neighbour(breaker):
    run_ = clean(broken(breaker, "forked", AREA, [mmap(6, 2), mmap(-2, 2)]))
    assert vmas(run_.world) == [(-2, 0, -2), (0, 6, 0), (6, 8, 6)]


def test_a_forked_neighbour_lends_its_anon_vma_to_nobody(breaker):
    run_ = clean(broken(breaker, "forked", AREA, [mmap(6, 2), touch(6, 2), mmap(-2, 2), touch(-2, 2)]))
    assert anon_vmas(run_.world) == [4, OWN, 3]


@EVERY
def test_a_faulted_request_merges_with_its_own_forked_kind(breaker, algorithm):
    run_ = clean(broken(breaker, "forked", APART, [mremap(FAR, 2, to=2), compare(0, 1, 5)], algorithm=algorithm))
    assert vmas(run_.world) == [(0, 6, 0)] and chains(run_.world) == [[OWN, PARENT]]


@EVERY
def test_pages_migrate_in_forked_worlds(breaker, algorithm):
    thread = [migrate(FAR), mremap(FAR, 2, to=2), touch(2, 2, 9), migrate(0), compare(2, 3, 1)]
    run_ = clean(broken(breaker, "forked", APART, thread, algorithm=algorithm))
    assert run_.counters["migrated"] == 2
    locked = {name for what, name in run_.locks("mutex") if what != "trylock"}
    assert locked == {("anon_vma", PARENT)}, "the root is locked, and the page's own list is walked"
    assert {anon_vma for anon_vma, _, _ in run_.notes("list")} == {OWN}


# ---- an entry that was left behind -----------------------------------------------------------------------------------


USES = [read(STALE, 1), touch(STALE, 1), compare(0, STALE, 1)]


@pytest.mark.parametrize("use", USES, ids=lambda step: step.verb)
def test_a_fault_on_a_stale_entry_is_a_bug(breaker, use):
    run_ = broken(breaker, "stale-entry", AREA, [use], address=STALE)
    assert (run_.kind, run_.bug) == ("bug-on", "page-not-locked")


@pytest.mark.parametrize("decodes", [False, True])
def test_unmapping_a_stale_entry_is_a_bug_only_where_zap_decodes(breaker, decodes):
    algorithm = f"unpatched,decode_in_zap={str(decodes).lower()}"
    run_ = broken(breaker, "stale-entry", AREA, [munmap(0, 6)], address=STALE, algorithm=algorithm)
    assert (run_.kind, run_.bug) == (("bug-on", "page-not-locked") if decodes else (None, None))


def test_only_3_3_decodes_in_zap():
    assert [name for name in ALL if PRESETS[name].decode_in_zap] == ["moveto-tail"]


def test_the_restore_walk_of_an_innocent_page_decodes_what_it_meets(breaker):
    # Two pages have one index: the one that was moved out, and a new one in the place that it left.
    setup = [*AREA, mremap(STALE, 1, to=FAR), mmap(STALE, 1), touch(STALE, 1)]
    run_ = broken(breaker, "stale-entry", setup, [migrate(FAR)], address=STALE)
    assert (run_.kind, run_.bug) == ("bug-on", "page-not-locked")


def test_a_stale_entry_that_nobody_meets_is_found_by_the_check(breaker):
    run_ = broken(breaker, "stale-entry", AREA, [touch(0, 1)], address=STALE)
    assert run_.kind == "stale-migration-entry"


@EVERY
def test_a_stale_entry_moves_as_it_is(breaker, algorithm):
    run_ = broken(breaker, "stale-entry", AREA, [mremap(STALE, 2, to=TABLE)], address=STALE, algorithm=algorithm)
    assert run_.kind == "stale-migration-entry"
    assert contents(run_.world, TABLE, 2) == ["migration", 7]
