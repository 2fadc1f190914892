"""Campaigns: the same totals whoever works on them, stop rules, ranges that kill their workers, any executor."""

import json
import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import pytest
from campaign_tools import SMALL, one_line, run, totals, write

from anonvma_rt import Reproducer, StopToken, UserError, hunt, replay

pytest.importorskip("anonvma_rt.stress.campaign.run", reason="not installed, only built in place")

import campaign_work

from anonvma_rt.stress.campaign import run as campaign_module
from anonvma_rt.stress.campaign.executors import CannotStart, Crew, ProcessWorkers, crew_for
from anonvma_rt.stress.campaign.file import read_campaign, shipped, text_of
from anonvma_rt.stress.campaign.run import run_campaign
from anonvma_rt.stress.campaign.store import Store, StoreError, Survey
from anonvma_rt.stress.campaign.work import WrongVersion, run_range
from anonvma_rt.stress.report.report import make_report


def threads(n=2, width=4):
    return Crew(lambda: ThreadPoolExecutor(n), lambda _: width)


def store_of(tmp_path, text=SMALL, name="store.db"):
    return Store.create(str(tmp_path / name), read_campaign(text, "campaign.toml"))


def outcome(store):
    """The cells of the report, without the clock."""
    cells = [row.as_dict() for row in make_report(store).rows]
    for cell in cells:
        del cell["seconds"]
    return cells


def one_cell(**budget):
    lines = "\n".join(f"{name} = {value}" for name, value in budget.items())
    return f"""campaign = "one"
carrier = "fibers"
range = 100
{lines}
[[cells]]
scenarios = ["merge"]
algorithms = ["unpatched"]
strategies = ["pct"]
"""


def test_the_command_runs_a_campaign_reports_it_and_writes_its_reproducers(tmp_path):
    file, db = write(tmp_path / "small.toml"), tmp_path / "small.db"
    out, _ = run("run", file, "--store", db, "--jobs", "2")
    assert out.count("as expected") == 8 and "stale-migration-entry" in out
    told = json.loads(run("status", db, "--json")[0])
    assert (told["cells"], told["ended"], told["complete"], told["executions"]) == (8, 8, True, 4800)
    # Again is not twice.
    assert run("run", file, "--store", db)[0] == out == run("resume", db)[0]
    written = json.loads(run("reproducers", db, "--out", tmp_path / "found", "--json")[0])["reproducers"]
    assert len(written) == 4
    for path in written:
        assert replay(Reproducer.load(path), times=3).reproduced == 3


def test_a_cell_has_what_bare_hunts_of_its_ranges_have(tmp_path):
    with store_of(tmp_path) as store:
        assert run_campaign(store, threads())
        for row in make_report(store).rows:
            cell, found = row.cell, row.totals
            bare = [
                hunt("merge", None, [cell.algorithm], cell.strategy, seed=cell.seed, start=start, runs=100).results[0]
                for start in range(0, 600, 100)
            ]
            assert found.executions == 600
            assert found.violations == sum((Counter(one.violations) for one in bare), Counter())
            assert found.indices == [index for one in bare for index in one.indices]
            assert found.sums["points"] == sum(one.points for one in bare)
            assert found.classes == asdict(bare[0].classes)
            stored = [outcome.result["schedules_sha256"] for _, outcome in store.rows(cell.number)]
            assert stored == [one.schedules_sha256 for one in bare]


def test_any_executor_and_any_number_of_workers_give_the_same_totals(tmp_path):
    crews = {
        "one thread": threads(1, 1),
        "three threads": threads(3, 7),
        "processes": crew_for("processes", 2),
        "a pool of the standard library": Crew(
            lambda: ProcessPoolExecutor(2, mp_context=get_context("spawn")), lambda _: 4, exact=False
        ),
    }
    outcomes = []
    for name, crew in crews.items():
        with store_of(tmp_path, name=f"{name}.db") as store:
            assert run_campaign(store, crew)
            outcomes.append(outcome(store))
    assert all(one == outcomes[0] for one in outcomes)
    assert len({cell["ranges_sha256"] for cell in outcomes[0]}) == 8


