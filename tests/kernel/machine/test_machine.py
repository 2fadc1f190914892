"""Machine, the simulated kernel driven by hand: what every call does, says and refuses."""

from errno import EFAULT, EINVAL, ENOMEM, ESRCH

import pytest
from machine_tools import FAR, at, ranges, refused

from anonvma_rt.errors import UserError
from anonvma_rt.kernel.algorithm import PRESETS, Algorithm
from anonvma_rt.kernel.machine import Machine, Pte, Violation
from anonvma_rt.text.expression import PAGE


@pytest.mark.parametrize("algorithm", PRESETS)
def test_a_machine_of_every_preset_maps_forks_moves_migrates_and_is_clean(algorithm):
    m = Machine(algorithm)
    p = m.process()
    p.mmap(8, at=at(0))
    p.write(at(3), 7)
    child = p.fork()
    child.mremap(at(0), 8, 8, to=FAR)
    moved = m.migrate(p.pte(at(3)).pfn)
    assert p.pte(at(3)).pfn == child.pte(FAR + 3 * PAGE).pfn == moved
    assert child.read(FAR + 3 * PAGE) == 7 and m.check() == []
    assert set(m.rmap(moved)) == {(p, at(3)), (child, FAR + 3 * PAGE)}


def test_an_algorithm_is_a_preset_an_alias_a_changed_preset_or_an_algorithm():
    assert Machine().algorithm is PRESETS["moveto-tail"]
    assert Machine("linux-3.2").algorithm is PRESETS["unpatched"]
    assert Machine("unpatched,single_ptl=yes").algorithm.single_ptl
    own = Algorithm("own", tree=True)
    assert Machine(own).algorithm is own


@pytest.mark.parametrize("text", ["moveto", "", "unpatched,tree", "unpatched,tree=maybe", "unpatched,merge=7"])
def test_an_unknown_algorithm_is_a_user_error(text):
    with pytest.raises(UserError) as caught:
        Machine(text)
    assert "\n" not in str(caught.value)


def test_why_two_areas_that_look_alike_do_not_become_one_can_be_seen(process):
    """What was writable once is charged for still (VM_ACCOUNT): /proc/PID/maps says nothing of it."""
    process.mmap(1, at=at(0))
    process.mprotect(at(0), 1, writable=False)
    process.mmap(1, at=at(1), writable=False)
    assert [(vma.pages, vma.writable, vma.charged) for vma in process.maps()] == [(1, False, True), (1, False, False)]
    assert [repr(vma).split()[1:3] for vma in process.maps()] == [["r-", "charged"], ["r-", "pgoff=0x40001"]]
    process.mprotect(at(0), 2, writable=True)
    assert [(vma.pages, vma.charged) for vma in process.maps()] == [(2, True)], "both are, once both may be written to"


def test_machines_know_nothing_of_each_other():
    a, b = Machine().process(), Machine().process()
    a.mmap(1, at=at(0))
    assert b.maps() == [] and a.pid == b.pid == 0
    refused(EFAULT, b.read, at(0))


def test_what_things_look_like(machine, process):
    assert repr(machine) == "<Machine moveto-tail: 1 processes>"
    assert repr(process) == "<Process 0: 0 vmas, 0 pages>"
    process.mmap(2, at=at(0))
    process.mmap(1, at=at(4), writable=False)
    process.touch(at(0))
    assert repr(process) == "<Process 0: 2 vmas, 3 pages>"
    assert [repr(vma) for vma in process.maps()] == [
        "Vma(0x40000000-0x40002000 rw pgoff=0x40000 2 pages, chain 1)",
        "Vma(0x40004000-0x40005000 r- pgoff=0x40004 1 pages, unfaulted)",
    ]
    process.exit()
    assert repr(process) == "<Process 0: exited>" and repr(machine) == "<Machine moveto-tail: 0 processes>"
    assert str(Violation("lost-page", "gone")) == "lost-page: gone"


# ---- the calls -------------------------------------------------------------------------------------------------------


