"""`anonvma-rt import`: where the scenario goes, where the remarks go, and what the exit code is."""

import io
import json
import sys
from types import SimpleNamespace

import pytest

from anonvma_rt.cli import main


@pytest.fixture
def log(tmp_path, round_trip):
    path = tmp_path / "my log.txt"
    path.write_text(round_trip)
    return str(path)


def test_the_scenario_goes_to_stdout_and_remarks_to_stderr(log, capsys, tmp_path, monkeypatch):
    assert main(["import", log]) == 0
    out, err = capsys.readouterr()
    assert 'name = "my-log"' in out and "# assumed: the race begins at line 5" in out
    remarks = err.splitlines()
    assert remarks[-1] == "anonvma-rt: 5 of 5 calls about memory are in the scenario"
    assert "anonvma-rt: assumed: the race begins at line 5, where there is a second task (--race-from LINE)" in remarks
    made = tmp_path / "made.toml"
    made.write_text(out)
    monkeypatch.chdir(tmp_path)
    assert main(["hunt", "made.toml", "--runs", "200"]) == 0


def test_a_file_may_be_asked_for_and_hunted(log, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = [
        "import",
        log,
        "-o",
        "made.toml",
        "--name",
        "it",
        "--fold",
        "--migrate",
        "--tasks",
        "42",
        "--touch",
        "all",
    ]
    assert main(command) == 0
    assert capsys.readouterr().out == "wrote made.toml\n"
    assert main(["hunt", "made.toml", "--runs", "4000", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [sorted(one["violations"]) for one in found["results"]] == [["stale-migration-entry"], []]


def test_json_has_everything(log, capsys):
    assert main(["import", log, "--json", "--threads", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["said"], found["calls"], found["file"]) == (5, 5, None)
    assert "[[thread]]" in found["scenario"] and {note["kind"] for note in found["notes"]} == {"assumed"}


def test_a_log_on_stdin(round_trip, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(round_trip.encode() + b"\xff\xfe\x1b[2J\n")))
    assert main(["import", "-"]) == 0
    out, err = capsys.readouterr()
    assert 'name = "imported"' in out and "\x1b" not in out + err


def test_nothing_that_can_be_said_is_two_and_says_why(tmp_path, capsys):
    path = tmp_path / "log"
    path.write_text("mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0) = 0x41000000\nmadvise(0x41000000, 4096, 8) = 0\n")
    assert main(["import", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.splitlines() == [
        "anonvma-rt: not said: line 1: mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, 3, 0) = 0x41000000: "
        "a mapping of a file: only anonymous memory is in the lab",
        "anonvma-rt: not said: line 2: madvise(0x41000000, 4096, 8) = 0: "
        "of madvise the lab has MADV_DONTNEED and MADV_COLLAPSE only",
        "anonvma-rt: nothing of the 2 calls of the log about memory can be said",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "cannot be read"),
        (["LOG", "--format", "ftrace"], 'unknown format "ftrace" (did you mean "strace"?)'),
        (["LOG", "--touch", "everything"], "unknown choice of touched pages"),
        (["LOG", "--threads", "x"], "--threads must be a whole number"),
        (["LOG", "--threads", "1", "--race-from", "3"], "omit one of them"),
        (["LOG", "--name", "a b"], '"a b" is not a name'),
        (["LOG", "-o", "/nowhere/x.toml"], "cannot be written"),
    ],
)
def test_bad_input_is_one_line_and_two(log, capsys, words, message):
    assert main(["import", *(log if word == "LOG" else word for word in words)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and message in err