@pytest.mark.parametrize("work", [run_range, campaign_work.slowly], ids=["as they come", "out of order"])
@pytest.mark.parametrize("width", [1, 3, 16])
def test_the_first_range_with_a_violation_ends_a_cell_however_many_are_under_way(tmp_path, width, work):
    with store_of(tmp_path, one_cell(executions=5000, stop='"first"')) as store:
        run_campaign(store, threads(4, width), work=work)
        (cell,) = make_report(store).rows
        # Execution 31 is the first violation, in range 0.
        assert (cell.totals.ended, cell.totals.executions, cell.totals.first.index) == ("first", 100, 31)
        assert [number for number, _ in store.rows(0)] == [0]


@pytest.mark.parametrize("width", [1, 16])
def test_a_bound_ends_a_cell_after_the_range_that_reaches_it(tmp_path, width):
    text = one_cell(executions=5000, stop="{ upper_bound = 1e-2 }").replace("unpatched", "moveto-tail")
    with store_of(tmp_path, text) as store:
        run_campaign(store, threads(4, width))
        (cell,) = make_report(store).rows
        assert (cell.totals.ended, cell.totals.executions) == ("bound", 300)  # 1 - 0.05 ** (1 / 300) = 0.00993


def test_a_budget_of_time_ends_as_far_as_it_got_and_says_so(tmp_path):
    with store_of(tmp_path, one_cell(seconds=0.05)) as store:
        run_campaign(store, threads(2, 4))
        (row,) = make_report(store).rows
        assert row.totals.ended == "time" and row.totals.sums["seconds"] >= 0.05
        assert [number for number, _ in store.rows(0)] == list(range(row.totals.ranges))
        assert run_campaign(store, threads(2, 4)) and make_report(store).rows[0].totals.ranges == row.totals.ranges


def test_budgets_that_are_no_multiple_of_a_range_are_kept(tmp_path):
    with store_of(tmp_path, one_cell(executions=250)) as store:
        run_campaign(store, threads())
        (row,) = make_report(store).rows
        assert (row.totals.executions, row.totals.ranges) == (250, 3)
        assert (
            row.totals.indices == hunt("merge", algorithms=["unpatched"], strategy="pct", runs=250).results[0].indices
        )


def test_a_stop_token_ends_a_campaign_and_what_is_finished_is_kept(tmp_path):
    stop = StopToken()
    with store_of(tmp_path) as store:
        assert not run_campaign(store, threads(), stop, progress=lambda now: stop.stop())
        before = sum(cell.ranges for cell in Survey().look(store))
        assert 0 < before < 48
        stop.reset()
        assert run_campaign(store, threads(), stop)
        interrupted = outcome(store)
    with store_of(tmp_path, name="other.db") as other:
        run_campaign(other, threads())
        assert outcome(other) == interrupted


def test_what_was_found_and_could_not_be_stored_is_named(tmp_path, monkeypatch):
    def full(self, cell, number, outcome):
        raise StoreError("the disk is full")

    monkeypatch.setattr(Store, "finish", full)
    with store_of(tmp_path, one_cell(executions=100)) as store:
        with pytest.raises(StoreError) as caught:
            run_campaign(store, threads())
        assert str(caught.value) == (
            "the disk is full; 1 finished range(s) could not be stored and will run again, with stale-migration-entry "
            "of merge under unpatched at execution 31"
        )
        assert make_report(store).rows[0].totals.executions == 0


def test_only_as_many_ranges_are_under_way_as_the_crew_wants(tmp_path):
    now, most, lock = 0, 0, threading.Lock()

    class Counting(ThreadPoolExecutor):
        def submit(self, call, /, *arguments):
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
            future = super().submit(call, *arguments)
            future.add_done_callback(lambda _: done())
            return future

    def done():
        nonlocal now
        with lock:
            now -= 1

    with store_of(tmp_path) as store:
        run_campaign(store, Crew(lambda: Counting(2), lambda _: 5))
    assert most == 5


TWO_SEEDS = one_cell(executions=300) + "seeds = [0, 1]\n"


def test_a_range_that_kills_its_workers_is_isolated_down_to_the_execution(tmp_path):
    with store_of(tmp_path, TWO_SEEDS) as store:
        assert run_campaign(store, crew_for("processes", 2), work=campaign_work.die_at_poison)
        sick, sound = make_report(store).rows
        assert (sick.verdict, sound.verdict) == ("poisoned", "as expected")
        (range_,) = sick.totals.poisoned
        assert (range_.start, range_.runs, range_.outcome.index) == (100, 100, campaign_work.POISON)
        assert "SIGKILL" in range_.outcome.why and "execution 137" in sick.problem
        # What the other ranges found is there.
        assert sick.totals.executions == 200 and sick.totals.found > 0
        assert sound.totals.executions == 300


