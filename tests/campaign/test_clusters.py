"""Campaigns on clusters: dask on loopback, with a worker and then the scheduler killed on the way; an MPI job."""

import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
from campaign_tools import Marked, command, finished_ranges, one_line, run, totals, wait_for, write

pytest.importorskip("anonvma_rt.stress.campaign.run", reason="not installed, only built in place")

CAMPAIGN = """
campaign = "dask"
executions = 60_000
range = 1000
[[cells]]
strategies = ["pct"]
scenarios = ["lkml-2011"]
algorithms = ["unpatched", "moveto-tail"]
[[cells]]
strategies = ["pct"]
scenarios = ["merge"]
algorithms = ["unpatched"]
stop = "first"
seeds = [0, 1, 2]
"""


@pytest.fixture
def cluster(tmp_path):
    """(address, scheduler process, worker processes) of a cluster that ends with the test."""
    pytest.importorskip("distributed", reason="dask.distributed is not installed (the extra `dask`)")
    environment = os.environ | {"DASK_DISTRIBUTED__WORKER__DAEMON": "False"}
    started = []

    def start(name, *words):
        log = open(tmp_path / f"{name}.log", "w+")  # noqa: SIM115
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "dask", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )
        )
        return started[-1], lambda: (tmp_path / f"{name}.log").read_text()

    try:
        _, said = start(
            "scheduler", "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-jupyter"
        )
        wait_for(lambda: re.search(r"Scheduler at:\s+tcp://", said()))
        address = re.search(r"Scheduler at:\s+tcp://(\S+)", said())[1]
        workers = []
        for name in ("one", "two"):
            worker, said = start(
                name, "worker", f"tcp://{address}", "--no-nanny", "--nthreads", "1", "--no-dashboard",
                "--local-directory", str(tmp_path), "--host", "127.0.0.1",
            )  # fmt: skip
            workers.append(worker)
            wait_for(lambda said=said, worker=worker: "Registered to" in said() or worker.poll() is not None)
            assert worker.poll() is None, said()
        yield address, started[0], workers
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_a_cluster_that_loses_a_worker_has_the_totals_of_one_process(cluster, tmp_path):
    address, _, workers = cluster
    campaign, db, alone = write(tmp_path / "c.toml", CAMPAIGN), tmp_path / "dask.db", tmp_path / "alone.db"
    runner = Marked("run", campaign, "--store", db, "--executor", f"dask://{address}")
    wait_for(lambda: finished_ranges(db) > 4 or runner.process.poll() is not None)
    assert runner.process.poll() is None
    workers[0].send_signal(signal.SIGKILL)
    _, said = runner.process.communicate(timeout=100)
    assert runner.process.returncode == 0, said
    run("run", campaign, "--store", alone, "--jobs", "1")
    assert totals(db) == totals(alone)


def test_a_scheduler_that_is_lost_ends_the_run_in_one_line_and_keeps_what_is_finished(cluster, tmp_path):
    address, scheduler, workers = cluster
    campaign, db = write(tmp_path / "c.toml", CAMPAIGN), tmp_path / "dask.db"
    runner = Marked("run", campaign, "--store", db, "--executor", f"dask://{address}")
    wait_for(lambda: finished_ranges(db) > 2 or runner.process.poll() is not None)
    for process in (scheduler, *workers):
        process.kill()
    _, said = runner.process.communicate(timeout=60)
    assert runner.process.returncode == 2 and "Traceback" not in said, said
    assert "there is no scheduler" in said
    assert finished_ranges(db) > 2
    run("resume", db, "--jobs", "2")


def test_ctrl_c_waits_for_what_the_cluster_has_begun(cluster, tmp_path):
    address, *_ = cluster
    campaign, db = write(tmp_path / "c.toml", CAMPAIGN), tmp_path / "dask.db"
    runner = Marked("run", campaign, "--store", db, "--executor", f"dask://{address}")
    wait_for(lambda: finished_ranges(db) > 2 or runner.process.poll() is not None)
    runner.process.send_signal(signal.SIGINT)
    _, said = runner.process.communicate(timeout=60)
    assert runner.process.returncode == 130 and "Traceback" not in said, said
    assert finished_ranges(db) > 2
    run("resume", db, "--jobs", "2")


def test_without_a_scheduler_it_is_one_line(tmp_path):
    pytest.importorskip("distributed", reason="dask.distributed is not installed (the extra `dask`)")
    campaign = write(tmp_path / "c.toml", CAMPAIGN)
    said = one_line("run", campaign, "--store", tmp_path / "x.db", "--executor", "dask://127.0.0.1:1")
    assert "there is no scheduler" in said


def test_without_dask_it_is_one_line(tmp_path):
    try:
        import distributed  # noqa: F401
    except ImportError:
        campaign = write(tmp_path / "c.toml", CAMPAIGN)
        said = one_line("run", campaign, "--store", tmp_path / "x.db", "--executor", "dask://127.0.0.1:1")
        assert "pip install 'anonvma_rt[dask]'" in said
    else:
        pytest.skip("dask.distributed is installed")


def test_an_mpi_job_has_the_totals_of_one_process(tmp_path):
    pytest.importorskip("mpi4py", reason="mpi4py is not installed (the extra `mpi`)")
    here = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    mpiexec = shutil.which("mpiexec", path=here)
    if mpiexec is None:
        pytest.skip("there is no mpiexec")
    campaign, db, alone = write(tmp_path / "c.toml", CAMPAIGN), tmp_path / "mpi.db", tmp_path / "alone.db"
    assert "mpiexec -n" in one_line("run", campaign, "--store", db, "--executor", "mpi")
    words = ["-n", "3", sys.executable, "-m", "mpi4py.futures", *command("run", campaign, "--store", db)[1:]]
    done = subprocess.run([mpiexec, *words, "--executor", "mpi"], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    run("run", campaign, "--store", alone, "--jobs", "1")
    assert totals(db) == totals(alone)
