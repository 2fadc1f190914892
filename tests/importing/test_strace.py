"""Logs of strace: every form of a line, who made a call, and what it means; what cannot be said has its reason."""

from errno import ENOMEM

import pytest

from anonvma_rt import Scenario, UserError
from anonvma_rt.importing.importer import ImportOptions, NothingSaid, import_scenario
from anonvma_rt.importing.strace import read_strace

RW, ANON = "PROT_READ|PROT_WRITE", "MAP_PRIVATE|MAP_ANONYMOUS"
MAPPED = f"mmap(NULL, 8192, {RW}, {ANON}, -1, 0) = 0x40000000\n"


def steps(text, **how):
    """What becomes of a log: (task, verb, its values and what it may return) in the order of the file."""
    how.setdefault("touch", "no")
    bound = Scenario.from_text(import_scenario(text, ImportOptions(**how)).text).bind({})
    threads = [(thread.name, call) for thread in bound.threads for call in thread.calls]
    return [(name, call.verb, *call.args, call.errno) for name, call in [*(("", c) for c in bound.setup), *threads]]


def not_said(text, **how):
    try:
        notes = import_scenario(text, ImportOptions(**how)).notes
    except NothingSaid as error:
        notes = error.notes
    return [(note.line, note.reason) for note in notes if note.kind == "not said"]


PREFIXES = [
    "",
    "14:22:48 ",
    "14:22:48.440410 ",
    "1795789368.456111 ",
    "1795789368.456111 (+     0.000292) ",
    "     0.000123 ",
    "[pid  77] ",
    "77  ",
    "77  14:22:48.440410 ",
    "[pid  77] 1795789368.456111 ",
    "[pid  77<a.out>] ",
    "[  11] ",
    "77 [00007f5d3b5d4e2b] ",
    "77 [ 231] [????????????????] ",
]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("suffix", ["", " <0.000012>"])
def test_a_call_is_read_whatever_stands_before_and_behind_it(prefix, suffix):
    text = f"{prefix}munmap(0x40000000, 8192)                = -1 EINVAL (Invalid argument){suffix}"
    (call,) = read_strace(text).calls
    assert (call.name, call.args, call.errno, call.result) == ("munmap", ("0x40000000", "8192"), "EINVAL", -1)
    assert call.task == ("77" if "77" in prefix else "0")


def test_the_first_task_gets_its_number_when_the_log_says_it():
    text = MAPPED + "fork(strace: Process 8 attached\n) = 8\n[pid 7] brk(NULL) = 0x1000\n[pid 8] getpid() = 8\n"
    text += "[pid 7] +++ exited with 0 +++\ngetpid() = 8\n"
    log = read_strace(text)
    assert [(call.task, call.name) for call in log.calls] == [
        ("7", "mmap"), ("7", "fork"), ("7", "brk"), ("8", "getpid"), ("7", "exited"), ("8", "getpid"),
    ]  # fmt: skip
    assert log.births["8"].parent == "7" and not log.births["8"].shares


def test_the_two_halves_of_a_call_are_one():
    text = "7 mmap(NULL, 8192, PROT_READ,  <unfinished ...>\n8 getpid() = 8\n"
    text += "7 <... mmap resumed>MAP_PRIVATE, 3, 0) = 0x7000\n"
    log = read_strace(text)
    assert [(call.name, call.line, call.end, call.args, call.result) for call in log.calls] == [
        ("mmap", 1, 3, ("NULL", "8192", "PROT_READ", "MAP_PRIVATE", "3", "0"), 0x7000),
        ("getpid", 2, 2, (), 8),
    ]
    assert (
        read_strace("7 <... mmap resumed>) = 0x7000\n").notes[0].reason
        == "the log does not have the beginning of this call"
    )


def test_a_log_that_ends_before_the_program():
    text = "[pid 7] munmap(0x1000, 4096) = 0\n[pid 8] munmap(0x2000, 4096strace: Process 7 detached\n"
    log = read_strace(text + "strace: Process 8 detached\n <detached ...>\n")
    assert [(call.task, call.args, call.result) for call in log.calls] == [
        ("7", ("0x1000", "4096"), 0),
        ("8", ("0x2000", "4096"), None),
    ]
    assert log.notes == []


def test_lines_that_are_no_calls_are_told_but_for_signals_and_messages():
    text = (
        "strace: Process 9 attached\n7 --- SIGCHLD {si_signo=SIGCHLD} ---\nhello, world\n\n > /lib/libc.so.6(brk+0x9)\n"
    )
    log = read_strace(text)
    assert log.calls == [] and [(note.line, note.text) for note in log.notes] == [(3, "hello, world")]


