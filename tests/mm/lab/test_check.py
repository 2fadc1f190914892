"""The check itself: each invariant of kernel-reference 1.5, broken on purpose, must be the verdict.

A module that cimports the package (tests/cython/breaker.pyx) damages one thing after the tasks have ended and then
calls the check of its parent class; that it compiles at all shows that downstream code can extend the simulated kernel.
"""

from errno import ENOMEM

import pytest
from calls import FAR, TABLE, at, fork, migrate, mmap, mremap, munmap, split, touch
from kernels import broken, clean

# Three vmas by address: A and C share an anon_vma, B between them has another one, and its index tells that it moved.
APART = [mmap(0, 6), touch(0, 6), munmap(2, 2), mmap(16, 1), touch(16, 1), mremap(16, 1, to=2)]
# A and B share an anon_vma and stand side by side.
TWINS = [mmap(0, 6), touch(0, 6), munmap(2, 2)]
HOLE = 100


def test_an_undamaged_world_passes(breaker):
    for setup in (APART, TWINS):
        clean(broken(breaker, "nothing", setup))


def test_every_damage_has_a_test(breaker):
    assert set(breaker.DAMAGES) == {"nothing", *(row[0] for row in FOUND), *MID_MOVE, *ASSERTED, *ELSEWHERE}


MID_MOVE = ("destination-pte", "source-to-tail", "most-vmas")
ASSERTED = ("second-root", "root-of-child", "pgoff-of-child", "writable-copy")
ELSEWHERE = ("stale-entry", "forked", "siblings")  # test_forked.py
# Damage, the invariant, the verdict, and Finding.a to c where they say what is wrong (None: not looked at).
FOUND = [
    ("mapcount", "I8", "mapcount-mismatch", (1, 2, 1)),
    ("mapcount-of-nobody", "I8", "mapcount-mismatch", (3, 1, 0)),
    ("index", "I5", "unreachable-pte", (0, at(0), 6)),
    ("pgoff", "I5", "unreachable-pte", (0, at(0), 6)),
    ("mapping", "I4", "unreachable-pte", (0, at(0), 5)),
    ("mapping-empty", "I9", "unreachable-pte", (0, 1, 7)),
    ("mapping-freed", "I9", "use-after-free", (None, 1, 7)),
    ("migration-entry", "I6 and I7", "stale-migration-entry", (0, at(0), 1)),
    ("entry-outside", "I6 and I7", "stale-migration-entry", (0, at(HOLE), 1)),
    ("pte-outside", "I4", "unreachable-pte", (0, at(HOLE), 8)),
    ("pte-wild", "I4", "unreachable-pte", (0, at(0), None)),
    ("pte-twice", "I5", "unreachable-pte", (0, at(1), 6)),
    ("freed-table", "the arena", "use-after-free", (None, 0, None)),
    ("avc-vma", "I1", "list-corruption", (1, 1, 1)),
    ("off-list", "I1", "list-corruption", (1, 1, 1)),
    ("off-chain", "I1", "list-corruption", (1, 0, 1)),
    ("broken-list", "I1", "list-corruption", None),
    ("broken-chain", "I1", "list-corruption", None),
    ("no-anon-vma", "I2", "list-corruption", (1, 1, 3)),
    ("foreign-root", "I1", "list-corruption", (1, None, 2)),
    ("root-not-last", "I2", "list-corruption", (1, None, 3)),
    ("own-not-first", "I2", "list-corruption", (1, None, 3)),
    ("other-sets", "I3", "list-corruption", (1, None, 4)),
    ("freed-anon-vma", "I1", "use-after-free", None),
    ("freed-avc", "I1", "use-after-free", None),
    ("freed-vma", "I1", "use-after-free", None),
    ("forgotten-avc", "I1", "use-after-free", None),
    ("forgotten-vma", "I1", "use-after-free", None),
    ("linked-twice", "a vma is on a list once", "list-corruption", (1, 1, 11)),
    ("closed-pte", "who may access the vma may access its ptes", "wrong-protection", (0, at(0), 1)),
    ("open-pte", "and nobody else", "wrong-protection", (0, at(0), 1)),
    ("uncharged", "what is charged for is given back", "wrong-charge", (0, 5, 3)),
    ("read-only-vma", "a writable pte lies in a writable vma", "writable-pte", (0, at(0), 1)),
]


@pytest.mark.parametrize(("damage", "invariant", "kind", "details"), FOUND, ids=[row[0] for row in FOUND])
def test_the_check_fires(breaker, damage, invariant, kind, details):
    run_ = broken(breaker, damage, APART, address=HOLE)
    assert run_.kind == kind, invariant
    assert run_.recorded.failures == [(0, run_.recorded.finding.kind)]
    if details:
        found = zip(run_.recorded.finding[3:], details, strict=True)
        assert all(seen == expected for seen, expected in found if expected is not None), run_.recorded.finding


