"""Migration of a page: what success copies, what each way of giving up puts back, and who keeps what alive meanwhile.

A pte that the unmap walk misses is no harm: the mapcount stays up and the migration is given up or tried again. The
anon_vma is pinned, because between the two walks nothing maps the page and its mapping may be going away.
"""

from errno import EINVAL, ENOMEM

import pytest
from calls import FAR, TABLE, at, call, compare, migrate, mmap, mremap, munmap, read, touch
from kernels import ALL, Run, built, clean, explorer, refuses, run, sweep
from looks import contents, frame, tables

from anonvma_rt.engine.strategy import script
from anonvma_rt.engine.strategy.pct import Pct
from anonvma_rt.engine.strategy.sticky import Sticky
from anonvma_rt.mm.lab.kernel import Refused

EVERY = pytest.mark.parametrize("algorithm", ALL)
PAIR = [mmap(0, 2), touch(0, 2)]
FREED = {"mapcount": 0, "refcount": 0, "locked": False, "anon_vma": None}


def page(world, number):
    found = world.page(number)
    return {key: found[key] for key in FREED}


# ---- one migration ---------------------------------------------------------------------------------------------------


@EVERY
def test_a_migrated_page_has_a_new_frame_and_the_same_identity(algorithm):
    run_ = clean(run([mmap(0, 2), touch(0, 1, 5), touch(1, 1)], [migrate(0)], algorithm=algorithm))
    before = built(mmap(0, 2), touch(0, 1, 5), touch(1, 1)).page(1)
    new = frame(run_.world, 0)
    assert new == 3 and run_.world.pte(at(0)) == ("present", 3, True)
    assert run_.world.page(new) == before, "index, anon_vma, tag and counters"
    assert page(run_.world, 1) == FREED
    assert run_.notes("free-page") == [(1, 0, 0)]
    assert run_.counters == {"benign_misses": 0, "migrated": 1, "aborted": 0, "failed_allocations": 0}
    assert frame(run_.world, 1) == 2


@EVERY
def test_a_failed_copy_puts_the_old_page_back(algorithm):
    run_ = clean(run(PAIR, [migrate(0, fail_copy=True)], after=[compare(0, 1, 1)], algorithm=algorithm))
    assert run_.world.pte(at(0)) == ("present", 1, True)
    assert run_.world.page(1) == built(*PAIR).page(1)
    assert page(run_.world, 3) == FREED
    assert run_.counters == {"benign_misses": 0, "migrated": 0, "aborted": 1, "failed_allocations": 0}
    assert [(a, b) for a, b, c in run_.notes("walk") if c == 0] == [(1, 1), (2, 1)], "one pass: it fails for good"


def test_the_locks_of_a_migration_in_their_order():
    run_ = run(PAIR, [migrate(0)])
    root, ptl, old, new = ("anon_vma", 1), ("table", at(0)), ("page", 1), ("page", 3)
    pte = [("lock", ptl), ("unlock", ptl)]
    assert run_.locks("PG_locked", "mutex", "ptl") == [
        ("trylock", old),
        ("trylock", root), *pte, ("unlock", root),
        ("trylock", new), ("lock", root), *pte, ("unlock", root), ("unlock", new),
        ("unlock", old),
    ]  # fmt: skip


def test_the_unmap_walk_stops_at_the_last_pte_and_the_restore_walk_does_not():
    # Three vmas on the list; the page is in the first one, and its index is in no other.
    setup = [mmap(0, 6), touch(0, 6), mremap(2, 2, to=FAR), mremap(4, 2, to=FAR + 9)]
    run_ = clean(run(setup, [migrate(0)]))
    seen = [e for e in run_.events if e.what in ("walk", "look", "no-look")]
    ends = [i for i, e in enumerate(seen) if e.what == "walk" and e.c == 1]
    unmap, restore = seen[: ends[0]], seen[ends[0] + 1 : ends[1]]
    assert [e.what for e in unmap] == ["walk", "look"]
    assert [e.what for e in restore] == ["walk", "look", "no-look", "no-look"]


