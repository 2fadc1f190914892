"""`bench search`: what was not found is never averaged as if it were, and jobs change nothing."""

import json
import shutil

import pytest

from anonvma_rt.cli import main

table = pytest.importorskip("anonvma_rt.stress.search.table", reason="not installed, only built in place")

from anonvma_rt.stress.bench.measure import Options  # noqa: E402
from anonvma_rt.stress.search.first import Looked, look  # noqa: E402
from anonvma_rt.stress.search.rows import rows  # noqa: E402

FEW = {"seeds": 3, "limit": 40, "subjects": ("lkml-2011", "lock-order"), "strategies": ("surw", "pct", "random")}
QUESTION = {"strategies": ["random"], "seeds": 2, "runs": 30, "seconds": 60.0}
LOST = """
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
static atomic_int x;
static void *add(void *a) { int seen = atomic_load(&x); atomic_store(&x, seen + 1); return a; }
int main(void)
{
    pthread_t one, two;
    pthread_create(&one, NULL, add, NULL);
    pthread_create(&two, NULL, add, NULL);
    pthread_join(one, NULL);
    pthread_join(two, NULL);
    assert(atomic_load(&x) == 2);
    return 0;
}
"""


def test_any_number_of_jobs_makes_the_same_table():
    one, two = (table.run(Options(**FEW, jobs=jobs)) for jobs in (1, 2))
    assert {**one, "results": sorted(map(json.dumps, one["results"]))} == {
        **two, "results": sorted(map(json.dumps, two["results"]))
    }  # fmt: skip
    assert [row["name"] for row in one["results"]] == ["lkml-2011"] * 4 + ["lock-order"]
    said = table.text(one)
    assert "| `lock-order` `ab-ba` | " in said and "| strategy | 1 | 3 | 10 | 30 | 40 |" in said
    assert max(len(line) for line in said.splitlines()) < 200
    assert json.loads(json.dumps(one))


def test_a_seed_that_found_nothing_is_no_find_and_its_executions_are_a_lower_bound():
    result = table.run(Options(**FEW))
    (row,) = [row for row in result["results"] if row.get("algorithm") == "unpatched"]
    walk = row["cells"]["random"]
    assert walk["mean"] is walk["median"] is walk["spread"] is None and walk["missed"] == 3
    assert walk["at_least"] == 40 and walk["curve"] == [(0, 1.0)] and not walk["hurried"]
    assert table.shown(walk) == "≥40 (-) [3]"
    found = row["cells"]["surw"]
    assert found["missed"] == 0 and found["mean"] == sum(life[0] for life in found["lives"]) / 3
    assert found["curve"][-1][1] == 0.0
    some = table._cell([[4, True], [40, False], [6, True]], 0)
    assert (some["mean"], some["at_least"], some["median"], some["missed"]) == (None, 50 / 3, 6, 1)
    assert some["curve"] == [(0, 1.0), (4, pytest.approx(2 / 3)), (6, pytest.approx(1 / 3))]
    assert not table._is_good(row, "random") and table._is_good(row, "surw")


def test_what_there_was_no_time_for_is_told():
    said = look(Looked("lkml-2011", ["unpatched"]), QUESTION | {"seconds": 1e-9})
    assert said["hurried"] == {"random": 2} and all(life == (0, False) for life in said["lives"]["random"][1:])
    cell = table._cell(said["lives"]["random"], said["hurried"]["random"])
    assert table.shown(cell).endswith("(-) [2t]") and cell["mean"] is None
    assert look(Looked("lkml-2011", ["unpatched"]), QUESTION)["hurried"] == {"random": 0}
    hurried = table.run(Options(**FEW | {"subjects": ("lock-order",)}, seconds=1e-9))
    assert not any(hurried["good"].values()) and "t] |" in table.text(hurried)


def test_every_racing_algorithm_of_the_zoo_and_of_the_litmus_tests_is_a_row_and_no_right_one():
    told = [row for row, _ in rows((), None)]
    names = {(row["name"], row["algorithm"]) for row in told}
    assert {
        ("lkml-2011", "unpatched"),
        ("philosophers", "right-handed"),
        ("own-locks", "unpatched,own_lock=true"),
    } <= names
    assert not {"moveto-tail", "modern"} & {row["algorithm"] for row in told if row["name"] == "lkml-2011"}
    assert all(row["kind"] not in ("none", None) for row in told) and len(names) == len(told)
    assert {row["name"] for row, _ in rows(["own-l*"], None)} == {"own-locks"}


@pytest.mark.skipif(shutil.which("gcc") is None, reason="programs are compiled")
def test_programs_of_sctbench_are_rows_with_what_others_published(tmp_path):
    suite = tmp_path / "benchmarks" / "small"
    suite.mkdir(parents=True)
    (tmp_path / "benchmarks" / "buggy.txt").write_text("small reorder_3_bad 3 9\nradbench bug1 4 21889\n")
    (suite / "reorder_3_bad.c").write_text(LOST)
    result = table.run(Options(seeds=2, limit=300, strategies=("random",), subjects=("sctbench",), sctbench=tmp_path))
    one, left = result["results"]
    assert one["kinds"] == ["assertion"] and one["cells"]["random"]["missed"] == 0
    assert one["published"]["PCT-3"] == "185" and "JavaScript" in left["left_out"] and result["ran"] == 1
    assert "published: SURW" in table.text(result) and "JavaScript" in table.text(result)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--strategies", "pos", "pcd"], 'unknown strategy "pcd" (did you mean "pct"?)'),
        (["--subjects", "sb"], '--subjects: no subject "sb" with a known violation'),
        (["--subjects", "sctbench"], "--subjects sctbench needs --sctbench PATH, a checkout of SCTBench"),
        (["--sctbench", "/dev/null"], "/dev/null: there is no benchmarks/buggy.txt: name a checkout of SCTBench"),
        (["--seconds", "0"], "--seconds must be more than 0 and at most 1000000, not 0"),
        (["--seconds", "nan"], "--seconds must be more than 0 and at most 1000000, not nan"),
        (["--seconds", "soon"], '--seconds must be a number, not "soon"'),
        (["--limit", "0"], "--limit must be from 1 to 1000000000, not 0"),
        (["--jobs", "0"], "--jobs must be from 1 to 1024, not 0"),
        (["--seeds", "0"], "--seeds must be from 1 to 10000, not 0"),
    ],
)
def test_bad_input_is_one_line(arguments, line, capsys):
    assert main(["bench", "search", *arguments]) == 2
    out = capsys.readouterr()
    assert out.out == "" and out.err.startswith(f"anonvma-rt: {line}") and len(out.err.splitlines()) == 1
