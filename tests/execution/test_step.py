"""The time machine: forwards, backwards and by hand, from a script as from a terminal."""

import io
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from show_tools import HANDFUL, found

from anonvma_rt.cli import main
from anonvma_rt.errors import UserError
from anonvma_rt.execution.reproducer import Reproducer, replay
from anonvma_rt.execution.stepper import Stepper, find_task


@pytest.fixture
def script(tmp_path, capsys, monkeypatch):
    """Runs `step` on the reproducer of a scenario with commands as its input."""

    def run(scenario, algorithm, *commands, options=(), code=0):
        path = found(scenario, algorithm).save(tmp_path / "one.json")
        monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(commands) + "\n"))
        assert main(["step", str(path), *options]) == code
        return capsys.readouterr()

    return run


# ---- the machine -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scenario", "algorithm"), HANDFUL)
def test_forwards_and_backwards_come_to_the_same_states(scenario, algorithm):
    one = found(scenario, algorithm)
    with Stepper(one) as stepper:
        seen = {}
        while not stepper.over:
            seen[stepper.position] = (stepper.trace.events, stepper.pending)
            stepper.forward()
        assert stepper.position == one.steps and stepper.kind == one.kind and not stepper.by_hand
        assert stepper.trace.events == replay(one).trace.events
        stepper.back()
        while stepper.position:
            assert (stepper.trace.events, stepper.pending) == seen[stepper.position]
            stepper.back(3 if stepper.position > 3 else 1)
        assert stepper.trace.events == []
        assert stepper.result.__doc__


def test_until_stops_right_after_the_event():
    with Stepper(found("lkml-2011", "unpatched")) as stepper:
        assert stepper.until(lambda event: event.what == "unmap")
        assert stepper.trace.events[-1].what == "unmap"
        at = stepper.position
        assert not stepper.until(lambda event: event.what == "no such thing")
        assert stepper.position == at


def test_a_vma_has_the_same_letter_at_every_step():
    with Stepper(found("lkml-2011", "unpatched")) as stepper:
        letters = set()
        for position in range(stepper.length + 1):
            stepper.goto(position)
            letters.add((stepper.trace.vma(1), stepper.trace.vma(3), stepper.trace.vma(5)))
        assert len(letters) == 1


def test_by_hand_from_nothing_to_a_deadlock_that_replays(tmp_path):
    with Stepper(found("philosophers", "right-handed")) as stepper:
        for task in (2, 1, 0):
            assert stepper.choose(task, 2) == 2
        assert stepper.by_hand and not stepper.over
        with pytest.raises(UserError, match="cannot go on: it waits for fork0"):
            stepper.choose(2)
        stepper.finish()
        assert stepper.kind == "deadlock"
        path = stepper.result().save(tmp_path / "made.json")
    made = Reproducer.load(path)
    assert made.strategy == "hand" and [task for task, _ in made.schedule][:3] == [2, 1, 0]
    again = replay(made, times=3)
    assert again.reproduced == 3 and again.same_trace
    again.explorer.close()


def test_what_violates_nothing_is_not_saved():
    with Stepper(found("philosophers", "right-handed")) as stepper:
        assert stepper.choose(0, 99) == 6
        with pytest.raises(UserError, match="not over"):
            stepper.result()
        stepper.finish()
        assert stepper.over and stepper.kind is None
        with pytest.raises(UserError, match="violates nothing"):
            stepper.result()


def test_choosing_what_the_schedule_says_anyway_forgets_nothing():
    one = found("lkml-2011", "unpatched")
    with Stepper(one) as stepper:
        stepper.choose(one.schedule[0][0], 5)
        assert not stepper.by_hand and stepper.length == one.steps
        other = 1 - one.schedule[0][0]
        stepper.choose(other)
        assert stepper.by_hand and stepper.length == stepper.position == 6
        with pytest.raises(UserError, match="nobody has decided who makes the next step"):
            stepper.forward()
        stepper.back(2)
        stepper.forward(2)
        assert stepper.position == 6


# ---- the verb --------------------------------------------------------------------------------------------------------


def test_a_session(script):
    out = script(
        "lkml-2011", "unpatched", "where", "step 3", "on anon_vma 1", "print page 9", "print list 1", "p vma A",
        "print pte A+8", "next mremap", "back", "violation", "print world", "# a comment", "", "quit", "nonsense",
    ).out  # fmt: skip
    assert "1 migrate has not begun" in out
    assert "migrates page 9 to page 34" in out
    assert re.search(r" migrate: \w+ \w+ of anon_vma 1\nafter step \d+ of 107\npage 9", out)
    assert re.search(r"page 9: mapcount 1, count 2, locked, index 0x\w+\n  mapping: anon_vma 1; a walk looks at", out)
    assert "    A: not inside\n    B+0 (0x40000000, process 0): page 9, writable" in out
    assert "list of anon_vma 1, oldest first: A, B" in out
    assert "A: process 0, [0x40800000, 0x40808000), 8 pages" in out
    assert "pte of 0x40808000, process 0: none" in out
    assert "mremap: starts" in out
    assert "after step 107: stale-migration-entry. migrate passed over A" in out
    assert "list of anon_vma 1: A" in out


