"""Translations: what leaves one, what must be flushed, and that a missing flush is seen."""

import pytest

from anonvma_rt import Scenario, UserError, hunt, storm, verify

FORK = """
processes = ["main", "child"]
setup = [{ do = "mmap", at = 0x40000000, pages = 1 }, { do = "touch", at = 0x40000000, pages = 1, tag = 7, cpu = 0 }]
[[thread]]
name = "user"
cpu = 0
steps = [{ do = "touch", at = 0x40000000, pages = 1, tag = 8 }]
[[thread]]
name = "fork"
cpu = 1
steps = [{ do = "fork", child = "child" }]
"""
COW = """
processes = ["main", "child"]
setup = [
    { do = "mmap", at = 0x40000000, pages = 1 }, { do = "touch", at = 0x40000000, pages = 1, tag = 7 },
    { do = "fork", child = "child" }, { do = "read", at = 0x40000000, pages = 1, cpu = 0 },
]
[[thread]]
name = "reader"
cpu = 0
steps = [{ do = "read", at = 0x40000000, pages = 1 }]
[[thread]]
name = "writer"
cpu = 1
steps = [{ do = "touch", at = 0x40000000, pages = 1, tag = 8 }]
"""
UNMAP = """
setup = [{ do = "mmap", at = 0x40000000, pages = 1 }, { do = "touch", at = 0x40000000, pages = 1, tag = 7, cpu = 0 }]
[[thread]]
name = "user"
cpu = 0
steps = [{ do = "touch", at = 0x40000000, pages = 1, tag = 8 }]
[[thread]]
name = "migrate"
cpu = 1
steps = [{ do = "migrate", at = 0x40000000 }]
"""
PROTECT = """
setup = [{ do = "mmap", at = 0x40000000, pages = 1 }, { do = "touch", at = 0x40000000, pages = 1, tag = 7, cpu = 0 }]
[[thread]]
name = "user"
cpu = 0
steps = [{ do = "touch", at = 0x40000000, pages = 1, tag = 8, errno = ["", "EFAULT"] }]
[[thread]]
name = "mprotect"
cpu = 1
steps = [{ do = "mprotect", at = 0x40000000, pages = 1, writable = false }]
"""
# A migration tries ten times while the user waits for its page: its classes are too many to visit all.
RECLAIM = UNMAP.replace("migrate", "reclaim")
FORGOTTEN = {"fork": FORK, "cow": COW, "unmap": RECLAIM, "protect": PROTECT}
USERS = """
setup = [
    { do = "mmap", at = 0x40000000, pages = 1024, huge = HUGE },
    { do = "touch", at = 0x40000000, pages = 1, tag = 7, cpu = 0 },
]
[[thread]]
name = "user"
cpu = 0
steps = [{ do = "touch", at = 0x40000000, pages = 1, tag = 8, errno = ["", "EFAULT"] }]
[[thread]]
name = "other"
cpu = 1
steps = [CALL]
"""
CALLS = [
    '{ do = "munmap", at = 0x40000000, pages = 1 }',
    '{ do = "munmap", at = 0x40000000, pages = 512 }',
    '{ do = "mprotect", at = 0x40000000, pages = 512, writable = false }',
    '{ do = "dontneed", at = 0x40000000, pages = 512 }',
    '{ do = "mremap", from = 0x40000000, pages = 512, to = 0x60000000 }',
    '{ do = "migrate", at = 0x40000000 }',
]


def made(text, name="tlb"):
    return Scenario.from_text(f'name = "{name}"\nabout = "translations"\n{text}', "tlb.toml")


@pytest.mark.parametrize("call", FORGOTTEN)
@pytest.mark.parametrize("preset", ["unpatched", "interval-tree"])
def test_a_flush_that_a_call_forgets_is_missed_and_is_all_that_keeps_it_right(call, preset):
    scenario = made(FORGOTTEN[call])
    wrong = hunt(scenario, algorithms=[f"{preset},missing_flush={call}"], runs=500).results[0]
    assert wrong.violations.keys() == {"stale-translation"}
    (proved,) = verify(scenario, algorithms=[preset]).results
    assert proved.complete and proved.verdict.startswith("VERIFIED")


@pytest.mark.parametrize("preset", ["unpatched", "interval-tree"])
def test_a_migration_flushes_what_it_unmaps(preset):
    wrong = hunt(made(UNMAP), algorithms=[f"{preset},missing_flush=unmap"], runs=500).results[0]
    assert wrong.violations.keys() == {"stale-translation"}
    (proved,) = verify(made(UNMAP), algorithms=[preset], preemptions=3).results
    assert proved.complete and proved.verdict.startswith("VERIFIED under SC within 3 preemptions")


@pytest.mark.parametrize("huge", ["true", "false"])
@pytest.mark.parametrize("call", CALLS)
def test_no_release_leaves_a_translation_where_two_race(call, huge):
    scenario = made(USERS.replace("HUGE", huge).replace("CALL", call))
    for result in hunt(scenario, algorithms=["peeking", "unpatched", "interval-tree", "modern"], runs=300).results:
        assert result.violations == {}


def test_tasks_on_one_cpu_share_its_translations():
    """What one of them has accessed the other one accesses by that, also when the entry is gone."""
    text = (
        UNMAP.replace(", cpu = 0 }]", " }]")
        + '\n[[thread]]\nname = "second"\ncpu = CPU\nsteps = [{ do = "read", at = 0x40000000, pages = 1 }]\n'
    )
    for cpu in "0", "2":
        found = hunt(made(text.replace("CPU", cpu)), algorithms=["unpatched,missing_flush=unmap"], runs=2000).results[0]
        assert found.violations.keys() == {"stale-translation"}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("cpu = 1", "cpu = 64", "cpu: must be a number, from 0 to 63, not 64"),
        ("cpu = 1", "cpu = true", "cpu: must be a number, from 0 to 63, not true"),
        ("writable = false", "writable = false, cpu = 1", "cpu: belongs to a touch or read of setup, or to a thread"),
    ],
)
def test_a_cpu_is_a_number_and_of_a_thread_or_an_access_of_setup(old, new, said):
    with pytest.raises(UserError, match=said):
        made(PROTECT.replace(old, new))


def test_no_storm_of_a_program_with_a_tlb():
    with pytest.raises(UserError, match="no storm: the translations"):
        storm(made(PROTECT), seconds=1)
