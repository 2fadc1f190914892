"""Code of somebody else's, compiled against the package as it is: once per session, by whichever worker comes first."""

import fcntl
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import anonvma_rt

BESIDE = Path(__file__).with_name("cython")  # sources of the tests' own
BUILD = """
import json, sys
from setuptools import Extension, setup
from Cython.Build import cythonize
modules = []
for path, names in json.loads(sys.argv[1]).items():
    wanted = [Extension(name, [name + ".pyx"], extra_compile_args=["-O0", "-g0", "-pthread"]) for name in names]
    modules += cythonize(wanted, include_path=[path], language_level=3)
setup(script_args=["-q", "build_ext", "--inplace", "--parallel", "2"], ext_modules=modules)
"""


def once(tmp_path_factory, name, make):
    """The folder that make(folder) filled, by whichever worker came first; the others wait, or fail with it."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, state = shared / name, shared / f"{name}.state"
    with open(shared / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not state.exists():
            folder.mkdir()
            try:
                make(folder)
                state.write_text("made")
            except BaseException as error:
                state.write_text(str(error))
                raise
    assert state.read_text() == "made", f"{name} could not be made: {state.read_text()}"
    return folder


def build(folder, sources, others=()):
    """Compiles {name: source text} in `folder`; others: {include path: names of .pyx files that are there}."""
    for needed in ("Cython", "setuptools"):
        pytest.importorskip(needed, reason=f"{needed} is needed to compile a subject")
    for name, text in sources.items():
        (folder / f"{name}.pyx").write_text(text)
    groups = {anonvma_rt.get_cimport_path(): [*sources], **dict(others)}
    command = [sys.executable, "-c", BUILD, json.dumps(groups)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def load(folder, name):
    (path,) = folder.glob(f"{name}.*.so")
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
