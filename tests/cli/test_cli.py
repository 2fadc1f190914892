"""The command line as a user meets it: exit codes, one line for bad input, nothing but JSON with --json, ^C."""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

from anonvma_rt.cli import main
from anonvma_rt.kernel.algorithm import BEHAVIOUR, PRESETS
from anonvma_rt.kernel.scenario import Scenario
from anonvma_rt.lab.load import load
from anonvma_rt.litmus.litmus import Litmus

HUNT = ["hunt", "merge", "--runs", "1500"]


def command(*arguments):
    return [sys.executable, "-m", "anonvma_rt", *arguments]


def test_hunt_prints_the_comparison_and_saves_and_shows_the_first_violation(tmp_path, capsys):
    assert main([*HUNT, "--out", str(tmp_path / "found")]) == 0
    out = capsys.readouterr().out
    assert "unpatched" in out and "moveto-tail" in out
    assert "stale-migration-entry" in out
    assert "migrate " in out and "which stays at A" in out
    (saved,) = (tmp_path / "found").iterdir()
    assert f"anonvma-rt replay {saved}" in out
    assert main(["replay", str(saved), "--times", "5"]) == 0
    assert "reproduced 5 of 5 times" in capsys.readouterr().out


def test_hunt_json_has_the_fields_of_the_design_and_nothing_else_on_stdout(tmp_path, capsys):
    assert main([*HUNT, "--json", "--out", str(tmp_path)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {"scenario", "parameters", "strategy", "carrier", "seed", "start", "results", "as_expected"} <= told.keys()
    assert told["as_expected"] is True
    unpatched, patched = told["results"]
    fields = {
        "algorithm", "executions", "violations", "benign_misses", "first", "upper_bound_95", "points", "switches",
        "seconds", "executions_per_second", "schedules_sha256", "expected", "as_expected", "classes", "pct_guarantee",
        "confirmed", "failed_allocations", "kept", "not_reproducible", "carrier", "because",
        "ended", "short_of", "warnings",
    }  # fmt: skip
    assert unpatched.keys() == patched.keys() == fields
    assert unpatched["first"].keys() == {"index", "kind", "reproducer", "drawn", "place"}
    assert os.path.exists(unpatched["first"]["reproducer"])
    assert patched["first"] is None and patched["violations"] == {}


def test_list_names_everything_with_one_line(capsys):
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    assert main(["list", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    kinds = "scenarios litmus algorithms releases unknown fields strategies interesting verbs keys carriers profiles"
    assert told.keys() == set(kinds.split())
    assert [s["name"] for s in told["scenarios"]] == Scenario.builtin_names()
    assert next(a["aliases"] for a in told["algorithms"] if a["name"] == "unpatched") == ["linux-3.2"]
    for entries in told.values():
        for entry in entries:
            assert entry["name"] in text
            assert entry["about"] and "\n" not in entry["about"]
    assert [test["name"] for test in told["litmus"]] == Litmus.builtin_names()
    zoo = next(s for s in told["scenarios"] if s["name"] == "exec-stack")
    assert (zoo["zoo"], zoo["commit"], zoo["year"]) == ("Z5", "a8bef8ff6ea1", "2010") and zoo["symptom"] in text
    assert {f["name"]: f["default"] for f in told["fields"]} == {
        name: getattr(PRESETS["unpatched"], name) for name in BEHAVIOUR
    }


def test_list_algorithms_is_the_table_of_releases(capsys):
    assert main(["list", "algorithms"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "linux-3.3 ordering=tail (948f017b), decode_in_zap=true (9f9f1acd713d) [moveto-tail]" in lines
    assert "linux-4.4 no change" in lines and any(
        line.startswith("since 6.1 the vmas of an mm are a list") for line in lines
    )
    assert main(["list", "algorithms", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told) == ["algorithms", "releases", "unknown", "fields"]
    row = next(one for one in told["releases"] if one["name"] == "linux-6.18.8")
    assert row["choices"]["merge"] == "6.16" and row["choices"].keys() == set(BEHAVIOUR)
    assert [one["commit"] for one in row["changes"]] == ["61f67c230a5e, 3b617fd3d317"]
    assert any("mmap_lock" in said for said in row["unknown"])
    assert main(["list", "releases"]) == 0
    assert capsys.readouterr().out.startswith("releases:\n  linux-2.6.38               the oldest\n  linux-3.0 ")


def test_hunt_all_covers_every_scenario_under_all_of_which_it_expects_something(tmp_path, capsys):
    main(["hunt", "--all", "--runs", "20", "--json", "--out", str(tmp_path)])
    told = json.loads(capsys.readouterr().out)
    assert [one["scenario"] for one in told["hunts"]] == Scenario.builtin_names() + Litmus.builtin_names()
    for one in told["hunts"]:
        assert [result["algorithm"] for result in one["results"]] == load(one["scenario"]).algorithms()


def test_a_scenario_that_names_its_algorithms_and_its_strategy_is_hunted_with_them(tmp_path, capsys):
    assert main(["hunt", "thp-split-peek", "--runs", "2000", "--json", "--out", str(tmp_path)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["strategy"] == "sticky"
    assert "unpatched,split_peeks=true" in [result["algorithm"] for result in told["results"]]
    main(["hunt", "thp-split-peek", "--runs", "1", "--strategy", "pct", "--json", "--out", str(tmp_path)])
    assert json.loads(capsys.readouterr().out)["strategy"] == "pct"


def test_an_expected_violation_that_does_not_appear_is_exit_code_1_and_named(tmp_path, capsys):
    assert main(["hunt", "merge", "--strategy", "pct", "--runs", "1", "--out", str(tmp_path)]) == 1
    assert "NOT AS EXPECTED: stale-migration-entry" in capsys.readouterr().out


def test_an_unexpected_violation_is_exit_code_1(tmp_path, capsys):
    text = Scenario.load("merge").text
    changed = tmp_path / "surprise.toml"
    changed.write_text(text.replace('unpatched = "stale-migration-entry"', 'unpatched = "none"'))
    assert main(["hunt", str(changed), "--runs", "1500", "--out", str(tmp_path)]) == 1
    assert "NOT AS EXPECTED" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["hunt", "lkml"], 'unknown scenario "lkml"'),
        (["hunt", "--algorithm", "unpached"], 'did you mean "unpatched"?'),
        (["hunt", "--strategy", "pc"], 'did you mean "pct"?'),
        (["hunt", "--carrier", "thread"], 'did you mean "threads"?'),
        (["hunt", "-p", "page"], "NAME=VALUE"),
        (["hunt", "-p", "pages=3"], "multiple of 2"),
        (["hunt", "-p", "pages=99999999999999999999"], "pages"),
        (["hunt", "--runs", "0"], "--runs must be at least 1"),
        (["hunt", "--runs", "many"], "--runs must be a whole number"),
        (["hunt", "--all", "merge"], "omit the name"),
        (["hunt", "ordr"], 'unknown scenario "ordr" (did you mean "order"?)'),
        (["hunt", "sb", "--algorithm", "unpatched"], 'sb.toml: unknown variant "unpatched" (choices: sc)'),
        (["hunt", "order", "--algorithm", "patched", "-p", "patched=no"], "another value for a parameter given"),
        (["hunt", "--seeds", "3"], "--seeds"),
        (["hnt"], "hunt"),
        ([], "VERB"),
        (["hunt", "--out", "/proc/nowhere"], "reproducers cannot be written there"),
        (["hunt", "/no/such/file.toml"], "/no/such/file.toml"),
        (["replay", "/no/such/file.json"], "cannot be read"),
    ],
)
def test_bad_input_is_one_line_on_stderr_and_exit_code_2(arguments, says, capsys):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir("/")
        assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert says in told.err
    assert told.err.count("\n") == 1


def test_malformed_toml_names_file_and_line(tmp_path, capsys):
    path = tmp_path / "broken.toml"
    path.write_text('name = "x"\nabout = "y"\nsetup = [{ do = \n')
    assert main(["hunt", str(path)]) == 2
    told = capsys.readouterr().err
    assert f"{path}: line 3" in told or f"{path}: line 4" in told


def test_the_output_folder_is_tried_before_the_hunt_and_not_left_behind_empty(tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("")
    assert main(["hunt", "--runs", "1000000000", "--out", str(file)]) == 2
    clean = ["hunt", "own-mm-migration", "--algorithm", "unpatched"]
    assert main([*clean, "--runs", "5", "--out", str(tmp_path / "new")]) == 0
    assert not (tmp_path / "new").exists()


def test_what_cannot_be_saved_in_the_end_is_still_told(tmp_path, capsys, monkeypatch):
    def full(self, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("anonvma_rt.execution.reproducer.Reproducer.save", full)
    assert main([*HUNT, "--json", "--out", str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert "could not be saved: No space left on device" in told.err
    first = json.loads(told.out)["results"][0]["first"]
    assert first["reproducer"] is None
    # Index, seed and strategy alone bring it back.
    again = ["hunt", "merge", "--start", str(first["index"]), "--runs", "1", "--algorithm", "unpatched", "--json"]
    monkeypatch.undo()
    assert main([*again, "--out", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["first"]["index"] == first["index"]


def wait_for_a_reproducer(folder):
    """However slowly a process begins: then it is at work."""
    end = time.monotonic() + 60
    while not (saved := list(folder.glob("**/*.json"))):
        assert time.monotonic() < end, "nothing was saved"
        time.sleep(0.05)
    return saved


def interrupted(arguments, cwd):
    process = subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd)
    wait_for_a_reproducer(cwd)
    begun = time.perf_counter()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err, time.perf_counter() - begun


def test_interrupting_a_hunt_prints_and_keeps_what_was_found(tmp_path):
    arguments = ["hunt", "merge", "--runs", "1_000_000_000", "--jobs", "2", "--json"]
    code, out, err, took = interrupted(arguments, tmp_path)
    assert code == 130, err
    told = json.loads(out)
    assert told["interrupted"] is True
    (unpatched,) = told["results"]
    assert unpatched["executions"] > 0
    assert unpatched["violations"]["stale-migration-entry"] >= 1
    assert (tmp_path / unpatched["first"]["reproducer"]).exists()
    # 0.2 s on an idle machine; the tests' own load is not ours to bound so closely.
    assert took < 5


def test_killed_with_9_a_hunt_has_saved_what_it_found(tmp_path):
    process = subprocess.Popen(
        command("hunt", "merge", "--runs", "1_000_000_000"), stdout=subprocess.DEVNULL, cwd=tmp_path
    )
    try:
        saved = wait_for_a_reproducer(tmp_path)
    finally:
        process.kill()
        process.wait()
    assert main(["replay", str(saved[0])]) == 0


def test_progress_goes_to_a_terminal_only(tmp_path):
    quiet = subprocess.run(command(*HUNT), capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert quiet.stderr == ""
    primary, secondary = pty.openpty()
    # A terminal of no width, which a fresh pty is, gets no bar.
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    process = subprocess.Popen(
        command("hunt", "--runs", "1_000_000_000"), stdout=subprocess.DEVNULL, stderr=secondary, cwd=tmp_path
    )
    os.close(secondary)
    seen = b""
    try:
        while b"exec" not in seen and select.select([primary], [], [], 60)[0]:
            seen += os.read(primary, 1000)
        assert b"unpatched" in seen and b"exec" in seen
    finally:
        process.kill()
        process.wait()
        os.close(primary)


def test_python_dash_m_and_version(tmp_path):
    done = subprocess.run(command("--version"), capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0
    assert done.stdout.startswith("anonvma-rt ")


def test_a_reader_that_goes_away_is_no_traceback(tmp_path):
    process = subprocess.Popen(
        command("hunt", "merge", "--runs", "1500"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    )
    process.stdout.close()
    err = process.stderr.read()
    process.wait(60)
    assert b"Traceback" not in err
