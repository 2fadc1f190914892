"""fork, copy on write and exit: what the child shares with its parent, and when each has pages of its own.

Kernel-reference 2.4 to 2.6 and 2.13: the child's vma goes to the tail of every list that the parent's is on and gets an
anon_vma of its own, whose root is the parent's root, before any pte is copied. Both sides lose the right to write.
"""

from errno import EEXIST

import pytest
from calls import FAR, TABLE, at, exit_process, fork, migrate, mmap, munmap, read, touch
from kernels import ALL, built, clean, explorer, refuses, run, sweep, sweep_both, world_at
from looks import anon_vmas, contents, frame, pages_at, tables, vmas, writable

TWO, THREE = {"processes": 2}, {"processes": 3}
PARENT, CHILD, GRANDCHILD = 0, 1, 2
AREA = [mmap(0, 4), touch(0, 4)]
FORKED = [*AREA, fork(CHILD)]
GENERATIONS = [*FORKED, fork(GRANDCHILD, process=CHILD)]


def ids(world, process):
    return [v["id"] for v in world.maps(process)]


def chains(world, process):
    return [v["chain"] for v in world.maps(process)]


# ---- dup_mmap --------------------------------------------------------------------------------------------------------


def test_the_child_has_an_anon_vma_of_its_own_and_its_parents_behind_it(breaker):
    world = built(*FORKED, **TWO)
    assert (anon_vmas(world, PARENT), chains(world, PARENT)) == ([1], [[1]])
    assert (anon_vmas(world, CHILD), chains(world, CHILD)) == ([2], [[2, 1]]), "own first, root last"
    world = built(*GENERATIONS, **THREE)
    assert chains(world, GRANDCHILD) == [[3, 2, 1]], "newest to oldest"


def test_the_childs_anon_vma_refers_to_the_root_and_counts_as_its_parents_child(breaker):
    states = breaker.anon_vma_states(explorer(GENERATIONS, **THREE))
    assert {name: (s["root"], s["parent"]) for name, s in states.items()} == {1: (1, 1), 2: (1, 1), 3: (1, 2)}
    assert [states[name]["refcount"] for name in (1, 2, 3)] == [3, 1, 1], "a child pins the root and nobody else"
    assert [states[name]["children"] for name in (1, 2, 3)] == [2, 1, 0], "a root is a child of itself"
    assert [states[name]["active"] for name in (1, 2, 3)] == [1, 1, 1]


def test_the_child_is_the_last_of_every_list():
    world = built(*GENERATIONS, **THREE)
    (p,), (c,), (g,) = (ids(world, process) for process in range(3))
    assert world.lists(GRANDCHILD) == {1: [p, c, g], 2: [c, g], 3: [g]}
    # Vmas of the parent that came later than its fork stand behind the child's; those of a later child behind them.
    world = built(*FORKED, munmap(1, 1), fork(GRANDCHILD), **THREE)
    (low, high), (c,) = ids(world, PARENT), ids(world, CHILD)
    assert world.lists(PARENT) == {1: [low, c, high, *ids(world, GRANDCHILD)]}


def test_a_vma_that_nobody_wrote_to_is_copied_without_any_pte_or_list():
    world = built(mmap(0, 4), read(0, 4), fork(CHILD), **TWO)
    assert vmas(world, CHILD) == [(0, 4, 0)] and anon_vmas(world, CHILD) == [None] == anon_vmas(world, PARENT)
    assert (tables(world, PARENT), tables(world, CHILD)) == ([0], []), "not even the zero page"
    assert world.lists(CHILD) == {}


def test_only_what_is_mapped_is_shared_and_only_where_it_is_are_tables():
    world = built(mmap(0, 3 * TABLE), touch(1, 1), read(2, 1), touch(2 * TABLE, 1), fork(CHILD), **TWO)
    assert contents(world, 0, 4, CHILD) == [None, 7, 0, None]
    assert tables(world, CHILD) == [0, 2 * TABLE]


def test_both_sides_map_one_page_and_neither_may_write_to_it():
    world = built(*FORKED, **TWO)
    for page in range(4):
        assert frame(world, page, PARENT) == frame(world, page, CHILD)
        assert {"mapcount": 2, "refcount": 2, "anon_vma": 1}.items() <= pages_at(world, page).items()
    assert writable(world, 0, 4, PARENT) == writable(world, 0, 4, CHILD) == [False] * 4


