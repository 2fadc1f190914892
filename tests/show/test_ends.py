"""How an execution ended that did not end by itself: who holds what others wait for, and what goes on for ever."""

import re

import pytest

from anonvma_rt import hunt
from anonvma_rt.cli import main
from anonvma_rt.execution.reproducer import Reproducer
from anonvma_rt.litmus.litmus import Litmus

CROSSED = """
litmus = "crossed"
about = "two locks, each first in one thread"
[[thread]]
name = "A"
steps = ["lock a", "lock b", "unlock b", "unlock a"]
[[thread]]
name = "B"
steps = ["lock b", "lock a", "unlock a", "unlock b"]
"""
READERS = """
litmus = "readers"
about = "two readers, each of whom wants to write"
[[thread]]
name = "A"
steps = ["read_lock a", "write_lock a"]
[[thread]]
name = "B"
steps = ["read_lock a", "write_lock a"]
"""
POLLING = """
litmus = "polling"
about = "a loop that nobody ends"
[[thread]]
name = "A"
steps = ["poll x 1"]
[[thread]]
name = "B"
steps = ["store y 1", "poll x 2"]
"""


def found(text, kind, **how):
    result = hunt(Litmus.from_text(text), runs=300, **how).results[0]
    assert kind in result.violations
    return next(one for one in result.reproducers if one.kind == kind), result


def test_a_deadlock_says_who_holds_what_and_since_when(tmp_path, capsys):
    reproducer, _ = found(CROSSED, "deadlock", out=tmp_path)
    assert re.fullmatch(
        r'Nobody can go on: A is at "lock b", which B holds since step \d+; B is at "lock a", which A holds since step '
        r"\d+\.",
        reproducer.cause,
    )
    path = next(tmp_path.glob("*.json"))
    assert Reproducer.load(path).cause == reproducer.cause
    assert main(["replay", str(path)]) == 0
    assert "which B holds since step" in " ".join(capsys.readouterr().out.split())


def test_readers_are_named_and_whoever_waits_for_itself():
    reproducer, _ = found(READERS, "deadlock")
    assert re.search(
        r'A is at "write_lock a", which (it itself|B) holds for reading since step \d+ and (it itself|B) holds for '
        r"reading since step \d+",
        reproducer.cause,
    )


def test_a_deadlock_of_the_kernel_names_its_locks():
    result = hunt("root-freed-first", runs=3000).results
    for one in result:
        if "deadlock" in one.violations:
            assert "holds" in one.trace.cause()


@pytest.mark.parametrize("form", [[], ["--html"], ["--full"]])
def test_a_livelock_is_shown_up_to_the_first_round(form, tmp_path, capsys):
    reproducer, _ = found(POLLING, "livelock", out=tmp_path)
    assert "Again and again A makes the same 1 steps from step " in reproducer.cause
    path = next(tmp_path.glob("*.json"))
    page = tmp_path / "page.html"
    words = ["--html", str(page)] if "--html" in form else form
    assert main(["show", str(path), *words]) == 0
    said = capsys.readouterr().out + (page.read_text() if page.exists() else "")
    assert len(said.splitlines()) < 2000 and len(said) < 400_000
