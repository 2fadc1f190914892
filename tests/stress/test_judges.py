"""Programs of others: the command that runs them, on folders laid out as theirs with programs of our own."""

import json
import shutil

import pytest

judges = pytest.importorskip("anonvma_rt.stress.judges.__main__", reason="not installed, only built in place")
nidhugg = pytest.importorskip("anonvma_rt.stress.judges.nidhugg", reason="not installed, only built in place")
pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="programs are compiled")

MAIN = """
int main(void)
{
    pthread_t one, two;
    pthread_create(&one, NULL, first, NULL);
    pthread_create(&two, NULL, second, NULL);
    return 0;
}
"""
STORES = """
#include <pthread.h>
#include <stdatomic.h>
static atomic_int x, y;
static void *first(void *a) { atomic_store(&x, 1); atomic_load(&y); return a; }
static void *second(void *a) { atomic_store(&y, 1); atomic_load(&x); return a; }
"""
# Of the three executions in which the second looks, one is cut where it does not find what it assumes.
ASSUMES = """
#include <genmc.h>
#include <pthread.h>
#include <stdatomic.h>
static atomic_int x;
static void *first(void *a) { atomic_store(&x, 1); atomic_store(&x, 2); return a; }
static void *second(void *a) { __VERIFIER_assume(atomic_load(&x) != 1); return a; }
"""
ASSERTS = """
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
static atomic_int x;
static void *first(void *a) { atomic_store(&x, 1); return a; }
static void *second(void *a) { assert(atomic_load(&x) == LEFT); return a; }
"""


def genmc(tmp_path, family, name, program, expected=None, flags=None):
    folder = tmp_path / "tests" / family / name
    (folder / "variants").mkdir(parents=True)
    (folder / "variants" / f"{name}0.c").write_text(program + MAIN)
    if expected:
        (folder / "expected.sc.mo.in").write_text(expected)
    if flags:
        (folder / "args.sc.mo.in").write_text(flags)


def told(capsys, *words):
    code = judges.main([*map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_numbers_of_executions_are_those_that_are_expected(tmp_path, capsys):
    genmc(tmp_path, "correct/litmus", "stores", STORES, "3\n3\n")
    genmc(tmp_path, "correct/litmus", "assumes", ASSUMES, "2\n")
    code, found = told(capsys, "genmc", tmp_path, "--only", "correct/litmus")
    assert code == 0 and found["as_expected"]
    assert [(row["name"], row["counted"], row["blocked"]) for row in found["results"]] == [
        ("litmus/assumes/assumes0.c", 2, 1), ("litmus/stores/stores0.c", 3, 0),
    ]  # fmt: skip
    genmc(tmp_path, "correct/infr", "stores", STORES, "4\n")
    code, found = told(capsys, "genmc", tmp_path, "--only", "correct/infr")
    assert code == 1 and not found["results"][0]["equal"]


def test_what_is_wrong_must_be_found_and_flags_are_the_programs(tmp_path, capsys):
    genmc(tmp_path, "wrong/safety", "looks", ASSERTS, flags="-unroll=2 | -DLEFT=1\n")
    code, found = told(capsys, "genmc", tmp_path, "--only", "wrong/safety")
    assert code == 0 and found["results"][0]["violations"] == {"assertion": 1}
    genmc(tmp_path, "wrong/safety", "never", STORES)
    assert judges.main(["genmc", str(tmp_path), "--only", "wrong/safety"]) == 1
    said = capsys.readouterr().out
    assert "safety/never/never0.c" in said and "DIFFERS" in said and "1 of 2 as expected" in said


def test_executions_to_the_first_bug_by_strategy(tmp_path, capsys):
    suite = tmp_path / "benchmarks" / "small"
    suite.mkdir(parents=True)
    (tmp_path / "benchmarks" / "buggy.txt").write_text("small looks 3 9\nradbench bug1 4 21889\n#small other 1 1\n")
    (suite / "looks.c").write_text(ASSERTS.replace("LEFT", "1") + MAIN)
    words = ["sctbench", tmp_path, "--seeds", "3", "--runs", "200", "--strategy", "random", "--strategy", "pct"]
    code, found = told(capsys, *words)
    assert code == 0 and found["ran"] == 1 and found["found"] == {"random": 1, "pct": 1}
    looks, other = found["results"]
    assert looks["kinds"] == ["assertion"] and all(1 <= n <= 200 for n in looks["firsts"]["random"])
    assert "JavaScript" in other["left_out"]
    (suite / "looks.c").write_text(STORES + MAIN)
    assert judges.main(list(map(str, words))) == 1
    assert "nothing" in capsys.readouterr().out


# It counts what n threads in a ring have under SC: all but one of the ways in which each sees the store before or not.
COUNTS = """#!/bin/sh
for module; do true; done
echo "Trace count: $(((1 << $(grep -c 'pthread_create.*@thread' "$module")) - 1))"
"""


def test_numbers_of_traces_beside_nidhuggs(tmp_path, capsys):
    counter = tmp_path / "nidhugg"
    counter.write_text(COUNTS)
    counter.chmod(0o755)
    code, found = told(capsys, "nidhugg", counter, "--only", "LB")
    assert code == 0 and found["as_expected"]
    counted = {(row["name"], row["model"]): row["counted"] for row in found["results"]}
    assert counted["LB(2)", "sc"] == 3 and counted["LB(4)", "pso"] == 15 and len(counted) == 9
    assert judges.main(["nidhugg", str(counter), "--only", "SB"]) == 1
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["SB(2)", "tso", "3", "-", "4", "DIFFERS"] in said and ["SB(2)", "fenced", "tso", "3", "-", "3"] in said
    counter.write_text("#!/bin/sh\necho cannot >&2\n")
    code, found = told(capsys, "nidhugg", counter, "--only", "LB")
    assert code == 1 and found["results"][0]["expected"] == {"source": "cannot", "optimal": "cannot"}
    assert judges.main(["nidhugg", str(counter), "--only", "none"]) == 2
    assert "no family none; there are SB, LB, 2+2W" in capsys.readouterr().err


def test_a_program_is_written_as_llvm_assembly():
    module = nidhugg.assembly([[("load", "x", "r"), ("store", "y", "r"), ("mb",)], [("cas", "x", 0, 1, "s")]])
    lines = module.splitlines()
    assert "@x = global i64 0, align 8" in lines
    begun = [line.split("(i8*)* ")[1].split(",")[0] for line in lines if line.startswith("call i32 @pthread_create")]
    assert begun == ["@idle", "@thread0", "@idle", "@thread1"]
    assert lines[lines.index("define i8* @thread0(i8* %arg) {") + 1 :][:3] == [
        "%v0 = load i64, i64* @x, align 8", "store i64 %v0, i64* @y, align 8", "fence seq_cst",
    ]  # fmt: skip
    assert "%v0 = cmpxchg i64* @x, i64 0, i64 1 seq_cst seq_cst" in lines
    with pytest.raises(ValueError, match="await has no translation"):
        nidhugg.assembly([[("await", "x", 1)]])


@pytest.mark.parametrize(
    ("judge", "said"),
    [("genmc", "no folder tests"), ("sctbench", "no benchmarks/buggy.txt"), ("nidhugg", "name the program nidhugg")],
)
def test_a_folder_that_is_none_of_theirs_is_refused_in_a_line(tmp_path, capsys, judge, said):
    assert judges.main([judge, str(tmp_path)]) == 2
    assert said in capsys.readouterr().err
