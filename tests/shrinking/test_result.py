"""What comes of shrinking: a file, the command's output, and what there is when it goes wrong or is interrupted."""

import hashlib
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import tqdm
from shrink_tools import assert_smaller

from anonvma_rt import Reproducer, ShrinkInterrupted, StopToken, UserError, shrink
from anonvma_rt.cli import main
from anonvma_rt.execution.schedule import Schedule
from anonvma_rt.shrinking.shrink import smaller_name

# ---- the file --------------------------------------------------------------------------------------------------------


def test_the_result_says_what_it_was_and_is_a_reproducer_like_any_other(mail, tmp_path, capsys):
    out = tmp_path / "min.json"
    shrink(mail, out)
    was, now = Reproducer.load(mail), Reproducer.load(out)
    assert now.shrunk_from == {
        "steps": was.steps,
        "switches": was.switches,
        "parameters": was.parameters,
        "schedule_digest": was.digest,
    }
    assert was.shrunk_from is None and "shrunk_from" not in json.loads(Path(mail).read_text())
    assert (now.strategy, now.seed, now.index, now.name()) == (was.strategy, was.seed, was.index, was.name())
    assert now.save(tmp_path / "copy.json").read_bytes() == out.read_bytes()
    assert main(["replay", str(out), "--times", "100"]) == 0
    shown = capsys.readouterr().out
    assert f"shrunk from {was.steps} steps and {was.switches} switches" in shown
    assert "reproduced 100 of 100 times" in shown


def test_a_field_that_a_loader_does_not_know_is_no_reason_to_refuse_a_file(mail, tmp_path):
    """That is how one from before there was `shrunk_from` takes the result of shrink."""
    body = json.loads(Path(mail).read_text())
    body.pop("sha256")
    body["from_the_future"] = {"a": 1}
    body["sha256"] = hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    (tmp_path / "new.json").write_text(json.dumps(body))
    assert Reproducer.load(tmp_path / "new.json") == Reproducer.load(mail)


def test_the_command_prints_before_and_after_and_where_the_result_is(mail, capsys):
    assert main(["shrink", mail]) == 0
    out = capsys.readouterr().out
    was = Reproducer.load(mail)
    assert f"  before  {was.switches:9}{was.steps:9}   pages=64 exact=true page=0\n" in out
    assert "  after           3" in out and "pages=2 exact=true page=0\n" in out
    assert "came again 10 of 10 times" in out
    assert out.rstrip().endswith(f"Replay it: anonvma-rt replay {smaller_name(mail)}")
    assert Reproducer.load(smaller_name(mail)).switches == 3
    assert Reproducer.load(mail) == was, "the file that was given is as it was"


