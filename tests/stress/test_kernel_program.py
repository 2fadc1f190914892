"""The 2011 program for real kernels: it finds what is planted, finds nothing here, and leaves this host as it was.

The runs go through the C program itself and through the verb that builds it. What this host lacks is a reason to skip,
in the program's own words.
"""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from anonvma_rt.cli import main
from anonvma_rt.errors import UserError
from anonvma_rt.stress.kernel.run import SOURCE, compiler

FIELDS = {
    "mode", "kernel", "pages", "mapping_pages", "seconds", "rounds", "round_trips", "migrations_attempted",
    "migrations_succeeded", "frames_changed", "entries_set", "moved_in_flight", "trace_gaps", "stale_entries",
    "stale_rounds", "content_errors", "killed", "hung", "interrupted",
}  # fmt: skip
# Puts a wrong thing between two mremaps: HOW 0 changes a page, HOW 1 leaves an entry of the form that a stale one has
# (MADV_GUARD_INSTALL, Linux 6.13). The page is an odd one, which mode compaction keeps.
PLANT = """
#define _GNU_SOURCE
#include <sys/mman.h>
#include <unistd.h>
static void *planting_mremap(void *from, size_t old, size_t new, int flags, void *to)
{
    const long page = sysconf(_SC_PAGESIZE);
    char *place = mremap(from, old, new, flags, to);
    if (HOW)
        madvise(place + page, page, 102);
    else
        ++*(long *)(place + page);
    return place;
}
#define mremap planting_mremap
"""
NOBODY = 65534


def build(folder, *flags):
    """The program, static where this host can link so, and without a warning."""
    program = folder / "program"
    strict = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-pthread", *flags]
    for static in (["-static"], []):
        command = [*compiler(), *strict, *static, "-o", str(program), str(SOURCE)]
        built = subprocess.run(command, capture_output=True, text=True)
        if built.returncode == 0:
            return program
    raise AssertionError(built.stderr)


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    try:
        return build(tmp_path_factory.mktemp("kernel"))
    except UserError as lack:
        pytest.skip(str(lack))


@pytest.fixture(autouse=True)
def one_at_a_time(tmp_path_factory):
    """What one test leaves for a moment, another one would find; and the whole host is compacted each time."""
    shared = tmp_path_factory.getbasetemp()
    with open((shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared) / "kernel.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(*command):
    """A run that this host may lack something for."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120)
    if done.returncode == 2 and " needs " in done.stderr:
        assert done.stderr.count("\n") == 1 and done.stdout == ""
        pytest.skip(done.stderr.strip())
    return done


def refused(*command, **options):
    """The one line with which the program says no."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=120, **options)
    assert (done.returncode, done.stdout) == (2, ""), done
    assert done.stderr.count("\n") == 1
    return done.stderr


def state_of_the_host():
    """What a program that forgets to tidy up would leave: mounts, trace instances and switches, a folder."""
    tracing = Path("/sys/kernel/tracing")
    # Other tests mount small file systems in folders of pytest's meanwhile.
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if "/pytest-" not in line]
    state = {"mounts": mounts}
    for switch in ("tracing_on", "set_event", "events/enable", "events/migrate/enable", "trace_clock"):
        if os.access(tracing / switch, os.R_OK):
            state[switch] = (tracing / switch).read_text()
    state["instances"] = sorted(os.listdir(tracing / "instances")) if (tracing / "instances").is_dir() else []
    state["folders"] = folders_of_a_build()
    return state


def folders_of_a_build():
    return [name for name in os.listdir(tempfile.gettempdir()) if name.startswith("anonvma-rt-")]


# ---- on this host ----------------------------------------------------------------------------------------------------


def test_two_seconds_on_this_host_find_nothing_and_leave_nothing(program):
    before = state_of_the_host()
    begun = time.monotonic()
    done = run(program, "--seconds", 2, "--json")
    took = time.monotonic() - begun
    told = json.loads(done.stdout)
    assert done.returncode == 0 and done.stderr == "", done
    assert told.keys() == FIELDS
    assert told["mode"] in ("shot", "compaction") and told["kernel"] == os.uname().release
    assert 2 <= told["seconds"] <= took < 30
    assert told["rounds"] > 0 and told["round_trips"] > 0 and told["interrupted"] is False
    for bad in ("stale_entries", "stale_rounds", "content_errors", "killed", "hung"):
        assert told[bad] == 0, told
    if told["moved_in_flight"] is not None:
        assert 0 <= told["moved_in_flight"] <= told["entries_set"]
    assert state_of_the_host() == before


