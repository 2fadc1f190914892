"""Scenarios written in Python: a recording is what a file would say, and what is wrong is said where it is done."""

import pytest

from anonvma_rt import Recording, Reproducer, Scenario, UserError, hunt, replay, verify

PAGE, GIB = 4096, 1 << 30


def round_trip():
    """merge.toml, case 2, by hand."""
    r = Recording("round-trip", about="as merge")
    p = r.process()
    at = p.mmap(12, at=GIB)
    p.touch(at, 12, tag=7)
    away = p.mremap(at + 8 * PAGE, 4, 4, to=GIB + (4 << 20))
    with r.thread("mremap"):
        assert p.mremap(away, 4, 4, to=at + 8 * PAGE) == at + 8 * PAGE
    with r.thread("migrate"):
        p.migrate(away)
    with r.after():
        p.compare(at, at + 4 * PAGE, 8)
    return r


def test_a_recorded_scenario_makes_the_executions_of_the_file_that_says_the_same(tmp_path):
    recorded = round_trip().scenario(expect={"unpatched": "stale-migration-entry", "moveto-tail": "none"})
    mine = hunt(recorded, runs=3000, out=tmp_path)
    theirs = hunt("merge", runs=3000, algorithms=["unpatched", "moveto-tail"])
    assert mine.as_expected
    assert [one.schedules_sha256 for one in mine.results] == [one.schedules_sha256 for one in theirs.results]
    # The reproducer has the text, and needs no Python.
    replayed = replay(Reproducer.load(mine.results[0].first.reproducer))
    replayed.explorer.close()
    assert replayed.reproduced == 1
    assert Scenario.from_text(recorded.text).sha256 == recorded.sha256


def test_setup_happens_at_once_and_can_be_looked_at():
    r = Recording("x")
    p = r.process()
    at = p.mmap(4)
    p.write(at, 9)
    assert (p.read(at), p.pte(at).state, [vma.pages for vma in p.maps()]) == (9, "present", [4])
    child = p.fork()
    assert child.read(at) == 9 and child.name == "process1"
    with pytest.raises(OSError):
        p.munmap(at + 1, 1)
    assert "munmap" not in r.toml()
    p.migrate(at)
    with pytest.raises(UserError, match="there is no page at"):
        p.migrate(at + PAGE)
    child.exit()
    assert r.toml().count("do =") == 7


def test_threads_only_write_down_and_must_be_told_where():
    r = Recording("x")
    p = r.process()
    at = p.mmap(4)
    with r.thread("one"):
        assert p.read(at) is None
        other = p.fork()
        assert p.mremap(at, 4, 2) == at and p.brk(at, 2) == at + 2 * PAGE
        for call in (lambda: p.mmap(1), lambda: p.mremap(at, 1, 2)):
            with pytest.raises(UserError, match="nobody knows yet where"):
                call()
        with pytest.raises(UserError, match="inside another thread"), r.thread("two"):
            pass
        with pytest.raises(UserError, match="before the first thread"):
            r.process()
    with r.thread("two"):
        other.touch(at)
    with r.thread("one"):
        p.munmap(at, 1)
    with pytest.raises(UserError, match="the setup is over"):
        p.touch(at)
    assert [vma.pages for vma in p.maps()] == [4]
    text = r.toml()
    assert text.count("[[thread]]") == 2 and text.index('name = "one"') < text.index("munmap") < text.index('"two"')


def test_a_failed_allocation_is_part_of_a_thread():
    border = 1 << 30
    r = Recording("error-path")
    p = r.process()
    far, near = border + (4 << 20), border - PAGE
    p.mmap(2, at=far)
    p.touch(far, 2)
    with pytest.raises(UserError, match="belongs in a thread"), r.failing(1):
        pass
    with r.thread("mremap"), r.failing(1):
        p.mremap(far, 2, 2, to=near)
    with r.thread("migrate"):
        p.migrate(far)
    scenario = r.scenario(expect={"unpatched": "stale-migration-entry", "moveto-tail": "none"})
    assert verify(scenario).as_expected


def test_every_call_becomes_a_step_of_a_file():
    r = Recording("all")
    p = r.process("first")
    at = p.mmap(8, at=GIB, huge=True)
    p.touch(at, 8)
    p.touch(at, 2, write=False)
    p.mprotect(at + 6 * PAGE, 2, writable=False)
    p.uffd_move(at + 4 * PAGE, p.mmap(1, at=2 * GIB))
    p.move_pages(at, 2)
    p.referenced(at)
    p.split_huge_page(at)
    with r.thread("t"):
        p.migrate(at, fail_copy=True)
        p.split_huge_page(at)
        p.referenced(at)
        p.move_pages(at)
        p.uffd_move(2 * GIB, at + 4 * PAGE)
        p.mprotect(at, 1, writable=False)
        p.exit()
    with r.after():
        p.vmas(at, 8, 0)
    scenario = r.scenario(strategy="pos")
    assert scenario.strategy == "pos" and scenario.processes == ["first"]
    (one,) = hunt(scenario, algorithms=["moveto-tail"], runs=200).results
    assert one.executions == 200 and one.violations == {}


def test_what_a_file_could_not_say_is_said():
    r = Recording("bad\nname")
    r.process().mmap(1)
    with pytest.raises(UserError):
        r.scenario()
    with pytest.raises(UserError, match="two processes of the name"):
        r.process("main")
    with pytest.raises(UserError):
        Recording("x", algorithm="no-such")
    empty = Recording("x")
    empty.process()
    with pytest.raises(UserError):
        empty.scenario()
