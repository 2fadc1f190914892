"""There and back: drawn scenarios written as a log give the same calls again, and so do real programs under strace."""

import shutil
import subprocess
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anonvma_rt import Machine, Scenario, UserError, hunt
from anonvma_rt.importing.importer import ImportOptions, import_scenario
from anonvma_rt.importing.strace import read_strace
from anonvma_rt.importing.syzkaller import DATA
from anonvma_rt.mm.lab.syscall import PROT_WORDS

PAGE = 4096
BASE = 1 << 30
ANON = "MAP_PRIVATE|MAP_ANONYMOUS"

page = st.integers(0, 40)
length = st.integers(1, 8)
rights = st.sampled_from(["write", "write", "read", "none"])
calls = st.lists(
    st.one_of(
        st.tuples(st.just("mmap"), page, length, rights),
        st.tuples(st.just("munmap"), page, length),
        st.tuples(st.just("mprotect"), page, length, rights),
        st.tuples(st.just("mremap"), page, length, length, st.one_of(st.none(), page)),
        st.tuples(st.just("fork")),
    ),
    min_size=2,
    max_size=12,
)
# How a line may begin and end.
heads = st.sampled_from(["{task} ", "[pid {task}] ", "{task} 10:20:30.123456 ", "[pid {task}] 1795789368.456111 "])
tails = st.sampled_from(["", " <0.000012>"])


def written(drawn):
    """(text behind the task, what the scenario should have) of each call, made on a Machine for its results."""
    machine = Machine("modern")
    process = machine.process()
    for name, *args in drawn:
        if name == "fork":
            pid = 100 + len(machine.processes)
            process.fork()
            yield f"fork() = {pid}", ("fork", pid)
            continue
        at = BASE + args[0] * PAGE
        rights = {"write": "PROT_READ|PROT_WRITE", "none": "PROT_NONE"}.get(args[-1], "PROT_READ")
        if name == "mmap":
            text, call = f"mmap({at:#x}, {args[1] * PAGE}, {rights}, {ANON}|MAP_FIXED, -1, 0)", (at, args[1], args[2])
            made = (process.mmap, args[1], at, True, False, False, args[2])
        elif name == "munmap":
            text, call, made = f"munmap({at:#x}, {args[1] * PAGE})", (at, args[1]), (process.munmap, at, args[1])
        elif name == "mprotect":
            text, call = f"mprotect({at:#x}, {args[1] * PAGE}, {rights})", (at, args[1], args[2])
            made = (process.mprotect, at, args[1], None, args[2])
        else:
            to = None if args[3] is None else BASE + args[3] * PAGE
            flags = "MREMAP_MAYMOVE" if to is None else f"MREMAP_MAYMOVE|MREMAP_FIXED, {to:#x}"
            text = f"mremap({at:#x}, {args[1] * PAGE}, {args[2] * PAGE}, {flags})"
            call, made = (at, args[1], args[2], to), (process.mremap, at, args[1], args[2], to)
        try:
            result = made[0](*made[1:])
        except OSError as error:
            yield f"{text} = -1 {error.strerror and _name(error)} (why)", (name, call, _name(error))
        else:
            if name == "mremap" and result != at:
                call = (*call[:3], result)
            yield f"{text} = {hex(result) if result else 0}", (name, call, "")


def _in_order(expected, found):
    """Pairs of the same call, where the second list may have more."""
    rest = iter(found)
    for one in expected:
        for other in rest:
            if one[:2] == other[:2]:
                yield one, other
                break


def _name(error):
    from errno import errorcode

    return errorcode[error.errno]


def said(imported):
    """The same of what was imported."""
    from errno import errorcode

    bound = Scenario.from_text(imported.text).bind({})
    calls = [*bound.setup, *(call for thread in bound.threads for call in thread.calls)]
    for call in calls:
        right = [errorcode.get(one, "") for one in call.right]
        if call.verb == "fork":
            yield "fork", int(bound.processes[call.args[0]][1:])
        elif call.verb == "mremap":
            yield "mremap", (*call.args[:3], None if call.args[3] < 0 else call.args[3]), right
        elif call.verb == "mmap":
            yield "mmap", (*call.args[:2], PROT_WORDS[call.args[2]]), right
        elif call.verb == "mprotect":
            yield "mprotect", (*call.args[:2], PROT_WORDS[call.args[2]]), right
        else:
            yield call.verb, call.args, right


