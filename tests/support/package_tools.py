"""The package as others get it: copies of the checkout, virtual environments, and the downstream package in them."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PARTS = ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", ".ci", "anonvma_rt", "cython_src", "docs")
PARTS += ("stress", "tests", "pytest_anonvma_rt.py")
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
TEST_TOOLS = PROJECT["optional-dependencies"]["test"]
EXAMPLES = {"aba_stack": "Stack", "bounded_queue": "Queue", "rw_cache": "Cache", "ordering_rule": None}
BUILD_TOOLS = [requirement for requirement in TEST_TOOLS if requirement.startswith(("cython", "setuptools"))]

# What one of gcc, Cython or setuptools says when it dislikes something.
COMPLAINT = re.compile(r": warning: |^\s*warning: \S+\.p(yx|xd)\b|performance hint|\b[A-Z]\w*Warning\b", re.MULTILINE)

# The interpreter that runs the tests, pytest and xdist all speak to their children through these.
OURS = ("PYTHON", "PYTEST", "HYPOTHESIS", "VIRTUAL_ENV", "CFLAGS", "CPPFLAGS", "LDFLAGS", "LD_PRELOAD")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}


def run(*command, cwd, expect=0, env=None):
    """stdout and stderr of `command` in one text; its exit code must be `expect`, unless that is None."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=ENVIRONMENT | (env or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    shown = done.stdout if len(done.stdout) < 6000 else f"...{done.stdout[-6000:]}"
    assert expect in (done.returncode, None), f"{' '.join(map(str, command))}: exit code {done.returncode}\n{shown}"
    return done.stdout


def copy_of_checkout(target):
    """What a clean checkout has: the sources as they are now, and nothing that was built."""
    leave_out = shutil.ignore_patterns("__pycache__", "*.so", "*.egg-info", ".*_cache", ".hypothesis", "build")
    target.mkdir(parents=True)
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, target / part, ignore=leave_out)
        elif (ROOT / part).exists():
            shutil.copy2(ROOT / part, target / part)
    return target


class Venv:
    """A virtual environment that has what is installed into it, and nothing of the one that runs the tests."""

    def __init__(self, folder):
        self.bin = folder / "bin"
        self.home = folder.parent  # somewhere that is no checkout
        if not self.bin.exists():
            run(sys.executable, "-m", "venv", folder, cwd=self.home)

    def python(self, *arguments, cwd=None, **options):
        return run(self.bin / "python", *arguments, cwd=cwd or self.home, **options)

    def install(self, *arguments, **options):
        return self.python("-m", "pip", "--disable-pip-version-check", "install", *arguments, **options)


def install_downstream(venv, folder):
    source = shutil.copytree(ROOT / "tests" / "support" / "downstream", folder / "downstream")
    return venv.install("-v", "--no-build-isolation", source)


def modules(source):
    """The dotted names, below the package, of everything that is compiled."""
    mirror = source / "cython_src" / "anonvma_rt"
    return {".".join(path.relative_to(mirror).with_suffix("").parts) for path in mirror.rglob("*.pyx")}


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def check_downstream(venv):
    found = json.loads(venv.python(ROOT / "tests" / "support" / "downstream" / "explore.py"))
    assert (found["unlocked"]["ran"], found["unlocked"]["halt"]) == (1000, None)
    assert found["unlocked"]["failures"] and {kind for _, kind in found["unlocked"]["failures"]} == {"lost-update"}
    assert found["unlocked"] == found["again"]
    assert (found["locked"]["ran"], found["locked"]["halt"], found["locked"]["failures"]) == (5000, None, [])
    # The package's own strategy, by itself and as the member of a portfolio.
    assert len(found["in turns"]["failures"]) == 10
    assert found["in turns"] == found["in turns, in a portfolio"]
