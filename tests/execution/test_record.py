"""Whoever finds a violation, the same is kept of it: the failed allocations and the interesting operations, too."""

import pytest

from anonvma_rt import Reproducer, Scenario, hunt, replay, verify
from anonvma_rt.execution.folder import Folder
from anonvma_rt.hypothesis import Schedule, execute

# Under it the fourth allocation of the move, which fails in the first execution, is the one that loses a pte.
PREFERENCES = Schedule(((0, 13), (1, 26), (0, 11), (1, 16), (0, 1), (1, 7), (0, 10), (1, 10), (0, 8)))


def test_what_hypothesis_found_keeps_the_allocations_that_failed():
    """Else every further execution of the replay would draw other ones."""
    text = Scenario.load("tables-run-out").text.replace("0.3:table", "0.05:table")
    found = execute(Scenario.from_text(text), "unpatched", PREFERENCES).reproducer
    assert found.failures == [(0, 4)] and found.kind == "stale-migration-entry"
    replayed = replay(found, times=20)
    replayed.explorer.close()
    assert (replayed.reproduced, replayed.same_trace) == (20, True)


@pytest.mark.parametrize("found_by", [hunt, verify])
def test_every_search_says_which_operations_were_interesting(found_by, tmp_path):
    result = found_by("merge", algorithms=["unpatched"], out=tmp_path).results[0]
    assert Reproducer.load(result.first.reproducer).interesting == ("migrating-ptl",)
    assert result.reproducer.interesting == result.reproducer.program().interesting == ("migrating-ptl",)


def test_a_folder_says_where_a_reproducer_is_or_why_not(tmp_path):
    one = hunt("merge", runs=500).results[0].reproducer
    with Folder(tmp_path / "made") as folder:
        path, why_not = folder.keep(one, "one.json")
        assert why_not is None and Reproducer.load(path) == one
        assert folder.keep(one, "no/folder.json").path is None
        assert "no/folder.json could not be saved: " in folder.keep(one, "no/folder.json").why_not
    with Folder(tmp_path / "for nothing"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert Folder(None).keep(one) == (None, None)
