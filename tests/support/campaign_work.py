"""Work that goes wrong in a worker, for tests: it must be importable there, so it has a module of its own."""

import errno
import os
import signal
import time

from anonvma_rt import StopToken
from anonvma_rt.stress.campaign import executors, work
from anonvma_rt.stress.campaign.work import run_range

POISON = 137


def die_at_poison(unit):
    """Kills its worker whenever execution 137 of the first seed is among those asked for."""
    if unit["seed"] == 0 and unit["start"] <= POISON < unit["start"] + unit["runs"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return run_range(unit)


def raise_at_poison(unit):
    if unit["seed"] == 0 and unit["start"] <= POISON < unit["start"] + unit["runs"]:
        raise ZeroDivisionError("a bug of the lab")
    return run_range(unit)


def serve_at_the_third_start(*arguments):
    """A worker's life, but the first two are killed before they are ready."""
    with open(os.environ["ANONVMA_RT_TEST_STARTS"], "a+") as file:
        file.write("x")
        file.flush()
        starts = file.tell()
    if starts < 3:
        always_die()
    executors._serve(*arguments)


def always_die(*unit):
    os.kill(os.getpid(), signal.SIGKILL)


def slowly(unit):
    """Later ranges are finished before earlier ones."""
    time.sleep(0.03 if unit["start"] % 200 == 0 else 0)
    return run_range(unit)


def hang(unit):
    """A range that does not even end when it is told to."""
    work.PATIENCE = 0.05
    with work._deadline(0.05, StopToken()):
        time.sleep(60)


def first_time(name):
    """Whether no worker was here before; the file of that name in the environment's folder remembers it."""
    try:
        os.close(os.open(os.path.join(os.environ["ANONVMA_RT_TEST_FOLDER"], name), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def stop_once(unit):
    """The first worker is stopped, as by SIGSTOP from a terminal, and nobody lets it go on."""
    if first_time("stopped"):
        os.kill(os.getpid(), signal.SIGSTOP)
    return run_range(unit)


def short_twice(unit):
    """The first two find no descriptors, and no threads."""
    for name, error in (("files", OSError(errno.EMFILE, "Too many open files")),
                        ("threads", RuntimeError("can't start new thread")), ("memory", MemoryError())):  # fmt: skip
        if first_time(name):
            raise error
    return run_range(unit)


def short_at_poison(unit):
    """There is never memory for one of the ranges."""
    if unit["seed"] == 0 and unit["start"] == 100:
        raise MemoryError("no memory for the subject")
    return run_range(unit)


def always_short(unit):
    raise OSError(errno.EMFILE, "Too many open files")


def needs_a_file(unit):
    os.stat("/nonexistent/file")


def other_version(unit):
    return run_range(unit | {"version": "0.0.0"})
