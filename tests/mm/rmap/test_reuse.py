"""When a page that is written to is used again and when it is copied (do_wp_page), by the rules of three eras, and to
which anon_vma it belongs then."""

import pytest
from calls import at, call, exit_process, fork, migrate, mmap, mprotect, touch
from kernels import clean, sweep

from anonvma_rt import Machine

RULES = ["mapped-once", "5.9", "5.19"]
HERE = 1 << 30


def machine_with(rule):
    return Machine(f"modern,cow_reuse={rule}")


def owner(machine, process):
    """The anon_vma of the page at HERE, and the vma's own."""
    page = machine._hand.page(process.pte(HERE).pfn)
    return page["anon_vma"], machine._hand.maps(process.pid)[0]["anon_vma"]


@pytest.mark.parametrize(
    ("release", "rule"),
    [("3.2", 0), ("5.4", 0), ("5.9", 1), ("5.14", 1), ("5.15", 1), ("5.19", 2), ("6.6", 2), ("7.0", 2)],
)
def test_the_rule_of_a_release(release, rule):
    """09854ba94c6a came with 5.9, 6c287605fd56 and 6c54dc6c7437 with 5.19."""
    assert Machine(f"linux-{release}").algorithm.cow_reuse == RULES[rule]


@pytest.mark.parametrize("rule", RULES)
def test_a_page_that_is_shared_is_copied_and_the_last_to_write_keeps_it(rule):
    machine = machine_with(rule)
    parent = machine.process()
    parent.mmap(1, at=HERE)
    parent.write(HERE, 1)
    shared = parent.pte(HERE).pfn
    child = parent.fork()
    parent.write(HERE, 2)
    assert parent.pte(HERE).pfn != shared
    child.write(HERE, 3)
    assert child.pte(HERE).pfn == shared and (parent.read(HERE), child.read(HERE)) == (2, 3)
    assert machine.check() == []


@pytest.mark.parametrize(("rule", "moves"), [("mapped-once", True), ("5.9", False), ("5.19", True)])
def test_what_is_used_again_belongs_to_the_writers_anon_vma_or_stays(rule, moves):
    machine = machine_with(rule)
    parent = machine.process()
    parent.mmap(1, at=HERE)
    parent.write(HERE, 1)
    child = parent.fork()
    before, _ = owner(machine, parent)
    parent.exit()
    child.write(HERE, 2)
    page, own = owner(machine, child)
    assert before != own and page == (own if moves else before)
    assert machine.rmap(child.pte(HERE).pfn) == [(child, HERE)], "found from both"
    assert machine.check() == []


# ---- beside a migration, which has a reference and the page lock -----------------------------------------------------

ALONE_AGAIN = [mmap(0, 1), touch(0, 1), fork(1), exit_process(process=1)]
NEVER_SHARED = [mmap(0, 1), touch(0, 1), mprotect(0, 1, False), mprotect(0, 1, True)]


@pytest.mark.parametrize(
    ("rule", "setup", "copies"),
    [
        ("mapped-once", ALONE_AGAIN, False),  # waits for the lock; references do not count
        ("mapped-once", NEVER_SHARED, False),
        ("5.9", ALONE_AGAIN, True),
        ("5.9", NEVER_SHARED, True),
        ("5.19", ALONE_AGAIN, True),
        ("5.19", NEVER_SHARED, False),  # PageAnonExclusive
    ],
)
def test_a_page_that_a_migration_holds_is_copied_or_not(rule, setup, copies):
    runs = list(sweep(setup, [migrate(0)], [touch(0, 1, 9)], algorithm=f"modern,cow_reuse={rule}", processes=2))
    assert len(runs) > 20
    for run_ in runs:
        assert clean(run_).world.page(run_.world.pte(at(0))[1])["tag"] == 9
    assert any(run_.notes("cow") for run_ in runs) == copies


def test_a_write_that_waited_for_the_page_lock_looks_at_the_entry_again():
    """UFFDIO_MOVE has the page lock, and takes the page away meanwhile."""
    setup = [mmap(0, 1), touch(0, 1), mprotect(0, 1, False), mprotect(0, 1, True), mmap(8, 1)]
    move = call("uffd_move", at(0), at(8), 1)
    taken = 0
    for run_ in sweep(setup, [move], [touch(0, 1, 9)], algorithm="modern,cow_reuse=mapped-once"):
        assert clean(run_).world.pte(at(8))[0] == "present"
        taken += bool(run_.notes("fault", task=1))
    assert taken > 3
