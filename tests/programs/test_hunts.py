"""A program in C as it stands: hunted, proved, replayed, and the same executions on both carriers."""

import os
import random
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from classes_of_programs import every_class

from anonvma_rt import Reproducer, UserError, hunt, native, replay, storm, verify
from anonvma_rt.cli import main
from anonvma_rt.execution.budget import Clocks

SOURCES = Path(__file__).with_name("sources")

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="programs are compiled")


def program(name, **how):
    return native(SOURCES / name, **how)


def test_a_lost_update_is_found_and_its_repair_proved():
    (wrong,) = hunt(program("counter.c"), runs=500).results
    assert wrong.violations.keys() == {"assertion"} and "count == N" in wrong.trace.cause()
    (right,) = verify(program("counter.c", cflags=["-DRIGHT"])).results
    assert right.complete and right.classes == 2 and not right.violating_classes
    assert right.announcements.startswith("under sequential consistency; plain accesses were looked at")
    (every,) = verify(program("counter.c"), all_violations=True).results
    assert every.complete and every.violating_classes == {"assertion": 4} and every.classes == 6


def test_order_in_c_has_the_classes_of_the_litmus_test():
    for pages, classes in ((1, 3), (2, 15), (3, 84)):
        for variant, flags in (("unpatched", []), ("patched", ["-DPATCHED"])):
            (own,) = verify(program("order.c", cflags=flags), {"P": pages}, all_violations=True).results
            (given,) = verify("order", {"pages": pages}, [variant], all_violations=True).results
            assert own.complete and own.classes == given.classes == classes
            assert own.violating_classes == given.violating_classes


def test_carriers_and_jobs_make_the_same_executions():
    ways = [{"carrier": "fibers"}, {"carrier": "threads"}, {"jobs": 2}]
    found = [hunt(program("counter.c"), runs=2000, **how).results[0] for how in ways]
    assert len({one.schedules_sha256 for one in found}) == 1
    assert len({tuple(one.violations.items()) for one in found}) == 1


# In a process of its own: a C program with timeouts, one whose threads race for the heap, a queue in C++.
DIGESTS = """
import sys
from anonvma_rt import hunt, native
for name, values in (("timed.c", {"LOOP": 1}), ("counter.c", {}), ("queue.cc", {})):
    (found,) = hunt(native(f"{sys.argv[1]}/{name}"), values, runs=500).results
    print(name, found.schedules_sha256, sorted(found.violations.items()))
"""


def test_neither_the_environment_nor_the_folder_changes_an_execution(tmp_path):
    needed = {name: os.environ[name] for name in ("PATH", "HOME", "CC", "CXX") if name in os.environ}
    ways = (({}, "."), ({"LARGE": "x" * 100_000}, tmp_path), ({f"SMALL{i}": "" for i in range(500)}, "/"))
    said = [
        subprocess.run(
            [sys.executable, "-c", DIGESTS, SOURCES], env=needed | more, cwd=folder, capture_output=True, check=True
        ).stdout
        for more, folder in ways
    ]
    assert said[0].count(b"\n") == 3 and said[1] == said[0] and said[2] == said[0]


@pytest.mark.long
def test_a_reproducer_comes_out_the_same_100_000_times(tmp_path):
    for name, values in (("timed.c", {"CHECK": 1}), ("queue.cc", {})):
        (found,) = hunt(program(name), values, runs=2000, out=str(tmp_path)).results
        reproducer = Reproducer.load(found.first.reproducer, [program(name)])
        assert replay(reproducer, times=100_000).reproduced == 100_000


def test_a_thread_that_is_seldom_begun_is_known_from_then_on(tmp_path):
    described = program("rare.c")
    assert described.bind({}).make_subject("program").tasks == 3, "it was met while threads were counted"
    found = [hunt(described, runs=4000, jobs=jobs, out=str(tmp_path)).results[0] for jobs in (1, 2)]
    assert found[0].schedules_sha256 == found[1].schedules_sha256
    assert found[0].violations == found[1].violations and found[0].violations.keys() == {"assertion"}
    file = Path(found[0].first.reproducer)
    assert "births = [[2, 0]]" in file.read_text()
    assert replay(Reproducer.load(str(file), [program("rare.c")])).reproduced
    (every,) = verify(described, all_violations=True).results
    assert every.complete and every.violating_classes.keys() == {"assertion"}


