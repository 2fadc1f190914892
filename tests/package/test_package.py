"""The package as others get it: an sdist, the wheel made of it, fresh virtual environments, a package that cimports it.

Needs bash, a C compiler and a package index. What is slow is made once per session, however many xdist workers there
are; every way to install and every way to start the tests are behind `-m long`.
"""

import base64
import contextlib
import csv
import hashlib
import importlib.metadata
import io
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from compiled import once

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


@pytest.fixture(scope="session")
def dist(tmp_path_factory):
    """source/ (a clean checkout), the sdist and the wheel, and what the build said in log."""

    def make(folder):
        source = copy_of_checkout(folder / "source")
        tools = Venv(folder / "tools")
        tools.install("-q", "build")
        (folder / "log").write_text(tools.python("-m", "build", "--outdir", folder, source))

    return once(tmp_path_factory, "package-dist", make)


@pytest.fixture(scope="session")
def installed(tmp_path_factory, dist):
    """The wheel in a fresh virtual environment; compiled against it there, the downstream package and docs/examples."""
    (wheel,) = dist.glob("*.whl")

    def make(folder):
        venv = Venv(folder / "venv")
        venv.install("-q", wheel)
        (folder / "alone").write_text(venv.python("-m", "pip", "list", "--format=json", "--disable-pip-version-check"))
        venv.install("-q", *BUILD_TOOLS)
        log = install_downstream(venv, folder)
        examples = [shutil.copytree(ROOT / "docs" / "examples" / name, folder / name) for name in EXAMPLES]
        log += venv.install("-v", "--no-build-isolation", "--no-deps", *examples)
        (folder / "log").write_text(log)

    folder = once(tmp_path_factory, "package-installed", make)
    venv = Venv(folder / "venv")
    venv.log, venv.alone = (folder / "log").read_text(), (folder / "alone").read_text()
    return venv


def install_downstream(venv, folder):
    source = shutil.copytree(ROOT / "tests" / "support" / "downstream", folder / "downstream")
    return venv.install("-v", "--no-build-isolation", source)


def modules(source):
    """The dotted names, below the package, of everything that is compiled."""
    mirror = source / "cython_src" / "anonvma_rt"
    return {".".join(path.relative_to(mirror).with_suffix("").parts) for path in mirror.rglob("*.pyx")}


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


# ---- sdist and wheel -------------------------------------------------------------------------------------------------


def test_the_wheel_has_every_file_of_the_package_and_no_other(dist):
    (wheel,) = dist.glob("*.whl")
    source = dist / "source"
    expected = {f"anonvma_rt/{name}" for name in files(source / "anonvma_rt")}
    expected |= {f"anonvma_rt/stress/{name}" for name in files(source / "stress")}
    expected |= {"pytest_anonvma_rt.py"}
    expected |= {name for name in files(source / "cython_src") if name.endswith(".pxd")}
    expected |= {f"anonvma_rt/{name.replace('.', '/')}{SUFFIX}" for name in modules(source)}
    found = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert found == expected
    assert {"anonvma_rt/py.typed", "anonvma_rt/scenarios/lkml-2011.toml", "anonvma_rt/engine/base/klist.pxd",
            "anonvma_rt/litmus_tests/order.toml", "anonvma_rt/api.pxd",
            "anonvma_rt/engine/run/explorer.pyi"} <= found  # fmt: skip
    assert "anonvma_rt/__init__.pxd" in found and "anonvma_rt/engine/strategy/__init__.pxd" in found


def test_the_wheel_is_one_for_this_python(dist):
    (wheel,) = dist.glob("*.whl")
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert wheel.name.startswith(f"anonvma_rt-{PROJECT['version']}-{tag}-{tag}") and "none-any" not in wheel.name


def test_the_sdist_has_the_sources_and_nothing_that_was_made_of_them(dist):
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        found = {member.name.partition("/")[2] for member in archive if member.isfile()}
    assert not_metadata(found) == not_metadata(files(dist / "source"))


def not_metadata(names):
    return {name for name in names if not name.startswith("anonvma_rt.egg-info/")} - {"PKG-INFO", "setup.cfg"}


def test_record_matches_the_files(dist):
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (record,) = (name for name in archive.namelist() if name.endswith(".dist-info/RECORD"))
        rows = {name: (digest, size) for name, digest, size in csv.reader(io.StringIO(archive.read(record).decode()))}
        assert set(rows) == set(archive.namelist())
        for name, (digest, size) in rows.items():
            if name != record:
                content = archive.read(name)
                sha256 = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
                assert (digest, int(size)) == (f"sha256={sha256}", len(content)), name