def test_json_is_one_object_with_the_fields_of_the_design(mail, tmp_path, capsys):
    out = tmp_path / "min.json"
    assert main(["shrink", mail, "-o", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {
        "scenario", "algorithm", "kind", "before", "after", "executions", "fewest", "replays", "confirmed", "cause",
        "interrupted", "reproducer",
    }  # fmt: skip
    assert set(told["before"]) == set(told["after"]) == {"steps", "switches", "parameters"}
    assert (told["scenario"], told["algorithm"], told["kind"]) == ("lkml-2011", "unpatched", "stale-migration-entry")
    assert told["after"]["parameters"]["pages"] == 2 < told["before"]["parameters"]["pages"]
    assert told["reproducer"] == str(out) and told["fewest"] is True and told["interrupted"] is False
    again = Reproducer.load(out)
    assert (again.steps, again.switches) == (told["after"]["steps"], told["after"]["switches"])


# ---- what can go wrong -----------------------------------------------------------------------------------------------


def test_bad_input_is_one_line_and_exit_code_2(mail, tmp_path, capsys):
    (tmp_path / "no.json").write_text("{}")
    (tmp_path / "link.json").symlink_to(mail)
    for arguments, says in [
        ([str(tmp_path / "none.json")], "cannot be read"),
        ([str(tmp_path / "no.json")], "not a reproducer"),
        ([mail, "-o", mail], "is the reproducer itself"),
        ([mail, "-o", str(tmp_path / "link.json")], "is the reproducer itself"),
        ([mail, "-o", str(tmp_path)], "is a folder"),
        ([mail, "-o", str(tmp_path / "nowhere" / "x.json")], "cannot be written: No such file or directory"),
        ([mail, "-o", "a\0b"], "cannot be written"),
        ([mail, "--budget", "0"], "--budget must be at least 1"),
        ([mail, "--budget", "x"], "--budget must be a whole number"),
        ([mail, "--keep", "size"], 'unknown parameter "size"'),
    ]:
        assert main(["shrink", *arguments]) == 2, arguments
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and says in err, (arguments, err)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["link.json", "no.json"], "nothing is left behind"


def test_what_does_not_reproduce_any_more_is_refused(mail, tmp_path):
    one = Reproducer.load(mail)
    patched = replace(one, algorithm=one.program().choose("moveto-tail")).save(tmp_path / "patched.json")
    with pytest.raises(UserError, match=r"patched.json: does not reproduce any more: its schedule"):
        shrink(patched)
    other = replace(one, kind="lost-page").save(tmp_path / "kind.json")
    with pytest.raises(UserError, match=r"ends with stale-migration-entry and not with lost-page"):
        shrink(other)
    cannot = replace(one, schedule=Schedule([(7, 5), (0, 5)])).save(tmp_path / "cannot.json")
    with pytest.raises(UserError, match=r"cannot be followed"):
        shrink(cannot)
    harmless = replace(one, schedule=Schedule()).save(tmp_path / "harmless.json")
    with pytest.raises(UserError, match=r"ends with no violation and not with stale-migration-entry"):
        shrink(harmless)


def test_what_cannot_be_saved_in_the_end_is_still_told(mail, tmp_path, capsys, monkeypatch):
    def full(self, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Reproducer, "save", full)
    assert main(["shrink", mail, "-o", str(tmp_path / "min.json")]) == 1
    out, err = capsys.readouterr()
    assert "pages=2" in out and "Replay it" not in out
    assert "min.json could not be saved: No space left on device" in err


class Impatient:
    """A progress that presses ^C at its n-th call."""

    def __init__(self, n):
        self.left = n

    def __call__(self, executions):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("n", [3, 5, 20, 60, 150])
def test_interrupted_at_any_time_it_keeps_the_best_so_far(mail, tmp_path, n):
    out = tmp_path / "min.json"
    threads = len(os.listdir("/proc/self/task"))
    with pytest.raises(ShrinkInterrupted) as caught:
        shrink(mail, out, progress=Impatient(n))
    result = caught.value.result
    assert result.interrupted and result.reproducer == str(out)
    assert_smaller(result)
    assert Reproducer.load(out) == result.minimal
    assert len(os.listdir("/proc/self/task")) == threads, "no thread is left"


def test_interrupted_before_it_was_seen_to_fail_there_is_nothing_to_keep(mail, tmp_path):
    with pytest.raises(KeyboardInterrupt) as caught:
        shrink(mail, tmp_path / "min.json", progress=Impatient(1))
    assert caught.type is KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_interrupting_the_command_prints_saves_and_exits_with_130(mail, tmp_path, capsys, monkeypatch):
    class Bar(tqdm.tqdm):
        calls = 0

        def update(self, n=1):
            Bar.calls += 1
            if Bar.calls > 5:
                raise KeyboardInterrupt

    monkeypatch.setattr(tqdm, "tqdm", Bar)
    out = tmp_path / "min.json"
    assert main(["shrink", mail, "-o", str(out)]) == 130
    assert "INTERRUPTED" in capsys.readouterr().out
    assert Reproducer.load(out).kind == "stale-migration-entry"


def test_what_was_found_is_saved_before_the_end(mail, tmp_path):
    """Whoever is killed leaves the best so far, whole."""
    out, seen = tmp_path / "min.json", {}

    def look(executions):
        if out.exists() and out.stat().st_mtime_ns not in seen:
            seen[out.stat().st_mtime_ns] = Reproducer.load(out)

    result = shrink(mail, out, progress=look)
    sizes = [(one.parameters["pages"], one.switches) for one in seen.values()]
    assert sizes[0] == (64, 3) and sizes[-1] == (2, result.after.switches)
    assert [entry.name for entry in tmp_path.iterdir()] == ["min.json"]


def test_a_stop_token_ends_it_with_what_there_is(mail):
    stop = StopToken()
    calls = []

    def progress(executions):
        calls.append(executions)
        if len(calls) == 30:
            stop.stop()

    result = shrink(mail, stop=stop, progress=progress)
    assert result.interrupted
    assert len(calls) <= 31
    assert_smaller(result)


def test_cuts_count_from_the_beginning_of_each_task():
    assert Schedule([(0, 5), (1, 3), (0, 2), (1, 1)]).cuts() == [(0, 5), (1, 3), (0, 7), (1, 4)]
    assert Schedule().cuts() == []
