"""Programs whose operations are compared with a sequential specification."""

import shutil
import subprocess
from pathlib import Path

import pytest

import anonvma_rt
from anonvma_rt import UserError, hunt, native, storm, verify
from anonvma_rt.cli import main

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples" / "native" / "objects"
SPECS = EXAMPLES / "specs.py"

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="programs are compiled")


@pytest.mark.parametrize(
    ("name", "cls", "values"), [("queue", "Queue", {}), ("stack", "Stack", {}), ("deque", "Deque", {})]
)
def test_an_example_is_found_and_its_right_version_proved(name, cls, values):
    program = native(EXAMPLES / f"{name}.c", spec=f"{SPECS}:{cls}")
    (found,) = hunt(program, values, runs=3000).results
    assert set(found.violations) == {"not-linearizable"}
    (proof,) = verify(program, {**values, "FIXED": 1}).results
    assert proof.complete and not proof.violating_classes and f"specs.py:{cls}" in proof.announcements


# Two tasks with one operation each: the orders of their calls and returns are what is explored. All others are one.
TWO = """#include <anonvma_rt.h>
#include <pthread.h>
static void *one(void *p) { rt_call("push", (long)p); rt_return(); return p; }
int main(void)
{
    pthread_t t[2];
    for (long i = 0; i < 2; i++) pthread_create(&t[i], 0, one, (void *)(i + 1));
    for (int i = 0; i < 2; i++) pthread_join(t[i], 0);
    return 0;
}
"""


def test_every_order_of_a_call_and_a_return_is_explored_and_no_other(tmp_path):
    # Before, after, and overlapping.
    (tmp_path / "two.c").write_text(TWO)
    program = native(tmp_path / "two.c", spec=f"{SPECS}:Queue")
    assert verify(program).results[0].classes == 3
    assert verify(program, preemptions=1000).results[0].classes == 3
    assert verify(native(tmp_path / "two.c")).results[0].classes == 1


BODY = "#include <anonvma_rt.h>\nint main(void) { %s return 0; }\n"


@pytest.mark.parametrize(
    ("body", "spec", "code", "said"),
    [
        ("rt_return();", "specs.py:Queue", 1, "returned from an operation that it had not begun"),
        ('rt_call("pop"); rt_call("pop");', "specs.py:Queue", 1, "before the one that it had begun returned"),
        ('rt_call("pop"); rt_return(3);', "specs.py:Queue", 1, "pop() = 3"),
        ('rt_call("pop"); rt_return(-1);', "specs.py:Queue", 0, ""),
        ('rt_call("push", 3);', "specs.py:Queue", 0, ""),
        ('rt_call("poop"); rt_return(3);', "specs.py:Queue", 2, 'no method "poop"'),
        ('rt_call("push"); rt_return();', "specs.py:Queue", 2, "needs an argument"),
        ('rt_check(1 + 1 == 3, "sums");', "specs.py:Queue", 1, "assertion 'sums' failed"),
        ("", "specs.py:Nothing", 2, "has no class"),
        ("", "nowhere.py:Queue", 2, "there is no file"),
        ("", "nowhere.c", 2, "there is no such file"),
        ("", "specs.py", 2, "file.py:Class"),
    ],
)
def test_what_a_program_says_wrong(tmp_path, capsys, monkeypatch, body, spec, code, said):
    monkeypatch.chdir(tmp_path)
    shutil.copy(SPECS, tmp_path)
    (tmp_path / "one.c").write_text(BODY % body)
    assert main(["hunt", "one.c", "--spec", spec, "--runs", "20"]) == code
    out, err = capsys.readouterr()
    assert said in (err if code == 2 else out)
    assert code != 2 or "\n" not in err.strip()


def test_nothing_that_was_called_is_no_proof(tmp_path):
    (tmp_path / "one.c").write_text(BODY % "")
    (proof,) = verify(native(tmp_path / "one.c", spec=f"{SPECS}:Queue")).results
    assert not proof.complete and "called no operation" in proof.verdict


