"""The pytest plugin, as a project that uses it sees it: each test here writes a small project and runs pytest in it."""

import subprocess
import sys
from pathlib import Path

import pytest

import anonvma_rt

pytest_plugins = ["pytester"]

WHERE = str(Path(anonvma_rt.__file__).parents[1])  # the plugin's file lies beside the package
LOST = """
import pytest
from anonvma_rt.litmus.litmus import Litmus

STEPS = {"A": ["load x a", "store x 1"], "B": ["add x 1"]}
lost = Litmus.of("lost", STEPS, forbidden=["a == 0 and x == 1"])
"""


@pytest.fixture
def project(pytester, monkeypatch):
    """run(*options) -> the outcome of pytest in a folder whose test_it.py has the text of write()."""
    monkeypatch.setenv("PYTHONPATH", WHERE)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    class Project:
        path = pytester.path

        def write(self, text):
            pytester.makepyfile(test_it=text)

        def run(self, *options, outside=False):
            how = pytester.runpytest_subprocess if outside else pytester.runpytest_inprocess
            return how("-p", "pytest_anonvma_rt", "-p", "no:cacheprovider", *options)

        def kept(self):
            return sorted(p.name for p in self.path.rglob(".anonvma_rt/*/*.json"))

    return Project()


def test_a_marked_test_hunts_and_a_counterexample_is_shown_kept_and_tried_first(project):
    project.write(LOST + "@pytest.mark.anonvma(lost)\ndef test_lost():\n    raise AssertionError('not reached')\n")
    first = project.run()
    first.assert_outcomes(failed=1)
    first.stdout.fnmatch_lines(
        [
            "*lost under sc: assertion (execution * of strategy * with seed 0)*",
            "*The end is one that must not be*",
            "*step  A * B*",
            "*load x -> a = 0*",
            'Reproduce it: pytest "test_it.py::test_lost" --anonvma-replay *.json',
        ]
    )
    first.stdout.no_fnmatch_line("*not reached*")
    first.stdout.no_fnmatch_line("*Traceback*")
    (name,) = project.kept()
    # Tried first: no hunt of one execution could find it again by itself with this seed.
    again = project.run("--anonvma-runs", "1", "--anonvma-seed", "12345")
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["*lost under sc: assertion (known from an earlier run)*"])
    # The command of the message.
    # Told twice where pytest's summary is not cut, as in CI.
    (line,) = {line for line in first.outlines if line.startswith("Reproduce it: pytest ")}
    words = line.removeprefix("Reproduce it: pytest ").replace('"', "").split()
    replayed = project.run(*words)
    replayed.assert_outcomes(failed=1)
    replayed.stdout.fnmatch_lines(["*lost under sc: assertion (reproduced 1 of 1 times)*"])
    assert project.kept() == [name]


def test_when_the_race_is_repaired_the_old_counterexample_is_no_failure(project):
    project.write(LOST + "@pytest.mark.anonvma(lost)\ndef test_lost():\n    pass\n")
    project.run().assert_outcomes(failed=1)
    project.write(
        LOST.replace("lost = ", "STEPS['A'] = ['add x 1']\nlost = ").replace("a == 0 and x == 1", "x == 1")
        + "@pytest.mark.anonvma(lost)\ndef test_lost():\n    pass\n"
    )
    project.run().assert_outcomes(passed=1)
    assert len(project.kept()) == 1


def test_the_fixture_hunts_under_one_algorithm_or_several_and_hands_out_the_result(project):
    project.write(
        """
def test_patch(anonvma):
    result = anonvma.check("merge", {"pages": 2}, algorithm="moveto-tail")
    assert result.results[0].executions == 700 and anonvma.results == [result]

def test_both(anonvma):
    anonvma.check("merge", algorithm=["unpatched", "moveto-tail"])

def test_expected(anonvma):
    anonvma.check("merge", algorithm="unpatched", expect="stale-migration-entry")

def test_it_is_not_clean(anonvma):
    anonvma.check("merge", algorithm="unpatched", expect="none")

def test_it_is_not_dirty(anonvma):
    anonvma.check("merge", algorithm="moveto-tail", expect="stale-migration-entry")

def test_no_such_scenario(anonvma):
    anonvma.check("mrege")
"""
    )
    result = project.run("--anonvma-runs", "700")
    result.assert_outcomes(passed=3, failed=3)
    result.stdout.fnmatch_lines(["*merge under unpatched: stale-migration-entry (execution *"])
    result.stdout.fnmatch_lines(["*stale-migration-entry was expected, and none was found in 700 executions*"])
    result.stdout.fnmatch_lines(['*anonvma_rt: unknown scenario "mrege" (did you mean "merge"?)*'])
    assert len(project.kept()) == 1  # what was expected is no counterexample