def test_fork_of_many_pages_drops_the_locks_in_between():
    # 32 units: an empty pte costs one, a copied one eight.
    run_ = clean(run([mmap(0, 12), touch(0, 12)], [fork(CHILD)], **TWO))
    assert len(run_.notes("copy")) == 12
    ptls = [name for what, name in run_.locks("ptl", between=("child-vma", None)) if what == "lock"]
    assert ptls == [("table", at(0))] * 6, "4 + 4 + 4 pages, under the child's lock and the parent's"


@pytest.mark.parametrize(("empty", "rounds"), [(23, 1), (24, 2)])
def test_an_empty_pte_costs_fork_one_unit_and_a_copied_one_eight(empty, rounds):
    pages = empty + 2
    run_ = clean(run([mmap(0, pages), touch(empty, 2)], [fork(CHILD)], **TWO))
    ptls = [name for what, name in run_.locks("ptl", between=("child-vma", None)) if what == "lock"]
    assert len(run_.notes("copy")) == 2 and len(ptls) == 2 * rounds


@pytest.mark.parametrize("child", [PARENT, CHILD])
def test_fork_into_a_process_that_has_memory_is_refused(child):
    refuses(EEXIST, *AREA, mmap(FAR, 1, process=CHILD), fork(child), **TWO)


def test_after_its_exit_a_process_may_be_forked_into_again():
    world = built(*FORKED, exit_process(process=CHILD), touch(0, 1, 9), fork(CHILD), **TWO)
    assert contents(world, 0, 4, CHILD) == [9, 7, 7, 7]
    built(*FORKED, exit_process(process=CHILD), fork(CHILD), fork(CHILD, errno=EEXIST), **TWO)


def test_a_write_migration_entry_is_read_only_on_both_sides():
    seen = 0
    for run_ in sweep(AREA, [migrate(1)], [fork(CHILD)], **TWO):
        copied = [entry for _, address, entry in clean(run_).notes("copy") if address == at(1)]
        assert len(copied) == 1 and not copied[0] & 4, "PTE_WRITE"
        seen += copied[0] & 3 == 2
        assert writable(run_.world, 1, 1, PARENT) == writable(run_.world, 1, 1, CHILD) == [False]
        assert frame(run_.world, 1, PARENT) == frame(run_.world, 1, CHILD)
        assert pages_at(run_.world, 1)["mapcount"] == pages_at(run_.world, 1)["refcount"] == 2
    assert seen > 5, "fork met the entry itself"


def test_the_childs_vma_is_on_all_lists_before_its_first_pte_is_copied():
    world = world_at("copy", AREA, [fork(CHILD)], **TWO)
    (p,), (c,) = ids(world, PARENT), ids(world, CHILD)
    assert world.lists(PARENT) == {1: [p, c]} and contents(world, 1, 3, CHILD) == [None] * 3


# ---- copy on write ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("writer", "other"), [(PARENT, CHILD), (CHILD, PARENT)])
def test_a_write_copies_the_page_for_whoever_writes(writer, other):
    run_ = clean(run(FORKED, [touch(1, 2, 9, process=writer)], **TWO))
    assert contents(run_.world, 0, 4, writer) == [7, 9, 9, 7]
    assert contents(run_.world, 0, 4, other) == [7] * 4
    assert [address for _, address, _ in run_.notes("cow")] == [at(1), at(2)]
    mine, others = (pages_at(run_.world, 1, process) for process in (writer, other))
    assert mine["anon_vma"] == (1 if writer == PARENT else 2), "a copy belongs to the writer's own anon_vma"
    assert others["anon_vma"] == 1 and mine["index"] == others["index"]
    assert (mine["mapcount"], mine["refcount"], others["mapcount"], others["refcount"]) == (1, 1, 1, 1)
    assert writable(run_.world, 1, 1, writer) == [True] and writable(run_.world, 1, 1, other) == [False]


def test_a_page_that_nobody_else_maps_any_more_is_kept_and_changes_its_owner():
    # The parent has a copy, so the page of before is the child's alone: its own anon_vma takes it over.
    setup = [*FORKED, touch(1, 1, 5)]
    before = built(*setup, **TWO)
    run_ = clean(run(setup, [touch(1, 1, 9, process=CHILD)], **TWO))
    assert run_.notes("cow") == [] and run_.notes("free-page") == []
    assert frame(run_.world, 1, CHILD) == frame(before, 1, CHILD)
    assert (pages_at(before, 1, CHILD)["anon_vma"], pages_at(run_.world, 1, CHILD)["anon_vma"]) == (1, 2)
    assert contents(run_.world, 1, 1, CHILD) == [9] and contents(run_.world, 1, 1, PARENT) == [5]
    assert writable(run_.world, 1, 1, CHILD) == [True]


