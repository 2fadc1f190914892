"""Swap, reclaim, MADV_FREE and references from outside the page tables, one call at a time: contents come back, slots
are given back, and what is pinned stays."""

from errno import EAGAIN, EBUSY, ENOENT

import pytest

from anonvma_rt.kernel.machine import Machine

ALGORITHMS = ["unpatched", "linux-5.10", "modern", "linux-6.19"]
PAGE = 4096


@pytest.fixture(params=ALGORITHMS)
def machine(request):
    made = Machine(algorithm=request.param)
    yield made
    assert made.check() == []


def swapped(machine, content=7):
    """A process with one page, which is swapped out, and its address."""
    process = machine.process()
    at = process.mmap(1)
    process.write(at, content)
    machine.reclaim(process.pte(at).pfn)
    assert process.pte(at).state == "swap"
    return process, at


def error_of(call, *args):
    with pytest.raises(OSError) as caught:
        call(*args)
    return caught.value.errno


def test_what_was_swapped_out_comes_back(machine):
    process, at = swapped(machine)
    assert process.read(at) == 7 and process.pte(at).state == "present"
    process.write(at, 8)
    machine.reclaim(process.pte(at).pfn)
    assert process.read(at) == 8


def test_both_sides_of_a_fork_have_it(machine):
    process, at = swapped(machine)
    child = process.fork()
    assert child.pte(at) == process.pte(at)
    process.write(at, 8)
    assert (child.read(at), process.read(at)) == (7, 8)
    process.exit()
    assert child.read(at) == 7


def test_a_swap_entry_moves_with_its_vma(machine):
    process, at = swapped(machine)
    to = process.mremap(at, 1, 1, to=at + 64 * PAGE)
    assert process.pte(to).state == "swap" and process.read(to) == 7


@pytest.mark.parametrize("call", ["munmap", "dontneed", "free"])
def test_a_slot_is_free_when_its_last_entry_is_gone(machine, call):
    process, at = swapped(machine)
    slot = process.pte(at).pfn
    getattr(process, call)(at, 1)
    other, there = swapped(machine)
    assert other.pte(there).pfn == slot


def test_mprotect_leaves_it_where_it_is(machine):
    process, at = swapped(machine)
    process.mprotect(at, 1, False)
    assert process.pte(at).state == "swap" and process.read(at) == 7


def test_move_pages_finds_no_page_there(machine):
    process, at = swapped(machine)
    assert process.move_pages(at, 1) == [ENOENT]


def test_a_page_in_the_swap_cache_migrates_with_its_slot(machine):
    process, at = swapped(machine)
    child = process.fork()
    assert process.read(at) == 7  # the child's entry keeps the slot, and so the page stays in the cache
    machine.migrate(process.pte(at).pfn)
    assert child.read(at) == process.read(at) == 7
    assert child.pte(at).pfn == process.pte(at).pfn


def test_what_was_freed_lazily_is_gone_with_the_next_reclaim(machine):
    process = machine.process()
    at = process.mmap(1)
    process.write(at, 7)
    machine.reclaim(process.pte(at).pfn)  # from now on somebody asks which pages are dirty
    process.write(at, 8)
    process.free(at, 1)
    assert process.read(at) == 8
    machine.reclaim(process.pte(at).pfn)
    assert process.pte(at).state == "none" and process.read(at) == 0


def test_but_not_if_it_was_written_to_since(machine):
    process, at = swapped(machine)
    process.write(at, 8)
    process.free(at, 1)
    process.write(at, 9)
    assert error_of(machine.reclaim, process.pte(at).pfn) == EAGAIN
    assert process.read(at) == 9


def test_a_page_with_a_reference_is_not_freed(machine):
    process = machine.process()
    at = process.mmap(1)
    process.write(at, 7)
    pfn = process.pte(at).pfn
    process.get(at)
    assert error_of(machine.reclaim, pfn) == EAGAIN
    assert process.read(at) == 7 and process.pte(at).pfn == pfn
    process.unpin(at)
    assert error_of(process.unpin, at) == ENOENT


def test_what_a_device_writes_is_seen_where_the_page_is_mapped(machine):
    process = machine.process()
    at = process.mmap(1)
    process.pin(at)
    process.dma(at, 9)
    assert process.read(at) == 9
    process.write(at, 8)
    assert process.read(at) == 8
    process.unpin(at)


@pytest.mark.parametrize("algorithm", ["linux-5.10", "modern"])
def test_a_fork_copies_what_is_pinned(algorithm):
    machine = Machine(algorithm=algorithm)
    process = machine.process()
    at = process.mmap(1)
    process.write(at, 7)
    process.pin(at)
    child = process.fork()
    assert child.pte(at).pfn != process.pte(at).pfn and child.read(at) == 7
    process.write(at, 8)
    process.dma(at, 9)
    assert (process.read(at), child.read(at)) == (9, 7)
    process.unpin(at)
    assert machine.check() == []


def test_uffd_move_moves_a_swap_entry_that_is_not_shared():
    machine = Machine(algorithm="modern")
    process, at = swapped(machine)
    to = process.mmap(1)
    process.uffd_move(at, to)
    assert process.pte(at).state == "none" and process.read(to) == 7
    machine.reclaim(process.pte(to).pfn)
    process.fork()
    there = process.mmap(1)
    assert error_of(process.uffd_move, to, there) == EBUSY
    assert machine.check() == []