@settings(max_examples=60, deadline=None)
@given(calls, heads, tails)
def test_a_log_gives_back_the_calls_that_were_written(drawn, head, tail):
    lines = list(written(drawn))
    text = "".join(f"{head.format(task=7)}{line}{tail}\n" for line, _ in lines)
    try:
        imported = import_scenario(text, ImportOptions(touch="no", threads=1))
    except UserError as error:
        assert "nothing of the" in str(error) or "nothing of the log" in str(error)
        return
    gone = {note.line for note in imported.notes if note.kind == "not said"}
    expected = [call for number, (_, call) in enumerate(lines, 1) if number not in gone]
    found = list(said(imported))
    # An mremap of what nobody mapped is left out, and unmaps what it would have.
    more = sum(lines[number - 1][1][0] == "mremap" for number in gone)
    pairs = list(_in_order(expected, found))
    assert len(pairs) == len(expected) and len(found) <= len(expected) + more
    assert all(one[0] == "fork" or one[2] in other[2] for one, other in pairs)
    # Only what finds nothing, or a rule of the log's own kernel, is left out.
    for number in gone:
        assert lines[number - 1][1][2] == "" or lines[number - 1][1][0] != "mmap"
    assert hunt(Scenario.from_text(imported.text), runs=5, algorithms=["modern"]).as_expected


@settings(max_examples=60, deadline=None)
@given(calls)
def test_a_fold_keeps_what_every_call_returns_and_how_many_areas_there_are(drawn):
    text = "".join(f"{line}\n" for line, _ in written(drawn)).replace("0x4", "0x7f4")
    kept, folded = (_areas(text, fold) for fold in (False, True))
    assert kept == folded


def _areas(text, fold):
    """The sizes of the areas in the end, and the gaps between them as far as they are short."""
    try:
        bound = Scenario.from_text(import_scenario(text, ImportOptions(touch="no", threads=1, fold=fold)).text).bind({})
    except UserError:
        return None
    machine = Machine("modern")
    processes = [machine.process() for _ in bound.processes]
    results = []
    for call in [*bound.setup, *bound.threads[0].calls]:
        try:
            machine._call(call.verb, call.process, call.args)
            results.append(0)
        except OSError as error:
            results.append(error.errno)
    return results, [[(vma.pages, vma.writable) for vma in process.maps()] for process in processes]


@pytest.mark.parametrize("name", ["strace", "syzkaller"])
@pytest.mark.parametrize(
    "text",
    [
        "munmap(\n" * 20_000,
        "fork(" * 200_000,
        "7 fork() = 8 " * 50_000,
        "&(0x1)=" * 100_000,
        "[" * 300_000,
        "a()\n" * 50_000,
        "munmap(0x1, strace: Process 7 attached\n" * 10_000,
    ],
    ids=["open", "fork", "born", "pointers", "brackets", "calls", "attached"],
)
def test_a_hostile_log_costs_no_more_than_its_length(name, text):
    began = time.monotonic()
    with pytest.raises(UserError):
        import_scenario(text, ImportOptions(format=name))
    assert time.monotonic() - began < 40


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="mremap(0x4,)=-1 EINVAL<>.[]pid\n\"'{}&/#unfinished resumed7", max_size=200))
def test_no_text_makes_it_fail_in_another_way(text):
    for name in ("strace", "syzkaller", None):
        try:
            import_scenario(text, ImportOptions(format=name))
        except UserError as error:
            assert str(error)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["munmap", "mprotect", "touch"]), page, length), min_size=1, max_size=10))
def test_a_program_gives_back_the_calls_that_were_written(drawn):
    rows, expected, gone = [], [], set()
    for name, at, pages in drawn:
        area = f"&(0x{0x7F0000000000 + at * PAGE:x}/0x{pages * PAGE:x})=nil"
        if name == "touch":
            rows.append(f'write(r0, &(0x{0x7F0000000000 + at * PAGE + 8:x})="00ff", 0x2)')
        else:
            rows.append(f"{name}({area}, 0x{pages * PAGE:x}{', 0x3' if name == 'mprotect' else ''})")
        # What was unmapped cannot be written to.
        if name != "touch" or at not in gone:
            expected.append((name, DATA + at * PAGE, 1 if name == "touch" else pages))
        if name == "munmap":
            gone |= set(range(at, at + pages))
    rows.append("munmap(&(0x7f0000f00000/0x1000)=nil, 0x1000)")
    imported = import_scenario("\n".join(rows), ImportOptions(threads=1))
    bound = Scenario.from_text(imported.text).bind({})
    found = [(call.verb, *call.args[:2]) for call in bound.setup[1:]]
    assert found == expected


