"""Faults: the zero page, the first write, threads that fault in the same place, and faults that meet a migration.

A page's content is a tag. Threads that hold mmap_sem for reading only may fault side by side; a migration holds none
of it, and a fault that meets its entry sleeps until the page is unlocked and is then retried.
"""

from errno import EFAULT

import pytest
from calls import BASE, PAGE, TABLE, at, compare, migrate, mmap, mremap, read, touch
from kernels import ALL, Run, built, clean, run, sweep
from looks import anon_vmas, contents, frame, only_list, tables

from anonvma_rt.engine.run.subject import BuildViolation
from anonvma_rt.engine.strategy import script
from anonvma_rt.kernel.algorithm import Algorithm
from anonvma_rt.kernel.scenario import Scenario
from anonvma_rt.lab.explorers import make_explorer

EVERY = pytest.mark.parametrize("algorithm", ALL)


# ---- one thread ------------------------------------------------------------------------------------------------------


def test_a_read_maps_the_zero_page_and_makes_no_anon_vma():
    world = built(mmap(0, 3), read(0, 2))
    assert [world.pte(at(i)) for i in range(3)] == [("present", 0, False)] * 2 + [("none", 0, False)]
    assert anon_vmas(world) == [None]
    assert tables(world) == [0]


def test_a_write_maps_a_page_of_its_own():
    world = built(mmap(0, 3), touch(1, 1, 42))
    assert world.pte(at(1)) == ("present", 1, True)
    assert world.page(1) == {
        "mapcount": 1, "refcount": 1, "index": BASE // PAGE + 1, "locked": False, "tag": 42, "order": 0, "anon_vma": 1,
    }  # fmt: skip
    assert only_list(world) == [0] and world.maps()[0]["chain"] == [1]


def test_the_zero_page_is_copied_on_the_first_write():
    world = built(mmap(0, 2), read(0, 2), touch(0, 1, 5))
    assert contents(world, 0, 2) == [5, 0]
    assert world.pte(at(0)) == ("present", 1, True) and world.pte(at(1)) == ("present", 0, False)


def test_the_first_fault_of_a_vma_locks_the_new_anon_vma_and_then_the_page_table_lock():
    run_ = run([mmap(0, 1)], [touch(0, 1)])
    root, mm, ptl = ("anon_vma", 1), ("mm", 0), ("table", at(0))
    assert run_.locks("mutex", "page_table_lock", "ptl") == [
        ("lock", mm), ("unlock", mm),  # the page table
        ("lock", root), ("lock", mm), ("unlock", mm), ("unlock", root),
        ("lock", ptl), ("unlock", ptl),
    ]  # fmt: skip


def test_compare_reads_both_sides_and_needs_both():
    run_ = clean(run([mmap(0, 2), touch(0, 1, 0)], [compare(0, 1, 1), compare(1, 5, 1, errno=EFAULT)]))
    assert contents(run_.world, 0, 2) == [0, 0], "a page of zeroes and the zero page are equal"


def test_contents_that_differ_are_a_lost_page():
    setup = [mmap(0, 4), touch(0, 2, 5), touch(2, 2, 5), touch(3, 1, 6)]
    for options in ({"after": [compare(0, 2, 2)]}, {}):
        run_ = run(setup, [compare(0, 2, 2)] if not options else (), **options)
        assert run_.kind == "lost-page"
        assert run_.recorded.finding[3:] == (at(1), at(3), 5 << 32 | 6)
    with pytest.raises(BuildViolation) as error:
        built(*setup, compare(0, 2, 2))
    assert error.value.kind == "lost-page"


# ---- two threads that fault ------------------------------------------------------------------------------------------


def test_two_first_writes_to_one_page_make_one_page_and_one_anon_vma(breaker):
    lost = 0
    for run_ in sweep([mmap(0, 1)], [touch(0, 1, 5)], [touch(0, 1, 6)]):
        clean(run_)
        mapped = frame(run_.world, 0)
        assert contents(run_.world, 0) in ([5], [6])
        assert run_.world.page(mapped)["refcount"] == 1 and run_.world.page(mapped)["mapcount"] == 1
        living = breaker.census(run_.explorer)
        assert (living["anon_vma"], living["avc"], living["table"]) == (1, 1, 1), "the slower thread frees its own"
        frames = {mapped, *(freed for freed, _, _ in run_.notes("free-page"))}
        assert len(frames) in (1, 2)
        lost += len(frames) == 2
    assert lost


