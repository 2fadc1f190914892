"""Checkouts, every way to install one and to start the tests, and the README's commands. Needs bash."""

import re
import sys
import zipfile
from pathlib import Path

import pytest
from package_tools import ROOT, SUFFIX, TEST_TOOLS, Venv, check_downstream, copy_of_checkout, install_downstream, run


def test_an_unbuilt_checkout_says_how_to_build_it(dist):
    said = run(sys.executable, "-B", "-c", "import anonvma_rt", cwd=dist / "source", expect=1)
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
