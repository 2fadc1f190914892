"""The command: what it prints, how it ends, and what it needs. It builds the subjects once, which takes a while."""

import json
import os
import subprocess
import sys

import pytest
from compiled import BESIDE, build, once

from anonvma_rt.auditing.build import AUDIT_FLAGS, Builder, subjects
from anonvma_rt.cli import main
from anonvma_rt.errors import UserError
from anonvma_rt.text.writing import cache_folder

pytest.importorskip("Cython", reason="an audit compiles")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """run(arguments, folder): `anonvma-rt audit` in a process; where subjects are built, in the user's own cache."""

    def run(*arguments, cwd=None, **environment):
        command = [sys.executable, "-m", "anonvma_rt", "audit", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=os.environ | environment)

    return run


@pytest.fixture(scope="module")
def unannounced(tmp_path_factory):
    """A folder with racy.pyx, built for an audit, and with plain.pyx, which is the same built as usual."""

    def make(folder):
        (file,) = Builder(AUDIT_FLAGS, folder=folder / "cache").files({"racy": BESIDE / "racy.pyx"}).values()
        (folder / f"racy{file.name[file.name.index('.') :]}").write_bytes(file.read_bytes())
        build(folder, {"plain": (BESIDE / "racy.pyx").read_text()})

    return once(tmp_path_factory, "unannounced", make)


def test_an_own_subject_that_races_is_reported_with_both_lines(run, unannounced):
    done = run("racy:Racy", "-p", "way=0", "--runs", "50", "--json", cwd=unannounced)
    assert done.returncode == 1, done.stderr
    (result,) = json.loads(done.stdout)["results"]
    lines = (BESIDE / "racy.pyx").read_text().splitlines()
    plain = next(i for i, line in enumerate(lines, 1) if line.endswith("# plain"))
    for pair in result["pairs"]:
        assert {pair["first"]["line"], pair["second"]["line"]} == {plain}
        assert {pair["first"]["task"], pair["second"]["task"]} == {"task 0", "task 1"}
        assert pair["schedule"] and pair["what"] == "object 1 of type 1, byte 0"
    text = run("racy:Racy", "-p", "way=0", "--runs", "50", cwd=unannounced)
    assert text.returncode == 1 and f"racy.pyx:{plain} (Racy.body)" in text.stdout


def test_one_that_locks_is_silent(run, unannounced):
    done = run("racy:Racy", "-p", "way=1", "--runs", "50", "--jobs", "2", cwd=unannounced)
    assert (done.returncode, "no reports in 50 executions" in done.stdout) == (0, True), done.stderr


def test_one_that_was_built_as_usual_tells_nothing(run, unannounced):
    done = run("plain:Racy", cwd=unannounced)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if "was not built for an audit" in line]
    assert "-fsanitize=thread -DANONVMA_RT_AUDIT" in line


def test_what_is_built_in_is_clean_in_a_short_audit(run):
    done = run("lkml-2011", "--runs", "100", "--algorithm", "unpatched", "--algorithm", "moveto-tail")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--runs", "0"], "--runs"),
        (["--all", "merge"], "omit the name"),
        (["--all", "-p", "pages=3"], "omit -p"),
        (["mrege"], "unknown scenario"),
        (["merge", "--table", "clean.toml"], "--table is of all that is built in"),
        (["merge", "--algorithm", "no-such"], "no-such"),
    ],
)
def test_bad_input_is_one_line(run, arguments, says):
    done = run(*arguments)
    assert done.returncode == 2
    assert says in done.stderr.splitlines()[-1]


def test_without_sources_compiler_or_cython_one_line_says_so(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("anonvma_rt.auditing.build.get_cimport_path", lambda: str(tmp_path))
    with pytest.raises(UserError, match="needs the sources of the compiled half"):
        subjects()
    assert main(["audit", "sb"]) == 2
    assert "sources" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(UserError, match=r"there is no compiler \(no-such-compiler\)"):
        Builder(AUDIT_FLAGS, folder=tmp_path).files(subjects())


def test_a_build_is_kept_and_named_after_all_that_goes_into_it(tmp_path, monkeypatch):
    said = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_folder() == tmp_path / "cache" / "anonvma_rt" / "built"
    source = tmp_path / "one.pyx"
    source.write_text("x = 1\n")
    builder = Builder(AUDIT_FLAGS, said.append, folder=tmp_path / "built")
    plan = builder.plan({"one": source})
    assert len(said) == 1 and str(tmp_path / "built") in said[0]
    assert builder.plan({"one": source}) == plan and len(said) == 1
    source.write_text("x = 2\n")
    assert builder.plan({"one": source}) != plan and len(said) == 2
    source.write_text("x = \n")
    with pytest.raises(UserError, match=r"the build of 1 module failed: .*one\.pyx"):
        builder.plan({"one": source})
    assert not [path for path in (tmp_path / "built").iterdir() if path.name.startswith("making-")]
