"""Calls about pages: move_pages, page_referenced, UFFDIO_MOVE. What they race with is in the scenarios."""

import errno

import pytest
from calls import BASE, FAR, at, call, migrate, mmap, touch
from kernels import run, sweep

from anonvma_rt import Machine

PAGE = 4096
HERE, THERE = 1 << 30, 2 << 30
PRESETS = ["unpatched", "interval-tree", "modern"]


def refused(call, *args):
    with pytest.raises(OSError) as caught:
        call(*args)
    return caught.value.errno


@pytest.fixture(params=PRESETS)
def machine(request):
    return Machine(request.param)


def test_move_pages_gives_every_page_of_the_range_a_new_frame_and_no_other(machine):
    p = machine.process()
    p.mmap(4, at=HERE)
    for i in range(4):
        p.write(HERE + i * PAGE, i + 1)
    before = [p.pte(HERE + i * PAGE).pfn for i in range(4)]
    p.move_pages(HERE + PAGE, 2)
    after = [p.pte(HERE + i * PAGE).pfn for i in range(4)]
    assert [a == b for a, b in zip(after, before, strict=True)] == [True, False, False, True]
    assert [p.read(HERE + i * PAGE) for i in range(4)] == [1, 2, 3, 4]
    assert machine.check() == []


def test_move_pages_says_of_every_page_what_became_of_it(machine):
    """As Linux 6.18 does; up to 4.2 the zero page was no page (d899844e9c98)."""
    p = machine.process()
    p.mmap(4, at=HERE)
    p.write(HERE, 1)
    p.touch(HERE + PAGE, write=False)
    zero_page = errno.EFAULT if machine.algorithm.move_pages != "3.2" else errno.ENOENT
    assert p.move_pages(HERE, 5) == [0, zero_page, errno.ENOENT, errno.ENOENT, errno.EFAULT]
    before = p.pte(HERE).pfn
    assert p.move_pages(HERE + 123, 1) == [0], "an address inside the page"
    assert p.pte(HERE).pfn != before and p.pte(HERE + 2 * PAGE).state == "none"
    assert refused(p.move_pages, HERE, 1 << 30) == errno.E2BIG


def test_a_shared_page_moves_in_every_process(machine):
    p = machine.process()
    p.mmap(1, at=HERE)
    p.write(HERE, 5)
    child = p.fork()
    child.move_pages(HERE)
    assert p.pte(HERE) == child.pte(HERE)
    assert machine.page(p.pte(HERE).pfn).mapcount == 2
    assert (p.read(HERE), child.read(HERE)) == (5, 5)


def test_move_pages_splits_a_huge_page_and_moves_the_small_one_at_the_address_or_all_of_it(machine):
    p = machine.process()
    p.mmap(512, at=HERE, huge=True)
    p.write(HERE + 7 * PAGE, 3)
    before = p.pte(HERE + 7 * PAGE).pfn
    p.move_pages(HERE + 7 * PAGE)
    whole = machine.algorithm.thp == "4.14"
    assert p.pte(HERE + 7 * PAGE).state == ("huge" if whole else "present") and p.pte(HERE + 7 * PAGE).pfn != before
    assert p.pte(HERE).pfn == (p.pte(HERE + 7 * PAGE).pfn if whole else before) - 7
    assert p.read(HERE + 7 * PAGE) == 3 and machine.check() == []


@pytest.mark.parametrize("children", [0, 1, 5])
def test_page_referenced_sees_as_many_ptes_as_there_are(machine, children):
    p = machine.process()
    p.mmap(1, at=HERE)
    p.touch(HERE)
    for _ in range(children):
        p.fork()
    assert machine.referenced(p.pte(HERE).pfn) == children + 1


def test_page_referenced_counts_huge_pmds(machine):
    p = machine.process()
    p.mmap(512, at=HERE, huge=True)
    p.touch(HERE)
    p.fork()
    assert machine.referenced(p.pte(HERE + 9 * PAGE).pfn) == 2


def test_page_referenced_of_a_page_that_nobody_maps_is_nothing(machine):
    p = machine.process()
    p.mmap(1, at=HERE)
    p.touch(HERE)
    pfn = p.pte(HERE).pfn
    p.munmap(HERE, 1)
    assert machine.referenced(pfn) == 0 and machine.rmap(pfn) == []


