"""Waits with a timeout, loops that give way, and choices: what a schedule decides beside who goes on."""

import shutil
from pathlib import Path

import pytest

from anonvma_rt import Reproducer, UserError, hunt, native, replay, verify

SOURCES = Path(__file__).with_name("sources")

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="programs are compiled")


def program(name, **how):
    return native(SOURCES / name, **how)


def proved(name, parameters, **how):
    (found,) = verify(program(name, **how), parameters, all_violations=True).results
    return found


def test_a_wait_may_be_late_and_is_told_so():
    for signal in (0, 1):
        right = proved("timed.c", {"SIGNAL": signal})
        assert (
            right.complete and not right.violating_classes and right.verdict.startswith("VERIFIED under SC (complete")
        )
        wrong = proved("timed.c", {"SIGNAL": signal, "CHECK": 1})
        assert wrong.violating_classes == {"assertion": 1}
    # The flag is set by nobody who says so: without a timeout that is a lost wake-up.
    assert proved("timed.c", {"BARE": 1}).violating_classes.keys() == {"lost-wakeup"}
    assert not proved("timed.c", {"BARE": 1, "SIGNAL": 1}).violating_classes


def test_a_loop_that_is_late_again_and_again_is_proved_as_far_as_it_was_tried():
    for late in (1, 3):
        loop = proved("timed.c", {"LOOP": 1, "SIGNAL": 1}, late=late)
        assert loop.complete and loop.verdict.startswith(f"VERIFIED under SC within --late {late} (complete")
        assert not loop.violating_classes
    # A hunt goes on where nobody else can: the flag is there then.
    (found,) = hunt(program("timed.c"), {"LOOP": 1}, runs=500).results
    assert not found.violations


def test_a_thread_that_is_woken_for_no_reason_has_to_look_again():
    right = proved("timed.c", {"BARE": 1, "SIGNAL": 1, "CHECK": 1})
    assert right.complete and not right.violating_classes and right.verdict.startswith("VERIFIED under SC (complete")
    wrong = proved("timed.c", {"BARE": 1, "SIGNAL": 1, "CHECK": 1}, spurious=1)
    assert wrong.violating_classes.keys() == {"assertion"} and "within --spurious 1" in wrong.verdict


@pytest.mark.parametrize("how", range(4))
def test_a_loop_that_gives_up_may_give_up(how):
    (found,) = hunt(program("retry.c"), {"HOW": how}, runs=300).results
    assert found.violations.keys() == {"assertion"}
    assert proved("retry.c", {"HOW": how}).violating_classes.keys() == {"assertion"}


@pytest.mark.parametrize("how", range(4))
def test_a_loop_that_does_not_give_up_ends(how):
    for strategy in ("random", "pct"):
        (found,) = hunt(program("retry.c"), {"HOW": how, "TRIES": 0}, runs=300, strategy=strategy).results
        assert not found.violations
    proof = proved("retry.c", {"HOW": how, "TRIES": 0})
    assert proof.complete and not proof.violating_classes
    # Where it goes round in a circle one round stands for all.
    assert proof.classes <= 2 or how == 3
    assert ("within --late 3" in proof.verdict) == (how == 3)


@pytest.mark.parametrize("how", range(4))
def test_a_loop_that_counts_unseen_is_no_circle(how):
    found = proved("unseen.c", {"HOW": how}, cflags=["-fno-builtin"])
    assert found.violating_classes.keys() == {"assertion"}


def test_a_loop_that_computes_is_a_circle_unless_its_library_writes():
    for macros, kinds in (([], set()), (["-DUNSEEN"], {"assertion"})):
        found = proved("computes.c", {}, cflags=["-fno-builtin", *macros], link=["-lm"])
        assert found.complete and found.violating_classes.keys() == kinds


def test_every_number_may_be_chosen():
    for n in (1, 2, 5):
        every = proved("chosen.c", {"N": n, "NOT": n})
        assert every.complete and every.classes == n and not every.violating_classes
    for n in range(5):
        assert proved("chosen.c", {"NOT": n}).violating_classes == {"assertion": 1}


def test_what_was_decided_is_replayed(tmp_path):
    for name, how in (("timed.c", {"late": 1}), ("chosen.c", {}), ("timed.c", {"spurious": 2})):
        values = {"chosen.c": {}, "timed.c": {"CHECK": 1, "BARE": "spurious" in how, "SIGNAL": 1}}[name]
        values = {macro: int(value) for macro, value in values.items()}
        (found,) = hunt(program(name, **how), values, runs=500, out=str(tmp_path)).results
        reproducer = Reproducer.load(found.first.reproducer, [program(name)])
        assert replay(reproducer).reproduced


def test_carriers_and_jobs_make_the_same_executions():
    ways = [{"carrier": "fibers"}, {"carrier": "threads"}, {"jobs": 2}]
    for name, values in (("timed.c", {"LOOP": 1}), ("retry.c", {"HOW": 3})):
        found = [hunt(program(name), values, runs=400, **how).results[0] for how in ways]
        assert len({one.schedules_sha256 for one in found}) == 1


def test_bad_times_are_named():
    with pytest.raises(UserError, match=r"--late"):
        native(SOURCES / "timed.c", late=-1)
    with pytest.raises(UserError, match=r"--spurious"):
        native(SOURCES / "timed.c", spurious=10**9)


@pytest.mark.parametrize("strategy", ["portfolio", "pct:depth=1", "delay", "starve"])
def test_no_schedule_lets_one_thread_ask_for_ever_while_another_could_go_on(strategy):
    (right,) = hunt(program("turns.c"), runs=50, strategy=strategy).results
    assert not right.violations