def test_what_each_call_means():
    text = (
        f"mmap(0x40000000, 16384, {RW}, {ANON}|MAP_FIXED, -1, 0) = 0x40000000\n"
        "mprotect(0x40000000, 4096, PROT_READ) = 0\n"
        "mremap(0x40001000, 4096, 8192, MREMAP_MAYMOVE) = 0x50000000\n"
        "mremap(0x50000000, 8192, 4096, 0) = 0x50000000\n"
        "brk(NULL) = 0x30000000\n"
        "brk(0x30003000) = 0x30003000\n"
        "brk(0x30001000) = 0x30001000\n"
        "move_pages(0, 3, [0x50000000, 0x40002000, 0x40003000], [0, 0, 0], [0, 0, 0], MPOL_MF_MOVE) = 0\n"
        "munmap(0x40000000, 5000) = 0\n"
    )
    found = steps(text, threads=1)
    # The last call is a thread.
    assert found.pop() == ("munmap-9", "munmap", 0x40000000, 2, 0)
    assert found == [
        ("", "mmap", 0x40000000, 4, 1, 0, 0, 0, 0, 0),
        ("", "mprotect", 0x40000000, 1, 0, 0),
        ("", "mremap", 0x40001000, 1, 2, 0x50000000, 1, 0, 0),
        ("", "mremap", 0x50000000, 2, 1, -1, 0, 0, 0),
        ("", "brk", 0x30000000, 3, 0),
        ("", "munmap", 0x30001000, 2, 0),
        ("", "move_pages", 0x50000000, 1, 0),
        ("", "move_pages", 0x40002000, 2, 0),
    ]  # fmt: skip


def test_a_stack_that_grows():
    text = (
        f"mmap(0x40000000, 8192, {RW}, {ANON}|MAP_FIXED|MAP_GROWSDOWN, -1, 0) = 0x40000000\n"
        "munmap(0x40000000, 4096) = 0\n"
    )
    made = steps(text)
    assert made[0][1:4] == ("mmap", 0x40000000, 2) and made[0] != steps(text.replace("|MAP_GROWSDOWN", ""))[0]


def test_pages_that_are_given_back():
    text = f"{MAPPED}madvise(0x40001000, 4096, MADV_DONTNEED) = 0\n"
    failed = "madvise(0x40001000, 8192, MADV_DONTNEED) = -1 ENOMEM (Cannot allocate memory)\n"
    assert steps(text)[-1][1:4] == ("dontneed", 0x40001000, 1)
    stack = f"mmap(NULL, 8192, PROT_NONE, {ANON}, -1, 0) = 0x50000000\nmprotect(0x50001000, 4096, {RW}) = 0\n"
    (*_, said) = steps(f"{stack}madvise(0x50000000, 8192, MADV_DONTNEED) = 0\n")
    assert said[1:4] == ("dontneed", 0x50000000, 2), "a guard below it is there, too"
    (*_, said) = steps(MAPPED + failed)
    assert said[1:4] == ("dontneed", 0x40001000, 2) and ENOMEM in said[4]


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0) = 0x41000000", "a mapping of a file"),
        ("mmap(NULL, 4096, PROT_READ, MAP_SHARED|MAP_ANONYMOUS, -1, 0) = 0x41000000", "shared memory"),
        (f"mmap(NULL, 2097152, PROT_READ, {ANON}|MAP_HUGETLB|21<<MAP_HUGE_SHIFT, -1, 0) = 0x41000000", "hugetlb"),
        (f"mmap(NULL, 0x200000000, PROT_NONE, {ANON}, -1, 0) = 0x41000000", "it reserves much"),
        (f"mmap(NULL, 4096, PROT_READ, {ANON}, -1, 0) = -1 ENOMEM (Cannot allocate memory)", "it failed"),
        (f"mmap(NULL, 4096, PROT_SILLY, {ANON}, -1, 0) = 0x41000000", "cannot be read"),
        ("mprotect(0x60000000, 4096, PROT_READ) = 0", "does not show who mapped"),
        ("munmap(0x60000000, 4096) = 0", "does not show who mapped"),
        ("mremap(0x60000000, 4096, 8192, MREMAP_MAYMOVE) = 0x61000000", "does not show who mapped"),
        ("madvise(0x40000000, 4096, MADV_FREE) = 0", "MADV_COLLAPSE only"),
        ("madvise(0x60000000, 4096, MADV_DONTNEED) = 0", "does not show who mapped"),
        ("mlock(0x40000000, 4096) = 0", "locked memory"),
        ("brk(0x99999000) = 0x30000000", "it failed"),
        ("move_pages(0, 1, [0x40000000], NULL, [0], 0) = 0", "asks where pages are"),
        ("fork() = -1 EAGAIN (Resource temporarily unavailable)", "it failed"),
        ("munmap(0x40000000, 4096 <unfinished ...>", "had not returned"),
        ("munmap(0x40000000, 4096) = ? ERESTARTSYS (To be restarted)", "a signal interrupted it"),
        ("munmap(0x40000000, 0x7fffffffffff000) = -1 EINVAL (Invalid argument)", "beyond 2**47"),
    ],
)
def test_what_cannot_be_said_has_its_line_and_its_reason(call, reason):
    ((line, found),) = not_said(f"{MAPPED}{call}\n")
    assert line == 2 and reason in found


