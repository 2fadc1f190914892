"""What people read of a program's execution: the line of each step, in every form, and call stacks that are theirs."""

import contextlib
import io
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from anonvma_rt import Reproducer, hunt, native
from anonvma_rt.__main__ import main
from anonvma_rt.execution.record import record
from anonvma_rt.execution.reproducer import FoundBy
from anonvma_rt.execution.schedule import Schedule
from anonvma_rt.show.dmesg import dmesg
from anonvma_rt.show.html import html_page
from anonvma_rt.show.perfetto import perfetto_events
from anonvma_rt.show.story import story_of
from anonvma_rt.show.svg import svg_picture

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples" / "native"

SMALLEST = "0x3 1x3 2x6 1x3 0x2"
# An execution of tally.c that goes wrong, whatever the usual strategy is.
FOURTH = {"strategy": "urw", "start": 4}

pytestmark = pytest.mark.skipif(
    shutil.which("gcc") is None or shutil.which("addr2line") is None, reason="programs are compiled, and looked up"
)


def told(*words):
    """What the command prints."""
    out = io.TextIOWrapper(io.BytesIO(), "utf-8")
    with contextlib.redirect_stdout(out):
        main([str(word) for word in words])
    out.seek(0)
    return out.read()


def found(program, **options):
    """A file of its first violation."""
    (one,) = hunt(program, runs=20, out="reproducers", **options).results
    return one.first.reproducer


