"""The pages of a Machine, what it does with a kernel that has a bug, and how it copes with much."""

from errno import EFAULT, ENOENT
from time import perf_counter

import pytest
from machine_tools import FAR, HUGE, at, ranges, refused

from anonvma_rt.kernel.machine import KernelBug, Machine, Pte, Violation
from anonvma_rt.text.expression import PAGE

# ---- pages -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pfn", [-1, 0, 1 << 20, 1 << 32, 1 << 80])
def test_there_is_no_such_frame(machine, pfn):
    for process in (None, machine.process()):
        for call in (machine.page, machine.rmap, machine.migrate, machine.split_huge_page, machine.referenced):
            with pytest.raises(ValueError, match="no page frame"):
                call(pfn)
        assert process is None or process.maps() == []


def test_a_free_page_does_not_move(machine, process):
    process.mmap(1, at=at(0))
    process.write(at(0), 1)
    pfn = process.pte(at(0)).pfn
    process.munmap(at(0), 1)
    refused(ENOENT, machine.migrate, pfn)
    assert machine.rmap(pfn) == []
    assert machine.page(pfn).refcount == 0 and machine.referenced(pfn) == 0


@pytest.mark.parametrize("inside", [0, 1, 511])
def test_any_frame_of_a_huge_page_splits_moves_and_is_found(machine, process, inside):
    process.mmap(512, at=HUGE, huge=True)
    process.write(HUGE + inside * PAGE, 6)
    child = process.fork()
    address = HUGE + inside * PAGE
    entry = process.pte(address)
    assert entry.state == "huge" and machine.rmap(entry.pfn) == [(process, address), (child, address)]
    moved = machine.migrate(entry.pfn)
    assert process.pte(address) == child.pte(address) == Pte("present", moved, False) and moved != entry.pfn
    assert machine.referenced(moved) == 2 and child.read(address) == 6 and machine.check() == []


@pytest.mark.parametrize("inside", [0, 1, 511])
def test_a_huge_page_is_split_by_any_of_its_frames(machine, process, inside):
    process.mmap(512, at=HUGE, huge=True)
    process.touch(HUGE)
    pfn = process.pte(HUGE + inside * PAGE).pfn
    machine.split_huge_page(pfn)
    assert process.pte(HUGE + inside * PAGE) == Pte("present", pfn, True)
    machine.split_huge_page(pfn)
    assert machine.check() == []


# ---- a kernel with a bug ---------------------------------------------------------------------------------------------


def broken():
    """A machine whose kernel forgets to put a merged vma on the lists of its pages (Z13), after such a merge."""
    m = Machine("linux-6.19,merge=6.16-uncloned")
    p = m.process()
    p.mmap(1, at=at(1))
    p.write(at(1), 5)
    p.mremap(at(1), 1, 1, to=FAR)
    p.mmap(1, at=at(0))
    p.mremap(FAR, 1, 1, to=at(1))
    return m, p


def test_a_check_says_what_is_wrong_and_changes_nothing():
    m, p = broken()
    found = m.check()
    assert found and found == m.check()
    assert all(isinstance(violation, Violation) and violation.text for violation in found)
    assert "use-after-free" in {violation.kind for violation in found} or m.rmap(p.pte(at(1)).pfn) == []


def test_a_kernel_bug_leaves_the_machine_to_be_looked_at():
    m, p = broken()
    pfn = p.pte(at(1)).pfn
    with pytest.raises(KernelBug) as caught:
        for _ in range(3):
            p.fork()
            p.write(at(0), 1)
            m.migrate(pfn)
            pfn = p.pte(at(1)).pfn
    kind = caught.value.violation.kind
    assert str(caught.value).startswith(kind)
    for call in (lambda: p.mmap(1), lambda: m.migrate(pfn), m.process, p.fork, lambda: p.read(at(0))):
        with pytest.raises(KernelBug) as again:
            call()
        assert again.value.violation == caught.value.violation
    assert ranges(p)[0][0] == 0 and p.pte(at(1)).pfn == pfn
    assert m.page(pfn).index and m.check() and repr(m).startswith("<Machine linux-6.19,merge=6.16-uncloned:")


