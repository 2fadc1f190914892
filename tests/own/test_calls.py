"""Own subjects whose operations are compared with a specification, which is never left aside."""

import importlib

import pytest

from anonvma_rt import Reproducer, UserError, hunt, replay, subject, verify
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.strategy.random import Random

pytestmark = pytest.mark.usefixtures("own")


def test_what_takes_two_steps_is_found_and_what_takes_one_is_proved(tmp_path):
    right, wrong = hunt(subject("counted:Twice"), runs=300, out=tmp_path).results
    assert not right.violations and set(wrong.violations) == {"not-linearizable"}
    assert "No order of these operations gives these results in counted:Count" in wrong.trace.cause()
    replayed = replay(Reproducer.load(wrong.first.reproducer, [subject("counted:Twice")]), times=5)
    assert (replayed.reproduced, replayed.kind) == (5, "not-linearizable")
    right, wrong = verify(subject("counted:Twice")).results
    assert right.complete and right.classes == 4 and "compared with counted:Count" in right.announcements
    assert set(wrong.violating_classes) == {"not-linearizable"}


def test_nothing_that_was_called_is_no_proof():
    (one,) = verify(subject("counted:Silent")).results
    assert one.verdict.startswith("NOT PROVED") and "called no operation" in one.verdict


def test_a_specification_is_never_left_aside():
    counted = importlib.import_module("counted")
    with pytest.raises(ValueError, match="has a spec, and nobody who judges"):
        Explorer(counted.Twice(True), Random())
    with pytest.raises(UserError, match=r'counted:Nowhere: --spec "nowhere.py:Count": there is no file'):
        subject("counted:Nowhere")
