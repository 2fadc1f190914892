"""A campaign that is killed again and again has the totals of one that was left alone, and leaves no orphans."""

import os
import random
import signal
import sqlite3
import time

import pytest
from campaign_tools import Marked, finished_ranges, run, totals, wait_for, write

pytest.importorskip("anonvma_rt.stress.campaign.run", reason="not installed, only built in place")

CAMPAIGN = """
campaign = "kill"
executions = {executions}
range = 1000
carrier = "fibers"
[[cells]]
strategies = ["pct"]
scenarios = ["lkml-2011"]
algorithms = ["unpatched", "moveto-tail"]
seeds = [0, 1]
[[cells]]
strategies = ["pct"]
scenarios = ["error-path"]
algorithms = ["moveto-tail-merge-only"]
stop = "first"
seeds = {{ from = 0, count = 8 }}
"""


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def kill_runner(db, campaign, rng):
    """True if the runner died with work under way."""
    before = finished_ranges(db)
    runner = Marked("run", campaign, "--store", db, "--jobs", "2")
    wait_for(lambda: finished_ranges(db) > before or runner.process.poll() is not None)
    time.sleep(rng.random() * 0.1)
    under_way = runner.process.poll() is None
    runner.process.kill()
    runner.process.communicate()
    assert runner.all_gone(), "orphans"
    return under_way


def kill_workers(db, campaign, times, rng):
    """How many workers died; the runner goes on, and is killed in the end."""
    runner, killed = Marked("run", campaign, "--store", db, "--jobs", "2"), 0
    while killed < times:
        before = finished_ranges(db)
        wait_for(lambda before=before: finished_ranges(db) > before or runner.process.poll() is not None)
        time.sleep(rng.random() * 0.05)
        workers = runner.workers()
        assert runner.process.poll() is None, f"it ended after {killed} kills: {runner.process.communicate()[1]}"
        if workers:
            killed += kill(rng.choice(workers))
    runner.process.kill()
    runner.process.communicate()
    assert runner.all_gone(), "orphans"
    return killed


def check(tmp_path, executions, runners, workers):
    campaign = write(tmp_path / "kill.toml", CAMPAIGN.format(executions=executions))
    alone, killed = tmp_path / "alone.db", tmp_path / "killed.db"
    run("run", campaign, "--store", alone, "--jobs", "1")
    rng = random.Random(20111208)
    assert sum(kill_runner(killed, campaign, rng) for _ in range(runners)) == runners
    assert kill_workers(killed, campaign, workers, rng) == workers
    run("resume", killed, "--jobs", "2")
    assert totals(killed) == totals(alone)
    # No range is there twice, or beyond the end of its cell; none is left with anybody.
    rows = {}
    for db in (alone, killed):
        database = sqlite3.connect(db)
        rows[db] = database.execute("select cell, number, state, executions, found from range").fetchall()
        assert database.execute("select count(*) from lease").fetchone() == (0,)
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)
        database.close()
    assert sorted(rows[alone]) == sorted(rows[killed])


def test_a_campaign_whose_runner_and_workers_are_killed_has_the_same_totals(tmp_path):
    check(tmp_path, executions=60_000, runners=2, workers=2)


@pytest.mark.long
def test_twenty_kills_of_the_runner_and_twenty_of_workers(tmp_path):
    check(tmp_path, executions=800_000, runners=20, workers=20)


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(tmp_path):
    campaign, db = write(tmp_path / "kill.toml", CAMPAIGN.format(executions=400_000)), tmp_path / "store.db"
    runner = Marked("run", campaign, "--store", db, "--jobs", "2")
    wait_for(lambda: finished_ranges(db) > 2)
    runner.process.send_signal(signal.SIGINT)
    _, said = runner.process.communicate(timeout=30)
    assert runner.process.returncode == 130
    assert f"campaign resume {db}" in said and "Traceback" not in said
    assert runner.all_gone()
    finished = finished_ranges(db)
    assert finished > 2
    out, _ = run("status", db)
    assert f"{finished} ranges" in out and "nobody runs it" in out and "0 ranges under way" in out
    run("report", db, expect=1)  # not finished is not as expected


def test_only_one_process_runs_a_campaign_and_others_may_look(tmp_path):
    campaign, db = write(tmp_path / "kill.toml", CAMPAIGN.format(executions=400_000)), tmp_path / "store.db"
    runner = Marked("run", campaign, "--store", db, "--jobs", "1")
    wait_for(lambda: finished_ranges(db) > 0)
    assert str(runner.process.pid) in run("status", db)[0]
    _, said = run("resume", db, expect=2)
    assert f"is being run by process {runner.process.pid}" in said
    run("report", db, "--json", expect=1)
    assert runner.process.poll() is None
    runner.process.kill()
    runner.process.communicate()
    assert runner.all_gone()
