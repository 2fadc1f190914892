"""The wheel in a fresh virtual environment, with a package that cimports it and the examples."""

import contextlib
import importlib.metadata
import json
import re
import shutil
from pathlib import Path

import pytest
from package_tools import COMPLAINT, EXAMPLES, PROJECT, TEST_TOOLS, check_downstream, modules, run


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