def test_a_reproducer_asks_for_the_specification(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    program = str(EXAMPLES / "stack.c")
    assert main(["hunt", program, "--spec", f"{SPECS}:Stack", "--runs", "2000", "--out", "out"]) == 1
    (file,) = map(str, Path("out").glob("*.json"))
    assert main(["replay", file, "--subject", program]) == 2
    assert "say so with --spec" in capsys.readouterr().err
    assert main(["replay", file, "--subject", program, "--spec", f"{SPECS}:Queue"]) == 2
    assert main(["replay", file, "--subject", program, "--spec", f"{SPECS}:Stack", "--times", "20"]) == 0
    assert "reproduced 20 of 20 times" in capsys.readouterr().out


C_SPEC = """#include <anonvma_rt_spec.h>
#include <string.h>
struct queue { long item[8], n; };
const unsigned long rt_spec_size = sizeof(struct queue);
int rt_spec_call(void *state, const char *name, long argument, long *value)
{
    struct queue *q = state;
    if (!strcmp(name, "push")) { q->item[q->n++] = argument; return RT_NO_VALUE; }
    if (strcmp(name, "pop")) return RT_NO_SUCH_OPERATION;
    *value = -1;
    if (q->n) { *value = q->item[0]; memmove(q->item, q->item + 1, sizeof q->item - sizeof(long)); q->n--; }
    return RT_VALUE;
}
"""


def test_a_specification_in_c_says_the_same(tmp_path):
    (tmp_path / "queue_spec.c").write_text(C_SPEC)
    program = native(EXAMPLES / "queue.c", spec=str(tmp_path / "queue_spec.c"))
    both = [
        hunt(one, runs=2000).results[0].violations
        for one in (program, native(EXAMPLES / "queue.c", spec=f"{SPECS}:Queue"))
    ]
    assert both[0] == both[1] != {}
    assert verify(program, {"FIXED": 1}).results[0].complete


@pytest.mark.parametrize("how", [{"carrier": "threads"}, {"carrier": "fibers"}, {"carrier": "fibers", "jobs": 2}])
def test_every_carrier_finds_the_same(how):
    program = native(EXAMPLES / "stack.c", spec=f"{SPECS}:Stack")
    (one,), (other,) = (hunt(program, runs=2000, **more).results for more in ({"carrier": "fibers"}, how))
    assert (one.violations, one.schedules_sha256) == (other.violations, other.schedules_sha256)


def test_the_line_that_says_how_to_replay_works_as_it_stands(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    program = str(EXAMPLES / "stack.c")
    assert main(["hunt", program, "--spec", f"{SPECS}:Stack", "--runs", "2000"]) == 1
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("Replay it: "))
    words = line.split()[3:]
    assert words[-2:] == ["--spec", f"{SPECS}:Stack"] and main(words) == 0
    assert main(["shrink", *words[1:], "-o", "small.json"]) == 0
    assert f"--subject {program} --spec {SPECS}:Stack" in capsys.readouterr().out


EVERYTHING = """#include <anonvma_rt.h>
#include <cstdio>
#include <thread>
int main()
{
    std::thread other([] { rt_mark(); rt_call("push", 7); rt_return(); });
    rt_note("%d of %d", 1, 2);
    int chosen = rt_choose(3);
    rt_call("push", 5);
    rt_return();
    rt_check(chosen < 3, "a number that is none");
    rt_check(LESS || chosen < 2, "two");
    other.join();
}
"""


def test_everything_of_the_header_in_cpp_and_nothing_elsewhere(tmp_path):
    (tmp_path / "all.cpp").write_text(EVERYTHING)
    how = {"spec": f"{SPECS}:Queue"}
    (proof,) = verify(native(tmp_path / "all.cpp", cflags=["-DLESS=1"], **how)).results
    assert proof.complete and not proof.violating_classes
    (found,) = hunt(native(tmp_path / "all.cpp", cflags=["-DLESS=0"], **how), runs=300).results
    assert set(found.violations) == {"assertion"}
    assert any("1 of 2" in text for _, text in found.trace.texts())
    include = Path(anonvma_rt.__file__).parent / "programs" / "include"
    command = ["g++", f"-I{include}", "-Wall", "-Werror", "-DLESS=0", "-pthread", "all.cpp", "-o", "all"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "all"], check=False).returncode == 0


def test_a_specification_that_raises_is_one_line(tmp_path):
    (tmp_path / "one.c").write_text(BODY % 'rt_call("pop"); rt_return(-1);')
    (tmp_path / "bad.py").write_text("class Q:\n    def pop(self):\n        return self.items[0]\n")
    with pytest.raises(UserError, match=r"one.c: bad.py:Q: pop\(\) raised AttributeError") as caught:
        hunt(native(tmp_path / "one.c", spec=f"{tmp_path}/bad.py:Q"), runs=5)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="compared with no specification"):
        storm(native(tmp_path / "one.c", spec=f"{SPECS}:Queue"), executions=1)