def test_calls_about_other_things_are_counted():
    assert not_said(MAPPED + 'getpid() = 7\nread(3, "a, b) = 9", 20) = 9\ngetpid() = 7\n') == [
        (0, "3 calls are not about memory: getpid 2, read 1")
    ]


def test_a_file_mapped_over_memory_unmaps_it():
    text = f"{MAPPED}mmap(0x40001000, 4096, PROT_READ, MAP_PRIVATE|MAP_FIXED, 3, 0) = 0x40001000\n"
    assert steps(text, threads=1)[-1][1:4] == ("munmap", 0x40001000, 1)
    assert [line for line, _ in not_said(text)] == [2]
    with pytest.raises(NothingSaid, match="nothing of the 1 calls"):
        import_scenario("mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0) = 0x41000000\n")


def test_a_file_that_moves_over_memory_unmaps_it():
    text = f"{MAPPED}mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, 3, 0) = 0x50000000\n"
    text += "mremap(0x50000000, 8192, 4096, MREMAP_MAYMOVE|MREMAP_FIXED, 0x40001000) = 0x40001000\n"
    text += "munmap(0x40001000, 4096) = 0\nmunmap(0x50001000, 4096) = 0\nmunmap(0x40000000, 4096) = 0\n"
    assert [call[1:4] for call in steps(text, threads=1)[1:]] == [
        ("munmap", 0x40001000, 1),
        ("munmap", 0x40000000, 1),
    ]
    assert [line for line, _ in not_said(text)] == [2, 3, 4, 5]


def test_memory_without_rights_is_touched_when_it_gets_some():
    text = f"mmap(NULL, 16384, PROT_NONE, {ANON}|MAP_NORESERVE, -1, 0) = 0x41000000\n"
    text += f"mprotect(0x41001000, 8192, {RW}) = 0\nmprotect(0x41001000, 4096, PROT_NONE) = 0\n"
    assert steps(text, threads=1, touch="first") == [
        ("", "mmap", 0x41000000, 4, 2, 0, 0, 0, 1, 0),
        ("", "mprotect", 0x41001000, 2, 1, 0),
        ("", "touch", 0x41001000, 1, 1, 0),
        ("mprotect-3", "mprotect", 0x41001000, 1, 2, 0),
    ]
    assert not_said(text) == []


def test_much_memory_without_rights_is_there_when_it_gets_some():
    text = f"mmap(NULL, 0x200000000, PROT_NONE, {ANON}, -1, 0) = 0x41000000\n"
    text += f"mprotect(0x41001000, 8192, {RW}) = 0\nmprotect(0x41001000, 4096, PROT_READ) = 0\n"
    assert steps(text, threads=1) == [
        ("", "mmap", 0x41001000, 2, 1, 0, 0, 0, 0, 0),
        ("mprotect-3", "mprotect", 0x41001000, 1, 0, 0),
    ]
    assert [line for line, _ in not_said(text)] == [1]


def test_a_call_that_failed_fails_here_too_or_it_is_told():
    text = f"{MAPPED}munmap(0x40000001, 4096) = -1 EINVAL (Invalid argument)\n"
    text += "mremap(0x70000000, 4096, 8192, MREMAP_MAYMOVE) = -1 EFAULT (Bad address)\nmunmap(0x40000000, 4096) = 0\n"
    assert [call[-1] for call in steps(text, threads=1)] == [0, 22, 14, 0]
    odd = import_scenario(
        f"{MAPPED}munmap(0x40000000, 4096) = -1 ENOMEM (Cannot allocate memory)\n" + text.split("\n")[3]
    )
    assert "the log says ENOMEM, the lab's kernels say success" in str(odd.notes)
    assert '["", "ENOMEM"]' in odd.text


def test_an_execve_leaves_its_memory_behind():
    text = f'{MAPPED}fork() = 8\n8 execve("/bin/true", ["true"], 0x7ffd /* 3 vars */) = 0\n'
    text += f"8 mmap(NULL, 4096, {RW}, {ANON}, -1, 0) = 0x40000000\n8 munmap(0x40000000, 4096) = 0\n"
    scenario = Scenario.from_text(import_scenario(text).text)
    assert scenario.processes == ["main", "p8", "p8-2"]
    # The old memory of the child ends with it; the new one begins with nothing.
    verbs = [(call.verb, call.process) for thread in scenario.bind({}).threads for call in thread.calls]
    assert verbs == [("exit", 1), ("mmap", 2), ("touch", 2), ("munmap", 2)]


def test_nothing_that_looks_like_a_log_is_one_clear_line():
    with pytest.raises(UserError, match="no line looks like one of strace or syzkaller"):
        import_scenario("hello\nworld\n")
    with pytest.raises(UserError, match='unknown format "perf"'):
        import_scenario(MAPPED, ImportOptions(format="perf"))
