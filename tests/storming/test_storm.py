"""Storms: all tasks at once. Rates are the machine's, so nothing here depends on one: executions are counted, a storm
goes on until it has hit where a hit is all but certain to come, and the patched algorithm never has one.
"""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonvma_rt import StopToken, StormInterrupted, UserError, replay, storm
from anonvma_rt.cli import main
from anonvma_rt.cli.report import storm_report
from anonvma_rt.engine.parallel.storm import NUMBERS, Storm
from anonvma_rt.engine.strategy import script
from anonvma_rt.execution.reproducer import Reproducer
from anonvma_rt.lab.explorers import make_explorer
from anonvma_rt.lab.load import load
from anonvma_rt.search.bounds import wilson_95
from anonvma_rt.storming.delays import DELAYS, parse_delays
from anonvma_rt.storming.replay import confirm
from anonvma_rt.storming.turns import Bandit

# The walker of the error path meets entries that travel against its list for a long time.
CERTAIN = "error-path"


def until_hit(scenario, algorithm, out=None, profiles=("skew", "spin"), rounds=60):
    """Storms of 100 executions with another seed each, until one has a hit."""
    for seed in range(rounds):
        result = storm(scenario, algorithms=[algorithm], executions=100, seed=seed, profiles=profiles, out=out)
        if result.results[0].hits:
            return result
    raise AssertionError(f"no hit in {rounds} storms of {scenario}")


# ---- what is found ---------------------------------------------------------------------------------------------------


def test_a_hit_is_confirmed_by_a_replay_and_saved_as_an_ordinary_reproducer(tmp_path):
    result = until_hit(CERTAIN, "unpatched", tmp_path)
    (one,) = result.results
    assert set(one.violations) == {"stale-migration-entry"} and result.as_expected
    assert one.recorded + one.not_recorded == one.hits
    assert one.confirmed == one.recorded >= 1 and one.unconfirmed == {}
    (found,) = one.found
    saved = Reproducer.load(found.reproducer)
    assert (saved.strategy, saved.kind, saved.index) == ("storm", "stale-migration-entry", found.index)
    again = replay(saved, times=5)
    assert again.reproduced == 5 and again.same_trace
    text = storm_report(result, 110)
    assert "(100 %)" in text and f"anonvma-rt replay {found.reproducer}" in text and "which stays at" in text


@pytest.mark.parametrize("scenario", ["lkml-2011", "error-path", "fork-child-first", "shot", "compaction"])
def test_the_patched_algorithm_has_no_hit_under_any_profile(scenario):
    result = storm(scenario, algorithms=["moveto-tail"], executions=140)
    (one,) = result.results
    assert one.executions == 140 and one.violations == {} and one.found == [] and result.as_expected


@pytest.mark.parametrize("test, variant", [("order", "patched"), ("philosophers", "one-left-handed"), ("sb", "sc")])
def test_litmus_tests_that_cannot_fail_do_not(test, variant):
    assert storm(test, algorithms=[variant], executions=300).results[0].violations == {}


def test_a_litmus_test_that_can_fail_does_and_is_replayed(tmp_path):
    (one,) = until_hit("order", "unpatched", tmp_path).results
    assert set(one.violations) == {"assertion"} and one.confirmed == one.recorded >= 1
    assert replay(Reproducer.load(one.found[0].reproducer)).kind == "assertion"


def test_that_nothing_was_seen_is_never_called_evidence():
    result = storm("order", algorithms=["patched"], executions=50, profiles=["none"])
    text = storm_report(result, 110)
    assert "no evidence" in text and "unknown, up to" in text
    low, high = result.results[0].as_dict()["interval_95"]
    assert low == 0 and 0.05 < high < 0.1


def test_without_a_record_hits_are_counted_and_not_replayed():
    for seed in range(60):
        result = storm(CERTAIN, algorithms=["unpatched"], executions=100, seed=seed, profiles=["skew"], record=False)
        (one,) = result.results
        assert one.recorded == one.confirmed == 0 and one.found == [] and one.not_recorded == one.hits
        if one.hits:
            return
    raise AssertionError("no hit")


def test_a_log_in_a_wrong_order_is_repaired_or_given_up_and_never_confirmed_as_something_else():
    """Neighbouring steps of the log change places, as if a ticket had been taken a little early."""
    program = load(CERTAIN).bind({})
    explorer = make_explorer(program, program.choose("unpatched"), script.replay(), carrier="fibers")
    explorer.bound = 20_000
    outcomes = set()
    with explorer, Storm(explorer) as engine:
        kept = []
        for first in range(0, 6000, 100):
            kept += engine.run(first, 100, {"skew": 400}, 3, True, 8).kept
            if kept:
                break
        log = kept[0]
        tasks, marks = log.tasks, log.signatures
        assert confirm(explorer, log).outcome == "confirmed"
        for at in range(1, len(tasks) - 1):
            if tasks[at] != tasks[at + 1]:
                swapped = tasks[:at] + tasks[at + 1 : at + 2] + tasks[at : at + 1] + tasks[at + 2 :]
                moved = marks[: 2 * at] + marks[2 * at + 2 : 2 * at + 4] + marks[2 * at : 2 * at + 2]
                result = confirm(explorer, log._replace(tasks=swapped, signatures=moved + marks[2 * at + 4 :]))
                outcomes.add(result.outcome)
                if result.strategy is not None:
                    (failure,) = explorer.run_with(result.strategy, log.index, 1).failures
                    assert failure == (log.index, log.kind)
        assert outcomes & {"confirmed", "repaired"}
        assert confirm(explorer, log._replace(kind=log.kind + 1)).outcome == "another violation"


