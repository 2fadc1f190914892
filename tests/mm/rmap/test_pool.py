"""The pool of anon_vmas, and forks that reuse an ancestor's anon_vma.

Freed ones stay anon_vmas and are used again at once (SLAB_DESTROY_BY_RCU). An object keeps its serial number then, and
its generation tells which of its lives is meant: even while it lives, odd while it is free. A fork takes an ancestor's
that nobody uses (3.19, and since 6.0 by two counters), so that a chain of forks ends somewhere.
"""

import pytest
from calls import exit_process, fork, migrate, mmap, munmap, touch
from kernels import Run, built, clean, explorer, run, sweep, sweep_both
from looks import anon_vmas, contents, pages_at

from anonvma_rt.engine.strategy.sticky import Sticky
from anonvma_rt.mm.lab.world import World

NO, DEGREE, COUNTERS = (f"unpatched,reuse={word}" for word in ("no", "degree", "counters"))


def area(page):
    """An area of its own, with an anon_vma that no other one shares."""
    return [mmap(page, 2), touch(page, 2)]


THREE = [*area(0), *area(10), *area(20)]


# ---- the pool --------------------------------------------------------------------------------------------------------


def test_a_freed_anon_vma_is_used_again_with_the_next_generation(breaker):
    steps = []
    for life in range(3):
        made = explorer([*steps, *area(0)])
        assert breaker.anon_vma_states(made)[1]["generation"] == 2 * life
        assert breaker.pool(made) == [] and breaker.census(made)["anon_vma"] == 1
        steps += [*area(0), munmap(0, 2)]
        assert breaker.pool(explorer(steps)) == [(1, 2 * life + 1)]


def test_the_last_one_that_was_freed_is_the_first_to_be_used(breaker):
    gone = [*THREE, munmap(10, 2), munmap(0, 2), munmap(20, 2)]
    assert [serial for serial, _ in breaker.pool(explorer(gone))] == [3, 1, 2]
    assert anon_vmas(built(*gone, *area(30))) == [3]
    assert anon_vmas(built(*gone, *area(30), *area(40), *area(50), *area(60))) == [3, 1, 2, 4], "then a new one is made"


def test_within_one_munmap_they_are_freed_by_address(breaker):
    assert [serial for serial, _ in breaker.pool(explorer([*THREE, munmap(0, 30)]))] == [3, 2, 1]


def test_it_begins_its_new_life_as_any_other(breaker):
    # The child's anon_vma had another root; now it is a root itself, and nobody's child.
    steps = [*area(0), fork(1), exit_process(process=1)]
    before = breaker.anon_vma_states(explorer([*area(0), fork(1)], processes=2))
    assert (before[2]["root"], before[2]["parent"]) == (1, 1)
    assert [serial for serial, _ in breaker.pool(explorer(steps, processes=2))] == [2]
    after = breaker.anon_vma_states(explorer([*steps, *area(10)], processes=2))
    assert after[2] == {"root": 2, "parent": 2, "refcount": 1, "children": 1, "active": 1, "generation": 2}
    assert after[1] == {"root": 1, "parent": 1, "refcount": 1, "children": 1, "active": 1, "generation": 0}


def test_pages_of_the_new_life_are_found_and_those_of_the_old_one_are_gone():
    run_ = clean(run([*area(0), munmap(0, 2), *area(10)], [migrate(10)]))
    assert run_.counters["migrated"] == 1 and pages_at(run_.world, 10)["anon_vma"] == 1
    assert run_.world.page(1)["anon_vma"] is None


def test_every_execution_begins_with_the_pool_that_setup_left(breaker):
    made = explorer([*THREE, munmap(0, 2)], area(30))
    for index in range(3):
        assert made.run(index, 1).failures == []
        assert anon_vmas(World(made)) == [2, 3, 1]
        assert breaker.anon_vma_states(made)[1]["generation"] == 2 and breaker.pool(made) == []


def test_the_loser_of_two_first_faults_goes_to_the_pool(breaker):
    freed = set()
    for run_ in sweep([mmap(0, 2)], [touch(0, 1)], [touch(1, 1)]):
        assert breaker.census(clean(run_).explorer)["anon_vma"] == 1
        freed.add(len(breaker.pool(run_.explorer)))
    assert freed == {0, 1}


AGAIN = [munmap(0, 2), *area(10)]


def test_without_a_pin_a_restore_walk_is_seen_to_use_another_life_of_its_anon_vma():
    # Z16. The memory is an anon_vma again, with a sound list: only the generation tells.
    kinds = {run_.kind for run_ in sweep(area(0), [migrate(0)], AGAIN, algorithm="unpatched,pin=false")}
    assert kinds == {None, "use-after-free"}
    assert {run_.kind for run_ in sweep_both(area(0), [migrate(0)], AGAIN)} == {None}


def test_a_pinned_one_is_used_by_nobody_else():
    held = 0
    for run_ in sweep(area(0), [migrate(0)], AGAIN):
        (mine,) = anon_vmas(clean(run_).world)
        held += mine == 2
        assert contents(run_.world, 10, 2) == [7, 7]
    assert held > 10, "the first one was pinned, so a second one had to be made"


