"""What is around a command line: a full or closed output, no input, folders that may not be searched, endless words."""

import json
import os
import subprocess
import sys

import pytest

from anonvma_rt.cli import main
from anonvma_rt.errors import LONGEST_LINE, UserError, for_terminal
from anonvma_rt.search.hunt import hunt

NOBODY = 65534


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    return hunt("lock-order", runs=200, out=folder).results[0].first.reproducer


def shell(line, **options):
    """A command line in a shell, `lab` for this program; its exit code and what it says on stderr."""
    line = line.replace("lab ", f"{sys.executable} -m anonvma_rt ")
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=100, **options)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("lab list > /dev/full", "standard output cannot be written: No space left on device"),
        ("lab list --json > /dev/full", "standard output cannot be written: No space left on device"),
        ("lab list >&-", "standard output is closed"),
    ],
)
def test_an_output_that_takes_nothing_is_one_line(line, says):
    code, err = shell(line)
    assert (code, err.count("\n")) == (2, 1) and says in err


def test_a_closed_stderr_changes_nothing_but_that_nobody_is_told():
    assert shell("lab list 2>&- >/dev/null") == (0, "")
    assert shell("lab hunt nonsense 2>&-") == (2, "")


def test_a_terminal_that_knows_few_letters_gets_the_others_escaped(saved):
    code, err = shell(f"PYTHONIOENCODING=ascii lab show {saved} > /dev/null")
    assert (code, err) == (0, "")


def test_step_with_its_input_closed_ends_as_at_the_end_of_a_script(saved):
    code, err = shell(f"lab step {saved} <&- >/dev/null")
    assert (code, err) == (0, "")


LONG = "x" * 300


@pytest.mark.parametrize(
    "words",
    [
        ["hunt", "sb", "--runs", "1", "--out", LONG],
        ["hunt", f"{LONG}.toml"],
        ["replay", LONG],
        ["shrink", LONG],
        ["shrink", ""],
        ["shrink", "/"],
        ["replay", ""],
        ["show", "no\0file"],
        ["verify", "sb", "--checkpoint", LONG],
        ["verify", "sb", "--checkpoint", "\0"],
        ["campaign", "status", LONG],
        ["campaign", "run", "nightly", "--store", LONG],
        ["hunt", "x" * 100_000],
        ["replay", "x" * 100_000],
        ["x" * 100_000],
        ["hunt", "sb", "--runs", "y" * 100_000],
        ["hunt", "sb", "--algorithm", "y" * 100_000],
        ["hunt", "sb", "-p", "y" * 100_000],
        ["list", "y" * 100_000],
    ],
    ids=lambda words: " ".join(words)[:40],
)
def test_names_that_no_file_has_and_endless_words_are_one_short_line(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and len(err) < LONGEST_LINE + 20
    assert list(tmp_path.iterdir()) == []


BRIEF = """
campaign = "brief"
executions = 10
range = 10
carrier = "fibers"
[[cells]]
scenarios = ["merge"]
algorithms = ["moveto-tail"]
strategies = ["sticky"]
seeds = [0]
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes somebody else: needs root")
@pytest.mark.parametrize(
    "words",
    [
        "replay {}/x.json", "shrink {}/x.json", "hunt {}/x.toml", "hunt sb --runs 1 --out {}/x",
        "verify sb --checkpoint {}/x", "campaign status {}/x", "campaign run {}/x.toml --store x",
        "campaign run {brief} --store {}/x",
    ],
)  # fmt: skip
def test_a_folder_that_may_not_be_searched_is_one_line(words, tmp_path, capsys):
    brief = tmp_path / "brief.toml"
    brief.write_text(BRIEF)
    main(words.format(tmp_path, brief=brief).split())  # so that all is imported
    capsys.readouterr()
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    os.seteuid(NOBODY)
    try:
        code = main(words.format(closed, brief=brief).split())
    finally:
        os.seteuid(0)
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (2, "", 1) and "Permission denied" in err


def test_a_command_in_a_folder_that_is_gone(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    code, err = shell(f"cd {gone} && rmdir {gone} && lab hunt some:Thing")
    assert (code, err.count("\n")) == (2, 1) and "cannot be imported" in err


@pytest.mark.parametrize("option", ["--html", "--svg", "--perfetto"])
def test_what_is_no_regular_file_is_not_written_over(option, saved, tmp_path, capsys):
    place = tmp_path / "place"
    os.mkfifo(place)
    assert main(["show", saved, option, str(place)]) == 2
    assert "a FIFO is there" in capsys.readouterr().err and place.is_fifo()


@pytest.mark.parametrize("words", [["shrink", "{saved}", "-o", "{place}"], ["verify", "sb", "--checkpoint", "{place}"]])
def test_a_link_is_not_followed_by_other_verbs_either(words, saved, tmp_path, capsys):
    place = tmp_path / "place"
    place.symlink_to(tmp_path / "other")
    assert main([word.format(saved=saved, place=place) for word in words]) == 2
    assert "a symbolic link is there" in capsys.readouterr().err
    assert place.is_symlink() and not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    "error", [BlockingIOError(11, "thread 2 could not be started"), OSError(24, "Too many open files")]
)
def test_a_machine_that_has_nothing_left_is_one_line(error, monkeypatch, capsys, tmp_path):
    def fails(*given, **more):
        raise error

    monkeypatch.setattr("anonvma_rt.search.hunt.make_strategy", fails)
    assert main(["hunt", "sb", "--runs", "10", "--out", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "the system refuses what is needed" in err and str(error.strerror) in err


def test_few_descriptors_are_one_line(tmp_path):
    for limit in (9,):
        code, err = shell(f"ulimit -n {limit}; lab hunt sb --runs 10 --out {tmp_path} > /dev/null")
        if "Traceback" not in err or "anonvma-rt" in err:  # else Python itself could not begin
            assert code in (0, 2) and err.count("\n") <= 1, err


def test_a_mistake_of_the_lab_is_no_answer(monkeypatch, capsys):
    monkeypatch.setattr("anonvma_rt.cli.load_verb", lambda name: 1 / 0)
    assert main(["list"]) == 70
    err = capsys.readouterr().err
    assert "ZeroDivisionError" in err and "this is a mistake in anonvma_rt" in err


def test_what_a_terminal_would_obey_is_shown_and_not_sent():
    assert for_terminal("a\x1b]0;x\x07\n\tb\x9b1m \u202e") == "a\\x1b]0;x\\x07\n\tb\\x9b1m \\u202e"
    assert for_terminal("\x1b[1mbold\x1b[0m\n") == "\x1b[1mbold\x1b[0m\n"
    assert len(str(UserError("y" * 100_000))) <= LONGEST_LINE


def test_json_has_everything_escaped(capsys):
    assert main(["list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
