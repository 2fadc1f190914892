"""How long a hunt goes on: executions, a time, the first violation, a probability; and how they go together. How long a
search does: what is inside its time."""

import json
import re
import sys

import pytest

from anonvma_rt import UserError, hunt, verify
from anonvma_rt.cli import main
from anonvma_rt.execution.budget import Budget, Clocks
from anonvma_rt.search.bounds import executions_for, upper_bound_95

# What must not depend on how often the clock was asked, on jobs and on the carrier.
FIELDS = ["executions", "violations", "points", "switches", "schedules_sha256", "indices", "classes", "upper_bound_95"]
# merge under each of these: one goes wrong in every fourth execution, the other never does.
WRONG, RIGHT = ["unpatched"], ["moveto-tail"]


def of(result):
    return [getattr(result, name) for name in FIELDS]


@pytest.fixture
def clock(monkeypatch):
    """Sets a clock that a hunt's goes by: each look is a second later. Its one element is the last look."""
    now = [0.0]

    def tick():
        now[0] += 1
        return now[0]

    monkeypatch.setattr(sys.modules["anonvma_rt.execution.budget"], "perf_counter", tick)
    return now


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("carrier", ["auto", "threads", "fibers"])
def test_a_time_ends_between_blocks_and_the_number_makes_the_same_executions_again(jobs, carrier, clock):
    (one,) = hunt("merge", algorithms=WRONG, seconds=12, jobs=jobs, carrier=carrier, seed=3).results
    assert one.ended == "seconds" and one.executions > 20 and one.violations and one.as_expected
    (same,) = hunt("merge", algorithms=WRONG, runs=one.executions, seed=3).results
    assert same.ended == "runs" and of(one) == of(same)


def test_a_time_of_the_real_clock_is_kept(tmp_path):
    result = hunt("merge", algorithms=WRONG, seconds=0.2, jobs=2, out=tmp_path)
    (one,) = result.results
    assert one.ended == "seconds" and result.budget == Budget(seconds=0.2)
    assert 0 < one.seconds < 30
    assert of(one) == of(hunt("merge", algorithms=WRONG, runs=one.executions).results[0])


def test_there_is_always_one_execution():
    (one,) = hunt("merge", algorithms=RIGHT, seconds=1e-9).results
    assert (one.executions, one.ended) == (1, "seconds")


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_a_probability_is_reached_with_as_many_executions_as_it_takes(jobs):
    result = hunt("merge", algorithms=RIGHT, confidence=1e-3, jobs=jobs)
    (one,) = result.results
    assert one.executions == executions_for(1e-3) == 2995 and one.upper_bound_95 <= 1e-3
    assert (one.ended, one.short_of, one.as_expected) == ("confidence", None, True)
    assert of(one) == of(hunt("merge", algorithms=RIGHT, runs=2995).results[0])


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_a_violation_ends_what_looks_for_a_probability(jobs):
    """The wrong twin: the same violation as --until-violation, whatever the jobs."""
    found = [
        hunt("merge", algorithms=WRONG, seed=5, jobs=jobs, strategy="surw", **how).results[0]
        for how in ({"confidence": 1e-3}, {"until_violation": True}, {"confidence": 1e-3, "until_violation": True})
    ]
    (alone,) = hunt("merge", algorithms=WRONG, seed=5, strategy="surw", runs=found[0].executions).results
    for one in found:
        assert one.ended == "violation" and of(one) == of(alone) and one.executions > 1
        assert one.first.index == one.executions - 1 and one.upper_bound_95 > 1e-3


@pytest.mark.parametrize(
    ("how", "ended", "executions"),
    [
        ({}, "runs", 20_000),
        ({"until_violation": True}, "runs", 20_000),
        ({"runs": 50}, "runs", 50),
        ({"runs": 50, "seconds": 1000}, "runs", 50),
        ({"runs": 50, "until_violation": True, "seconds": 1000}, "runs", 50),
        ({"runs": 50, "confidence": 1e-3}, "runs", 50),
        ({"runs": 5000, "confidence": 1e-3, "seconds": 1000}, "confidence", 2995),
        ({"runs": 2995, "confidence": 1e-3}, "confidence", 2995),
        ({"seconds": 1e-9, "confidence": 1e-3}, "seconds", 1),
        ({"seconds": 1e-9, "runs": 1}, "runs", 1),
        ({"seconds": 1e-9, "until_violation": True}, "seconds", 1),
    ],
)
def test_whatever_is_reached_first_ends_it(how, ended, executions):
    (one,) = hunt("merge", algorithms=RIGHT, classes=0, **how).results
    assert (one.ended, one.executions) == (ended, executions)
    short = "confidence" in how and ended != "confidence"
    assert (one.short_of, one.as_expected) == ((2995, False) if short else (None, True))