def test_metadata(dist):
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (info,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        metadata = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
        assert archive.read(f"{info}/licenses/LICENSE")
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
        assert "anonvma-rt = anonvma_rt.cli:main" in entry_points
        assert "[pytest11]\npytest_anonvma_rt = pytest_anonvma_rt" in entry_points
        assert "Root-Is-Purelib: false" in archive.read(f"{info}/WHEEL").decode()
        assert archive.read(f"{info}/top_level.txt").decode().split() == ["anonvma_rt", "pytest_anonvma_rt"]
    assert (metadata["Name"], metadata["Version"]) == ("anonvma_rt", PROJECT["version"])
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Description-Content-Type"] == "text/markdown"
    required = [name for name in metadata.get_all("Requires-Dist") if "extra ==" not in name]
    assert required == ["tqdm>=4.60"]
    assert {"test", "lint"} <= set(metadata.get_all("Provides-Extra"))


def test_no_file_of_the_wheel_knows_where_it_was_built(dist):
    (wheel,) = dist.glob("*.whl")
    places = [str(dist).encode(), f"{ROOT}/".encode()]
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            assert not [place for place in places if place in content], name


def test_the_build_has_no_warning(dist, installed):
    log = (dist / "log").read_text()
    # That it says what it does, so that silence means something.
    assert len(set(re.findall(r"Cythonizing (\S+)", log))) == len(modules(dist / "source"))
    assert len(re.findall(r"^\S*(?:cc|clang)\S* .* -Wall .* -c ", log, re.MULTILINE)) == len(modules(dist / "source"))
    for text in (log, installed.log):
        complaints = [line for line in text.splitlines() if COMPLAINT.search(line)]
        assert not complaints


@pytest.mark.parametrize(
    "line",
    [
        "build/cython/a.c:12:3: warning: unused variable",
        "warning: cython_src/anonvma_rt/mm/mmap.pyx:3:5: Unreachable code",
        "performance hint: cython_src/anonvma_rt/mm/mmap.pyx:3:5: Exception check",
        "/x/dist.py:1: SetuptoolsDeprecationWarning: old",
    ],
)
def test_a_warning_would_be_seen(line):
    assert COMPLAINT.search(line)


def test_a_deleted_file_leaves_the_next_build(installed, tmp_path):
    source = copy_of_checkout(tmp_path / "source")
    extra = [source / "anonvma_rt" / "gone.py", source / "cython_src" / "anonvma_rt" / "engine" / "gone.pxd"]
    for file in extra:
        file.touch()
    installed.python("setup.py", "-q", "build_py", cwd=source)
    (built,) = source.glob("build/lib*")
    binary = built / "anonvma_rt" / "engine" / "run" / f"task{SUFFIX}"
    binary.touch()
    before = files(built)
    for file in extra:
        file.unlink()
    installed.python("setup.py", "-q", "build_py", cwd=source)
    assert before - files(built) == {"anonvma_rt/gone.py", "anonvma_rt/engine/gone.pxd"}
    assert binary.exists()


# ---- installed -------------------------------------------------------------------------------------------------------


def test_the_wheel_needs_what_it_declares_and_everything_imports(installed, dist):
    assert {package["name"] for package in json.loads(installed.alone)} <= {"anonvma_rt", "pip", "setuptools", "tqdm"}
    installed.python("-m", "pip", "check")
    names = sorted(f"anonvma_rt.{name}" for name in modules(dist / "source"))
    installed.python("-c", f"import importlib\nfor name in {names}: importlib.import_module(name)")


def test_versions_are_equal(installed):
    said = installed.python(
        "-c", "import anonvma_rt, importlib.metadata as m; print(anonvma_rt.__version__, m.version('anonvma_rt'))"
    )
    assert said.split() == [PROJECT["version"]] * 2
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # an inplace build has no metadata
        assert importlib.metadata.version("anonvma_rt") == PROJECT["version"]


def test_the_folders_of_the_installed_package(installed):
    said = installed.python(
        "-c",
        "import anonvma_rt as a, anonvma_rt.stress as s, importlib.resources as r\n"
        "print(a.__file__, s.__file__, a.get_cimport_path(), a.get_include())\n"
        "print(*[f.name for f in (r.files(a) / 'scenarios').iterdir()])",
    ).splitlines()
    package, stress, cimport_path, include = (Path(word) for word in said[0].split())
    assert package.parent.parent == cimport_path == include.parent == stress.parent.parent.parent
    assert include == package.parent and (include / "engine" / "base" / "klist.pxd").exists()
    assert "lkml-2011.toml" in said[1].split()


@pytest.mark.parametrize("form", ["console script", "python -m"])
def test_the_command(installed, form):
    command = ["anonvma-rt"] if form == "console script" else ["python", "-m", "anonvma_rt"]
    listing = json.loads(run(installed.bin / command[0], *command[1:], "list", "--json", cwd=installed.home))
    assert "lkml-2011" in [scenario["name"] for scenario in listing["scenarios"]]
    run(installed.bin / command[0], *command[1:], "no-such-verb", cwd=installed.home, expect=2)


@pytest.mark.parametrize("example", [name for name, cls in EXAMPLES.items() if cls])
def test_an_example_package_finds_its_bug_and_verifies_its_fix(installed, example, tmp_path):
    """Built in a fresh environment from the wheel: a hunt of 10 000 executions, a replay, and a proof."""
    name = f"{example}:{EXAMPLES[example]}"

    def command(*words):
        return run(installed.bin / "anonvma-rt", *words, cwd=tmp_path)

    hunted = json.loads(command("hunt", name, "--runs", "10000", "--json"))
    broken, fixed = hunted["results"]
    assert hunted["as_expected"] and sum(broken["violations"].values()) > 10 and fixed["violations"] == {}
    replayed = command("replay", broken["first"]["reproducer"], "--subject", name, "--times", "20")
    assert "reproduced 20 of 20 times" in replayed
    (proof,) = json.loads(command("verify", name, "--algorithm", fixed["algorithm"], "--json"))["results"]
    assert proof["complete"] and proof["violating_classes"] == {} and proof["classes"] > 1
    (found,) = json.loads(command("verify", name, "--algorithm", broken["algorithm"], "--json"))["results"]
    assert found["violating_classes"].keys() == broken["violations"].keys()


def test_an_ordering_rule_is_tried_without_a_change_of_the_project(installed, tmp_path):
    rules = {"MoveToTail": True, "UnderTheLock": True, "MergeOnly": False, "SourceToTail": False}
    words = [word for rule in rules for word in ("--algorithm", f"unpatched,rule=ordering_rule:{rule}")]
    said = run(
        installed.bin / "anonvma-rt", "verify", "error-path", "-p", "pages=2", "--json", *words, cwd=tmp_path, expect=1
    )
    results = json.loads(said)["results"]
    assert [one["complete"] and not one["violating_classes"] for one in results] == list(rules.values())


def test_the_pytest_plugin_is_there_when_the_package_is(installed, tmp_path):
    installed.install("-q", *(tool for tool in TEST_TOOLS if tool.startswith("pytest>")))
    (tmp_path / "test_it.py").write_text(
        "import aba_stack, pytest\nfrom anonvma_rt import subject\n"
        "@pytest.mark.anonvma(subject(aba_stack.Stack), algorithm='tagged')\ndef test_fixed(): pass\n"
        "@pytest.mark.anonvma(subject(aba_stack.Stack), algorithm='plain', expect='none')\ndef test_plain(): pass\n"
    )
    said = installed.python("-m", "pytest", "--strict-markers", cwd=tmp_path, expect=1)
    assert "1 failed, 1 passed" in said and "duplicate-node" in said and "--anonvma-replay" in said


def test_a_downstream_subject_is_explored(installed):
    check_downstream(installed)


def check_downstream(venv):
    found = json.loads(venv.python(ROOT / "tests" / "support" / "downstream" / "explore.py"))
    assert (found["unlocked"]["ran"], found["unlocked"]["halt"]) == (1000, None)
    assert found["unlocked"]["failures"] and {kind for _, kind in found["unlocked"]["failures"]} == {"lost-update"}
    assert found["unlocked"] == found["again"]
    assert (found["locked"]["ran"], found["locked"]["halt"], found["locked"]["failures"]) == (5000, None, [])
    # The package's own strategy, by itself and as the member of a portfolio.
    assert len(found["in turns"]["failures"]) == 10
    assert found["in turns"] == found["in turns, in a portfolio"]


@pytest.mark.skipif(shutil.which("nm") is None, reason="needs nm")
def test_the_list_is_inlined_downstream(installed):
    binary = installed.python("-c", "import lostcount; print(lostcount.__file__)").strip()
    symbols = run("nm", binary, cwd=installed.home)
    if "arena_alloc" not in symbols:
        pytest.skip("this compiler or linker keeps no symbols")
    assert not re.findall(r".*(?:klist|list_(?:add|step|for)).*", symbols)


def test_every_pxd_holds_under_the_directives_of_others(installed, dist, tmp_path):
    """A .pxd is compiled under the directives of whoever cimports it, where `/` divides as in Python, for one."""
    mirror = dist / "source" / "cython_src"
    names = [".".join(path.relative_to(mirror).with_suffix("").parts) for path in sorted(mirror.rglob("[!_]*.pxd"))]
    (tmp_path / "everything.pyx").write_text("".join(f"cimport {name}\n" for name in names))
    said = installed.python(
        "-c",
        "import anonvma_rt, Cython.Build as b\n"
        "b.cythonize('everything.pyx', include_path=[anonvma_rt.get_cimport_path()], language_level=3)",
        cwd=tmp_path,
    )
    assert len(names) > 10 and not COMPLAINT.search(said)


# ---- checkouts -------------------------------------------------------------------------------------------------------


def test_an_unbuilt_checkout_says_how_to_build_it(dist):
    said = run(sys.executable, "-c", "import anonvma_rt", cwd=dist / "source", expect=1)
    error = said.splitlines()[-1]
    assert error.startswith("ImportError: ") and "is not built" in error and "pip install -e ." in error


def test_a_half_built_checkout_says_what_it_lacks(dist, tmp_path):
    source = copy_of_checkout(tmp_path / "source")
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(source, [name for name in archive.namelist() if name.endswith(".so")])
    run(sys.executable, "-c", "import anonvma_rt.engine.run.explorer, anonvma_rt.mm.lab.kernel", cwd=source)
    binary = source / "anonvma_rt" / "engine" / "run" / f"carrier{SUFFIX}"
    for left in (binary.with_name("carrier.cpython-30-some-linux.so"), binary.with_name("carrier.so.old")):
        binary.rename(left)
        error = run(sys.executable, "-c", "import anonvma_rt", cwd=source, expect=1).splitlines()[-1]
        assert (
            error.startswith("ImportError: ") and "lacks engine.run.carrier (" in error and "pip install -e ." in error
        )
        binary = left


WAYS = {
    "wheel": ["."],
    "editable": ["-e", "."],
    "strict": ["-e", ".", "--config-settings", "editable_mode=strict"],
    "inplace": None,
}


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_install_and_to_start_the_tests(way, tmp_path):
    source = copy_of_checkout(tmp_path / "source")
    venv = Venv(tmp_path / "venv")
    venv.install("-q", "tqdm", *TEST_TOOLS)
    if way == "inplace":
        venv.python("setup.py", "build_ext", "--inplace", cwd=source)
    else:
        venv.install("-q", *WAYS[way], cwd=source)
        where = venv.python("-c", "import anonvma_rt; print(anonvma_rt.__file__)").strip()
        assert Path(where).is_relative_to(source) == (way != "wheel")
        venv.python("-c", "import anonvma_rt.stress.bench.lists, anonvma_rt.mm.lab.kernel")
        assert "lkml-2011" in run(venv.bin / "anonvma-rt", "list", cwd=tmp_path)
        install_downstream(venv, tmp_path)
        check_downstream(venv)
    some = ["tests/kernel/test_algorithm.py", "tests/engine/base/test_klist.py", "tests/kernel/scenario"]
    built_in_place = way != "wheel"
    for workers in ([], ["-n", "2"]):
        said = venv.python("-m", "pytest", *workers, *some, cwd=source, expect=0 if built_in_place else None)
        assert " passed" in said if built_in_place else "pip install -e ." in said
        if way != "inplace":  # nothing is installed, so only the root on sys.path finds the package
            assert " passed" in run(venv.bin / "pytest", *workers, *some, cwd=source)


# ---- the README's commands -------------------------------------------------------------------------------------------


def readme_command(name):
    return run(ROOT / ".ci" / "run", "print", name, cwd="/")


@pytest.mark.parametrize("name", ["hunt", "test"])
def test_a_command_of_the_readme_sets_itself_up(name):
    command = readme_command(name)
    run("bash", "-n", "-c", command, cwd=ROOT)
    assert "python3 -m venv" in command and "pip install" in command
    assert ("anonvma-rt hunt" if name == "hunt" else "pytest -n") in command
    assert not re.search(r"://|(?m:^\s*\$ )|(?<![\w.])/", command), "an address, a prompt or an absolute path"


def test_ci_says_what_is_missing():
    said = run(ROOT / ".ci" / "run", "print", "nothing", cwd="/", expect=2)
    assert "README.md" in said and "<!-- command: nothing -->" in said
    run(ROOT / ".ci" / "run", "nonsense", cwd="/", expect=2)


@pytest.mark.long
def test_the_hunt_of_the_readme(tmp_path):
    source = copy_of_checkout(tmp_path / "source")
    said = run("bash", "-euo", "pipefail", "-c", readme_command("hunt"), cwd=source)
    assert "stale-migration-entry" in said and "moveto-tail" in said
    assert list(source.glob("reproducers/*"))


@pytest.mark.long
def test_ci_run_in_a_clean_checkout_and_again(tmp_path):
    source = copy_of_checkout(tmp_path / "source")
    for _ in range(2):
        said = run(source / ".ci" / "run", cwd="/", env={"CI": "true"})
        assert re.match(r"\d+ passed\b.* in [\d.]+s", said.splitlines()[-1].strip("= ")), said[-3000:]