def test_mmap_refuses(process):
    assert "page-aligned" in refused(EINVAL, process.mmap, 1, at=at(0) + 1)
    assert "0 pages" in refused(EINVAL, process.mmap, 0, at=at(0))
    assert "0 pages" in refused(EINVAL, process.mmap, 0)
    assert "2**39" in refused(ENOMEM, process.mmap, 2, at=(1 << 39) - PAGE)
    assert "no gap" in refused(ENOMEM, process.mmap, 1 << 27)
    refused(ENOMEM, process.mmap, 1 << 60)
    refused(EINVAL, process.mmap, -1)
    refused(EINVAL, process.mmap, 1, at=-PAGE)
    refused(EINVAL, process.mmap, 1, at=1 << 64)
    assert process.maps() == []


def test_mremap_refuses(process):
    process.mmap(4, at=at(0))
    process.mmap(1, at=at(4), writable=False)
    assert "page-aligned" in refused(EINVAL, process.mremap, at(0) + 1, 1, 2)
    assert "0 pages" in refused(EINVAL, process.mremap, at(0), 1, 0)
    assert "maymove" in refused(EINVAL, process.mremap, at(0), 1, 1, to=at(9), maymove=False)
    assert "overlap" in refused(EINVAL, process.mremap, at(0), 2, 2, to=at(1))
    assert "not inside one mapping" in refused(EFAULT, process.mremap, at(3), 2, 3)
    assert "cannot grow" in refused(ENOMEM, process.mremap, at(0), 4, 5, maymove=False)
    refused(EINVAL, process.mremap, at(0), 1, 2, dontunmap=True)
    refused(EINVAL, process.mremap, at(0), -1, 1)
    refused(ENOMEM, process.mremap, at(0), 1, 1 << 50)
    assert ranges(process) == [(0, 4, True), (4, 5, False)]


def test_a_move_without_page_tables_goes_back(machine, process):
    process.mmap(1024, at=at(0))
    process.touch(at(0), 1024)
    process.write(at(700), 9)
    machine.fail_allocations(*range(1, 100), kinds=["table"])
    refused(ENOMEM, process.mremap, at(0), 1024, 1024, to=FAR)
    machine.fail_allocations()
    assert process.read(at(700)) == 9 and process.pte(FAR) == Pte("none", 0, False)
    assert machine.check() == [] and ranges(process) == [(0, 1024, True)]


def test_an_exited_process_refuses_every_call(machine, process):
    child = process.fork()
    child.mmap(1, at=at(0))
    child.exit()
    assert machine.processes == [process] and child.exited
    calls = [
        (child.mmap, 1), (child.munmap, at(0), 1), (child.mprotect, at(0), 1, True), (child.brk, at(0), 1),
        (child.mremap, at(0), 1, 2), (child.fork,), (child.exit,), (child.move_pages, at(0)), (child.touch, at(0)),
        (child.read, at(0)), (child.write, at(0), 1), (child.maps,), (child.pte, at(0)),
    ]  # fmt: skip
    for call, *args in calls:
        with pytest.raises(ProcessLookupError, match="process 1 has exited") as caught:
            call(*args)
        assert caught.value.errno == ESRCH
    assert len(machine.processes) == 1, "a fork of the dead made nothing"


def test_accesses(process):
    process.mmap(2, at=at(0))
    process.mmap(1, at=at(2), writable=False)
    assert process.read(at(0)) == 0 and process.pte(at(0)) == Pte("present", 0, False), "the zero page"
    assert process.pte(at(1)) == Pte("none", 0, False)
    process.write(at(0) + 123, 4)
    process.touch(at(0), 2)
    process.touch(at(0), 3, write=False)
    assert process.read(at(0) + 4095) == 4
    assert "is read-only, and this writes" in refused(EFAULT, process.touch, at(1), 2)
    assert "not all mapped" in refused(EFAULT, process.touch, at(3), 1)
    refused(EFAULT, process.write, at(2), 1)
    refused(EFAULT, process.read, at(3))
    refused(EFAULT, process.touch, at(3), write=False)
    for tag in (-1, 1 << 31):
        with pytest.raises(ValueError, match="tag"):
            process.write(at(0), tag)
