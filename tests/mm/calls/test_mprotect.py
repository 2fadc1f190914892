"""mprotect: cases 4 to 8 of vma_merge, which border moves and who goes on which list, and what ptes lose.

The drawings are those of the comment at vma_merge: P the previous vma, N what the range belongs to or the next one, X
the one behind that. Kernel-reference 2.7 and 2.8: the vma that grows imports from the one that shrinks.
"""

from errno import EINVAL, ENOMEM

import pytest
from calls import BASE, PAGE, TABLE, at, call, fork, migrate, mmap, mprotect, mremap, read, touch
from kernels import ALL, broken, built, clean, refuses, run, sweep, sweep_both
from looks import anon_vmas, contents, frame, only_list, pages_at, vmas, writable

R, W = False, True


def merges(run_):
    """(vma that grows, case, whether the root's lock is said to be taken) of each merge."""
    return run_.notes("merge")


# ---- vmas by shape ---------------------------------------------------------------------------------------------------

# The areas, what is protected then, and what comes of it: (start, id of the vma), and who grows in which case.
SHAPES = {
    "split above": ([mmap(0, 8)], mprotect(4, 4, R), [(0, 2), (4, 1)], []),
    "split below": ([mmap(0, 8)], mprotect(0, 4, R), [(0, 1), (4, 2)], []),
    "split twice": ([mmap(0, 8)], mprotect(2, 4, R), [(0, 2), (2, 1), (6, 3)], []),
    "whole": ([mmap(0, 8)], mprotect(0, 8, R), [(0, 1)], []),
    "nothing": ([mmap(0, 8)], mprotect(2, 4, W), [(0, 1)], []),
    # PPPPPPNNNNNN might become PPNNNNNNNNNN
    "case 4": ([mmap(6, 6), mprotect(6, 6, R), mmap(0, 6)], mprotect(2, 4, R), [(0, 2), (2, 1)], [(1, 4)]),
    # PPPPNNNNNNNN might become PPPPPPPPNNNN
    "case 5": ([mmap(0, 4), mmap(4, 8, R)], mprotect(4, 4, W), [(0, 1), (8, 2)], [(1, 5)]),
    # PPPPNNNNXXXX might become PPPPPPPPPPPP
    "case 6": ([mmap(0, 4), mmap(8, 4), mmap(4, 4, R)], mprotect(4, 4, W), [(0, 1)], [(1, 6)]),
    # PPPPNNNNXXXX might become PPPPPPPPXXXX
    "case 7": ([mmap(0, 4), mmap(4, 4, R)], mprotect(4, 4, W), [(0, 1)], [(1, 7)]),
    # PPPPNNNNXXXX might become PPPPNNNNNNNN: the N of before grows over X, or since 4.9 X over N
    "case 8": ([mmap(4, 4, R), mmap(8, 4)], mprotect(4, 4, W), [(4, 1)], [(1, 8)]),
}