@pytest.mark.parametrize("how", [{}, {"runs": 4000}], ids=["verify", "hunt"])
def test_what_begins_anew_because_it_learned_more_has_no_more_time(how, monkeypatch):
    following, given = Clocks.next, []
    monkeypatch.setattr(Clocks, "next", lambda clocks: given.append(following(clocks)) or given[-1])
    found = (hunt if how else verify)(program("rare.c"), seconds=1e6, **how).results
    assert (
        len(found) == 1 and len(given) == 2 and given[0] is given[1] and given[0].seconds == 1e6 and not given[0].over
    )


def test_a_reproducer_needs_the_program_and_refuses_another(tmp_path):
    source = tmp_path / "counter.c"
    source.write_text((SOURCES / "counter.c").read_text())
    (found,) = hunt(native(source), {"N": 3}, runs=200, out=str(tmp_path)).results
    file = found.first.reproducer
    assert replay(Reproducer.load(file, [native(source)])).reproduced
    with pytest.raises(UserError, match=r"needs code of your own, \"counter.c\""):
        Reproducer.load(file)
    source.write_text(source.read_text() + "\n")
    with pytest.raises(UserError, match=r"counter.c changed since this was written"):
        Reproducer.load(file, [native(source)])


def test_its_stacks_and_values_are_those_of_its_source(tmp_path, capsys):
    (found,) = hunt(program("counter.c"), runs=200, out=str(tmp_path)).results
    own = ["--subject", str(SOURCES / "counter.c")]
    assert main(["show", found.first.reproducer, *own, "--dmesg"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"main at \S*counter.c:\d+\n", said) and "count = 1" in said
    assert "host_" not in said and "rt_" not in said, "nothing of what it runs on"


def test_a_storm_runs_it_alone(tmp_path, capsys):
    (tmp_path / "ends.c").write_text(
        "#include <assert.h>\n#include <stdlib.h>\n#include <unistd.h>\n#include <pthread.h>\n"
        "int main(int n, char **v) { switch (HOW) { case 1: assert(n == 9); case 2: abort(); case 3: return n == 2;\n"
        "case 4: *(volatile int *)8 = 1; } return 0; }\n"
    )
    ends = {0: {}, 1: {"assertion": 4}, 2: {"abort": 4}, 3: {"exit-code": 4}, 4: {"crash": 4}}
    for how, seen in ends.items():
        (one,) = storm(native(tmp_path / "ends.c", args=["word"]), {"HOW": how}, executions=4).results
        assert (one.executions, one.violations) == (4, seen)
    assert main(["storm", str(SOURCES / "counter.c"), "-p", "N=3", "--seconds", "0.2"]) in (0, 1)
    shown = capsys.readouterr().out
    assert "4 tasks at once" in shown and "processes" in shown and "nothing recorded" in shown


def test_a_storm_of_a_process_that_does_not_end(tmp_path, monkeypatch):
    monkeypatch.setattr("anonvma_rt.storming.processes.PATIENCE", 0.2)
    (tmp_path / "waits.c").write_text("#include <unistd.h>\nint main(void) { for (;;) pause(); }\n")
    (one,) = storm(native(tmp_path / "waits.c"), executions=2).results
    assert one.violations == {"stuck": 2}


def test_a_storm_that_cannot_be_is_one_line(tmp_path):
    with pytest.raises(UserError, match="has no delays: omit --profile"):
        storm(program("counter.c"), profiles=["spin"])
    subprocess.run(
        ["gcc", "-fPIC", "-fsanitize=thread", "-c", SOURCES / "counter.c", "-o", tmp_path / "counter.o"], check=True
    )
    with pytest.raises(UserError, match="was compiled for the lab: a program alone"):
        storm(native(tmp_path / "counter.o"), executions=1)


def test_a_file_cannot_make_the_compiler_run_what_it_likes(tmp_path):
    (found,) = hunt(program("counter.c", cflags=["-DSLOW=1", "-Wall"]), runs=200, out=str(tmp_path)).results
    file = Path(found.first.reproducer)
    assert replay(Reproducer.load(file, [program("counter.c")])).reproduced, "harmless flags"
    text = found.reproducer.scenario.text
    for flag in ("-fplugin=./evil.so", "-wrapper,evil", "@evil", "-B.", "-Wl,-rpath,evil", "-include/etc/passwd"):
        evil = text.replace("-Wall", flag)
        with pytest.raises(UserError, match="no file may give a compiler the flag"):
            program("counter.c").as_it_was(evil, "evil.json")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("int main(void) { return nothing; }", "one.c does not compile: .*error: .*nothing"),
        ("int nothing(void) { return 0; }", "the program has no main"),
        ("int other(void); int main(void) { return other(); }", "link: .*undefined reference to .other"),
    ],
)
def test_what_is_no_program_is_said_in_a_line(tmp_path, text, said):
    (tmp_path / "one.c").write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        hunt(native(tmp_path / "one.c"), runs=1)
    assert "\n" not in str(caught.value)