def test_an_unexpected_kind_is_shown_even_if_an_expected_one_came_first(project):
    project.write(
        LOST
        + """
both = Litmus.of("both", {"A": ["lock a", "lock b", "unlock b", "unlock a", "store x 1"],
                          "B": ["lock b", "lock a", "unlock a", "unlock b"]}, forbidden=["x == 1"])

def test_either(anonvma):
    anonvma.check(both, runs=300, expect=["assertion", "deadlock"])

def test_assertion(anonvma):
    anonvma.check(both, runs=300, expect="assertion")

def test_deadlock(anonvma):
    anonvma.check(both, runs=300, expect="deadlock")

def test_misspelt(anonvma):
    anonvma.check(both, runs=300, expect="deadlok")
"""
    )
    result = project.run()
    result.assert_outcomes(passed=1, failed=3)
    result.stdout.fnmatch_lines(["*both under sc: deadlock (execution *"])
    result.stdout.fnmatch_lines(["*both under sc: assertion (execution *"])
    result.stdout.fnmatch_lines(['*anonvma_rt: expect: unknown violation kind "deadlok" (did you mean "deadlock"?)*'])
    assert len(project.kept()) == 2


def test_seed_and_folder_are_options(project):
    project.write(LOST + "def test_lost(anonvma):\n    anonvma.check(lost, runs=50)\n")
    result = project.run("--anonvma-seed", "7", "--anonvma-dir", "kept/here")
    result.stdout.fnmatch_lines(["*strategy * with seed 7)*"])
    assert len(list((project.path / "kept" / "here").rglob("*.json"))) == 1 and project.kept() == []


def test_replay_skips_the_tests_that_a_file_is_not_of(project):
    project.write(
        LOST
        + "@pytest.mark.anonvma(lost)\ndef test_lost():\n    pass\n"
        + "@pytest.mark.anonvma('sb')\ndef test_other():\n    pass\n"
    )
    project.run()
    (file,) = project.path.rglob("*.json")
    project.run("--anonvma-replay", str(file)).assert_outcomes(failed=1, skipped=1)


def test_a_damaged_counterexample_is_passed_over_and_one_that_is_asked_for_is_an_error(project):
    project.write(LOST + "@pytest.mark.anonvma('sb')\ndef test_it():\n    pass\n")
    folder = project.path / ".anonvma_rt" / "test_it.py-test_it"
    folder.mkdir(parents=True)
    (folder / "broken.json").write_text("{")
    project.run().assert_outcomes(passed=1)
    result = project.run("--anonvma-replay", str(folder / "broken.json"))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*anonvma_rt: *broken.json: *not a reproducer*"])


def test_it_works_under_xdist(project):
    pytest.importorskip("xdist")
    one = "@pytest.mark.anonvma(lost)\ndef test_{0}():\n    pass\n"
    project.write(LOST + one.format("a") + one.format("b") + "@pytest.mark.anonvma('sb')\ndef test_c():\n    pass\n")
    result = project.run("-n2", "--anonvma-seed", "3", outside=True)
    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines(["*strategy * with seed 3)*"])
    assert len(project.kept()) == 2
    project.run("-n2", "--anonvma-runs", "1", outside=True).stdout.fnmatch_lines(["*known from an earlier run*"])


def test_the_plugin_loads_where_nothing_is_built(tmp_path):
    """pytest imports it in every project, also in a checkout without binaries."""
    (tmp_path / "anonvma_rt").mkdir()
    (tmp_path / "anonvma_rt" / "__init__.py").write_text("raise ImportError('not built')")
    (tmp_path / "test_it.py").write_text("def test_it():\n    pass\n")
    code = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {WHERE!r}]\n"
        "import pytest, pytest_anonvma_rt\n"
        "assert not [m for m in sys.modules if m.startswith('anonvma_rt')]\n"
        "sys.exit(pytest.main(['-q', '-p', 'pytest_anonvma_rt', 'test_it.py']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