def test_uffd_move_takes_the_page_to_the_other_vma_and_its_anon_vma(machine):
    p = machine.process()
    p.mmap(1, at=HERE)
    p.mmap(2, at=THERE)
    p.write(HERE, 8)
    pfn = p.pte(HERE).pfn
    p.uffd_move(HERE, THERE + PAGE)
    assert p.pte(HERE).state == "none" and p.pte(THERE + PAGE).pfn == pfn
    assert p.read(THERE + PAGE) == 8
    assert machine.rmap(pfn) == [(p, THERE + PAGE)], "found through the list of its new anon_vma"
    assert machine.page(pfn).index == (THERE + PAGE) // PAGE
    p.munmap(HERE, 1)
    assert machine.check() == [] and machine.migrate(pfn)


def test_what_uffd_move_refuses(machine):
    """Row by row as Linux 6.18 was asked (UFFDIO_MOVE)."""
    p = machine.process()
    p.mmap(4, at=HERE)
    p.mmap(4, at=THERE)
    assert refused(p.uffd_move, HERE, THERE) == errno.ENOENT, "no page was ever there"
    assert refused(p.uffd_move, 3 << 30, THERE) == errno.ENOENT, "nothing is mapped there"
    assert refused(p.uffd_move, HERE + 1, THERE) == errno.EINVAL
    p.write(HERE, 8)
    assert refused(p.uffd_move, HERE, 3 << 30) == errno.ENOENT
    assert refused(p.uffd_move, HERE, THERE - PAGE) == errno.ENOENT, "nor the mapping that comes next"
    p.write(THERE, 9)
    assert refused(p.uffd_move, HERE, THERE) == errno.EEXIST
    assert refused(p.uffd_move, HERE + PAGE, THERE) == errno.EEXIST, "which is asked first"
    for place in (HERE, THERE):
        p.mprotect(place, 4, writable=False)
        assert refused(p.uffd_move, HERE, THERE + PAGE) == errno.EINVAL, "not both writable"
        p.mprotect(place, 4, writable=True)
    p.uffd_move(HERE, THERE + PAGE)
    assert machine.check() == []


def test_uffd_move_takes_a_page_that_was_never_shared_or_was_written_to_since(machine):
    p = machine.process()
    p.mmap(1, at=HERE)
    p.mmap(4, at=THERE)
    p.write(HERE, 8)
    child = p.fork()
    assert refused(p.uffd_move, HERE, THERE) == errno.EBUSY, "the child maps it, too"
    child.exit()
    assert refused(p.uffd_move, HERE, THERE) == errno.EBUSY, "nobody knows that the child has gone"
    assert machine.migrate(p.pte(HERE).pfn)
    assert refused(p.uffd_move, HERE, THERE) == errno.EBUSY, "a migration changes nothing about it"
    p.write(HERE, 8)
    p.mprotect(HERE, 1, writable=False)
    p.mprotect(HERE, 1, writable=True)
    assert not p.pte(HERE).writable
    assert machine.migrate(p.pte(HERE).pfn)
    p.uffd_move(HERE, THERE)
    assert p.read(THERE) == 8 and machine.check() == []


def test_uffd_move_takes_the_zero_page(machine):
    p = machine.process()
    p.mmap(1, at=HERE)
    p.mmap(1, at=THERE)
    p.touch(HERE, write=False)
    p.uffd_move(HERE, THERE)
    assert p.pte(HERE).state == "none" and (p.pte(THERE).state, p.pte(THERE).pfn) == ("present", 0)
    p.write(THERE, 3)
    assert p.read(THERE) == 3 and machine.check() == []


def test_uffd_move_waits_for_a_migration_and_says_eagain():
    setup = [mmap(0, 1), touch(0, 1), mmap(FAR, 1)]
    move = call("uffd_move", at(0), at(FAR), 1)
    seen = set()
    for errno_ in (0, errno.EAGAIN):
        for done in sweep(setup, [migrate(0)], [move._replace(errno=errno_)], algorithm="modern"):
            assert done.kind is None
            if done.halt is None:
                seen.add((errno_, bool(done.notes("wait"))))
    assert seen >= {(0, False), (errno.EAGAIN, True)} and (0, True) not in seen


def test_a_word_of_a_table_that_is_no_entry_has_no_entrys_name():
    done = run([mmap(0, 1), touch(0, 1)], [touch(0, 1)])
    (entry,) = {e.a for e in done.events if e.what == "atomic" and (done.world.name(e.a) or ("",))[0] == "table"}
    first = entry - (done.world.name(entry)[2] - done.world.name(entry)[1]) // PAGE * 8
    assert [done.world.name(first + 8 * i)[2] for i in (-2, -1, 0, 1)] == ["ptl", "?", BASE, BASE + PAGE]