@pytest.mark.parametrize("algorithm", ["unpatched", "interval-tree", "linux-6.19"])
@pytest.mark.parametrize("faulted", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_vmas_of_each_case(shape, faulted, algorithm):
    areas, step, after, expected = SHAPES[shape]
    if shape == "case 8" and algorithm == "linux-6.19":
        after, expected = [(4, 2)], [(2, 8)]
    setup = list(areas)
    if faulted:
        # One area of one anon_vma, protected in parts afterwards, so that all sides are compatible.
        first, last = min(a.args[0] for a in areas), max(a.args[0] + a.args[1] * PAGE for a in areas)
        setup = [call("mmap", first, (last - first) // PAGE, 1, 0, 0), call("touch", first, (last - first) // PAGE, 7)]
        setup += [call("mprotect", *area.args[:2], 0) for area in areas if not area.args[2]]  # mmap and mprotect alike
    run_ = clean(run(setup, [step], algorithm=algorithm))
    assert [vma.start for vma in vmas(run_.world)] == [start for start, _ in after]
    assert all(vma.pgoff == vma.start for vma in vmas(run_.world)), "nothing was ever moved"
    assert [case for _, case, _ in merges(run_)] == [case for _, case in expected]
    if not faulted:
        assert [v["id"] for v in run_.world.maps()] == [name for _, name in after]
        assert [(vma, case) for vma, case, _ in merges(run_)] == expected
    else:
        assert sorted(only_list(run_.world)) == [start for start, _ in after]
        assert set(anon_vmas(run_.world)) == {1}
        first, last = after[0][0], vmas(run_.world)[-1].end
        assert contents(run_.world, first, last - first) == [7] * (last - first)


def test_a_range_over_several_vmas_becomes_one():
    setup = [mmap(0, 12), mprotect(2, 2, R), mprotect(6, 2, R)]
    assert [vma.start for vma in vmas(built(*setup))] == [0, 2, 4, 6, 8]
    assert vmas(built(*setup, mprotect(0, 12, W))) == [(0, 12, 0)]
    assert vmas(built(*setup, mprotect(1, 8, R))) == [(0, 1, 0), (1, 9, 1), (9, 12, 9)]
    assert vmas(built(*setup, mprotect(2, 6, W))) == [(0, 12, 0)]


def test_what_was_writable_once_is_charged_for_and_does_not_join_what_never_was():
    # VM_ACCOUNT is a flag like any other to vma_merge, and mprotect never takes it away (until 6.17, where unfaulted).
    step = mprotect(0, 4, R)
    assert len(vmas(built(mmap(4, 4, R), mmap(0, 4), step))) == 2
    assert len(vmas(built(mmap(4, 4, R), mmap(0, 4), step, algorithm="linux-6.19"))) == 1
    assert len(vmas(built(mmap(4, 4, R), mmap(0, 4), touch(0, 1), step, algorithm="linux-6.19"))) == 2
    assert len(vmas(built(mmap(4, 4, R), mprotect(4, 4, W), mprotect(4, 4, R), mmap(0, 4), step))) == 1


def test_flags_that_differ_keep_neighbours_apart():
    assert len(vmas(built(mmap(0, 2), mmap(2, 2, R)))) == 2
    assert len(vmas(built(mmap(0, 2), mmap(2, 2, R), mmap(4, 2, huge=True), mprotect(2, 2, W)))) == 2
    # A move home does not merge with a half that was protected meanwhile.
    world = built(mmap(0, 4), touch(0, 4), mremap(2, 2, to=20), mprotect(0, 2, R), mremap(20, 2, to=2))
    assert vmas(world) == [(0, 2, 0), (2, 4, 2)] and anon_vmas(world) == [1, 1]


# ---- who imports -----------------------------------------------------------------------------------------------------


def test_in_case_8_an_unfaulted_vma_imports_the_anon_vma_of_the_one_it_swallows():
    run_ = clean(run([mmap(4, 4, R), mmap(8, 4), touch(8, 4)], [mprotect(4, 4, W), touch(4, 1, 9), migrate(8)]))
    assert vmas(run_.world) == [(4, 12, 4)] and [v["id"] for v in run_.world.maps()] == [1]
    assert anon_vmas(run_.world) == [1] and only_list(run_.world) == [4]
    assert contents(run_.world, 4, 5) == [9, None, None, None, 7]
    assert run_.counters["migrated"] == 1, "the page is found through the vma that came to the list"


def test_in_case_6_it_imports_from_the_second_one_if_the_first_has_nothing():
    run_ = clean(run([mmap(0, 4), mmap(8, 4), touch(8, 4), mmap(4, 4, R)], [mprotect(4, 4, W)]))
    assert vmas(run_.world) == [(0, 12, 0)] and anon_vmas(run_.world) == [1] and only_list(run_.world) == [0]


def test_in_case_6_neighbours_of_different_anon_vmas_stay_two():
    run_ = clean(run([mmap(0, 4), touch(0, 1), mmap(8, 4), touch(8, 1), mmap(4, 4, R)], [mprotect(4, 4, W)]))
    assert vmas(run_.world) == [(0, 8, 0), (8, 12, 8)] and [case for _, case, _ in merges(run_)] == [7]
    assert anon_vmas(run_.world) == [1, 2]


# What is protected has pages, N has none.
FAULTED = [mmap(4, 4), mprotect(4, 4, R), mmap(0, 4), touch(0, 4)], mprotect(0, 4, R)


@pytest.mark.parametrize(
    ("rule", "merged", "listed"), [("3.0", False, None), ("6.16", True, [0]), ("6.16-forked", True, [0])]
)
def test_a_faulted_range_joins_an_unfaulted_neighbour_since_6_16_only(rule, merged, listed):
    setup, step = FAULTED
    run_ = clean(run(setup, [step, migrate(1)], algorithm=f"unpatched,merge={rule}"))
    assert (len(vmas(run_.world)) == 1) is merged and run_.counters["migrated"] == 1
    assert listed is None or only_list(run_.world) == listed


def test_a_range_without_pages_does_not_join_a_neighbour_that_was_forked():
    # Its chain has two entries: what would be faulted later would belong to a vma of another past.
    setup = [mmap(0, 2), touch(0, 2), fork(1), mmap(2, 2, R, process=1)]
    world = built(*setup, mprotect(2, 2, W, process=1), processes=2)
    assert vmas(world, 1) == [(0, 2, 0), (2, 4, 2)]
    assert len(vmas(built(*setup[:2], mmap(2, 2, R), mprotect(2, 2, W)))) == 1, "while the parent, once, would"


# ---- the root's lock -------------------------------------------------------------------------------------------------

BORDER = [mmap(4, 4), touch(4, 4), mprotect(4, 4, R), mmap(0, 4)]  # unfaulted, and behind it the vma with pages
SHIFT = mprotect(2, 2, R)


def test_a_border_shift_takes_the_lock_if_the_shrinking_vma_has_an_anon_vma():
    run_ = clean(run([mmap(0, 8), touch(0, 8), mprotect(4, 4, R)], [SHIFT]))
    assert [(case, lock) for _, case, lock in merges(run_)] == [(4, 1)]
    assert ("lock", ("anon_vma", 1)) in run_.locks("mutex")


@pytest.mark.parametrize(("algorithm", "locked"), [("unpatched", False), ("unpatched,shift_locks=true", True),
                                                   ("interval-tree", True)])  # fmt: skip
def test_z22_if_it_has_none_the_one_that_grows_is_forgotten(algorithm, locked):
    run_ = clean(run(BORDER, [SHIFT], algorithm=algorithm))
    assert vmas(run_.world) == [(0, 2, 0), (2, 8, 2)] and [case for _, case, _ in merges(run_)] == [4]
    assert (("lock", ("anon_vma", 1)) in run_.locks("mutex")) is locked


def test_z22_a_walk_meets_a_new_start_with_the_old_pgoff_and_loses_an_entry():
    lost = {run_.kind for run_ in sweep(BORDER, [migrate(5)], [SHIFT])}
    assert lost == {None, "stale-migration-entry"}
    for algorithm in ("unpatched,shift_locks=true", "interval-tree"):
        assert {run_.kind for run_ in sweep_both(BORDER, [migrate(5)], [SHIFT], algorithm=algorithm)} == {None}


def test_with_an_anon_vma_on_the_shrinking_side_the_lock_keeps_walks_out():
    setup = [mmap(0, 8), touch(0, 8), mprotect(4, 4, R)]
    assert {run_.kind for run_ in sweep_both(setup, [migrate(5)], [SHIFT])} == {None}


# ---- ptes ------------------------------------------------------------------------------------------------------------


def test_entries_lose_the_right_to_write_and_get_it_back_by_a_fault():
    setup = [mmap(0, 4), touch(0, 3), mprotect(1, 3, R)]
    world = built(*setup)
    assert writable(world, 0, 4) == [True, False, False, False] and contents(world, 0, 4) == [7, 7, 7, None]
    run_ = clean(run(setup, [mprotect(0, 4, W)]))
    assert writable(run_.world, 0, 4) == [True, False, False, False], "nothing is given back by the call itself"
    run_ = clean(run(setup, [mprotect(0, 4, W), touch(1, 1, 9)]))
    assert writable(run_.world, 0, 3) == [True, True, False] and contents(run_.world, 0, 3) == [7, 9, 7]
    assert frame(run_.world, 1) == frame(world, 1) and run_.notes("cow") == [], "mapped once: the page is its own"


@pytest.mark.parametrize("algorithm", ALL)
def test_a_migration_entry_loses_the_right_too(algorithm):
    entries = 0
    for run_ in sweep([mmap(0, 2), touch(0, 2)], [migrate(0)], [mprotect(0, 2, R)], algorithm=algorithm):
        assert contents(clean(run_).world, 0, 2) == [7, 7] and writable(run_.world, 0, 2) == [False, False]
        assert {"mapcount": 1, "refcount": 1}.items() <= pages_at(run_.world, 0).items()
        entries += any(entry & 3 == 2 for _, _, entry in run_.notes("protect"))
    assert entries > 5


@pytest.mark.parametrize("given", [R, W])
def test_entries_are_cleared_and_set_whether_the_right_is_taken_or_given(given):
    setup = [mmap(0, 4), touch(0, 2), read(2, 1), mprotect(0, 4, not given)]
    run_ = clean(run(setup, [mprotect(0, 4, given)]))
    entries = [
        (e.what, run_.world.name(e.a)[2]) for e in run_.events if not e.is_note and e.what in ("atomic", "store")
    ]
    entries = [(what, where) for what, where in entries if isinstance(where, int)]
    assert entries == [(what, at(page)) for page in range(3) for what in ("atomic", "store")]
    assert [address for _, address, _ in run_.notes("protect")] == [at(page) for page in range(3)]
    assert writable(run_.world, 0, 2) == [False, False]


def test_a_present_entry_is_none_for_a_moment_which_an_unmap_walk_may_miss_without_harm():
    missed = [clean(run_).counters["benign_misses"] for run_ in sweep([mmap(0, 1), touch(0, 1)], [mprotect(0, 1, R)],
                                                                      [migrate(0)])]  # fmt: skip
    assert max(missed) > 0


def test_tables_are_protected_one_after_the_other():
    world = built(mmap(TABLE - 1, 2), touch(TABLE - 1, 2), mprotect(TABLE - 1, 2, R))
    assert writable(world, TABLE - 1, 2) == [False, False]


# ---- errno -----------------------------------------------------------------------------------------------------------


def test_bad_arguments_are_refused():
    refuses(EINVAL, mmap(0, 2), call("mprotect", BASE + 1, 1, 0))
    refuses(ENOMEM, mmap(0, 2), call("mprotect", BASE, 1 << 28, 0))
    assert vmas(built(mmap(0, 2), mprotect(1, 0, R))) == [(0, 2, 0)], "no length is no error"


def test_at_the_limit_of_vmas_nothing_is_split(breaker):
    for step in (mprotect(0, 1, R, errno=ENOMEM), mprotect(1, 1, R, errno=ENOMEM)):
        assert vmas(clean(broken(breaker, "most-vmas", [mmap(0, 2)], [step])).world) == [(0, 2, 0)]
    clean(broken(breaker, "most-vmas", [mmap(0, 2)], [mprotect(0, 2, R)]))
