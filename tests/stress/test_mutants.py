"""The table of mutants of the engine fits the engine and its tests as they are. The mutants themselves are made by
`python -m anonvma_rt.stress.mutants`, which takes minutes."""

from pathlib import Path

import pytest

mutants = pytest.importorskip("anonvma_rt.stress.mutants.__main__", reason="anonvma_rt.stress needs an installation")

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("mutant", mutants.read().values(), ids=lambda mutant: mutant.name)
def test_every_mutant_can_be_made_and_its_test_exists(mutant):
    assert list(mutants.mistakes(ROOT, mutant)) == []


def test_there_are_forty_and_more():
    assert len(mutants.read()) >= 40


def test_what_does_not_fit_is_said(tmp_path):
    table = tmp_path / "table.toml"
    table.write_text(
        """
        [[group]]
        file = "setup.py"
        test = "tests/stress/test_mutants.py::test_nothing"
        [[group.mutant]]
        name = "one"
        old = "no such text"
        new = "no such text"
        why = ""
        """
    )
    (one,) = mutants.read(table).values()
    assert list(mutants.mistakes(ROOT, one)) == [
        "one: setup.py has its text 0 times",
        "one: nothing is changed",
        "one: there is no test tests/stress/test_mutants.py::test_nothing",
    ]
    table.write_text(table.read_text() * 2)
    with pytest.raises(ValueError, match="two mutants are called one"):
        mutants.read(table)


def test_a_name_that_is_none_is_one_line(capsys):
    assert mutants.main(["no-such-mutant"]) == 2
    assert capsys.readouterr().err == "mutants: there is no no-such-mutant; --list says what there is\n"


def test_the_list_says_what_there_is(capsys):
    assert mutants.main(["--list", "point-past-the-lease"]) == 0
    assert "without a decision" in capsys.readouterr().out


@pytest.mark.long
def test_a_mutant_is_made_and_killed(capsys):
    assert mutants.main(["class-by-address", "confirmed-by-kind"]) == 0
    assert "2 of 2 killed" in capsys.readouterr().out
