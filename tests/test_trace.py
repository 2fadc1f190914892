"""The history of a failing execution: the cause in one sentence, and a table that shows it."""

import pytest

from anonvma_rt.hunt import hunt
from anonvma_rt.reproducer import Reproducer, replay


def history(scenario, parameters, algorithm, where):
    first = hunt(scenario, parameters, [algorithm], runs=20_000, out=where).results[0].first
    return replay(Reproducer.load(first.reproducer)).trace


def test_the_cause_of_a_wrong_order_names_both_places_and_both_tasks(tmp_path):
    # Case 3: the walk and the merge exclude each other, so the walk looks at both places.
    trace = history("merge", {"case": "3", "pages": "2"}, "unpatched", tmp_path)
    cause = trace.cause()
    assert "migrate looked at A" in cause
    assert "before mremap had moved the entry there, then looked at B+0 after it had left for A" in cause
    assert "which stays at A" in cause and "for ever" in cause


def test_the_cause_on_the_error_path_is_a_move_there_and_back(tmp_path):
    cause = history("error-path", {}, "moveto-tail-merge-only", tmp_path).cause()
    # The entry was at A or had gone to B when the page was unmapped; either way it comes back to A behind the walk.
    assert "looked at A+0 after it had left for B+0" in cause or "looked at A+0 before mremap had moved" in cause
    assert "then looked at B+0 after it had left for A+0" in cause
    assert "stays at A+0" in cause


def test_the_cause_of_a_peek_is_an_entry_in_flight(tmp_path):
    cause = history("peek", {}, "peeking", tmp_path).cause()
    assert "looked at A+0 when mremap had taken it out and not yet put it anywhere" in cause


def test_a_reproducer_carries_the_cause(tmp_path):
    first = hunt("merge", algorithms=["unpatched"], runs=2000, out=tmp_path).results[0].first
    reproducer = Reproducer.load(first.reproducer)
    assert reproducer.cause == replay(reproducer).trace.cause()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_table_has_a_column_per_task_and_every_step_in_order(width, tmp_path):
    trace = history("merge", {}, "unpatched", tmp_path)
    lines = trace.table(width).splitlines()
    assert "mremap" in lines[0] and "migrate" in lines[0]
    second = lines[0].index("migrate")
    steps = [int(line[:7]) for line in lines[1:] if line[:7].strip()]
    assert steps == sorted(steps)
    columns = {bool(line[9:second].strip()) for line in lines[1:]}
    assert columns == {True, False}
    text = " ".join(" ".join(lines).split())
    for happening in ("restore walk for page", "merges into A", "out of B+0", "puts it at A"):
        assert happening in text.replace("  ", " ") or width == 40


def test_the_full_table_shows_every_point(tmp_path):
    trace = history("merge", {}, "unpatched", tmp_path)
    points = sum(not event.is_note for event in trace.events)
    assert len(list(trace.rows(full=True))) >= points
    assert len(list(trace.rows())) < points
    text = trace.table(full=True)
    for name in ("mmap_sem", "ptl of 0x", "the pte of 0x", "mapcount of page", "vm_end of A", "the root's mutex"):
        assert name in text


def test_points_and_notes_come_in_the_order_in_which_they_happened(tmp_path):
    trace = history("merge", {}, "unpatched", tmp_path)
    steps = [event.step for event in trace.events]
    assert steps == sorted(steps)
    points = [event.step for event in trace.events if not event.is_note]
    assert points == list(range(1, len(points) + 1))