def two_exits_and_a_migration(algorithm):
    """The violations when parent and child end while a migration holds the child's anon_vma by a pin."""
    setup = [*area(0), fork(1), touch(0, 1, 9, process=1)]
    threads = [munmap(0, 2)], [exit_process(process=1)], [migrate(0, process=1)]
    strategy = Sticky()
    strategy.profiled(200)
    made = explorer(setup, *threads, strategy=strategy, algorithm=algorithm, processes=2)
    done = made.run(0, 20_000)
    assert done.halt is None
    return {made.subject.kinds()[kind] for _, kind in done.failures}


def test_z29_a_root_that_is_dropped_before_its_child_is_freed_too_early():
    # Freeing the child looks at the root's mutex. 624483f3ea82 (3.16) frees the child first.
    assert two_exits_and_a_migration("unpatched") == {"use-after-free"}
    for algorithm in ("unpatched,free_root_first=false", "modern"):
        assert two_exits_and_a_migration(algorithm) == set()


# ---- reuse by forks --------------------------------------------------------------------------------------------------

P, C, G, H, I = range(5)  # noqa: E741
FIVE = {"processes": 5}
# C's anon_vma has a child and no user when G forks H.
UNUSED = [*area(0), fork(C), fork(G, process=C), exit_process(process=C), fork(H, process=G)]


@pytest.mark.parametrize("algorithm", ["unpatched", "interval-tree", NO])
def test_up_to_3_18_every_fork_makes_an_anon_vma(algorithm):
    world = built(*UNUSED, algorithm=algorithm, **FIVE)
    assert world.maps(H)[0]["chain"] == [4, 3, 2, 1] and anon_vmas(world, H) == [4]


@pytest.mark.parametrize("algorithm", [DEGREE, COUNTERS, "modern"])
def test_since_3_19_a_fork_takes_an_ancestors_that_nobody_uses(breaker, algorithm):
    world = built(*UNUSED, algorithm=algorithm, **FIVE)
    assert anon_vmas(world, H) == [2] and world.maps(H)[0]["chain"] == [3, 2, 1], "its order stays that of age"
    states = breaker.anon_vma_states(explorer(UNUSED, algorithm=algorithm, **FIVE))
    assert (states[2]["active"], states[2]["children"], states[2]["parent"]) == (1, 1, 1)
    assert (states[3]["active"], states[3]["children"]) == (1, 0)
    # New pages of H belong to it, and a walk finds them; the pages of before are found through the root.
    run_ = clean(run([*UNUSED, touch(0, 1, 9, process=H)], [migrate(0, process=H), migrate(1, process=H)],
                     algorithm=algorithm, **FIVE))  # fmt: skip
    assert pages_at(run_.world, 0, H)["anon_vma"] == 2 and contents(run_.world, 0, 2, H) == [9, 7]
    assert run_.counters["migrated"] == 2


@pytest.mark.parametrize("algorithm", [DEGREE, COUNTERS])
def test_what_a_process_uses_or_two_children_refer_to_is_not_reused(algorithm):
    used = [*area(0), fork(C), fork(G, process=C), fork(H, process=G)]
    assert anon_vmas(built(*used, algorithm=algorithm, **FIVE), H) == [4], "C lives"
    two = [*area(0), fork(C), fork(G, process=C), fork(I, process=C), exit_process(process=C), fork(H, process=G)]
    assert anon_vmas(built(*two, algorithm=algorithm, **FIVE), H) == [5], "G's and I's"
    root = [*area(0), fork(C), exit_process(), fork(G, process=C)]
    assert anon_vmas(built(*root, algorithm=algorithm, **FIVE), G) == [3], "the root never is, nor the parent's own"


def test_one_number_for_users_and_children_takes_a_vma_for_a_child():
    # Z12: G's anon_vma has no child and one user, G itself; its degree is that of one child without users.
    twice = [*UNUSED, fork(I, process=H)]
    assert anon_vmas(built(*twice, algorithm=DEGREE, **FIVE), I) == anon_vmas(
        built(*twice, algorithm=DEGREE, **FIVE), G
    )
    assert anon_vmas(built(*twice, algorithm=COUNTERS, **FIVE), I) == [4]
    # Once G is gone nobody uses it, and both take it.
    for algorithm in (DEGREE, COUNTERS):
        world = built(*UNUSED, exit_process(process=G), fork(I, process=H), algorithm=algorithm, **FIVE)
        assert anon_vmas(world, I) == [3]


@pytest.mark.parametrize("algorithm", [NO, DEGREE, COUNTERS, "modern"])
def test_a_chain_of_forks_and_exits_ends_somewhere_only_with_reuse(breaker, algorithm):
    last = 20
    steps = list(area(0))
    for process in range(last):
        steps += [fork(process + 1, process=process), exit_process(process=process)]
    made = explorer(steps, algorithm=algorithm, processes=last + 1)
    chain = World(made).maps(last)[0]["chain"]
    assert len(chain) == breaker.census(made)["anon_vma"] == (last + 1 if algorithm == NO else 3)
    end = explorer(steps, [touch(0, 1, 9, process=last), exit_process(process=last)], algorithm=algorithm,
                   processes=last + 1)  # fmt: skip
    clean(Run(end, end.trace(0)))
    assert breaker.census(end)["anon_vma"] == 0
