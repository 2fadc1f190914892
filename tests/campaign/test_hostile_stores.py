"""Stores from a hostile hand, with seals that are right again: one line from every action, and never a wrong total."""

import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from campaign_tools import one_line, run, totals, write
from resealed import changed

pytest.importorskip("anonvma_rt.stress.campaign.run", reason="not installed, only built in place")

from anonvma_rt.stress.campaign.database import APPLICATION, VERSION, seal

READERS = ("status", "report", "resume")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    run("run", write(folder / "small.toml"), "--store", folder / "whole.db", "--jobs", "1")
    return folder / "whole.db"


@pytest.fixture
def copy(whole, tmp_path):
    return Path(shutil.copy(whole, tmp_path / "copy.db"))


def change(db, statement, *values):
    database = sqlite3.connect(db, isolation_level=None)
    database.execute(statement, values)
    database.close()


def change_cell(db, path, value):
    database = sqlite3.connect(db)
    (spec,) = database.execute("select spec from cell where number = 0").fetchone()
    database.close()
    spec = json.dumps(changed(json.loads(spec), path, value))
    change(db, "update cell set spec = ?, seal = ? where number = 0", spec, seal(0, spec))


def change_range(db, path, value):
    database = sqlite3.connect(db)
    (text,) = database.execute("select payload from range where cell = 0 and number = 0").fetchone()
    database.close()
    text = json.dumps(changed(json.loads(text), path, value))
    sealed = seal(0, 0, "done", text)
    change(db, "update range set payload = ?, seal = ? where cell = 0 and number = 0", text, sealed)


def refused(db, says):
    for action in READERS:
        said = one_line(action, db)
        assert says in said and "damaged" in said and str(db) in said, said


CELLS = [
    (("seed",), "<script>alert(1)</script>", "cell 0: seed: must be a whole number"),
    (("seed",), 1 << 64, "seed: must be"),
    (("scenario",), "\x1b]0;x\x07", "scenario: must be one line"),
    (("parameters",), None, "parameters: must be a table"),
    (("executions",), 0, "executions: must be"),
    (("range_size",), 0, "range_size: must be"),
    (("range_size",), 1.5, "range_size: must be"),
    (("timeout",), -1, "timeout: must be"),
    (("stop",), "never", "unknown stop"),
    (("carrier",), "parallel", "unknown carrier"),
    (("judged",), 1, "judged: must be true or false"),
    (("expected",), [], "expected: must have 1 to"),
    (("algorithm",), ..., 'the key "algorithm" is missing'),
    (("more",), 1, 'unknown key "more"'),
]


@pytest.mark.parametrize(("path", "value", "says"), CELLS, ids=lambda one: str(one)[:30])
def test_a_cell_that_no_campaign_has_is_refused_by_all_who_read_it(path, value, says, copy):
    change_cell(copy, path, value)
    refused(copy, says)


RANGES = [
    (("result",), None, "result: must be a table"),
    (("result", "executions"), "100", "executions: must be a whole number"),
    (("result", "executions"), -100, "executions: must be a whole number"),
    (("result", "violations"), {"x": 1000}, "more violate than were executed"),
    (("result", "violations"), [1], "violations: must be a table"),
    (("result", "schedules_sha256"), "zz", "hexadecimal digits"),
    (("result", "seconds"), "x", "seconds: must be a number"),
    (("result", "first"), {"index": "x", "kind": "y"}, "index: must be"),
    (("result", "first"), {"index": 1, "kind": "<b>\n"}, "kind: must be one line"),
    (("result", "classes"), {"observed": 1}, "is missing"),
    (("indices",), [-1], "indices: must be a list of whole numbers"),
    (("indices",), [1] * 1001, "at most 1000 entries"),
    (("reproducer",), 5, "reproducer: must be a string"),
    (("result", "points"), ..., 'the key "points" is missing'),
]