# ---- real programs ---------------------------------------------------------------------------------------------------

TREE = r"""
#define _GNU_SOURCE
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#define P 4096
int main(void) {
    char *a = mmap(0, 8 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(a, 1, 8 * P);
    a = mremap(a, 8 * P, 16 * P, MREMAP_MAYMOVE);
    munmap((void *)1, P);
    for (int i = 0; i < 2; i++)
        if (!fork()) {
            munmap(a + 2 * P, 2 * P);
            mremap(a, P, P, MREMAP_MAYMOVE | MREMAP_FIXED, a + 8 * P);
            _exit(0);
        }
    mprotect(a, P, PROT_READ);
    while (wait(0) > 0)
        ;
    return 0;
}
"""
THREADS = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#define P 4096
static char *area, *away;
static void *mover(void *nothing) {
    for (int i = 0; i < 2; i++) {
        mremap(area + 4 * P, 4 * P, 4 * P, MREMAP_MAYMOVE | MREMAP_FIXED, away);
        mremap(away, 4 * P, 4 * P, MREMAP_MAYMOVE | MREMAP_FIXED, area + 4 * P);
    }
    return nothing;
}
int main(void) {
    pthread_t t;
    area = mmap(0, 8 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    away = mmap((void *)0x7e0000000000, 4 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(area, 1, 8 * P);
    pthread_create(&t, 0, mover, 0);
    mprotect(area, P, PROT_READ);
    pthread_join(t, 0);
    return 0;
}
"""


def strace(tmp_path, source, *options):
    """A log of a program."""
    if not shutil.which("strace") or not shutil.which("cc"):
        pytest.skip("needs strace and cc")
    (tmp_path / "a.c").write_text(source)
    subprocess.run(["cc", "-pthread", "-o", "a.out", "a.c"], cwd=tmp_path, check=True, timeout=60)
    log = tmp_path / "log"
    command = ["strace", "-f", *options, "-e", "trace=%memory,process"]
    if "-o" in options:
        log = tmp_path / options[options.index("-o") + 1]
    done = subprocess.run([*command, "./a.out"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    if done.returncode:
        pytest.skip(f"strace may not trace here: {done.stderr[-200:]}")
    return log.read_text() if "-o" in options else done.stderr


FORMS = [("-o", "log"), ("-tt", "-T"), ("-ttt", "-r", "-o", "log"), ("-r",), ()]


@pytest.mark.parametrize("options", FORMS)
@pytest.mark.parametrize("source", [TREE, THREADS], ids=["tree", "threads"])
def test_a_real_log_runs_without_a_wrong_errno(tmp_path, source, options):
    text = strace(tmp_path, source, *options)
    assert not [note for note in read_strace(text).notes]
    imported = import_scenario(text, ImportOptions(fold=True, migrate=True, touch="all"))
    assert not [note for note in imported.notes if "the lab's kernels say" in note.reason]
    reasons = {note.reason.split(":")[0] for note in imported.notes if note.kind == "not said" and note.line}
    # What the loader does with files, the stack of a thread, and what the kernel mapped.
    assert {reason.split(" line")[0] for reason in reasons} <= {
        "a mapping of a file", "the log does not show who mapped that memory", "the memory is what",
        "of madvise the lab has MADV_DONTNEED and MADV_COLLAPSE only",
        "it reserves much and gives nobody a right to it",
    }  # fmt: skip
    made = Scenario.from_text(imported.text)
    algorithms = ["modern", "moveto-tail,free_root_first=false"]
    assert all(not one.violations for one in hunt(made, runs=200, algorithms=algorithms).results)


def test_the_race_of_2011_comes_out_of_a_real_log(tmp_path):
    text = strace(tmp_path, THREADS, "-o", "log")
    mover = next(line.split()[0] for line in text.splitlines() if "mremap(" in line)
    imported = import_scenario(text, ImportOptions(fold=True, migrate=True, tasks=(mover,)))
    result = hunt(Scenario.from_text(imported.text), runs=4000)
    assert [set(one.violations) for one in result.results] == [{"stale-migration-entry"}, set()]
