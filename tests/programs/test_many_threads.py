"""Programs with more threads than one word of a set of tasks has bits."""

import shutil
from pathlib import Path

import pytest

from anonvma_rt import Reproducer, hunt, native, replay, verify

MANY = Path(__file__).with_name("sources") / "many.c"

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="programs are compiled")


def many(*flags):
    return native(MANY, cflags=[f"-D{flag}" for flag in flags])


def test_a_hundred_threads_are_proved_and_what_is_wrong_with_one_is_found(tmp_path):
    (right,) = verify(many()).results
    assert right.complete and right.classes == 1
    (wrong,) = verify(many("WRONG=1"), all_violations=True).results
    # main looks at the last word before it is written, or behind it.
    assert wrong.complete and wrong.classes == 2 and wrong.violating_classes == {"assertion": 1}
    (found,) = hunt(many("WRONG=1"), runs=200, out=str(tmp_path)).results
    assert found.violations.keys() == {"assertion"}
    reproducer = Reproducer.load(found.first.reproducer, [many("WRONG=1")])
    assert max(task for task, _ in reproducer.schedule) == 100
    assert replay(reproducer, times=20).reproduced == 20


def test_two_hundred_threads_make_the_same_executions_on_both_carriers():
    found = [hunt(many("N=200"), runs=60, carrier=carrier).results[0] for carrier in ("fibers", "threads")]
    assert len({one.schedules_sha256 for one in found}) == 1
    assert [dict(one.violations) for one in found] == [{}, {}]


def test_a_broadcast_wakes_all_that_wait_and_a_signal_one():
    (right,) = hunt(many("N=70", "COND"), runs=300).results
    assert not right.violations
    (wrong,) = hunt(many("N=70", "COND", "WRONG=1"), runs=300).results
    assert wrong.violations.keys() == {"lost-wakeup"}
    assert "thread 69 waits for cond" in wrong.trace.cause()


def test_threads_that_wait_for_some_time_are_two_tasks_each():
    (found,) = hunt(many("N=100", "TIMED"), runs=100).results
    assert not found.violations