def test_vmas_of_one_anon_vma_are_compared_side_by_side_and_apart(breaker):
    # I3 speaks of any two vmas of one mm, wherever they are.
    for setup in (TWINS, APART):
        run_ = broken(breaker, "other-sets", setup)
        assert run_.kind == "list-corruption" and run_.recorded.finding.c == 4


def test_a_stale_entry_is_the_verdict_even_where_counters_are_wrong_too(breaker):
    # The damage leaves the mapcount at 1 while no pte is present any more.
    assert broken(breaker, "migration-entry", TWINS).kind == "stale-migration-entry"


# ---- what the move asserts itself ------------------------------------------------------------------------------------


def test_a_move_that_would_write_over_a_pte_is_a_bug(breaker):
    # I12. No vma is there, so the munmap of the destination does not clear the stray pte.
    run_ = broken(breaker, "destination-pte", TWINS, [mremap(0, 2, to=20)], address=21)
    assert (run_.kind, run_.bug) == ("bug-on", "destination-not-none")
    assert run_.recorded.finding.b == at(21)


@pytest.mark.parametrize("algorithm", ["moveto-tail", "unpatched", "moveto-tail-merge-only", "rmap-locks"])
def test_the_wrong_order_is_a_bug_where_the_algorithm_promises_the_right_one(breaker, algorithm):
    # I10. Task 1 sends the source to the tail after copy_vma has cloned it, as no correct code would.
    setup, thread = [mmap(0, 2), touch(0, 2)], [mremap(0, 2, to=FAR)]
    whole = broken(breaker, "nothing", setup, thread, (), algorithm=algorithm)
    last = max(e.step for e in whole.events if e.what == "store" and whole.world.name(e.a)[2] == "vm_pgoff")
    schedule = [(0, last - 1), (1, 2)]
    run_ = broken(breaker, "source-to-tail", setup, thread, (), algorithm=algorithm, schedule=schedule)
    expected = ("bug-on", "order") if algorithm == "moveto-tail" else (None, None)
    assert (run_.kind, run_.bug) == expected


# ---- what walks and splits assert ------------------------------------------------------------------------------------

SHARED = [mmap(0, 1), touch(0, 1), fork(1)]


@pytest.mark.parametrize("last", [munmap(0, 1), mremap(0, 1, to=FAR), fork(2)])
def test_a_chain_that_leads_to_a_second_root_is_a_bug(breaker, last):
    """lock_anon_vma_root() warns."""
    run_ = broken(breaker, "second-root", SHARED[:2], [last], processes=3)
    assert (run_.kind, run_.bug) == ("bug-on", "second-root")
    assert (
        broken(breaker, "second-root", SHARED[:2], [last], processes=3, algorithm="unpatched,own_lock=true").bug is None
    )


def test_a_page_that_is_mapped_where_its_root_is_not_is_a_bug(breaker):
    """__page_check_anon_rmap(): a restored pte, of a page that another pte maps already."""
    clean(broken(breaker, "nothing", SHARED, [migrate(0)], processes=2))
    run_ = broken(breaker, "root-of-child", SHARED, [migrate(0)], processes=2)
    assert (run_.kind, run_.bug) == ("bug-on", "rmap-root")
    assert run_.recorded.finding.c == at(0)


def test_a_page_that_is_mapped_where_its_index_does_not_belong_is_a_bug(breaker):
    seen = set()
    steps = max(e.step for e in broken(breaker, "nothing", SHARED, [migrate(0)], (), processes=2).events)
    for step in range(steps):
        run_ = broken(breaker, "pgoff-of-child", SHARED, [migrate(0)], (), processes=2, schedule=[(0, step), (1, 2)])
        seen.add(run_.bug or run_.kind)
    assert "rmap-index" in seen and seen <= {"rmap-index", "stale-migration-entry", "unreachable-pte", None}


def test_a_huge_page_that_is_writable_and_shared_is_a_bug_where_it_is_split(breaker):
    setup = [mmap(0, TABLE, huge=True), touch(0, 1), fork(1)]
    clean(broken(breaker, "nothing", setup, [split(0)], processes=2))
    run_ = broken(breaker, "writable-copy", setup, [split(0)], processes=2)
    assert (run_.kind, run_.bug) == ("bug-on", "split-writable")
    assert run_.recorded.finding.c == 2


# ---- the limit of vmas, which no scenario is long enough to reach ----------------------------------------------------


@pytest.mark.parametrize(
    ("step", "errno"),
    [
        (munmap(2, 2), ENOMEM),  # two more vmas than before are one too many
        (munmap(0, 2), 0),
        (munmap(4, 2), 0),
        (mremap(0, 2, to=FAR), ENOMEM),
        (mmap(50, 1), 0),  # the kernel refuses only what is above the limit
    ],
)
def test_the_limit_of_vmas(breaker, step, errno):
    run_ = broken(breaker, "most-vmas", [mmap(0, 6), touch(0, 6)], [step._replace(errno=errno)])
    assert (run_.kind, run_.halt) == (None, None), run_.explorer.refusal
