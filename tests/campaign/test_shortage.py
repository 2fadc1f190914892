"""What a machine is short of, and workers that somebody stopped: never poison, always said, and gone on with."""

import resource
import time

import campaign_work
import pytest
from campaign_tools import SMALL, one_line, run, totals, write

pytest.importorskip("anonvma_rt.stress.campaign.run", reason="not installed, only built in place")

from anonvma_rt.stress.campaign import run as campaign_module
from anonvma_rt.stress.campaign.executors import Lost, ProcessWorkers, _Worker, crew_for, host_is_short
from anonvma_rt.stress.campaign.file import read_campaign
from anonvma_rt.stress.campaign.run import Shortage, run_campaign
from anonvma_rt.stress.campaign.store import Store
from anonvma_rt.stress.report.report import make_report


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where workers remember that they were here."""
    monkeypatch.setenv("ANONVMA_RT_TEST_FOLDER", str(tmp_path))
    return tmp_path


def store_of(folder, text=SMALL):
    return Store.create(str(folder / "store.db"), read_campaign(text, "campaign.toml"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The totals of the campaign where nothing is short."""
    folder = tmp_path_factory.mktemp("alone")
    run("run", write(folder / "small.toml"), "--store", folder / "store.db", "--jobs", "1")
    return totals(folder / "store.db")


def test_what_was_short_for_a_moment_is_done_again_and_leaves_no_trace(folder, alone):
    with store_of(folder) as store:
        assert run_campaign(store, crew_for("processes", 2), work=campaign_work.short_twice)
        assert all(store.tries(cell.number) == {} for cell in store.cells())
    assert {"files", "threads", "memory"} <= {path.name for path in folder.iterdir()}
    assert totals(folder / "store.db") == alone


def test_a_machine_that_stays_short_ends_the_campaign_in_one_line_and_poisons_nothing(folder, alone, monkeypatch):
    monkeypatch.setattr(campaign_module, "BREATH", 0.001)
    with store_of(folder) as store:
        with pytest.raises(Shortage, match=r"lacks what workers need \(OSError.*20 times in a row.*campaign resume"):
            run_campaign(store, crew_for("processes", 2), work=campaign_work.always_short)
        assert not any(row.totals.poisoned or row.totals.ended for row in make_report(store).rows)
    run("resume", folder / "store.db")
    assert totals(folder / "store.db") == alone


def test_a_range_that_never_has_memory_is_put_aside_and_the_others_are_done(folder, alone, monkeypatch):
    monkeypatch.setattr(campaign_module, "BREATH", 0.001)
    with store_of(folder) as store:
        with pytest.raises(Shortage, match=r"too short for 4 range\(s\) \(MemoryError: no memory for the subject\)"):
            run_campaign(store, crew_for("processes", 2), work=campaign_work.short_at_poison)
        rows = make_report(store).rows
        assert [row.totals.ended for row in rows if row.cell.seed == 1] == ["all"] * 4
        assert not any(row.totals.poisoned for row in rows)
        assert {len(list(store.rows(row.cell.number))) for row in rows if row.cell.seed == 0} == {5}
    run("resume", folder / "store.db")
    assert totals(folder / "store.db") == alone


def test_an_error_of_the_range_itself_is_no_shortage(folder, monkeypatch):
    monkeypatch.setattr(campaign_module, "TRIES", 1)
    with store_of(folder, SMALL.replace("executions = 600", "executions = 100")) as store:
        run_campaign(store, crew_for("processes", 2), work=campaign_work.needs_a_file)
        assert {row.verdict for row in make_report(store).rows} == {"poisoned"}
    assert not host_is_short(RuntimeError("x")) and not host_is_short(None) and host_is_short(MemoryError())


@pytest.mark.parametrize(
    ("what", "most"),
    [(resource.RLIMIT_NOFILE, 12), *((resource.RLIMIT_AS, mib << 20) for mib in (60, 64, 68, 76, 88))],
    ids=["descriptors", *(f"{mib} MiB" for mib in (60, 64, 68, 76, 88))],
)
def test_limits_of_a_shell_poison_nothing(what, most, tmp_path, alone):
    """Whatever ends such a campaign, resume has the totals of one that was left alone."""
    campaign, db = write(tmp_path / "small.toml"), tmp_path / "store.db"
    (tmp_path / "store.db").touch()

    def limited():
        resource.setrlimit(what, (most, most))

    said = one_line("run", campaign, "--store", db, "--jobs", "2", preexec_fn=limited)
    assert "Traceback" not in said
    run("run", campaign, "--store", db, "--jobs", "2")
    assert totals(db) == alone


def test_a_worker_that_does_not_start_gives_its_core_back(monkeypatch):
    workers = ProcessWorkers(1)
    cores = list(workers._free_cores)

    def fails(self, core):
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(_Worker, "__init__", fails)
        for _ in range(3):
            with pytest.raises(OSError, match="Too many open files"):
                workers.submit(int, "1").result()
    assert workers._free_cores == cores
    assert workers.submit(int, "1").result() == 1
    workers.shutdown()


def test_a_worker_that_is_stopped_is_noticed_from_outside_and_its_range_done_again(folder, alone, monkeypatch):
    monkeypatch.setattr(campaign_module, "GRACE", 0.5)
    text = SMALL.replace("range = 100", "range = 100\ntimeout = 1")
    began = time.monotonic()
    with store_of(folder, text) as store:
        assert run_campaign(store, crew_for("processes", 2), work=campaign_work.stop_once)
    assert 2 < time.monotonic() - began < 60
    assert totals(folder / "store.db") == alone


def test_whoever_looks_and_was_stopped_itself_blames_nobody(monkeypatch):
    workers = ProcessWorkers(1)
    future = workers.submit(time.sleep, 1.5, within=30)
    while not workers.pids():
        time.sleep(0.01)
    clock = time.monotonic
    monkeypatch.setattr("anonvma_rt.stress.campaign.executors.monotonic", lambda: clock() + 3600)
    workers.look()
    assert future.result() is None
    future = workers.submit(time.sleep, 60, within=0.1)
    with pytest.raises(Lost, match=r"did not answer within 0\.1 s"):
        while not future.done():
            workers.look()
            time.sleep(0.01)
        future.result()
    workers.shutdown()