def test_a_range_that_raises_is_poison_too(tmp_path):
    with store_of(tmp_path, TWO_SEEDS) as store:
        run_campaign(store, threads(), work=campaign_work.raise_at_poison)
        (range_,) = make_report(store).rows[0].totals.poisoned
        assert (
            range_.outcome.why == "ZeroDivisionError: a bug of the lab" and range_.outcome.index == campaign_work.POISON
        )


def test_poison_in_a_pool_that_breaks_as_a_whole_is_pinned_to_its_range(tmp_path):
    pool = Crew(lambda: ProcessPoolExecutor(2, mp_context=get_context("spawn")), lambda _: 4, exact=False)
    with store_of(tmp_path, TWO_SEEDS) as store:
        run_campaign(store, pool, work=campaign_work.die_at_poison)
        sick, sound = make_report(store).rows
        assert [one.start for one in sick.totals.poisoned] == [100]
        assert sound.verdict == "as expected" and sound.totals.executions == 300


def test_a_cell_of_poison_only_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(campaign_module, "TRIES", 1)
    text = one_cell(executions=5000).replace("range = 100", "range = 2")
    with store_of(tmp_path, text) as store:
        run_campaign(store, crew_for("processes", 2), work=campaign_work.always_die)
        (row,) = make_report(store).rows
        assert (row.totals.ended, len(row.totals.poisoned)) == ("poisoned", 3)


def test_a_worker_of_another_version_ends_the_campaign(tmp_path):
    with store_of(tmp_path) as store, pytest.raises(WrongVersion, match="install the same"):
        run_campaign(store, threads(), work=campaign_work.other_version)


def test_workers_that_cannot_start_are_no_poison(tmp_path, monkeypatch):
    monkeypatch.setattr("anonvma_rt.stress.campaign.executors._serve", "not callable")
    with store_of(tmp_path) as store, pytest.raises(CannotStart, match="exit code 1"):
        run_campaign(store, crew_for("processes", 1))


def test_workers_that_are_killed_while_they_start_are_started_again(tmp_path, monkeypatch):
    monkeypatch.setattr("anonvma_rt.stress.campaign.executors._serve", campaign_work.serve_at_the_third_start)
    monkeypatch.setenv("ANONVMA_RT_TEST_STARTS", str(tmp_path / "starts"))
    with store_of(tmp_path, one_cell(executions=300)) as store:
        assert run_campaign(store, crew_for("processes", 1))
        assert make_report(store).as_expected
    assert (tmp_path / "starts").read_text() == "xxx"
    monkeypatch.setattr("anonvma_rt.stress.campaign.executors._serve", campaign_work.always_die)
    monkeypatch.setattr("anonvma_rt.stress.campaign.executors.STARTS", 2)
    with store_of(tmp_path, name="other.db") as store, pytest.raises(CannotStart, match="2 worker processes in a row"):
        run_campaign(store, crew_for("processes", 1))


def test_a_range_that_takes_too_long_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(campaign_module, "TRIES", 1)
    text = one_cell(executions=10_000_000, timeout=0.05).replace("range = 100\n", "range = 10_000_000\n")
    with store_of(tmp_path, text) as store:
        run_campaign(store, threads())
        (row,) = make_report(store).rows
        assert row.verdict == "poisoned" and "choose a smaller `range`" in row.problem


def test_a_worker_whose_range_hangs_ends_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(campaign_module, "TRIES", 1)
    with store_of(tmp_path, one_cell(executions=1).replace("range = 100", "range = 1")) as store:
        run_campaign(store, crew_for("processes", 1), work=campaign_work.hang)
        (row,) = make_report(store).rows
        assert row.verdict == "poisoned" and "SIGKILL" in row.problem and "execution 0" in row.problem