def test_in_words_it_says_the_same(program):
    done = run(program, "--seconds", "0.5", "--pages", 100)
    first, *others = done.stdout.splitlines()
    assert re.fullmatch(r"mode \w+ on Linux \S+: 100 of \d+ pages moved to and fro for \d+\.\d+ seconds", first)
    values = dict(line.split() for line in others)
    assert values.keys() == FIELDS - {"mode", "kernel", "pages", "mapping_pages", "seconds", "interrupted"}
    assert values["stale_entries"] == "0"


@pytest.mark.parametrize(("how", "what"), [(0, "content_errors"), (1, "stale_entries")])
def test_what_is_planted_is_found(tmp_path, program, how, what):
    (tmp_path / "plant.h").write_text(PLANT)
    planted = build(tmp_path, f"-DHOW={how}", "-include", str(tmp_path / "plant.h"))
    done = run(planted, "--seconds", 1, "--json")
    told = json.loads(done.stdout)
    if how and told["stale_entries"] == 0:
        pytest.skip("this kernel has no MADV_GUARD_INSTALL")
    assert done.returncode == 1
    assert told[what] >= 1
    assert told["stale_entries" if what == "content_errors" else "content_errors"] == 0
    # Whoever waited with the planted entry is gone.
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK)]
    assert not [command for command in commands if str(planted).encode() in command]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_reports_and_tidies_up(program, number):
    before = state_of_the_host()
    run(program, "--seconds", "0.1")  # skips where nothing can run
    process = subprocess.Popen([program, "--seconds", "600", "--json"], stdout=subprocess.PIPE, text=True)
    time.sleep(1)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    told = json.loads(out)
    assert process.returncode == 130 and told["interrupted"] is True
    assert told["rounds"] >= 1 and told["stale_entries"] == 0 and told["hung"] == 0
    assert state_of_the_host() == before


KILLED_WITH_9 = """
mount --make-rprivate / && mount -t tracefs tracefs /sys/kernel/tracing && cd /sys/kernel/tracing/instances || exit 3
"$0" --seconds 60 & victim=$!
sleep 1; echo before: anonvma_kernel-*
kill -9 $victim; sleep 1; echo after: anonvma_kernel-*
"""


def test_killed_with_9_it_leaves_no_trace_instance(program):
    if os.geteuid() or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare")
    run(program, "--seconds", "0.1")
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", KILLED_WITH_9, str(program)], capture_output=True, text=True, timeout=60
    )
    if done.returncode == 3 or "before: anonvma_kernel-*" in done.stdout:
        pytest.skip(f"nothing is traced here: {done.stderr.strip()}")
    assert re.search(r"^before: anonvma_kernel-\d+$", done.stdout, re.M)
    assert "after: anonvma_kernel-*" in done.stdout


def test_as_init_it_mounts_what_it_needs_reports_and_powers_off(program, tmp_path):
    """In namespaces of its own, in an empty root, where it cannot tell that this is no virtual machine."""
    if os.geteuid() or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare")
    shutil.copy(program, tmp_path / "init")
    before = state_of_the_host()
    namespaces = ["unshare", "--pid", "--fork", "--mount", "chroot", str(tmp_path)]
    words = ["/init", "--", "unknown-word", "--seconds", "1"]
    done = subprocess.run([*namespaces, *words], capture_output=True, text=True, timeout=120)
    if "No such file" in done.stderr or "not permitted" in done.stderr:
        pytest.skip(done.stderr.strip())
    # A namespace that powers off is one whose init gets a signal.
    assert done.returncode in (-signal.SIGINT, 128 + signal.SIGINT), done
    for mode in ("shot", "compaction"):
        assert f"mode {mode} on Linux" in done.stdout or f"mode {mode} needs" in done.stderr
    assert not os.listdir(tmp_path / "proc") and not os.listdir(tmp_path / "sys")
    assert state_of_the_host() == before