def test_the_clear_and_the_entry_are_two_steps_and_counters_change_after_them():
    run_ = run(PAIR, [migrate(0)])
    places = [(e.what, run_.world.name(e.a)) for e in run_.events if e.what in ("atomic", "store")]
    named = [(what, name[2] if name[0] == "page" else name[0]) for what, name in places if name]
    assert named == [
        ("atomic", "count"),  # isolated
        ("atomic", "anon_vma"),  # pinned
        ("atomic", "table"), ("store", "table"), ("atomic", "mapcount"), ("atomic", "count"),
        ("store", "mapping"), ("store", "mapping"),  # of the new page, of the old one
        ("atomic", "count"), ("store", "table"), ("atomic", "mapcount"),
        ("atomic", "anon_vma"),
        ("atomic", "count"), ("atomic", "count"),
    ]  # fmt: skip


@pytest.mark.parametrize("state", [[], [read(1, 1)], [touch(1, 1), munmap(1, 1)]], ids=["none", "zero page", "gone"])
def test_only_a_page_of_its_own_can_be_migrated(state):
    with pytest.raises(Refused) as error:
        built(mmap(0, 2), touch(0, 1), *state, migrate(1))
    assert error.value.errno == EINVAL
    run_ = run([mmap(0, 2), touch(0, 1), *state], [migrate(1, errno=EINVAL)])
    assert clean(run_).counters["aborted"] == 0


def test_a_migrate_step_means_the_page_that_was_there_when_setup_was_done():
    run_ = clean(run(PAIR, [mremap(0, 1, to=FAR), migrate(0)]))
    assert run_.counters["migrated"] == 1
    assert frame(run_.world, FAR) == 3


@EVERY
def test_a_page_migrates_wherever_its_vma_was_moved_to(algorithm):
    setup = [*PAIR, mremap(0, 1, to=FAR), mremap(1, 1, to=FAR + 9), touch(FAR, 1, 5)]
    run_ = clean(run(setup, [migrate(FAR), migrate(FAR + 9)], algorithm=algorithm))
    assert (contents(run_.world, FAR), contents(run_.world, FAR + 9)) == ([5], [7])
    assert run_.counters["migrated"] == 2


# ---- misses of the unmap walk ----------------------------------------------------------------------------------------


HOME = [mmap(0, 4), touch(0, 4), mremap(2, 2, to=FAR)]  # the way back merges into the older vma


@EVERY
def test_a_pte_that_moves_past_the_unmap_walk_is_tried_again(algorithm):
    missed = 0
    for run_ in sweep(HOME, [migrate(FAR)], [mremap(FAR, 2, to=2)], after=[compare(0, 2, 2)], algorithm=algorithm):
        if run_.kind == "stale-migration-entry" and algorithm in ("unpatched", "peeking"):
            continue
        assert clean(run_).counters["migrated"] == 1
        missed += run_.counters["benign_misses"]
        assert len([1 for _, _, c in run_.notes("migrate") if c == 2]) == run_.counters["benign_misses"]
    assert bool(missed) == (algorithm in ("unpatched", "peeking")), "in the right order nothing gets past"


@EVERY
def test_the_unmap_walk_peeks_between_clear_and_set(algorithm):
    # The mover stands between the two with both page-table locks, which the unmap walk does not even try to take.
    missed = 0
    after = [compare(FAR, FAR + 1, 1)]
    for run_ in sweep(PAIR, [mremap(0, 2, to=FAR)], [migrate(0)], after=after, algorithm=algorithm):
        clean(run_)
        missed += run_.counters["benign_misses"]
        assert run_.counters["migrated"] + run_.counters["aborted"] == 1
    assert bool(missed) == (algorithm != "rmap-locks")