def test_a_scenario_that_the_kernel_refuses_fails_its_cell_and_no_other(tmp_path):
    (tmp_path / "refused.toml").write_text(
        'name = "refused"\nabout = "munmap of an odd address"\n'
        '[[setup]]\ndo = "mmap"\nat = 4096\npages = 1\n'
        '[[thread]]\nname = "t"\nsteps = [{ do = "munmap", at = 4097, pages = 1 }]\n'
    )
    text = SMALL + '[[cells]]\nscenarios = ["./refused.toml"]\nalgorithms = ["unpatched"]\n'
    store = Store.create(str(tmp_path / "x.db"), read_campaign(text, str(tmp_path / "campaign.toml")))
    with store:
        run_campaign(store, threads())
        *others, refused = make_report(store).rows
        assert refused.verdict == "failed" and "EINVAL" in refused.problem
        assert {row.verdict for row in others} == {"as expected"}


def test_the_runner_is_a_small_part_of_what_a_campaign_costs(tmp_path):
    """Measured in processor time, so that a busy machine does not matter: ranges of a fifth of a second or so."""

    def spent(pid):
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    text = one_cell(executions=200_000).replace("range = 100", "range = 25_000").replace("fibers", "threads")
    before, of_worker = time.process_time(), 0.0
    crew = crew_for("processes", 1)
    with store_of(tmp_path, text.replace("unpatched", "moveto-tail")) as store:

        def progress(now):
            nonlocal of_worker
            (pid,) = crew.executor.pids()
            of_worker = spent(pid)

        run_campaign(store, crew, progress=progress)
    assert time.process_time() - before < 0.1 * of_worker


def test_process_workers_are_an_executor_that_outlives_its_workers():
    with ProcessWorkers(2) as workers:
        assert list(workers.map(abs, [-1, 2, -3])) == [1, 2, 3]
        for pid in workers.pids():
            os.kill(pid, signal.SIGKILL)
        # Idle ones that died take the next call with them, and are replaced.
        first = [workers.submit(abs, -5) for _ in range(4)]
        assert [future.result() for future in [workers.submit(abs, -5) for _ in range(4)]][-1] == 5
        assert any(future.exception() is None for future in first)
        with pytest.raises(ValueError):
            workers.submit(int, "x").result()
    assert workers.pids() == []


def test_executors_that_are_not_there_are_one_line(tmp_path):
    file = write(tmp_path / "small.toml")
    assert "processes, dask://HOST:PORT or mpi" in one_line(
        "run", file, "--store", tmp_path / "x.db", "--executor", "k8s"
    )
    assert "--jobs must be from 1" in one_line("run", file, "--store", tmp_path / "x.db", "--jobs", "0")
    assert not (tmp_path / "x.db").exists()


@pytest.mark.parametrize("name", shipped())
def test_shipped_campaigns_are_readable(name):
    asked = ("unpatched,ordering=tail",) if name == "patch" else ()
    plan = read_campaign(*text_of(name), asked)
    assert plan.name == name and plan.about and plan.cells


def test_the_shipped_question_about_a_patch_answers_it(tmp_path):
    text, source = text_of("patch")
    small = text.replace("executions = 30_000", "executions = 2000").replace("range = 3_000", "range = 1000")
    small = small.replace('strategies = ["surw", "pct", "sticky"]\nseeds = [0, 1]', 'strategies = ["surw"]')
    assert len(small) < len(text) - 20
    for asked, good in (("moveto-tail", True), ("moveto-tail-merge-only", False)):
        with Store.create(str(tmp_path / f"{asked}.db"), read_campaign(small, source, (asked,))) as store:
            run_campaign(store, threads())
            report = make_report(store)
            assert report.as_expected == good
            wrong = {row.cell.scenario for row in report.rows if row.problem}
            assert wrong == (set() if good else {"error-path"})
    with pytest.raises(UserError, match="--algorithm"):
        read_campaign(text, source)


def test_a_campaign_goes_on_in_a_store_of_another_process(tmp_path):
    """What was written by one runner is read by the next: leases that a dead one left are handed out again."""
    file, db = write(tmp_path / "small.toml"), tmp_path / "small.db"
    with store_of(tmp_path, file.read_text(), "small.db") as store:
        store.take()
        with store.transaction():
            store.lease(0, 0)
            store.lease(0, 3)
        assert store.under_way() == 2
    database = sqlite3.connect(db)
    database.execute("update runner set pid = 1 << 22")  # there is no such process
    database.commit()
    database.close()
    run("resume", db)
    run("run", file, "--store", tmp_path / "alone.db")
    assert totals(db) == totals(tmp_path / "alone.db")