def test_a_read_and_a_write_of_one_page_end_with_the_written_one():
    for run_ in sweep([mmap(0, 1)], [read(0, 1)], [touch(0, 1, 6)]):
        assert contents(clean(run_).world, 0) == [6]
    for run_ in sweep([mmap(0, 1)], [touch(0, 1, 6)], [read(0, 1)]):
        assert contents(clean(run_).world, 0) == [6]


def test_first_writes_to_vmas_that_touch_share_an_anon_vma_or_not_as_the_race_goes(breaker):
    # The lower one grew until they touched, which merges nothing: both are unfaulted, and their index is linear.
    setup = [mmap(0, 2), mmap(4, 2), mremap(0, 2, new_pages=4)]
    shared = set()
    for run_ in sweep(setup, [touch(0, 1)], [touch(4, 1)]):
        first, second = anon_vmas(clean(run_).world)
        assert breaker.census(run_.explorer)["anon_vma"] == len({first, second})
        shared.add(first == second)
    assert shared == {True, False}


# ---- faults that meet a migration entry ------------------------------------------------------------------------------

READER = """
name = "reader"
about = "a page migrates while another thread uses it"
setup = [
    { do = "mmap", at = "1*GiB", pages = 2 },
    { do = "touch", at = "1*GiB", pages = 2, tag = 7 },
]
[[thread]]
name = "migrate"
steps = [{ do = "migrate", at = "1*GiB", fail_copy = FAIL }]
[[thread]]
name = "user"
steps = [STEPS]
[[after]]
do = "compare"
a = "1*GiB"
b = "1*GiB + PAGE"
pages = 1
"""
COMPARE = '{ do = "compare", a = "1*GiB", b = "1*GiB + PAGE", pages = 1 }'
USES = {
    "read": '{ do = "read", at = "1*GiB", pages = 1 }',
    "compare": COMPARE,
    "touch": '{ do = "touch", at = "1*GiB", pages = 2, tag = 9 }, ' + COMPARE,
}


@pytest.mark.parametrize("fail", ["true", "false"])
@pytest.mark.parametrize("use", USES)
def test_a_fault_waits_for_the_page_lock_and_then_finds_the_right_content(use, fail):
    text = READER.replace("STEPS", USES[use]).replace("FAIL", fail)
    explorer = make_explorer(Scenario.from_text(text).bind({}), Algorithm.parse("unpatched"), script.replay())
    whole = Run(explorer, explorer.trace(0, script.replay()))
    waited = 0
    for steps in range(1, max(e.step for e in whole.events if e.task == 0)):
        run_ = clean(Run(explorer, explorer.trace(0, script.replay([(0, steps), (1, 1)]))))
        assert contents(run_.world, 0, 2) == ([9, 9] if use == "touch" else [7, 7])
        waits = run_.notes("wait", task=1)
        assert all(entry == (1, at(0), 0) for entry in waits)
        if waits:
            waited += 1
            asleep = next(e.step for e in run_.events if e.what == "wait" and not e.is_note)
            unlocks = [e for e in run_.events if e.what == "unlock"]
            unlocked = [e.step for e in unlocks if run_.world.name(e.a) == ("page", 1, "PG_locked")]
            assert asleep > min(unlocked), "it went on when the page was unlocked, and not before"
        for number in {1, frame(run_.world, 0)}:
            page = run_.world.page(number)
            assert page["refcount"] == page["mapcount"], "nobody kept a reference"
    assert waited > 10


def test_a_fault_that_waits_holds_a_reference_and_the_migration_tries_again():
    # The count must be exactly one when the page is moved; the sleeper in migration_entry_wait has the second one.
    tried_again = 0
    for run_ in sweep([mmap(0, 2), touch(0, 2)], [migrate(0)], [read(0, 1)]):
        order = [(e.what, e.a, e.c) for e in clean(run_).events if e.is_note and e.what in ("wait", "walk", "migrate")]
        if ("wait", 1, 0) in order and ("walk", 2, 0) in order[order.index(("wait", 1, 0)) :]:
            tried_again += ("migrate", 1, 2) in order
        assert run_.counters["migrated"] + run_.counters["aborted"] == 1, "given up if the sleeper never runs"
    assert tried_again > 2


@EVERY
def test_a_user_of_a_page_never_sees_wrong_content(algorithm):
    user = [compare(0, 1, 1), touch(0, 2, 9), compare(0, 1, 1)]
    setup = [mmap(0, 2), touch(0, 2)]
    for run_ in sweep(setup, [migrate(0)], user, [migrate(1)], algorithm=algorithm):
        assert contents(clean(run_).world, 0, 2) == [9, 9]


def test_a_table_border_is_no_border_for_a_user():
    assert contents(built(mmap(TABLE - 1, 2), touch(TABLE - 1, 2)), TABLE - 1, 2) == [7, 7]
