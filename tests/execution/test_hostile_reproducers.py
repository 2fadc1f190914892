"""Reproducers from a hostile hand, with checksums that are right again: one line, and never a traceback."""

import hashlib
import json
import time
from dataclasses import replace

import pytest
from resealed import changed, sealed

from anonvma_rt.cli import main
from anonvma_rt.errors import UserError
from anonvma_rt.execution import reproducer as module
from anonvma_rt.execution.reproducer import Reproducer, ReproducerError
from anonvma_rt.execution.schedule import Schedule
from anonvma_rt.search.hunt import hunt


@pytest.fixture(scope="module")
def body(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reproducers")
    return json.loads(open(hunt("lock-order", runs=200, out=folder).results[0].first.reproducer).read())


WRONG = [
    (("schedule",), "0x-5", '"0x-5" must be a task from 0 to 254 and a number from 1 to 2**31'),
    (("schedule",), "0x-1", '"0x-1" must be'),
    (("schedule",), f"0x{1 << 64}", "must be a task"),
    (("schedule",), "0x4294967295", "must be a task"),
    (("schedule",), "0x2147483648 1x2147483648", "must have at most 2**31 steps"),
    (("schedule",), "999x1", "must be a task"),
    (("schedule",), "0x0", "must be a task"),
    (("schedule",), "\u0660x1", "must be a task"),
    (("schedule",), None, "schedule: must be a string"),
    (("schedule",), [[0, 1]], "schedule: must be a string"),
    (("found_by", "seed"), "x", 'found_by: seed: must be a whole number from 0 to 2**64 - 1, not "x"'),
    (("found_by", "seed"), 1 << 64, "found_by: seed: must be"),
    (("found_by", "index"), -1, "found_by: index: must be"),
    (("found_by", "interesting"), "abc", "interesting: must be a list"),
    (("found_by",), ..., 'the key "found_by" is missing'),
    (("bound",), -1, "bound: must be a whole number from 1 to 2**31, not -1"),
    (("bound",), 1.5, "bound: must be"),
    (("bound",), True, "bound: must be"),
    (("scenario", "parameters"), None, "scenario: parameters: must be a table, not null"),
    (("scenario", "parameters"), {"x": 1.5}, "must be true, false or a whole number"),
    (("scenario", "parameters"), {"x": 1}, "unknown parameter"),
    (("scenario", "text"), 3, "scenario: text: must be a string"),
    (("scenario",), [], "scenario: must be a table"),
    (("algorithm",), {"variant": "nobody"}, 'unknown variant "nobody"'),
    (("algorithm",), {}, "unknown variant"),
    (("algorithm",), {"variant": []}, "algorithm"),
    (("violation", "kind"), "two\nlines", "violation: kind: must be one line"),
    (("violation", "kind"), "\x1b]0;x\x07", "violation: kind: must be one line"),
    (("violation", "cause"), 3, "violation: cause: must be a string"),
    (("violation",), "x", "violation: must be a table"),
    (("schedule_digest",), "zz", "16 hexadecimal digits"),
    (("trace_sha256",), "", "64 hexadecimal digits"),
    (("written_by",), 1, "written_by: must be a string"),
    (("written_by",), "x" * 1000, "written_by: must be one line"),
    (("shrunk_from",), {"steps": "x", "switches": 1, "parameters": {}, "schedule_digest": "0" * 16}, "steps"),
    (("shrunk_from",), {}, 'shrunk_from: the key "steps" is missing'),
    (("failed_allocations",), "0x", "failed_allocations"),
    (("failed_allocations",), "0x1", "allocates nothing that could fail"),
]  # fmt: skip


@pytest.mark.parametrize("verb", ["replay", "show", "shrink", "step"])
def test_each_is_refused_in_one_line_by_every_verb(verb, body, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    for path, value, says in WRONG:
        file = tmp_path / "hostile.json"
        file.write_text(sealed(changed(body, path, value)))
        assert main([verb, str(file)]) == 2, (path, value)
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and says in err and "hostile.json" in err, (path, value, err)


def test_what_a_later_version_adds_is_passed_over(body):
    more = body | {"more": [1], "found_by": body["found_by"] | {"more": 1}}
    assert Reproducer.from_bytes(sealed(more).encode(), "x").schedule == Schedule.read(body["schedule"])


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000, "[" * 988 + "]" * 988, '{"format": "anonvma-rt reproducer", "a": ' + '{"a":' * 500,
        "9" * 10_000, '{"a": ' + "9" * 5000 + "}", "[" + "0," * 20_000 + "0]", "[{},{}," * 9000, "NaN", "-Infinity",
        '"' + '\\"' * 100_000, '"' * 100_001, '"\\ud800"', "\\" * 1000, "", "\x00", "\ufeff{}", "{" * 40 + "}" * 40,
    ],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_no_text_takes_long_or_ends_in_a_traceback(text):
    began = time.perf_counter()
    with pytest.raises(ReproducerError):
        Reproducer.from_bytes(text.encode("utf-8", "surrogatepass"), "hostile.json")
    assert time.perf_counter() - began < 5


def test_a_file_that_is_too_large_is_not_even_read_whole(tmp_path):
    file = tmp_path / "large.json"
    with file.open("wb") as large:
        large.truncate(1 << 40)  # sparse
    with pytest.raises(ReproducerError, match="larger than 32 MiB, which is the most for a reproducer"):
        Reproducer.load(file)


def test_what_would_not_be_read_is_not_written(body, tmp_path, monkeypatch):
    reproducer = Reproducer.from_bytes(sealed(body).encode(), "x")
    monkeypatch.setattr(module, "MOST_SEGMENTS", 1)
    with pytest.raises(OSError, match="a reproducer has at most 1"):
        reproducer.save(tmp_path / "x.json")


def test_names_of_files_are_short_enough_for_any_folder(body):
    reproducer = Reproducer.from_bytes(sealed(changed(body, ("found_by", "index"), 5)).encode(), "x")
    assert reproducer.name() == "lock-order-ab-ba-0-5.json"
    long = [replace(reproducer.algorithm, name="x" * 400 + end) for end in "ab"]
    names = [replace(reproducer, algorithm=one).name() for one in long]
    assert len(set(names)) == 2 and all(len(name) == 200 and name.endswith(".json") for name in names)


def test_a_scenario_inside_that_cannot_be_read_is_one_line_too(body):
    for text in ("litmus = ", 'litmus = "x"', "subject = 3", 'name = "x"', "a" * 5000):
        inside = body["scenario"] | {"text": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}
        with pytest.raises(UserError) as raised:
            Reproducer.from_bytes(sealed(body | {"scenario": inside}).encode(), "x.json")
        assert "\n" not in str(raised.value)