def test_a_litmus_test_in_a_session(script):
    out = script("order", "unpatched", "goto 42", "print src0", "p at_src0", "goto 0", "p src0", "print").out
    assert "assertion" in out and "src0 = 0" in out and "src0 = 1" in out and "at_src0 = 0" in out
    assert "NAME of a variable or register" in out


def test_saving_by_hand_from_a_script(script, tmp_path, capsys):
    path = tmp_path / "made.json"
    said = script("philosophers", "right-handed", "t 1 2", "task philosopher0 2", "t 2 2", f"save {path}")
    assert f"saved: anonvma-rt replay {path}" in said.out
    assert main(["replay", str(path)]) == 0
    assert "found by hand" in capsys.readouterr().out
    said = script("philosophers", "right-handed", "t 1 99", "save /tmp/no.json", code=2)
    assert "violates nothing" in said.err


def test_json_is_one_object_and_nothing_else(script):
    said = script("lkml-2011", "unpatched", "goto 40", "t mremap 3", "where", options=["--json"])
    assert json.loads(said.out) == {
        "position": 43, "steps": 43, "kind": None, "over": False, "by_hand": True, "saved": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("stepp", 'unknown command "stepp" (did you mean "step"?)'),
        ("step many", 'a whole number from 1 on is wanted, not "many"'),
        ("step 0", "from 1 on"),
        ("back", "this is the beginning"),
        ("goto 9999", "there is no step 9999 (0 to 107)"),
        ("goto", "usage: goto N"),
        ("next nobody", 'unknown task "nobody"'),
        ("on nothing", 'nobody does anything to "nothing"'),
        ("print vma Z", 'no vma "Z" now'),
        ("print list 99", "anon_vma 99"),
        ("print page 0", "no page 0"),
        ("print page x", 'a number is wanted, not "x"'),
        ("print pte 0xffffffffffff", "no address of a process"),
        ("print pte Z+1", 'no vma "Z"'),
        ("print moon", "nothing is called"),
        ("save", "usage: save FILE"),
        ("save /no/such/folder/x.json", "/no/such/folder/x.json: cannot be written"),
        ("step 'x", "No closing quotation"),
        ("debugger now", "usage: debugger"),
    ],
)
def test_a_script_ends_at_its_first_wrong_command_with_one_line(script, command, says):
    said = script("lkml-2011", "unpatched", command, "where", code=2)
    assert says in said.err and said.err.count("\n") == 1
    assert "has not begun" not in said.out


def test_the_debugger_command_tells_how_to_attach(script):
    out = script("lkml-2011", "unpatched", "goto 60", "debugger", "", "where").out
    assert f"process {os.getpid()} is paused after step 60; threads: 0:mremap, 1:migrate" in out
    assert f"gdb -p {os.getpid()}" in out
    assert out.rstrip().splitlines()[-1].startswith("  1 migrate is about to")


@pytest.mark.skipif(shutil.which("gdb") is None or os.getuid() != 0, reason="needs gdb and the right to attach it")
def test_a_debugger_that_is_attached_sees_both_tasks_in_their_functions(tmp_path):
    path = found("lkml-2011", "unpatched").save(tmp_path / "one.json")
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "anonvma_rt", "step", str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        process.stdin.write("goto 60\ndebugger\n")
        process.stdin.flush()
        while "Enter goes on" not in process.stdout.readline():
            pass
        gdb = ["gdb", "-p", str(process.pid), "-batch", "-nx", "-ex", "thread apply all bt"]
        seen = subprocess.run(gdb, capture_output=True, text=True, timeout=100).stdout
        if "ptrace" in seen or "Thread" not in seen:
            pytest.skip("this host lets no debugger attach")
        assert '"0:mremap"' in seen and '"1:migrate"' in seen
        assert "move_page_tables" in seen and "remove_migration_ptes" in seen
        process.stdin.write("\nquit\n")
        process.stdin.flush()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


def test_a_person_may_correct_a_mistake(tmp_path):
    import pty

    path = found("lkml-2011", "unpatched").save(tmp_path / "one.json")
    primary, secondary = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "anonvma_rt", "step", str(path)], stdin=secondary, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    os.close(secondary)
    os.write(primary, b"stepp\nstep 2\nquit\n")
    out = process.communicate(timeout=60)[0].decode()
    os.close(primary)
    assert process.returncode == 0
    assert 'did you mean "step"' in out and "after step 2 of 107" in out


def test_tasks_are_found_by_name_number_and_beginning():
    assert [find_task(["mremap", "migrate"], word) for word in ("mremap", "1", "mig")] == [0, 1, 1]
    with pytest.raises(UserError, match="unknown task"):
        find_task(["mremap", "migrate"], "m")
