"""RCU of the API: what a grace period protects is not freed under a reader, in every memory model."""

import pytest

from anonvma_rt import hunt, subject, verify

pytestmark = pytest.mark.usefixtures("own")
RECLAIM = "graces:Reclaim"


@pytest.mark.parametrize("memory", ["sc", "tso", "pso"])
@pytest.mark.parametrize("tasks", [2, 3])
def test_nothing_is_freed_under_a_reader_after_a_grace_period(tasks, memory):
    right = verify(subject(RECLAIM), {"tasks": tasks}, memory=memory).results[0]
    assert right.complete and right.violating_classes == {}, right.verdict
    wrong = verify(subject(RECLAIM), {"tasks": tasks, "waits": False}, memory=memory).results[0]
    assert not wrong.complete and wrong.violating_classes.keys() == {"use-after-free"}


def test_tasks_may_be_many():
    assert hunt(subject(RECLAIM), {"tasks": 100}, runs=50).results[0].violations == {}
    assert hunt(subject(RECLAIM), {"tasks": 100, "waits": False}, runs=50).results[0].violations.keys() == {
        "use-after-free"
    }