def test_more_programs_than_there_are_places():
    script = f"""
from anonvma_rt import hunt, native
from anonvma_rt.programs import loaded
loaded._loaded[:] = [None, None]
for n in range(4):
    print(hunt(native({str(SOURCES / "counter.c")!r}), {{"UNUSED": n}}, runs=20, classes=0).results[0].executions)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["20"] * 4, done.stderr


def test_what_waits_in_the_c_library_is_named(tmp_path):
    (tmp_path / "one.c").write_text(
        "#include <pthread.h>\nint main(void) { return pthread_mutex_consistent((pthread_mutex_t *)0); }\n"
    )
    with pytest.raises(UserError, match=r"calls pthread_mutex_consistent\(\), which the lab does not have"):
        hunt(native(tmp_path / "one.c"), runs=1)


@pytest.mark.parametrize(
    ("name", "cflags", "classes"),
    [("local.c", [], 6), ("local.c", ["-DSEMAPHORE"], 6), ("once.c", [], 4), ("counter.c", [], 6)],
)
def test_a_proof_visits_the_classes_of_every_schedule(name, cflags, classes):
    found = {preemptions: every_class(program(name, cflags=cflags), preemptions) for preemptions in (None, 1000)}
    assert found[None] == found[1000] and len(found[None]) == classes


LETTERS = "lutwsbrxpvoagfdk"
# With timeouts, choices, and loops that give way.
TIMED = "WTPXcyYsbluvfgw"


def random_script(seed, letters=LETTERS):
    """Arguments of script.c: what each of two or three threads does."""
    draw = random.Random(seed)
    pool, threads = draw.sample(letters, draw.choice([2, 3, 4])), draw.choice([2, 2, 3])
    most = 3 if threads == 2 else 2
    return [
        "".join(
            "lu" if one in "lu" and draw.random() < 0.8 else one for one in draw.choices(pool, k=draw.randint(1, most))
        )
        for _ in range(threads)
    ]


def scripts_agree(seeds, most, letters=LETTERS, **how):
    """How many random scripts were small enough to make every schedule of; of these the search visits every class."""
    compared = 0
    for seed in seeds:
        described = program("script.c", args=random_script(seed, letters), **how)
        every = every_class(described, 1000, most)
        if every is not None:
            assert every_class(described, None, most) == every, (seed, described.asked.args)
            compared += 1
    return compared


def test_random_scripts_are_searched_as_all_their_schedules_are():
    assert scripts_agree(range(14), 20_000) > 3


def test_random_scripts_with_timeouts_are_searched_as_all_their_schedules_are():
    assert scripts_agree(range(12), 3000, TIMED, late=1) > 3
    assert scripts_agree(range(100, 108), 3000, "wsbWcluY", late=1, spurious=1) > 2


@pytest.mark.long
def test_many_random_scripts_with_timeouts_are_searched_as_all_their_schedules_are():
    assert scripts_agree(range(200, 500), 20_000, TIMED, late=2) > 100


@pytest.mark.long
def test_many_random_scripts_are_searched_as_all_their_schedules_are():
    assert scripts_agree(range(25, 1000), 400_000) > 700


def test_a_leak_is_found_on_request():
    (silent,) = verify(program("leaks.c")).results
    assert silent.complete and not silent.violating_classes, "nobody asked for leaks"
    (wrong,) = hunt(program("leaks.c", leaks=True), runs=200).results
    assert wrong.violations.keys() == {"leak"}
    assert re.fullmatch(
        r"Nobody frees object 0x\w+: thread \d allocated 16 bytes in set \(leaks.c:18\), "
        "and nothing points there at the end.",
        wrong.trace.cause(),
    )
    (right,) = verify(program("leaks.c", cflags=["-DRIGHT"], leaks=True)).results
    assert right.complete and right.classes == 2 and not right.violating_classes
    (unknown,) = verify(program("leaks.c", cflags=["-DRIGHT", "-DEXIT"], leaks=True)).results
    assert unknown.verdict.startswith("NOT PROVED") and "exit() ended it" in unknown.verdict


def test_a_campaign_takes_programs_that_the_user_names(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(SOURCES / "counter.c", tmp_path)
    Path("c.toml").write_text(
        'campaign = "counters"\nexecutions = 400\nrange = 200\nexpect = "assertion"\n'
        '[[cells]]\nscenarios = ["counter.c"]\nparameters = { N = [2, 3] }\n'
    )
    assert main(["campaign", "run", "c.toml", "--store", "c.db", "--jobs", "1"]) == 2
    assert 'native("counter.c")' in capsys.readouterr().err, "no file may have a program compiled"
    assert main(["campaign", "run", "c.toml", "--store", "c.db", "--jobs", "1", "--subject", "counter.c"]) == 0
    assert main(["campaign", "reproducers", "c.db", "--out", "found", "--subject", "counter.c"]) == 0
    for file in Path("found").iterdir():
        assert main(["replay", str(file), "--subject", "counter.c"]) == 0


def test_a_reproducer_refuses_a_program_whose_header_changed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("include").mkdir()
    Path("one.c").write_text(
        '#include "near.h"\n#include <far.h>\n#include <stdlib.h>\nint main(void) { return NEAR + FAR; }\n'
    )
    Path("near.h").write_text("#define NEAR 1\n")
    Path("include/far.h").write_text('#include "further.h"\n')
    Path("include/further.h").write_text("#define FAR 1\n")
    cflags = ["-I", "include"]
    (found,) = hunt(native("one.c", cflags=cflags), runs=2, out="kept").results
    file = found.first.reproducer
    assert Reproducer.load(file, [native("one.c", cflags=cflags)])
    for header in ("near.h", "include/further.h"):
        before = Path(header).read_text()
        Path(header).write_text(before + "\n")
        with pytest.raises(UserError, match=f"{Path(header).name} changed since this was written"):
            Reproducer.load(file, [native("one.c", cflags=cflags)])
        Path(header).write_text(before)


def test_flags_of_a_program_come_back_with_its_reproducer(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("include").mkdir()
    Path("include/one.h").write_text("#define ONE 1\n")
    Path("libtwo.a").write_bytes(b"!<arch>\n")
    Path("one.c").write_text("#include <one.h>\nint main(void) { return ONE; }\n")
    for number, flags in enumerate((["--cflags=-Iinclude -fno-inline"], ["--cflags=-Iinclude", "--link=-L. -ltwo"])):
        assert main(["hunt", "one.c", *flags, "--runs", "2", "--out", f"kept{number}"]) == 1
        (file,) = Path(f"kept{number}").iterdir()
        (again,) = re.findall(r"Replay it: anonvma-rt (.*)", capsys.readouterr().out)
        assert main(shlex.split(again)) == 0, again
        assert main(["replay", str(file.resolve()), *shlex.split(again)[2:]]) == 0
        capsys.readouterr()
        code = main(["replay", str(file), "--subject", "one.c"])
        said = capsys.readouterr().err
        assert code == 2 * number
        if number:
            assert '--link="-L."' in said, "whoever gives a folder of libraries gives code that runs"
            assert main(["replay", str(file), "--subject", "one.c", "--link=-L."]) == 0
    assert main(["replay", str(file), "--link=-L."]) == 2
    assert "--link is about a program" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("way", "said"), [(0, "thread 1 used memory on the stack of main"), (1, "main used memory on its own stack")]
)
def test_memory_of_a_call_that_has_returned_is_gone(way, said, tmp_path):
    (wrong,) = hunt(program("frames.c"), {"WAY": way}, runs=50, out=str(tmp_path)).results
    assert wrong.violations.keys() == {"use-after-return"}
    assert wrong.trace.cause().startswith(f"{said} that no call has any more in ")
    again = replay(Reproducer.load(wrong.first.reproducer, [program("frames.c")]), times=3)
    assert again.reproduced == 3 and again.same_trace
    other = [
        hunt(program("frames.c"), {"WAY": way}, runs=50, carrier=carrier).results[0]
        for carrier in ("fibers", "threads")
    ]
    assert other[0].schedules_sha256 == other[1].schedules_sha256 == wrong.schedules_sha256
    (right,) = verify(program("frames.c"), {"WAY": 2}).results
    assert right.complete and not right.violating_classes
