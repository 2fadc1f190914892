"""What all tests share: Hypothesis' profiles (`dev` by default, `ci` where CI is set, any by HYPOTHESIS_PROFILE), and
modules that are compiled once per session.

No profile has a deadline: what runs on threads of its own takes as long as the machine is busy.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from compiled import BESIDE, build, load, once
from embedding_tools import build_all
from hypothesis import settings

import anonvma_rt

# A shell starts what runs in its background with ^C ignored, and so would be every process that a test interrupts.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=200, deadline=None, derandomize=True, database=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


@pytest.fixture(scope="session")
def breaker(tmp_path_factory):
    """A simulated kernel that damages itself in one way or another."""
    sources = {"breaker": (BESIDE / "breaker.pyx").read_text()}
    return load(once(tmp_path_factory, "breaker", lambda folder: build(folder, sources)), "breaker")


@pytest.fixture(scope="session")
def witness(tmp_path_factory):
    """Two modules that say how each execution ended: a simulated kernel, and programs over the public API."""
    names = ("witness", "programs")
    sources = {name: (BESIDE / f"{name}.pyx").read_text() for name in names}
    folder = once(tmp_path_factory, "witness", lambda folder: build(folder, sources))
    return [load(folder, name) for name in names]


@pytest.fixture(scope="session")
def own(tmp_path_factory):
    """The folder with the subjects of embedding_tools; it is on sys.path, so that they can be imported by name."""
    folder = once(tmp_path_factory, "own", build_all)
    sys.path.append(str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture
def command(own, tmp_path, monkeypatch):
    """run(*words) -> (exit code, stdout, stderr) of `anonvma-rt WORDS` in a process and a folder of its own; `here` is
    the folder. Modules are found as a user's are: in the current folder or on PYTHONPATH."""
    monkeypatch.setenv("PYTHONPATH", f"{Path(anonvma_rt.__file__).parents[1]}{os.pathsep}{own}")

    def run(*words):
        words = [sys.executable, "-m", "anonvma_rt", *map(str, words)]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout, done.stderr

    run.here = tmp_path
    return run