def test_the_page_lock_is_tried_three_times_and_then_waited_for():
    made = explorer(PAIR, [migrate(0)], [migrate(0)], algorithm="unpatched,isolate=false")
    whole = clean(Run(made, made.trace(0, script.replay())))
    assert whole.counters["migrated"] == 1, "the second one finds that the page is gone"
    locked = next(e.step for e in whole.events if e.what == "trylock")
    run_ = clean(Run(made, made.trace(0, script.replay([(0, locked), (1, 1)]))))
    assert [what for what, lock in run_.locks("PG_locked", task=1) if lock == ("page", 1)][:4] == ["trylock"] * 4
    points = [e for e in run_.events if e.task == 1 and not e.is_note]
    asked = [e.what for e in points if run_.world.name(e.a) == ("page", 1, "PG_locked")]
    assert asked[:5] == ["trylock"] * 4 + ["lock"]


@pytest.mark.parametrize("algorithm", ["unpatched,isolate=false", "moveto-tail,isolate=false"])
def test_after_ten_passes_a_migration_gives_up(algorithm):
    # Somebody else's reference, here that of a second migration, keeps the count up for as long as it likes.
    passes = set()
    for run_ in sweep(PAIR, [migrate(0)], [migrate(0)], algorithm=algorithm):
        for task in (0, 1):
            begun = [c for _, _, c in run_.notes("migrate", task) if c == 0]
            passes.add(len(begun))
            if len(begun) == 10:
                assert [c for _, _, c in run_.notes("migrate", task)] == [0, 2] * 10
    assert max(passes) == 10


@EVERY
def test_who_is_isolated_is_nobody_elses(algorithm):
    """Of two who migrate one page, the second to come is told so at once and is in nobody's way."""
    busy = 0
    for run_ in sweep(PAIR, [migrate(0)], [migrate(0)], algorithm=algorithm):
        assert clean(run_).counters["aborted"] == 0
        assert all(how != 2 for *_, how in run_.notes("migrate"))
        busy += 1 in {len({e.task for e in run_.events if e.is_note and e.what == "migrate"})}
    assert busy > 5


# ---- two at once, and the mapping going away -------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("fail", [False, True])
def test_two_migrations_of_one_page_at_once(algorithm, fail):
    kwargs = {"after": [compare(0, 1, 1)], "algorithm": algorithm}
    for run_ in sweep(PAIR, [migrate(0, fail_copy=fail)], [migrate(0)], **kwargs):
        mapped = frame(clean(run_).world, 0)
        frames = {1, *(new for _, new, c in run_.notes("migrate") if c == 0)}
        for number in frames - {mapped}:
            assert page(run_.world, number) == FREED
        assert page(run_.world, mapped) == {"mapcount": 1, "refcount": 1, "locked": False, "anon_vma": 1}
        assert run_.counters["migrated"] + run_.counters["aborted"] in (1, 2)
        assert run_.counters["migrated"] or fail
    with explorer(PAIR, [migrate(0, fail_copy=fail)], [migrate(0)], strategy=Sticky(), **kwargs) as made:
        assert made.run(0, 3000).failures == []


@EVERY
def test_the_anon_vma_is_pinned_while_its_mapping_goes_away(algorithm, breaker):
    outlived = 0
    for run_ in sweep(PAIR, [migrate(0)], [munmap(0, 2)], algorithm=algorithm):
        living = breaker.census(clean(run_).explorer)
        assert (living["anon_vma"], living["avc"], living["vma"], living["table"]) == (0, 0, 0, 0)
        assert run_.world.maps() == [] and tables(run_.world) == []
        assert page(run_.world, 1) == FREED and page(run_.world, 2) == FREED
        puts = [e for e in run_.events if e.what == "atomic" and run_.world.name(e.a) == ("anon_vma", 1, "refcount")]
        outlived += puts[-1].task == 0 and len(puts) > 1
    assert outlived > 5, "in some of them it was the migration that dropped the last reference"


def test_no_unmap_walk_begins_once_the_page_is_unmapped():
    # Seen after the trylock of the root too: until then nothing keeps the anon_vma what it was.
    for run_ in sweep(PAIR, [migrate(0)], [munmap(0, 2)]):
        notes = [e for e in clean(run_).events if e.is_note]
        zapped = next(i for i, e in enumerate(notes) if (e.what, e.b) == ("zap", at(0)))
        assert not [e for e in notes[zapped:] if (e.what, e.a, e.c) == ("walk", 1, 0)]


