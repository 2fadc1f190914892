"""The Perfetto trace: the rules of the trace event format, and that it says what happened."""

import gzip
import json
import time
from collections import defaultdict

import pytest
from show_tools import HANDFUL, found, sequential

from anonvma_rt.cli import main
from anonvma_rt.show.perfetto import perfetto_events, write_perfetto
from anonvma_rt.show.story import story_of

ALLOWED = {"M", "X", "i", "C", "s", "f"}


def check_format(trace):
    """What "Trace Event Format" demands of the kinds of events that are used."""
    events = trace["traceEvents"]
    named = {(e["pid"], e["tid"]) for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    processes = {e["pid"] for e in events if e["ph"] == "M" and e["name"] == "process_name"}
    stamps = [event["ts"] for event in events if event["ph"] != "M"]
    assert stamps == sorted(stamps)
    flows = defaultdict(list)
    slices = defaultdict(list)
    for event in events:
        assert event["ph"] in ALLOWED
        assert isinstance(event["pid"], int) and isinstance(event["tid"], int) and isinstance(event["name"], str)
        assert isinstance(event["ts"], int) and event["ts"] >= 0
        assert event["pid"] in processes
        if event["ph"] != "M":
            assert (event["pid"], event["tid"]) in named
        if event["ph"] == "X":
            assert isinstance(event["dur"], int) and event["dur"] >= 0
            slices[event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
        elif event["ph"] == "i":
            assert event["s"] in ("t", "p", "g")
        elif event["ph"] == "C":
            assert event["args"] and all(isinstance(value, int) for value in event["args"].values())
        elif event["ph"] in "sf":
            flows[event["id"]].append(event)
            assert event["ph"] == "s" or event["bp"] == "e"
    # Slices of one thread are nested or apart; each flow begins once and ends once, and begins first.
    for spans in slices.values():
        open_spans = []
        for first, last in sorted(spans, key=lambda span: (span[0], -span[1])):
            while open_spans and open_spans[-1] <= first:
                open_spans.pop()
            assert not open_spans or last <= open_spans[-1]
            open_spans.append(last)
    for ends in flows.values():
        assert [event["ph"] for event in ends] == ["s", "f"]
        assert ends[0]["ts"] <= ends[1]["ts"] and ends[0]["name"] == ends[1]["name"]
        assert all(any(first <= e["ts"] <= last for first, last in slices[e["tid"]]) for e in ends)


@pytest.mark.parametrize(("scenario", "algorithm"), HANDFUL)
def test_the_rules_of_the_format(scenario, algorithm, tmp_path):
    write_perfetto(story_of(found(scenario, algorithm)), tmp_path / "trace.json")
    check_format(json.loads((tmp_path / "trace.json").read_text()))


def test_tasks_locks_waits_points_counters_and_flows_are_those_of_the_execution():
    story = story_of(found("lkml-2011", "unpatched"))
    events = perfetto_events(story)
    slices = [event for event in events if event["ph"] == "X"]
    runs = [(event["ts"], event["ts"] + event["dur"] - 1) for event in slices if event["cat"] == "task"]
    assert runs == [(first, last) for _, first, last in story.schedule.runs()]
    assert sum(event["cat"] == "lock" for event in slices) == len(story.locks.holds)
    assert sum(event["cat"] == "wait" for event in slices) == len(story.locks.waits) > 0
    assert sum(event["ph"] == "s" for event in events) == len(story.locks.flows) > 0
    instants = [event["name"] for event in events if event["ph"] == "i"]
    assert "puts a migration entry at B+0" in instants and "stale-migration-entry" in instants
    counted = [event for event in events if event["ph"] == "C" and event["name"] == "entries"]
    # One entry is on its way through the whole move, and stays.
    assert counted[0]["args"]["migration"] == 0 and counted[-1]["args"]["migration"] == 1
    assert {event["args"]["migration"] for event in counted} == {0, 1}
    mapcounts = [e["args"]["mapcount"] for e in events if e["ph"] == "C" and e["name"] == "mapcount of page 9"]
    assert mapcounts == [1, 0]


def test_the_patched_algorithm_leaves_no_entry_behind():
    one = found("lkml-2011", "unpatched")
    counted = [e for e in perfetto_events(story_of(one, one.program().choose("moveto-tail"))) if e["ph"] == "C"]
    entries = [event["args"]["migration"] for event in counted if event["name"] == "entries"]
    assert max(entries) == 1 and entries[-1] == 0


def test_gz_is_compressed_and_the_same_bytes_each_time(tmp_path, capsys):
    path = str(found("lkml-2011", "unpatched").save(tmp_path / "one.json"))
    for name in ("a.json.gz", "b.json.gz", "c.json"):
        assert main(["show", path, "--perfetto", str(tmp_path / name)]) == 0
        assert f"wrote {tmp_path / name}" in capsys.readouterr().out
    assert (tmp_path / "a.json.gz").read_bytes() == (tmp_path / "b.json.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.json.gz").read_bytes()) == (tmp_path / "c.json").read_bytes()


@pytest.mark.parametrize("pages", [2000, pytest.param(66_000, marks=pytest.mark.long)])
def test_a_large_trace_is_exported_in_time(pages, tmp_path):
    story = story_of(sequential(pages))
    if pages == 66_000:
        assert len(story.trace.events) >= 200_000
    begun = time.process_time()
    write_perfetto(story, tmp_path / "large.json.gz")
    took = time.process_time() - begun
    # 3 s for 200 000 events; the tests' own load is in no process but ours.
    assert took < 3 * max(1, len(story.trace.events) / 200_000)
    with gzip.open(tmp_path / "large.json.gz") as file:
        check_format(json.load(file))