@pytest.mark.parametrize("algorithm", ALL)
def test_two_writers_of_one_page_never_see_each_others_content(algorithm):
    threads = [touch(1, 1, 5)], [touch(1, 1, 6, process=CHILD)]
    for run_ in sweep(FORKED, *threads, algorithm=algorithm, **TWO):
        assert contents(clean(run_).world, 1, 1, PARENT) == [5]
        assert contents(run_.world, 1, 1, CHILD) == [6]
        for process in (PARENT, CHILD):
            assert {"mapcount": 1, "refcount": 1}.items() <= pages_at(run_.world, 1, process).items()


def test_a_migration_restores_the_entries_of_all_processes():
    run_ = clean(run(GENERATIONS, [migrate(2)], **THREE))
    frames = {frame(run_.world, 2, process) for process in range(3)}
    assert len(frames) == 1 and frames != {frame(run_.world, 2 - 1) + 1}
    assert len(run_.notes("restore")) == 3 and pages_at(run_.world, 2)["mapcount"] == 3


# ---- exit ------------------------------------------------------------------------------------------------------------


def test_exit_frees_what_nobody_else_uses(breaker):
    left = [munmap(FAR, 1)]
    for last, steps in [
        (PARENT, [exit_process(process=GRANDCHILD), exit_process(process=CHILD), exit_process()]),
        (GRANDCHILD, [exit_process(), exit_process(process=CHILD), exit_process(process=GRANDCHILD)]),
        (CHILD, [exit_process(process=GRANDCHILD), exit_process(), exit_process(process=CHILD)]),
    ]:
        run_ = clean(run(GENERATIONS, [*steps[:-1], *left], **THREE))
        assert contents(run_.world, 0, 4, last) == [7] * 4
        assert pages_at(run_.world, 0, last) | {"index": 0} == {
            "mapcount": 1, "refcount": 1, "index": 0, "locked": False, "tag": 7, "order": 0, "anon_vma": 1,
        }  # fmt: skip
        run_ = clean(run(GENERATIONS, steps, **THREE))
        living = breaker.census(run_.explorer)
        assert [living[kind] for kind in ("vma", "anon_vma", "avc", "table")] == [0] * 4
        assert len(run_.notes("free-page")) == 4


def test_the_root_outlives_its_process_and_goes_with_the_last_child(breaker):
    states = breaker.anon_vma_states(explorer([*GENERATIONS, exit_process()], **THREE))
    assert states.keys() == {1, 2, 3} and states[1]["refcount"] == 3, "children's vmas are on its list"
    assert states[1]["active"] == 0
    gone = breaker.anon_vma_states(explorer([*GENERATIONS, exit_process(process=CHILD)], **THREE))
    assert gone.keys() == {1, 2, 3}, "the grandchild's vma still is on the child's list"


def test_an_exit_takes_only_its_own_entries_off_the_lists():
    world = built(*GENERATIONS, exit_process(process=CHILD), **THREE)
    (p,), (g,) = ids(world, PARENT), ids(world, GRANDCHILD)
    assert world.lists(GRANDCHILD) == {1: [p, g], 2: [g], 3: [g]}
    assert world.maps(CHILD) == [] and tables(world, CHILD) == []


# ---- races -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["unpatched", "moveto-tail", "interval-tree", "modern"])
def test_fork_and_a_migration_lose_nothing_because_the_child_is_listed_last(algorithm):
    for first, second in [([fork(CHILD)], [migrate(1)]), ([migrate(1)], [fork(CHILD)])]:
        for run_ in sweep(AREA, first, second, algorithm=algorithm, **TWO):
            assert contents(clean(run_).world, 0, 4, CHILD) == [7] * 4


def test_a_child_before_its_parent_loses_an_entry():
    # Z4: the walk is past the child when fork copies the entry from a parent that the walk has not reached.
    world = [mmap(0, 1), touch(0, 1)], [fork(CHILD)], [migrate(0)]
    flipped = {run_.kind for run_ in sweep_both(*world, algorithm="unpatched,child_first=true", **TWO)}
    assert flipped == {None, "stale-migration-entry"}
    assert {run_.kind for run_ in sweep_both(*world, algorithm="unpatched", **TWO)} == {None}


def test_an_entry_that_fork_copied_is_decoded_where_the_kernel_does_so_for_its_counters():
    # The page is locked as long as its migration is under way, so there is nothing to complain of.
    for run_ in sweep(AREA, [migrate(1)], [fork(CHILD)], algorithm="unpatched,decode_in_zap=true", **TWO):
        clean(run_)