def story(program, file):
    return story_of(Reproducer.load(file, [program]), stacks=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("shown")
    for name in ("tally.c", "queue.cpp"):
        shutil.copy(EXAMPLES / name, made)
    return made


@pytest.fixture
def tally(folder, monkeypatch):
    """A program that lies in the current folder, and a file of its violation."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "110")
    program = native("tally.c")
    return program, found(program, **FOURTH)


def test_the_page_shows_what_is_printed(tally):
    page = (ROOT / "docs" / "native.md").read_text()
    program, _ = tally
    file = found(program)
    large = Reproducer.load(file, [program])
    # What `shrink` makes of it, which takes a while.
    small = replace(large, parameters={"N": 2, "FIXED": 0}, schedule=Schedule.checked(SMALLEST, ""))
    with small.open(bound := small.program()) as explorer:
        made = record(bound, small.algorithm, explorer)
    assert f"reproducers/{small.name()}" == file and file.removesuffix(".json") in page
    Reproducer.of(made, FoundBy("assertion", "portfolio", 0, 0)).save(Path("small.json"))
    shown = told("show", "small.json", "--subject", "tally.c")
    block = next(block for block in re.findall(r"^```text\n(.*?)^```$", page, re.M | re.S) if "switches" in block)
    table = block[block.index("   step  ") :].splitlines()
    assert len(table) == 26 and [line for line in table if line not in shown.splitlines()] == []


def test_each_step_says_where_it_is_made(tally):
    made = story(*tally)
    lines = Path("tally.c").read_text().split("\n")
    words = {"locks lock": "pthread_mutex_lock(&lock);", "unlocks lock": "pthread_mutex_unlock(&lock);"}
    seen = set()
    for event, text in made.trace.texts(full=True):
        place = made.trace.source(event)
        wanted = words.get(text) or ("pthread_" if text.startswith(("begins", "joins")) else None)
        assert (place is None) == (wanted is None), text
        if place is not None:
            assert (Path(place.file).name, place.text) == ("tally.c", lines[place.line - 1].strip())
            assert wanted in place.text
            seen.add(place.line)
    assert len(seen) == 6


def test_every_form_has_the_lines(tally):
    made = story(*tally)
    at = "tally.c:21: pthread_mutex_lock(&lock);"
    assert f"locks lock ({at})".replace("&", r"\u0026") in html_page(made)
    assert f"locks lock ({at})".replace("&", "&amp;") in svg_picture(made)
    (event, *_) = [one for one in perfetto_events(made) if one["name"] == "locks lock" and one["ph"] == "i"]
    assert event["args"] == {"where": "tally.c:21", "source": "pthread_mutex_lock(&lock);"}
    file = tally[1]
    shown = json.loads(told("show", file, "--subject", "tally.c", "--json"))
    row = shown["rows"].index([8, "thread 1", "locks lock"])
    assert shown["places"][row] == [str(Path("tally.c").resolve()), 21, "pthread_mutex_lock(&lock);"]
    for verb in ("show", "replay"):
        assert "\n      8  21  " in told(verb, file, "--subject", "tally.c")


def test_a_narrow_table_has_the_source_beside_each_step(tally, monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    file = tally[1]
    shown = told("show", file, "--subject", "tally.c")
    assert "      8  21    1 thread 1: locks lock | pthread_mutex_lock(&lock);\n" in shown


def test_stepping_says_where(tally, monkeypatch):
    file = tally[1]
    monkeypatch.setattr("sys.stdin", io.StringIO("step 8\n"))
    assert "      8  thread 1: locks lock (tally.c:21: pthread_mutex_lock(&lock);)\n" in told(
        "step", file, "--subject", "tally.c"
    )


def test_stacks_are_the_programs_own(folder, monkeypatch):
    monkeypatch.chdir(folder)
    queue = native("queue.cpp")
    report = re.sub(r"^\[.*?\] ?", "", dmesg(story(queue, found(queue, strategy="sticky", start=2))), flags=re.M)
    assert "BUG: anonvma_rt: lost-wakeup in thread 2 / main / Queue::take\n" in report
    source = folder / "queue.cpp"
    waits = f"  Queue::take at {source}:35\n  operator() at {source}:53\nno locks held by thread 1/1\n"
    assert waits in report
    # Where it waits, and not where it made its last step.
    assert f"task main/0, step 17:\n  main at {source}:58\nno locks held by main/0\n" in report
    assert "main waits for the end of thread 1 (queue.cpp:58); thread 1 waits for" in report


def test_digests_are_the_same_with_and_without_lines(tally, monkeypatch):
    program, file = tally
    (with_lines,) = hunt(program, runs=300).results
    with_them = json.loads(Path(file).read_text())
    monkeypatch.setattr("shutil.which", lambda name: None)
    (without,) = hunt(program, runs=300).results
    assert with_lines.schedules_sha256 == without.schedules_sha256
    assert found(program, **FOURTH) == file
    assert json.loads(Path(file).read_text())["trace_sha256"] == with_them["trace_sha256"]


SOURCES = Path(__file__).with_name("sources")


def line_of(name, text):
    """The number of the first line with this text."""
    lines = (SOURCES / name).read_text().split("\n")
    return next(number for number, line in enumerate(lines, 1) if text in line)


def reported(name, case):
    """The report of a wrong program, without its clock and folders, up to the sentence that says it all."""
    program = native(SOURCES / name, cflags=[f"-DCASE={case}"])
    report = re.sub(r"^\[.*?\] ?", "", dmesg(story(program, found(program))), flags=re.M)
    return report.replace(f"{SOURCES}/", "").split("\n", 1)[1]


def test_both_sides_of_a_race_are_told_with_their_stacks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    adds, calls = line_of("races.c", "data++; ONLY_RIGHT"), line_of("races.c", "body((int)")
    stack = f"  body at races.c:{adds}\n  run at races.c:{calls}\n"
    assert reported("races.c", 1).startswith(
        "BUG: anonvma_rt: data-race in body\n\n"
        f"read by task thread 2/2, step 5:\n{stack}no locks held by thread 2/2\n\n"
        f"write by task thread 1/1, step 3:\n{stack}no locks held by thread 1/1\n\n"
        f"A data race on data: thread 1 writes it in body (races.c:{adds}), called by run (races.c:{calls}) (step 3), "
        f"thread 2 reads it in body (races.c:{adds}), called by run (races.c:{calls}), and nothing orders the two.\n"
    )


@pytest.mark.parametrize(
    ("case", "parts"),
    [
        (1, ["use by task thread 1/1", "freed by task main/0:", "allocated by task main/0:"]),
        (2, ["use by task main/0", "allocated by task main/0:"]),
        (4, ["second free by task main/0", "first free:", "allocated by task main/0:"]),
        (5, ["free by task main/0"]),
    ],
)
def test_who_made_and_freed_an_object_is_told_with_stacks(case, parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = reported("memory.c", case)
    for part in parts:
        (one,) = [block for block in report.split("\n\n") if block.startswith(part)]
        heading, call, *_ = one.split("\n")
        function, line = re.fullmatch(r"  (\w+) at memory\.c:(\d+)", call).groups()
        text = (SOURCES / "memory.c").read_text().split("\n")[int(line) - 1]
        assert function == ("use" if "thread 1" in heading else "main")
        if "alloc" in heading or "free" in heading:
            assert ("malloc" if "alloc" in heading else "free(") in text, (heading, text)


def test_a_chance_is_told_in_words():
    (found,) = hunt(native(SOURCES / "timed.c"), {"CHECK": 1}, runs=200).results
    said = {(event.task, text) for event, text in found.trace.texts(full=True)}
    assert {(0, "may be late"), (2, "is over"), (0, "goes on")} <= said
    assert found.trace.tasks[2] == "the time of main"


LAYOUT = """
#include <atomic>
#include <mutex>
#include <thread>
struct base { int b; };
struct slot : base { std::mutex m; union { int u; float f; }; std::atomic<int> a[3]; };
namespace ns { static slot slots[2][2]; struct { int x, y; } pair; static int last[4]; }
int main() {
  std::thread t([] { std::lock_guard<std::mutex> g(ns::slots[0][1].m); ns::slots[1][0].a[2]++; WRITE; });
  ns::slots[1][0].a[1]--;
  { std::lock_guard<std::mutex> g(ns::slots[0][1].m); }
  WRITE;
  t.join();
}
"""


@pytest.mark.skipif(shutil.which("readelf") is None, reason="types are read by readelf")
@pytest.mark.parametrize(
    ("write", "variable"),
    [
        ("ns::slots[0][1].u = 1", "ns::slots[0][1].u"),
        ("ns::slots[1][1].b = 1", "ns::slots[1][1].b"),
        ("ns::pair.y++", "ns::pair.y"),
        ("ns::last[3]++", "ns::last[3]"),
    ],
)
def test_elements_and_members_have_their_names(tmp_path, write, variable):
    (tmp_path / "layout.cc").write_text(LAYOUT)
    program = native(tmp_path / "layout.cc", cflags=[f"-DWRITE={write}"])
    (one,) = hunt(program, runs=20).results
    assert one.violations.keys() == {"data-race"}
    assert f"A data race on {variable}: " in one.trace.cause()
    (right,) = hunt(native(tmp_path / "layout.cc", cflags=["-DWRITE="]), runs=20).results
    assert not right.violations


def test_locks_and_atomics_of_an_array_have_their_numbers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.cc").write_text(LAYOUT)
    (one,) = hunt(native("a.cc", cflags=["-DWRITE=ns::pair.x++"]), runs=20).results
    table = one.trace.table(120)
    for words in ("updates ns::slots[1][0].a[1]", "locks ns::slots[0][1].m"):
        assert words in table


@pytest.mark.skipif(shutil.which("gdb") is None, reason="the debugger is gdb")
def test_a_debugger_sees_the_program(tally):
    _, file = tally
    command = [sys.executable, "-m", "anonvma_rt", "step", file, "--subject", "tally.c"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stepping:
        try:
            stepping.stdin.write("goto 12\ndebugger\n")
            stepping.stdin.flush()
            for line in stepping.stdout:
                if found := re.search(r"gdb -p (\d+)", line):
                    break
            asked = ["-ex", "print total", "-ex", "thread apply all bt"]
            gdb = subprocess.run(
                ["gdb", "-nx", "-batch", "-p", found[1], *asked],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        finally:
            stepping.kill()
    if "ptrace" in gdb.stderr and "not permitted" in gdb.stderr:
        pytest.skip("no process may be traced here")
    assert "= 1" in gdb.stdout, "a variable of the program, after twelve steps"
    assert re.search(r'"1:thread 1".*?\badd \(', gdb.stdout, re.S), "the thread's calls, with its name"