def test_the_command_line_says_what_ended_it_and_how_to_make_the_same_again(tmp_path, capsys):
    words = ["hunt", "merge", "--out", str(tmp_path), "--algorithm", *RIGHT]
    assert main([*words, "--seconds", "0.1"]) == 0
    out = capsys.readouterr().out
    count = re.search(r"moveto-tail +(\d+) ", out)[1]
    again = f"0.1 s were over after {count} executions; the same ones again: --algorithm moveto-tail --runs {count}"
    assert f"  moveto-tail: {again}\n" in out
    assert main([*words, "--confidence", "1e-3"]) == 0
    assert "no violation in 2995 executions: the probability is at most 0.001" in capsys.readouterr().out
    assert main([*words, "--confidence", "1e-3", "--runs", "2994"]) == 1
    out = capsys.readouterr().out
    assert "NOT REACHED" in out and "at most 0.001 was NOT reached: that takes 2995 executions without" in out
    assert main([*words, "--confidence", "1e-3", "--runs", "2994", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["budget"] == {"runs": 2994, "seconds": None, "until_violation": False, "confidence": 1e-3}
    assert (told["results"][0]["ended"], told["results"][0]["short_of"]) == ("runs", 2995)


def test_what_stops_a_hunt_is_not_its_budget():
    from threading import Timer

    from anonvma_rt import StopToken

    token = StopToken()
    Timer(0.3, token.stop).start()
    result = hunt("merge", algorithms=RIGHT, seconds=1000, stop=token)
    assert result.interrupted and result.results[0].ended == "" and result.results[0].executions > 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--seconds", "0"], "--seconds must be more than 0 and at most 1e+09, not 0"),
        (["--seconds", "-3"], "--seconds must be more than 0 and at most 1e+09, not -3"),
        (["--seconds", "nan"], "--seconds must be more than 0 and at most 1e+09, not nan"),
        (["--seconds", "inf"], "--seconds must be more than 0 and at most 1e+09, not inf"),
        (["--seconds", "soon"], '--seconds must be a number, not "soon"'),
        (["--confidence", "0"], "--confidence must be a probability from 1e-12 to less than 1, such as 1e-6, not 0"),
        (["--confidence", "1"], "--confidence must be a probability from 1e-12 to less than 1, such as 1e-6, not 1"),
        (
            ["--confidence", "nan"],
            "--confidence must be a probability from 1e-12 to less than 1, such as 1e-6, not nan",
        ),
        (["--confidence", "95%"], '--confidence must be a number, not "95%"'),
        (["--runs", "0", "--seconds", "1"], "--runs must be at least 1, not 0"),
    ],
)
def test_what_nobody_can_wait_for_is_one_clear_line(words, says, capsys):
    assert main(["hunt", "merge", *words]) == 2
    assert capsys.readouterr() == ("", f"anonvma-rt: {says}\n")


def test_the_same_words_from_python():
    for how in ({"seconds": -1}, {"confidence": 1.5}, {"runs": 0}):
        with pytest.raises(UserError, match=f"--{next(iter(how))} must be"):
            hunt("merge", **how)


@pytest.mark.parametrize("probability", [0.5, 0.05, 1e-3, 1e-6, 3.3e-7, 1e-12, 0.99])
def test_fewer_executions_would_not_do(probability):
    n = executions_for(probability)
    assert upper_bound_95(0, n) <= probability and (n == 1 or upper_bound_95(0, n - 1) > probability)


# ---- what is inside the time of a search -----------------------------------------------------------------------------


def test_the_hunt_and_the_estimate_before_a_search_are_inside_its_time(clock):
    told = []
    how = {"estimated": lambda name, estimate: told.append(estimate)}
    (whole,) = verify("order", {"pages": 3}, ["patched"], seconds=1e6, **how).results
    assert (whole.scouts, whole.complete, len(told)) == (512, True, 1) and whole.estimate.probes == 968
    (short,) = verify("order", {"pages": 3}, ["patched"], seconds=5, **how).results
    assert 0 < short.scouts < 512 and short.estimate is None and len(told) == 1
    assert short.verdict == "NOT PROVED: 5 s were over after 16 classes, none violating"
    (longer,) = verify("order", {"pages": 3}, ["patched"], seconds=25, **how).results
    assert longer.scouts == 512 and 16 <= longer.estimate.probes < 968 and not longer.complete


def test_each_algorithm_has_a_time_of_its_own_and_the_first_begins_with_the_verb(clock):
    clocks = Clocks(10)
    clock[0] += 7
    first = clocks.next()
    assert not first.look()
    second = clocks.next()
    assert not second.look() and second is not first
    clock[0] += 3
    assert not second.look()
    # Both have their turns anew, with what is left of theirs.
    clocks.anew()
    assert clocks.next() is first and first.look()
    assert clocks.next() is second and not second.look()
    clock[0] += 5
    assert second.look()
