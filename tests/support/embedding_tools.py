"""Compiled code of somebody else's, built once per session against the package as it is, in one go.

What works: two of docs/examples, cython/embedded.pyx beside this, and the code in docs/embedding.md. `version` and
`layout` were built against .pxd files of another API version, and of the same version with another struct.
"""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import anonvma_rt

ROOT = Path(__file__).resolve().parents[2]
WHERE = str(Path(anonvma_rt.__file__).parents[1])

BUILD = """
from concurrent.futures import ThreadPoolExecutor
from setuptools import Extension, setup
from Cython.Build import cythonize
import sys
def make(name):
    return Extension(name, [name + ".pyx"], extra_compile_args=["-O0", "-g0"])
usual = cythonize([make(n) for n in ["aba_stack", "ordering_rule", "embedded", "unchecked", "counter", "mypatch"]],
                  include_path=[sys.argv[1]], language_level=3)
others = [e for n in ["version", "layout"] for e in cythonize([make(n)], include_path=["pxd_" + n], language_level=3)]
setup(script_args=["-q", "build_ext", "--inplace", "--parallel", "2"], ext_modules=usual + others)
"""
SMALL = """
from anonvma_rt.api cimport Subject, require_api
require_api(__name__)
cdef class Any(Subject):
    pass
"""


def documented(language):
    """The blocks of code in docs/embedding.md."""
    text = (ROOT / "docs" / "embedding.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def build(folder):
    for source in (
        ROOT / "docs/examples/aba_stack/aba_stack.pyx",
        ROOT / "docs/examples/ordering_rule/ordering_rule.pyx",
        ROOT / "tests/support/cython/embedded.pyx",
        ROOT / "tests/support/cython/unchecked.pyx",
    ):
        shutil.copy(source, folder)
    for name, text in zip(("counter", "mypatch"), documented("cython"), strict=True):
        (folder / f"{name}.pyx").write_text(text)
    for name, file, old, new in (
        ("version", "api.pxd", "API_VERSION = ", "API_VERSION = 1000 + "),
        ("layout", "engine/run/task.pxd", "    Task task[MAX_TASKS]", "    Task task[MAX_TASKS]\n    int one_more"),
    ):
        (folder / f"{name}.pyx").write_text(SMALL)
        for pxd in Path(anonvma_rt.get_include()).rglob("*.pxd"):
            target = folder / f"pxd_{name}" / "anonvma_rt" / pxd.relative_to(anonvma_rt.get_include())
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(pxd, target)
        changed = folder / f"pxd_{name}" / "anonvma_rt" / file
        text = changed.read_text()
        assert text.count(old) == 1
        changed.write_text(text.replace(old, new))
    command = [sys.executable, "-c", BUILD, anonvma_rt.get_cimport_path()]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def own(tmp_path_factory):
    """The folder with the modules; it is on sys.path, so that they can be imported by name."""
    for needed in ("Cython", "setuptools"):
        pytest.importorskip(needed, reason=f"{needed} is needed to compile a subject")
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "own"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not list(folder.glob("layout.*.so")):
            build(folder)
    sys.path.append(str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture
def command(own, tmp_path, monkeypatch):
    """run(*words) -> (exit code, stdout, stderr) of `anonvma-rt WORDS` in a process and a folder of its own; `here` is
    the folder. Modules are found as a user's are: in the current folder or on PYTHONPATH."""
    monkeypatch.setenv("PYTHONPATH", f"{WHERE}{os.pathsep}{own}")

    def run(*words):
        done = subprocess.run(
            [sys.executable, "-m", "anonvma_rt", *map(str, words)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.returncode, done.stdout, done.stderr

    run.here = tmp_path
    return run