# ---- what it refuses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--mode", "both"], "--mode must be shot or compaction"),
        (["--seconds", "0"], "--seconds must be a number from 0.1 to 86400"),
        (["--seconds", "nan"], "--seconds"),
        (["--seconds"], "its value is missing"),
        (["--pages", "1.5"], "--pages must be a whole number"),
        (["--pages", "-1"], "--pages must be a whole number from 1"),
        (["--megabytes", "many"], "--megabytes must be a whole number"),
        (["--colour"], "there is no such option"),
        (["shot"], "only options"),
    ],
)
def test_wrong_options_are_one_line(program, words, says):
    assert says in refused(program, *words)


def test_a_report_that_cannot_be_written_is_told(program):
    run(program, "--seconds", "0.1")
    with open("/dev/full", "w") as full:
        done = subprocess.run([program, "--seconds", "0.1"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "the report: No space left" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--mode", "compaction", "--megabytes", "1", "--pages", "4000"], "--pages must be at most"),
        (["--mode", "compaction", "--megabytes", "1000000"], "a quarter of the free memory"),
    ],
)
def test_sizes_that_do_not_fit_are_one_line(program, words, says):
    told = refused(program, *words)
    if " needs " in told:
        pytest.skip(told.strip())
    assert says in told


def nodes():
    return len(list(Path("/sys/devices/system/node").glob("node[0-9]*")))


@pytest.mark.skipif(nodes() > 1, reason="this host has two NUMA nodes")
def test_mode_shot_needs_two_nodes(program):
    assert "mode shot needs two NUMA nodes, and this host has one" in refused(program, "--mode", "shot")


@pytest.mark.parametrize("words", [["--mode", "compaction"], []])
def test_without_root_it_says_so(program, words, tmp_path):
    anyone = tempfile.mkdtemp()  # the folders of pytest are closed to others
    try:
        os.chmod(anyone, 0o755)
        copy = shutil.copy(program, anyone)
        as_nobody = {} if os.geteuid() else {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        told = refused(copy, *words, **as_nobody)
    finally:
        shutil.rmtree(anyone)
    assert "mode compaction needs" in told
    assert words or "mode shot needs" in told


# ---- the verb --------------------------------------------------------------------------------------------------------


def verb(*words):
    return [sys.executable, "-m", "anonvma_rt", "kernel", *words]


def test_the_verb_builds_runs_and_relays(program):
    before = state_of_the_host()
    done = run(*verb("--seconds", "1", "--pages", "50", "--json"))
    told = json.loads(done.stdout)
    assert done.returncode == 0 and told.keys() == FIELDS
    assert told["pages"] == 50 and told["stale_entries"] == 0
    assert state_of_the_host() == before


def test_the_verb_relays_a_refusal(program, capfd):
    assert main(["kernel", "--seconds", "0"]) == 2
    told = capfd.readouterr()
    assert told.out == "" and told.err.count("\n") == 1 and "--seconds must be" in told.err


@pytest.mark.parametrize(
    ("words", "compiler", "says"),
    [
        (["--mode", "both"], "cc", "--mode"),
        (["--pages", "many"], "cc", "--pages must be a whole number"),
        ([], "/no/such/cc", 'needs a C compiler, and "/no/such/cc" is not there'),
        ([], "false", "the C compiler failed"),
    ],
)
def test_what_the_verb_cannot_do_is_one_line(words, compiler, says, monkeypatch, capfd):
    monkeypatch.setenv("CC", compiler)
    assert main(["kernel", *words]) == 2
    told = capfd.readouterr()
    assert told.out == "" and told.err.count("\n") == 1 and says in told.err


def test_a_signal_to_the_verb_alone_ends_the_program(program):
    before = state_of_the_host()
    run(program, "--seconds", "0.1")
    process = subprocess.Popen(verb("--seconds", "600", "--json"), stdout=subprocess.PIPE, text=True)
    for _ in range(600):  # until it has compiled
        if Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().strip() and not folders_of_a_build():
            break
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(out)["interrupted"] is True
    assert state_of_the_host() == before
