"""`bench`: it measures in turns, prints ratios, and prints nothing where the executions are not what they should be."""

import json
from importlib import import_module

import pytest

from anonvma_rt.cli import main
from anonvma_rt.cli.verbs import bench

measure = pytest.importorskip("anonvma_rt.stress.bench.measure", reason="not installed, only built in place")
QUICK = measure.Options(rounds=1)
SPREAD = {"median", "min", "max"}


def module(name):
    return import_module(f"anonvma_rt.stress.{bench.BENCHMARKS[name]}")


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Figures of so short a time are worth nothing, but they are there."""
    monkeypatch.setattr(measure, "A_WHILE", 2e-4)
    monkeypatch.setattr(module("jobs"), "RUNS", {"threads": 200, "fibers": 400})
    monkeypatch.setattr(module("lkml-2011"), "FEW", 2)


def is_spread(value):
    return value.keys() == SPREAD and value["min"] <= value["median"] <= value["max"]


@pytest.mark.parametrize("name", bench.BENCHMARKS)
def test_each_says_what_it_is_and_is_offered(name, capsys):
    assert module(name).__doc__
    with pytest.raises(SystemExit):
        main(["bench", "--help"])
    assert name in capsys.readouterr().out


@pytest.mark.parametrize("name", ["order", "order-c", "dpor", "locks", "points", "lkml-2011", "jobs"])
def test_each_gives_json_and_a_table(name):
    result = module(name).run(QUICK)
    assert json.loads(json.dumps(result)) == result
    table = module(name).text(result)
    assert len(table.splitlines()) >= 4 and max(map(len, table.splitlines())) < 140
    for row in result.get("results", [result]):
        figures = [value for value in row.values() if isinstance(value, dict)]
        assert figures and all(map(is_spread, figures))


def test_order_has_every_strategy_on_every_carrier_with_its_aims_and_says_where_the_time_goes():
    from anonvma_rt.lab.explorers import CARRIERS
    from anonvma_rt.lab.strategies import STRATEGIES

    result = module("order").run(QUICK)
    rows = result["results"]
    # A part is the difference of two times, and may be anything under load; all of them add up to the whole.
    (whole,) = (row for row in rows if (row["carrier"], row["strategy"]) == ("fibers", "random"))
    assert all(map(is_spread, result["parts"].values())) and len(result["parts"]) == 5
    assert sum(part["median"] for part in result["parts"].values()) == pytest.approx(whole["microseconds"]["median"])
    assert {(row["carrier"], row["strategy"]) for row in rows} == {
        (carrier, strategy) for carrier in CARRIERS for strategy in (*STRATEGIES, "pct:depth=2")
    }
    assert {(row["carrier"], row["strategy"]): row["aim_floors"] for row in rows if "aim_floors" in row} == {
        ("fibers", "random"): 8, ("fibers", "pct:depth=2"): 5, ("threads", "pct:depth=2"): 75,
    }  # fmt: skip
    assert all(row["points"] == 42 and 0 < row["probability"] < 1 for row in rows)


def test_lists_compares_both_languages():
    pytest.importorskip("Cython")
    result = module("lists").run(QUICK, sizes=(16, 64), operations=1000)
    assert [(row["operation"], row["nodes"]) for row in result["results"]] == [
        (operation, nodes) for operation in ("pairs", "walk") for nodes in (16, 64)
    ]
    assert all(row["cython_over_c"]["min"] > 0 for row in result["results"])
    assert "one step of a walk" in module("lists").text(result)


def test_pages_and_zoo_make_their_tables():
    few = measure.Options(executions=40, seeds=2)
    pages = module("pages")
    result = pages.run(few)
    assert len(result["results"]) == len(pages.STRATEGIES) * len(pages.PAGES)
    assert pages.text(result).startswith("| strategy | 2 | 4 | 16 | 64 | 256 |")
    scenario = import_module("anonvma_rt.kernel.scenario").Scenario.load("own-locks")
    counts = [module("zoo").executions_until_first(scenario, "unpatched,own_lock=true", seed) for seed in (0, 1)]
    assert all(1 <= count < 1000 for count in counts)
    row = {"zoo": "Z21", "scenario": "own-locks", "algorithm": "a", "kind": "k", "median": 3, "least": 1, "most": 9}
    assert "| `own-locks` | `a` | k | 3 (1 to 9) |" in module("zoo").text({"results": [row]})


def test_campaign_compares_with_bare_hunts_and_two_workers_with_one(monkeypatch):
    campaign = module("campaign")
    monkeypatch.setattr(campaign, "SECONDS", 0.01)
    result = campaign.run(measure.Options(rounds=1))
    assert result["campaign_over_bare"]["median"] > 0 and result["two_over_one"]["median"] > 0
    assert "aim: at least 1.8 on two idle cores" in campaign.text(result)


WRONG = [
    ("order", "POINTS", 43, "every execution has 43 points"),
    ("dpor", "CLASSES", {2: (16, 7)}, "2 pages: (16, 7) classes"),
    ("lkml-2011", "POINTS", (1, 2), "an execution has"),
    ("lkml-2011", "STRATEGIES", {"random": 0.5}, "unpatched goes wrong in 0.5 of all executions"),
]


@pytest.mark.parametrize(("name", "what", "value", "line"), WRONG)
def test_no_rate_is_printed_where_the_executions_are_not_what_they_should_be(
    name, what, value, line, monkeypatch, capsys
):
    monkeypatch.setattr(module(name), what, value)
    assert main(["bench", name, "--rounds", "1"]) == 1
    out = capsys.readouterr()
    assert out.out == ""
    assert out.err.startswith("anonvma-rt: no figures, because this is not so: ") and line in out.err


def test_json_is_one_object_and_has_what_was_done_before_an_interruption(monkeypatch, capsys):
    assert main(["bench", "points", "locks", "--rounds", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["benchmarks"]
    assert list(told) == ["points", "locks"] and told["points"]["rounds"] == 2

    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(module("locks"), "run", interrupted)
    assert main(["bench", "points", "locks", "--rounds", "1", "--json"]) == 130
    assert list(json.loads(capsys.readouterr().out)["benchmarks"]) == ["points"]
    assert main(["bench", "points", "locks", "--rounds", "1"]) == 130
    assert "less a read without one" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["point"], 'unknown benchmark "point" (did you mean "points"?)'),
        (["points", "--rounds", "0"], "--rounds must be from 1 to 10000, not 0"),
        (["pages", "--executions", "0"], "--executions must be from 1 to 1000000000, not 0"),
        (["zoo", "--seeds", "x"], '--seeds must be a whole number, not "x"'),
    ],
)
def test_bad_input_is_one_line(arguments, line, capsys):
    assert main(["bench", *arguments]) == 2
    out = capsys.readouterr()
    assert (out.out, out.err) == ("", f"anonvma-rt: {line}\n")


def test_without_the_whole_package_it_says_what_to_do(monkeypatch, capsys):
    monkeypatch.setattr(bench, "find_spec", lambda name: None)
    assert main(["bench", "points"]) == 2
    assert "run `python -m pip install -e .` in the checkout" in capsys.readouterr().err


def test_a_benchmark_that_this_host_cannot_run_is_left_out_unless_it_is_named(monkeypatch, capsys):
    errors = import_module("anonvma_rt.errors")

    def impossible(options):
        raise errors.UserError("no compiler")

    for name in bench.BENCHMARKS:
        monkeypatch.setattr(module(name), "run", impossible)
    assert main(["bench", "--json"]) == 0
    out = capsys.readouterr()
    assert json.loads(out.out) == {"benchmarks": {}} and "anonvma-rt: lists is left out: no compiler" in out.err
    assert main(["bench", "lists"]) == 2


def test_everything_is_measured_in_turns_there_and_back():
    made, told = [], []
    options = measure.Options(rounds=3, tell=told.append)
    calls = {key: (lambda key=key: made.append(key)) for key in "abc"}
    calls["own"] = lambda: 2.5
    seconds = measure.in_turns(options, "x", calls)
    assert "".join(made) == "abc" + "cba" + "abc" + "cba"
    assert seconds["own"] == [2.5] * 3 and len(seconds["a"]) == 3
    assert told == ["x 0/3", "x 1/3", "x 2/3", "x 3/3"]
    assert measure.ratio([4.0, 9.0], [2.0, 3.0]) == {"median": 2.5, "min": 2.0, "max": 3.0}


def test_a_size_takes_about_a_while(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(measure, "perf_counter", lambda: clock[0])

    def call(n):
        clock[0] += n * 1e-6

    assert measure.calibrate(call) == pytest.approx(200, rel=0.1)