@pytest.mark.parametrize(("path", "value", "says"), RANGES, ids=lambda one: str(one)[:30])
def test_a_range_that_no_hunt_makes_is_refused_by_all_who_read_it(path, value, says, copy):
    change_range(copy, path, value)
    refused(copy, says)


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("name", "\x1b]0;owned\x07", "name: must be one line"),
        ("about", "a\nb", "about: must be one line"),
        ("created", 1e18, "created: must be a number"),
        ("created", -1.0, "created: must be a number"),
        ("asked", "{}", "must be a list"),
        ("asked", "[" * 988 + "]" * 988, "nested more than"),
        ("made_by", "", "made_by: must be one line"),
    ],
)
def test_a_campaign_that_nobody_wrote_is_refused(column, value, says, copy):
    change(copy, f"update campaign set {column} = ?", value)
    refused(copy, says)


def test_a_scenario_that_is_missing_or_another_is_one_line(copy):
    change(copy, "delete from cell where number > 0")
    change(copy, "delete from range where number > 2")
    change(copy, "update cell set ended = null")
    change(copy, "update scenario set text = text || ' '")
    assert "the text is another" in one_line("resume", copy)
    change(copy, "delete from scenario")
    assert "the scenario of cell 0 is missing" in one_line("resume", copy)


def test_a_range_that_is_missing_is_seen_by_status_and_done_by_resume(copy, whole):
    """Before, report said "resume", resume did nothing, and status said "complete"."""
    change(copy, "delete from range where cell = 1 and number = 2")
    out, _ = run("status", copy)
    assert "7 of 8 cells ended, 47 ranges" in out and "nobody runs it" in out
    out, _ = run("report", copy, expect=1)
    assert "not finished: resume the campaign" in out
    run("resume", copy)
    assert totals(copy) == totals(whole)
    assert "8 of 8 cells ended, 48 ranges" in run("status", copy)[0]


@pytest.mark.parametrize("statement", [
    "update range set payload = replace(payload, '\"executions\": 100', '\"executions\": 999') where number = 3",
    "update range set number = 77 where cell = 2 and number = 5",
    "update range set state = 'failed' where cell = 0 and number = 0",
    "update cell set seal = 'x' where number = 3",
])  # fmt: skip
def test_status_refuses_what_report_refuses(statement, copy):
    change(copy, statement)
    assert one_line("status", copy) == one_line("report", copy)


def test_numbers_beside_a_range_do_not_count(copy, whole):
    """What status says comes from the sealed content, as in a report."""
    before = run("status", whole, "--json")[0]
    change(copy, "update range set executions = 1000000, found = 1000")
    assert run("status", copy, "--json")[0] == before


@pytest.mark.parametrize("content", ["empty", "a log without tables"])
def test_a_store_whose_maker_was_killed_says_how_it_is_begun_again(content, tmp_path, whole):
    db = tmp_path / "begun.db"
    db.touch()
    if content != "empty":
        change(db, "pragma journal_mode = wal")
    for action in READERS:
        assert "`campaign run` with the campaign's file begins it again" in one_line(action, db)
    run("run", write(tmp_path / "small.toml"), "--store", db, "--jobs", "1")
    assert totals(db) == totals(whole)


def test_a_database_with_our_number_and_nothing_else_is_one_line(tmp_path):
    db = tmp_path / "bare.db"
    change(db, f"pragma application_id = {APPLICATION}")
    change(db, f"pragma user_version = {VERSION}")
    for action in READERS:
        one_line(action, db)


def test_a_runner_that_no_process_is(copy):
    change(copy, "insert into runner values (1, ?, 5, -3, 0.0)", "host")
    assert "the runner" in one_line("status", copy)


def test_a_name_with_escapes_reaches_no_terminal(whole, tmp_path):
    """Not even that of the file itself."""
    db = Path(shutil.copy(whole, tmp_path / "a\x1b]0;x\x07.db"))
    change(db, "update campaign set made_by = '9.9.9'")
    out, err = run("resume", db, expect=2)
    assert "\x1b" not in out + err and "\\x1b]0;x\\x07" in err
    assert os.path.exists(db)
