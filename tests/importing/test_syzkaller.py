"""Programs of syzkaller: every form of an argument, what is written before a call, and what is async."""

import pytest

from anonvma_rt import Scenario
from anonvma_rt.importing.importer import ImportOptions, import_scenario
from anonvma_rt.importing.syzkaller import DATA, read_syzkaller


def steps(text, **how):
    bound = Scenario.from_text(import_scenario(text, ImportOptions(**how)).text).bind({})
    threads = {thread.name: [(call.verb, *call.args) for call in thread.calls] for thread in bound.threads}
    return [(call.verb, *call.args) for call in bound.setup], threads


def test_calls_run_alone_until_the_first_one_that_is_async(program):
    setup, threads = steps(program, touch="no")
    assert setup == [
        ("mmap", DATA, 4096, 1, 0, 0, 0, 0),  # what the executor maps
        ("mmap", DATA, 8, 1, 0, 0, 0, 0),
        ("touch", DATA, 1, 1),  # the name of the file is written there
        ("mremap", DATA + 0x4000, 4, 4, DATA + 0x100000, 1, 0),
    ]
    assert threads == {
        "mremap-5": [("mremap", DATA + 0x100000, 4, 4, DATA + 0x4000, 1, 0)],
        "program": [("munmap", DATA, 1)],
    }
    imported = import_scenario(program)
    assert (imported.said, imported.calls) == (4, 5)
    assert [note.reason for note in imported.notes if note.line == 6] == [
        "of madvise the lab has MADV_DONTNEED and MADV_COLLAPSE only",
        "it is made 8 times, not 32",
    ]
    # Nobody knows what calls of a race return.
    assert 'errno = ["", "EFAULT", "ENOMEM"]' in imported.text


def test_the_last_calls_race_where_nothing_is_async(program):
    text = program.replace(" (async)", "").replace(" (async, rerun: 32)", "")
    assert list(steps(text)[1]) == ["mremap-5", "munmap-7"]
    assert list(steps(text, threads=3)[1]) == ["mremap-4", "mremap-5", "munmap-7"]
    assert list(steps(text, migrate=True)[1]) == ["munmap-7", "migrate"]


@pytest.mark.parametrize(
    ("args", "writes"),
    [
        ("&(0x7f0000000040)='./file0\\x00'", [(0x40, 1)]),
        ('&(0x7f0000000040)="0102030405"', [(0x40, 5)]),
        ('&(0x7f0000000040)=""/4096', []),
        ("&(0x7f0000000040)", []),
        ("&(0x7f0000001000/0x2000)=nil", []),
        ('&(0x7f0000000040)=ANY=[@ANYBLOB="01", @ANYRES32=r0]', [(0x40, 1)]),
        ('&(0x7f0000000040)=[{&(0x7f0000002000)="aabb", 0x2}], 0x1', [(0x40, 1), (0x2000, 2)]),
        ("&(0x7f0000000040)={0x0, <r1=>0x0}", [(0x40, 1)]),
        ("&AUTO='x'", []),
        ("0x0, 'a), b(', r0", []),
    ],
)
def test_data_of_arguments_is_written_before_the_call(args, writes):
    (call,) = read_syzkaller(f"r2 = socket$unix(0x1, {args}, 0x0)\n").calls
    assert list(call.writes) == [(DATA + at, size) for at, size in writes]


def test_properties_errnos_comments_and_broken_lines():
    text = (
        "# a comment\n\n"
        "munmap(&(0x7f0000000001/0x1000)=nil, 0x1000) # EINVAL\n"
        "mremap(&(0x7f0000000000/0x1000)=nil, 0x1000,\n0x2000, 0x0) (fail_nth: 3)\n"
        "r0 = mmap$KVM_VCPU(&(0x7f0000001000/0x1000)=nil, r4, 0x3, 0x1, r3, 0x0)\n"
        "ioctl$A$B(r0, 0x1) (async, rerun: 2)\n"
        "this is none\n"
    )
    log = read_syzkaller(text)
    assert [(call.name, call.line, call.end, call.errno, call.times) for call in log.calls] == [
        ("munmap", 3, 3, "EINVAL", 1),
        ("mremap", 4, 5, "", 1),
        ("mmap", 6, 6, "", 1),
        ("ioctl", 7, 7, "", 2),
    ]
    assert [(note.line, note.reason) for note in log.notes] == [
        (4, "the property fail_nth is left out"),
        (8, "no call of syzkaller's that can be read"),
    ]
    assert log.race == 7 and log.calls[3].task == "ioctl-7"


def test_of_a_log_with_several_programs_the_last_is_read():
    text = "10:00:00 executing program 1:\nmunmap(&(0x7f0000000000/0x1000)=nil, 0x1000)\n"
    text += "10:00:01 executing program 0:\nmunmap(&(0x7f0000002000/0x1000)=nil, 0x1000)\n"
    setup, threads = steps(text)
    assert threads == {"munmap-4": [("munmap", DATA + 0x2000, 1)]} and len(setup) == 1


def test_what_a_program_does_not_say_is_told():
    text = (
        "mmap(0x0, 0x1000, 0x3, 0x22, 0xffffffffffffffff, 0x0)\n"
        "mmap(&(0x7f0000000000/0x1000)=nil, 0x1000, 0x3, 0x8031, 0xffffffffffffffff, 0x0)\n"
        "mremap(&(0x7f0000fff000/0x1000)=nil, 0x1000, 0x2000, 0x1)\n"
        "brk(0x0)\n"
        "syz_clone(0x11, 0x0, 0x0, 0x0, 0x0, 0x0)\n"
        "move_pages(0x0, 0x2, &(0x7f0000000000)=[&(0x7f0000ffc000/0x3000)=nil, &(0x7f0000ffd000)=nil], "
        "&(0x7f0000000040)=[0x0], &(0x7f0000000080), 0x2)\n"
    )
    imported = import_scenario(text)
    assert (imported.said, imported.calls) == (3, 6)
    assert {note.line for note in imported.notes if note.kind == "not said"} == {1, 2, 4}
    assert 'do = "fork", process = "main", child = "child1"' in imported.text
    assert 'do = "move_pages", process = "main", at = 0x20ffc000, pages = 2' in imported.text


def test_what_a_program_calls_that_fails_may_fail():
    text = "mremap(&(0x7f0000000000/0x3000)=nil, 0x3000, 0x2000, 0x3, &(0x7f0000001000/0x2000)=nil)\n"
    assert (
        'errno = "EINVAL"'
        in import_scenario(f"{text}munmap(&(0x7f0000000000/0x1000)=nil, 0x1000)\n", ImportOptions(threads=1)).text
    )
    # In a race nobody knows.
    raced = import_scenario(f"{text}munmap(&(0x7f0000000000/0x1000)=nil, 0x1000)\n", ImportOptions(threads=2)).text
    assert 'errno = ["", "EFAULT", "EINVAL", "ENOMEM"]' in raced
