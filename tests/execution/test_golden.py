"""Reproducers that version 0.1.0 wrote before its house was rebuilt, one of every kind of subject and of finding.

They are never written anew: a file that somebody has kept must replay, choice for choice and event for event. What is
named after `own-` holds code of the user's own, which tests compile.
"""

import importlib
import json
from pathlib import Path

import pytest

from anonvma_rt import Reproducer, UserError, replay, subject

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.json"))
KINDS = {"scenario": 12, "litmus": 4, "own": 2}
# Where they were found: without these words a kind of finding would have no file.
FOUND_BY = {"pct", "portfolio", "sticky", "surw", "random", "dpor", "hypothesis"}


def test_every_kind_of_subject_and_of_finding_has_one():
    bodies = [json.loads(path.read_text()) for path in GOLDEN]
    assert {kind: sum(path.name.startswith(kind) for path in GOLDEN) for kind in KINDS} == KINDS
    assert {body["found_by"]["strategy"].partition(":")[0] for body in bodies} >= FOUND_BY
    assert {"shrunk_from", "failed_allocations"} <= {key for body in bodies for key in body}


@pytest.mark.parametrize("path", [path for path in GOLDEN if not path.name.startswith("own-")], ids=lambda p: p.stem)
def test_an_old_reproducer_replays(path):
    check(Reproducer.load(path))


def test_an_old_reproducer_of_a_subject_of_the_users_own_replays(own):
    (path,) = (path for path in GOLDEN if path.name == "own-subject.json")
    with pytest.raises(UserError, match="--subject aba_stack:Stack"):
        Reproducer.load(path)
    check(Reproducer.load(path, [subject("aba_stack:Stack")]))


def test_an_old_reproducer_with_a_rule_of_the_users_own_replays(own):
    (path,) = (path for path in GOLDEN if path.name == "own-rule.json")
    check(Reproducer.load(path, [importlib.import_module("ordering_rule").SourceToTail()]))


def check(reproducer):
    replayed = replay(reproducer, times=10)
    replayed.explorer.close()
    assert (replayed.reproduced, replayed.kind, replayed.same_trace) == (10, reproducer.kind, True)
    assert (replayed.steps, replayed.switches) == (reproducer.steps, reproducer.switches)