# ---- profiles and the bandit -----------------------------------------------------------------------------------------


def test_every_profile_is_known_to_the_engine_and_its_rates_add_up():
    for name, known in DELAYS.items():
        assert set(parse_delays(name).numbers) <= set(NUMBERS) and set(known.names.values()) <= set(NUMBERS)
    (one,) = storm("merge", algorithms=["moveto-tail"], executions=150).results
    assert [rate.profile for rate in one.rates] == list(DELAYS)
    assert sum(rate.executions for rate in one.rates) == 150


def test_a_stall_may_choose_its_lock_by_name():
    (one,) = storm(
        CERTAIN, algorithms=["moveto-tail"], executions=20, profiles=["stall:lock=ptl,every=1,most=50"]
    ).results
    assert one.executions == 20 and one.violations == {}
    with pytest.raises(UserError, match='no lock class "pte"; known are mmap_sem, page, anon_vma, ptl'):
        storm(CERTAIN, algorithms=["moveto-tail"], executions=1, profiles=["stall:lock=pte"])


@pytest.mark.parametrize("text, message", [
    ("spun", 'unknown profile "spun"; did you mean "spin"'),
    ("spin:evry=3", 'profile spin: unknown parameter "evry"'),
    ("spin:every=0", "every must be a whole number from 1"),
    ("yield:every=x", "every must be a whole number"),
    ("none:most=3", "unknown parameter"),
])  # fmt: skip
def test_a_wrong_profile_is_one_clear_line(text, message):
    with pytest.raises(UserError) as error:
        parse_delays(text)
    assert message.split(";")[0] in str(error.value) and "\n" not in str(error.value)


@given(st.lists(st.integers(0, 40), min_size=2, max_size=6), st.integers(0, 2**64 - 1))
def test_the_bandit_tries_every_arm_and_then_prefers_the_one_that_yields_most(rates, seed):
    bandit, turns = Bandit(len(rates), seed), [0] * len(rates)
    best = rates.index(max(rates))
    rates[best] = 10 * max(rates) + 100
    for _ in range(60):
        arm = bandit.choose()
        turns[arm] += 1
        bandit.tell(arm, rates[arm], 1.0)
    assert min(turns) >= 1 and turns[best] == max(turns) >= 40


@given(st.integers(0, 10_000), st.integers(1, 10_000))
def test_wilson_holds_the_share_itself(hits, n):
    hits = min(hits, n)
    low, high = wilson_95(hits, n)
    assert 0 <= low <= hits / n <= high <= 1


# ---- the verb --------------------------------------------------------------------------------------------------------


def test_storm_json_has_its_fields_and_nothing_else_on_stdout(tmp_path, capsys):
    assert main(["storm", "order", "--algorithm", "patched", "--seconds", "0.2", "--json", "--out", str(tmp_path)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {"scenario", "parameters", "profiles", "seed", "recording", "tasks", "results", "as_expected"} <= told.keys()
    (one,) = told["results"]
    fields = {
        "algorithm", "executions", "seconds", "executions_per_second", "violations", "violations_per_second",
        "interval_95", "profiles", "recorded", "confirmed", "repaired", "unconfirmed", "found",
    }  # fmt: skip
    assert fields <= one.keys()
    assert one["violations"] == {} and one["executions"] > 0 and told["tasks"] == 2


def test_an_expected_violation_that_did_not_come_is_said(capsys):
    code = main(["storm", "order", "--algorithm", "unpatched", "--seconds", "0.000001", "--profile", "none"])
    out = capsys.readouterr().out
    assert (code == 1 and "NOT AS EXPECTED: assertion" in out) or (code == 0 and "assertion" in out)


@pytest.mark.parametrize("arguments, message", [
    (["--seconds", "0"], "--seconds must be more than 0"),
    (["--seconds", "soon"], "--seconds must be a number"),
    (["--profile", "slow"], "unknown profile"),
    (["--seed", "-1"], "--seed must be from 0"),
    (["--algorithm", "patchd"], "patchd"),
])  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, capsys):
    assert main(["storm", "order", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_interrupted_it_prints_what_was_found(tmp_path):
    words = ["-m", "anonvma_rt", "storm", "order", "--seconds", "60", "--json", "--out"]
    command = [sys.executable, *words, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob("*.json")):  # then it is at work, however slowly a process begins
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in error
    told = json.loads(out)
    assert told["interrupted"] and told["results"][0]["executions"] > 0


def test_a_token_ends_it_from_another_thread_and_python_gets_the_result():
    stop = StopToken()
    result = storm("order", algorithms=["patched"], seconds=60, stop=stop, progress=lambda *_: stop.stop())
    assert result.interrupted and result.results[0].executions > 0


def test_an_exception_of_a_handler_comes_with_the_result():
    def interrupt(*_):
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(StormInterrupted) as caught:
        storm("order", algorithms=["patched"], seconds=60, progress=interrupt)
    assert caught.value.result.results[0].executions > 0