# ---- much ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["unpatched", "modern"])
def test_a_thousand_children_share_a_page(algorithm):
    m = Machine(algorithm)
    root = m.process()
    root.mmap(2, at=at(0))
    root.write(at(0), 3)
    family = [root, *(root.fork() for _ in range(999))]
    pfn = root.pte(at(0)).pfn
    assert m.page(pfn).mapcount == m.referenced(pfn) == 1000
    assert {(process.pid, address) for process, address in m.rmap(pfn)} == {(p.pid, at(0)) for p in family}
    moved = m.migrate(pfn)
    assert {process.pte(at(0)).pfn for process in family} == {moved}
    family[500].write(at(0), 4)
    assert m.page(moved).mapcount == 999 and (family[500].read(at(0)), family[999].read(at(0))) == (4, 3)
    assert m.check() == []
    for process in family[:-1]:
        process.exit()
    assert m.rmap(moved) == [(family[-1], at(0))] and m.processes == [family[-1]] and m.check() == []


@pytest.mark.parametrize("algorithm", ["unpatched", "modern"])
def test_a_chain_of_a_hundred_forks(algorithm):
    m = Machine(algorithm)
    chain = [m.process()]
    chain[0].mmap(1, at=at(0))
    chain[0].write(at(0), 1)
    for _ in range(100):
        chain.append(chain[-1].fork())
    lengths = [process.maps()[0].chain_length for process in chain]
    assert lengths == list(range(1, 102)), "every generation adds an anon_vma"
    pfn = chain[0].pte(at(0)).pfn
    assert m.page(pfn).mapcount == len(m.rmap(pfn)) == 101
    chain[100].write(at(0), 2)
    assert m.rmap(chain[100].pte(at(0)).pfn) == [(chain[100], at(0))], "its own anon_vma is on one list only"
    assert m.migrate(pfn) == chain[99].pte(at(0)).pfn and m.check() == []
    for process in chain[:-1]:
        process.exit()
    assert chain[100].read(at(0)) == 2 and m.check() == []


def test_ten_thousand_vmas(machine, process):
    for page in range(0, 20_000, 2):
        process.mmap(1, at=at(page))
    assert len(process.maps()) == 10_000
    process.write(at(19_998), 8)
    assert process.mremap(at(19_998), 1, 1, to=at(5001)) == at(5001) and process.read(at(5001)) == 8
    process.mmap(1, at=at(7001))
    assert len(process.maps()) == 9999, "page 7001 joined its two neighbours"
    process.munmap(at(100), 15_000)
    assert len(process.maps()) == 50 + 2449 and machine.check() == []
    child = process.fork()
    assert ranges(child) == ranges(process)


def best_of(times, work):
    """The shortest of so many measurements, in seconds."""
    measured = []
    for _ in range(times):
        begin = perf_counter()
        work()
        measured.append(perf_counter() - begin)
    return min(measured)


def test_finding_a_vma_costs_no_more_among_many():
    """Of two sizes that differ by 50 the larger may cost 5 times as much per access: a list would cost 50 times."""

    def access(vmas):
        process = Machine("moveto-tail").process()
        for page in range(0, 2 * vmas, 2):
            process.mmap(1, at=at(page))
        places = [at(2 * (i * 7919 % vmas)) for i in range(2000)]

        def work():
            for place in places:
                process.read(place)

        return best_of(5, work)

    assert access(10_000) < 5 * access(200)


def test_giving_up_costs_nothing(machine, process):
    """A refused call leaves no trace behind."""
    process.mmap(4, at=at(0))
    before = process.maps()
    for _ in range(1000):
        refused(EFAULT, process.mremap, at(3), 2, 3)
    assert process.maps() == before and machine.check() == []
