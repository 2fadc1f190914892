"""What the kernel's selftests and LTP hold for right, on a Machine of every release and on the host's kernel."""

from errno import EFAULT, ENOENT, ENOMEM

import pytest
from host_calls import FIRST, PAGE, Host, release
from host_sequences import follow
from kernel_tests import ROWS, Row, at

from anonvma_rt import Machine
from anonvma_rt.linux import table

RULES_OF_TODAY = (6, 18, 8)
RELEASES = [f"linux-{release}" for release in table.RELEASES]
ids = [" ".join(row.name) for row in ROWS]


def number(name):
    return tuple(int(part) for part in name.removeprefix("linux-").split("."))


def wrong(row: Row, results, vmas, contents, old=False):
    """What is not as the row has it, in words; None where all is."""
    result, mapped = row.before if old else (row.result, row.vmas)
    found = [((start - FIRST) // PAGE, (end - FIRST) // PAGE, writable) for start, end, writable in vmas]
    if results[-1] != result:
        return f"the last call returned {results[-1]:#x} and not {result:#x}"
    if found != mapped:
        return f"mapped is {found} and not {mapped}"
    if not old and any(contents[at(page)] != tag for page, tag in row.holds.items()):
        return f"the pages hold {contents}"
    return None


def on_machine(row, algorithm):
    machine = Machine(algorithm)
    done = follow(machine, row.calls)
    # From 6.15 to 6.17 MREMAP_DONTUNMAP takes away the charge of the source (Z54).
    right = {"wrong-charge"} if machine.algorithm.dontunmap_uncharges else set()
    assert {found.kind for found in machine.check()} <= right
    return [step[0] for step in done.steps], done.steps[-1][1], done.contents


@pytest.mark.parametrize("row", ROWS, ids=ids)
def test_a_row_holds_in_every_release(row):
    for name in RELEASES:
        old = (3, 0) <= number(name) < number(row.since or "0")
        old |= row.since in ("6.1", "6.2", "6.17") and number(name) < (3, 0)
        if row.name[2] == "forked_source_vma" and number(name) < (3, 0):
            # Nobody asked whether a vma was forked (until 965f55dea0e3).
            assert wrong(row, *on_machine(row, name))
            continue
        if row.since == "6.2" and name == "linux-6.1":
            # Growth from the middle of a vma was broken for one release (6f12be792fde).
            assert on_machine(row, name)[0][-1] == -ENOMEM
            continue
        assert wrong(row, *on_machine(row, name), old=old) is None, name


@pytest.fixture(scope="module")
def host():
    judge = Host()
    if judge.reason or release() < RULES_OF_TODAY:
        judge.close()
        pytest.skip(judge.reason or "the host is older than the rules of today")
    yield judge
    judge.close()


@pytest.mark.parametrize("row", ROWS, ids=ids)
def test_a_row_holds_on_the_host(row, host):
    ((steps, contents),) = host.run([row.calls])
    contents = {int(address): tag for address, tag in contents.items()}
    assert wrong(row, [step[0] for step in steps], steps[-1][1], contents) is None


@pytest.mark.parametrize("row", [row for row in ROWS if row.since], ids=[" ".join(r.name) for r in ROWS if r.since])
def test_a_row_with_a_first_release_fails_before_it(row):
    before = max((name for name in RELEASES if number(name) < number(row.since)), key=number)
    assert number(before) >= (6, 0)
    assert wrong(row, *on_machine(row, before))


def test_a_wrong_row_is_noticed():
    row = ROWS[0]
    done = on_machine(row, "linux-7.0")
    assert wrong(row, *done) is None
    for changed in (
        row._replace(result=1),
        row._replace(vmas=row.vmas[:-1]),
        row._replace(holds={5: 8}),
    ):
        assert wrong(changed, *done)


# ---- pages that move -------------------------------------------------------------------------------------------------


def family(machine, depth, pages=4):
    """A process that has written to its pages, with a child, a grandchild and so on; and their address."""
    processes = [machine.process()]
    start = processes[0].mmap(pages, at=1 << 30)
    for page in range(pages):
        processes[0].write(start + page * PAGE, 10 + page)
    for _ in range(depth):
        processes.append(processes[-1].fork())
    return processes, start


@pytest.mark.parametrize("algorithm", RELEASES)
@pytest.mark.parametrize("who", [0, 1, 3])
def test_rmap_finds_a_page_in_every_process_wherever_it_migrates(algorithm, who):
    """selftests, rmap: a page that generations share migrates, asked for by any of them, and all see the new one."""
    machine = Machine(algorithm)
    processes, start = family(machine, 3)
    old = processes[0].pte(start).pfn
    assert processes[who].move_pages(start) == [0]
    frames = {process.pte(start).pfn for process in processes}
    assert len(frames) == 1 and old not in frames
    (new,) = frames
    assert {(process.pid, address) for process, address in machine.rmap(new)} == {(p.pid, start) for p in processes}
    assert [process.read(start) for process in processes] == [10] * 4 and machine.page(new).mapcount == 4
    assert machine.check() == []


@pytest.mark.parametrize("algorithm", RELEASES)
def test_migration_keeps_what_private_memory_holds(algorithm):
    """selftests, migration, private_anon: a page migrates again and again while it is used, and between writes."""
    machine = Machine(algorithm)
    (parent, child), start = family(machine, 1)
    for tag in range(20, 25):
        assert parent.move_pages(start, 4) == [0] * 4
        child.write(start, tag)
        assert (parent.read(start), child.read(start)) == (10, tag)
        assert child.move_pages(start, 4) == [0] * 4
        assert [process.read(start + PAGE) for process in (parent, child)] == [11, 11]
    assert machine.check() == []


@pytest.mark.parametrize("algorithm", RELEASES)
def test_move_pages_says_of_each_page_what_became_of_it(algorithm):
    """LTP, move_pages04: a page that is there moves, one that nobody touched is ENOENT, the zero page EFAULT (up to
    4.2 ENOENT), and what is not mapped EFAULT."""
    machine = Machine(algorithm)
    process = machine.process()
    start = process.mmap(3, at=1 << 30)
    process.write(start, 7)
    process.touch(start + 2 * PAGE, write=False)
    *first, zero, outside = process.move_pages(start, 4)
    assert first == [0, ENOENT] and outside == EFAULT
    assert zero == (EFAULT if number(algorithm) >= (4, 3) else ENOENT)


@pytest.mark.parametrize("algorithm", RELEASES)
def test_move_pages_of_a_parent_moves_the_pages_of_its_children(algorithm):
    """LTP, move_pages03 and move_pages05: what processes share is moved for all of them, and stays shared."""
    machine = Machine(algorithm)
    (parent, child), start = family(machine, 1, 2)
    child.write(start + PAGE, 30)
    assert parent.move_pages(start, 2) == [0, 0]
    assert parent.pte(start).pfn == child.pte(start).pfn
    assert parent.pte(start + PAGE).pfn != child.pte(start + PAGE).pfn
    assert [process.read(start + PAGE) for process in (parent, child)] == [11, 30]


@pytest.mark.parametrize("algorithm", RELEASES)
def test_the_writes_of_one_are_not_seen_by_the_other(algorithm):
    """selftests, cow: basic copy on write, after mprotect and after an mremap in the parent."""
    for change in ("", "mprotect", "mremap"):
        machine = Machine(algorithm)
        (parent, child), start = family(machine, 1)
        there = start
        if change == "mprotect":
            parent.mprotect(start, 4, False)
            parent.mprotect(start, 4, True)
        elif change == "mremap":
            there = parent.mremap(start, 4, 4, to=2 << 30)
        parent.write(there, 50)
        assert (parent.read(there), child.read(start)) == (50, 10)
        child.write(start + PAGE, 60)
        assert (parent.read(there + PAGE), child.read(start + PAGE)) == (11, 60)
        assert machine.check() == []