@EVERY
@pytest.mark.parametrize("fail", [False, True])
@pytest.mark.parametrize(
    "unmap", [munmap(0, 1), munmap(0, 3), munmap(1, 1), munmap(-5, 20)], ids=["it", "all", "the middle", "and more"]
)
def test_munmap_and_migration_of_one_page(algorithm, fail, unmap, breaker):
    setup = [mmap(0, 3), touch(0, 3)]
    for number in (0, 1):
        for strategy in (Sticky(), Pct(3)):
            strategy.profiled(120)
            with explorer(setup, [migrate(number, fail)], [unmap], strategy=strategy, algorithm=algorithm) as made:
                assert made.run(0, 1000).failures == []
                living = breaker.census(made)
                kept = 3 - sum(0 <= p < 3 for p in range((unmap.args[0] - at(0)) // 4096,
                                                         (unmap.args[0] - at(0)) // 4096 + unmap.args[1]))  # fmt: skip
                assert living["anon_vma"] == (1 if kept else 0) and living["avc"] == living["vma"]


@EVERY
def test_munmap_and_mmap_and_touch_in_the_place_of_a_page_that_migrates(algorithm):
    again = [munmap(0, 2), mmap(0, 2), touch(0, 2, 9), compare(0, 1, 1)]
    for run_ in sweep(PAIR, [migrate(0)], again, algorithm=algorithm):
        assert contents(clean(run_).world, 0, 2) == [9, 9]
        assert page(run_.world, 1) == FREED


def test_everything_is_freed_when_everything_is_unmapped(breaker):
    whole = [
        mmap(0, 6), touch(0, 6), mremap(2, 2, to=FAR), mremap(FAR, 2, to=2), mremap(0, 3, to=FAR), migrate(4),
        mmap(0, 3), touch(0, 3), munmap(0, 6), munmap(FAR, 3),
    ]  # fmt: skip
    world = built(*whole)
    made = explorer(whole)
    living = breaker.census(made)
    assert [living[name] for name in ("vma", "anon_vma", "avc", "table")] == [0, 0, 0, 0]
    assert tables(world) == [] and all(page(world, number) == FREED for number in range(1, 11))


# ---- who is in the way -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("algorithm", "in_the_way"), [("unpatched", True), ("unpatched,wait_without_pin=true", False)])
def test_a_fault_that_waits_for_a_migration_makes_it_try_again_or_not(algorithm, in_the_way):
    """Its reference counts as a user's; since 5.0 (9a1ea439b16b) it is gone before the fault sleeps."""
    waits = [one for one in sweep(PAIR, [migrate(0)], [read(0, 1)], algorithm=algorithm) if clean(one).notes("wait")]
    again = [one for one in waits if 2 in [how for *_, how in one.notes("migrate")]]
    assert waits and bool(again) == in_the_way


@pytest.mark.parametrize(("algorithm", "again"), [("unpatched", False), ("modern", True)])
def test_a_huge_page_that_cannot_be_split_is_done_with_in_3_2(algorithm, again):
    """Nothing maps it any more: unmap_and_move() returned 0, and did not try again."""
    huge = [mmap(0, TABLE, huge=True), touch(0, 1)]
    tried = set()
    for one in sweep(huge, [migrate(0)], [munmap(0, TABLE)], algorithm=algorithm):
        tried |= {how for *_, how in clean(one).notes("migrate") if not one.notes("huge-split")}
    assert (2 in tried) == again


def test_mmap_says_that_there_is_no_such_room_before_it_looks_at_the_address():
    refuses(ENOMEM, call("mmap", at(0) + 1, 1 << 36, 1, 0, 0))
    refuses(EINVAL, call("mmap", at(0) + 1, 1, 1, 0, 0))
    refuses(EINVAL, call("mmap", at(0) + 1, 0, 1, 0, 0))
