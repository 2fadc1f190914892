"""The reproducer file: it replays every time, alone, and refuses when it is no longer what was written."""

import hashlib
import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anonvma_rt.errors import UserError
from anonvma_rt.execution.reproducer import Reproducer, ReproducerError, replay
from anonvma_rt.search.hunt import hunt

RACES = [
    ("lkml-2011", {}, "unpatched"),
    ("lkml-2011", {"exact": "false"}, "unpatched"),
    ("merge", {"case": "3"}, "unpatched"),
    ("error-path", {"merged": "true"}, "moveto-tail-merge-only"),
    ("peek", {}, "peeking"),
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reproducers")
    result = hunt("merge", algorithms=["unpatched"], runs=2000, out=folder)
    return folder / result.results[0].first.reproducer


def rewritten(path, tmp_path, change):
    """The file after `change` edited its body, with a checksum that is right again."""
    body = json.loads(path.read_text())
    body.pop("sha256")
    change(body)
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    body["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    out = tmp_path / "edited.json"
    out.write_text(json.dumps(body))
    return out


@pytest.mark.parametrize(("scenario", "parameters", "algorithm"), RACES)
def test_every_race_replays_a_hundred_times_out_of_a_hundred(scenario, parameters, algorithm, tmp_path):
    result = hunt(scenario, parameters, [algorithm], runs=20_000, out=tmp_path).results[0]
    replayed = replay(Reproducer.load(result.first.reproducer), times=100)
    assert replayed.reproduced == 100
    assert replayed.same_trace
    assert replayed.kind == result.first.kind


def test_it_replays_in_a_fresh_process(saved):
    code = "import sys; from anonvma_rt.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "replay", str(saved), "--times", "100", "--json"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["reproduced"] == told["times"] == 100
    assert told["kind"] == "stale-migration-entry"
    assert told["steps"] > 50
    assert told["switches"] >= 1


def test_it_needs_neither_strategy_nor_seed(saved, tmp_path):
    other = rewritten(saved, tmp_path, lambda body: body["found_by"].update(strategy="random", seed=99, index=5))
    assert replay(Reproducer.load(other), times=3).reproduced == 3


def test_the_patched_algorithm_survives_the_schedule_of_the_violation(saved, tmp_path):
    patched = {"name": "moveto-tail", "ordering": "tail", "restore_peeks": False, "decode_in_zap": True,
               "single_ptl": False}  # fmt: skip
    other = rewritten(saved, tmp_path, lambda body: body.update(algorithm=patched))
    try:
        replayed = replay(Reproducer.load(other))
    except ReproducerError as error:
        assert "cannot be followed" in str(error)
    else:
        assert replayed.reproduced == 0


def test_saving_and_loading_gives_the_same_reproducer(saved, tmp_path):
    one = Reproducer.load(saved)
    assert Reproducer.load(one.save(tmp_path / "copy.json")) == one
    assert (tmp_path / "copy.json").read_text() == saved.read_text()


def test_until_stops_before_a_step_and_leaves_the_world_as_it_was_then(saved):
    reproducer = Reproducer.load(saved)
    early = replay(reproducer, until=30)
    assert early.steps == 29
    assert max(event.step for event in early.trace.events) < 30
    with pytest.raises(UserError, match="--until must be at least 1"):
        replay(reproducer, until=0)
    with pytest.raises(UserError, match="--times must be at least 1"):
        replay(reproducer, times=0)


def test_a_truncated_reproducer_is_refused_and_says_so(saved, tmp_path):
    text = saved.read_text()
    for length in (200, len(text) // 2, len(text) - 3):
        cut = tmp_path / "cut.json"
        cut.write_text(text[:length])
        with pytest.raises(ReproducerError, match="truncated"):
            Reproducer.load(cut)


def test_a_reproducer_of_another_format_version_is_refused_and_says_which(saved, tmp_path):
    other = rewritten(saved, tmp_path, lambda body: body.update(version=2))
    with pytest.raises(ReproducerError, match=r"format version 2.*reads version 1"):
        Reproducer.load(other)


def test_a_reproducer_whose_scenario_was_edited_is_refused_and_says_so(saved, tmp_path):
    def edit(body):
        body["scenario"]["text"] = body["scenario"]["text"].replace("default = 4", "default = 8", 1)

    with pytest.raises(ReproducerError, match="scenario inside was edited"):
        Reproducer.load(rewritten(saved, tmp_path, edit))


def test_any_other_edit_is_noticed(saved, tmp_path):
    edited = tmp_path / "edited.json"
    edited.write_text(saved.read_text().replace('"stale-migration-entry"', '"lost-page"', 1))
    with pytest.raises(ReproducerError, match="was edited after it was written"):
        Reproducer.load(edited)


def test_a_schedule_that_cannot_be_followed_is_an_error_and_not_a_verdict(saved, tmp_path):
    other = rewritten(saved, tmp_path, lambda body: body.update(schedule="7x5 0x5"))
    with pytest.raises(ReproducerError, match="cannot be followed"):
        replay(Reproducer.load(other))


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "\x00", '{"format": "something"}', "[" * 100_000])
def test_what_is_no_reproducer_is_refused(text, tmp_path):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(ReproducerError, match=r"not a reproducer|damaged"):
        Reproducer.load(path)
    with pytest.raises(ReproducerError, match="cannot be read"):
        Reproducer.load(tmp_path)


@settings(max_examples=200)
@given(data=st.data())
def test_no_damage_escapes_as_another_exception(saved, tmp_path_factory, data):
    raw = bytearray(saved.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.json"
    path.write_bytes(raw)
    try:
        loaded = Reproducer.load(path)
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert loaded == Reproducer.load(saved)
