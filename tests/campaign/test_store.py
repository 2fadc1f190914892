"""The store: what a full disk, a wrong file, a newer program, a flipped bit or a hostile hand cannot do to it."""

import hashlib
import json
import os
import random
import resource
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest
from campaign_tools import SMALL, one_line, run, totals, write

from anonvma_rt import UserError

pytest.importorskip("anonvma_rt.stress.campaign.run", reason="not installed, only built in place")

from anonvma_rt.stress.campaign.database import TABLES, VERSION, seal
from anonvma_rt.stress.campaign.file import read_campaign
from anonvma_rt.stress.campaign.store import Store, StoreError, Survey
from anonvma_rt.stress.campaign.totals import Done
from anonvma_rt.stress.report.report import make_report


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished store, in one file."""
    folder = tmp_path_factory.mktemp("whole")
    run("run", write(folder / "small.toml"), "--store", folder / "whole.db", "--jobs", "1")
    assert not (folder / "whole.db-wal").exists()
    return folder / "whole.db"


@pytest.fixture
def copy(whole, tmp_path):
    return Path(shutil.copy(whole, tmp_path / "copy.db"))


def change(db, *statements):
    database = sqlite3.connect(db, isolation_level=None)
    for statement in statements:
        database.execute(statement)
    database.close()


def empty_store(tmp_path):
    return Store.create(str(tmp_path / "empty.db"), read_campaign(SMALL, "small.toml"))


def large_campaign(folder):
    """One whose store becomes larger than a hundred kilobytes."""
    return write(folder / "large.toml", SMALL.replace("executions = 600", "executions = 6000"))


def test_a_full_disk_is_one_line_and_what_was_stored_stays(tmp_path, whole):
    campaign, db = large_campaign(tmp_path), tmp_path / "full.db"

    def no_file_above_200_kilobytes():
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    said = one_line("run", campaign, "--store", db, "--jobs", "2", preexec_fn=no_file_above_200_kilobytes)
    assert "disk" in said
    database = sqlite3.connect(db)
    assert database.execute("pragma integrity_check").fetchone() == ("ok",)
    assert 0 < database.execute("select count(*) from range").fetchone()[0] < 480
    database.close()
    run("resume", db)
    run("run", campaign, "--store", tmp_path / "alone.db")
    assert totals(db) == totals(tmp_path / "alone.db")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system: needs root")
def test_a_small_file_system_fills_and_the_store_on_it_stays_whole(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "none", small], capture_output=True).returncode:
        pytest.skip("cannot mount here")
    try:
        said = one_line("run", large_campaign(tmp_path), "--store", small / "full.db", "--jobs", "1", env=os.environ)
        assert "the disk is full" in said
        out, _ = run("status", small / "full.db")
        assert "nobody runs it" in out
        assert any(cell["executions"] for cell in totals(small / "full.db"))
        # Room is made, and it goes on.
        subprocess.run(["mount", "-o", "remount,size=30m", small], check=True)
        run("resume", small / "full.db")
    finally:
        subprocess.run(["umount", small], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system read-only: needs root")
def test_a_read_only_store_can_be_reported_and_not_run(whole, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "none", place], capture_output=True).returncode:
        pytest.skip("cannot mount here")
    try:
        shutil.copy(whole, place / "store.db")
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        assert totals(place / "store.db") == totals(whole)
        assert "it is read-only" in one_line("resume", place / "store.db")
        assert "read-only" in one_line("run", write(tmp_path / "c.toml"), "--store", place / "store.db")
        assert "read-only" in one_line("run", write(tmp_path / "c.toml"), "--store", place / "new.db")
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_store_that_may_not_be_written_is_one_line(copy):
    copy.chmod(0o444)
    before = copy.read_bytes()
    assert "it is read-only" in one_line("resume", copy)
    assert copy.read_bytes() == before and totals(copy)


@pytest.mark.parametrize(("version", "age"), [(VERSION + 1, "a newer"), (VERSION - 1, "an older")])
def test_a_store_of_another_version_is_refused_and_stays_as_it_is(copy, version, age):
    change(copy, f"pragma user_version = {version}")
    before = copy.read_bytes()
    for verb in ("resume", "status", "report"):
        assert f"written by {age} anonvma_rt (format {version}" in one_line(verb, copy)
    assert copy.read_bytes() == before


def test_a_campaign_of_another_version_of_the_lab_is_not_continued(copy):
    change(copy, "update campaign set made_by = '9.9'", "update cell set ended = null where number = 0")
    assert "was begun by anonvma_rt 9.9" in one_line("resume", copy)
    run("report", copy, "--json")


@pytest.mark.parametrize(
    "content",
    [b"", b"not a database, but long enough to be read as the header of one" * 40, b"SQLite format 3\0" + bytes(4080)],
    ids=["empty", "text", "header only"],
)
def test_a_file_that_is_no_store_is_one_line(tmp_path, content):
    db = tmp_path / "x.db"
    db.write_bytes(content)
    for verb in ("resume", "report"):
        one_line(verb, db)
    assert db.read_bytes() == content


def test_a_database_of_somebody_else_is_left_alone(tmp_path):
    db = tmp_path / "theirs.db"
    change(db, "create table theirs (x)", "insert into theirs values (1)")
    before = db.read_bytes()
    assert "not a campaign's store" in one_line("run", write(tmp_path / "c.toml"), "--store", db)
    assert "not a campaign's store" in one_line("report", db)
    assert db.read_bytes() == before


def test_a_store_of_another_campaign_is_refused(copy, tmp_path):
    other = write(tmp_path / "other.toml", SMALL.replace("range = 100", "range = 200"))
    assert "holds another campaign" in one_line("run", other, "--store", copy)


@pytest.mark.parametrize("where", ["nowhere.db", "no/such/folder/x.db", "postgresql://localhost/x", "file:///", "a\0b"])
def test_places_where_no_store_can_be(tmp_path, where):
    with pytest.raises(StoreError):
        Store.open(where if ":" in where or "\0" in where else str(tmp_path / where))


def test_a_store_has_an_url_too(copy):
    for where in (f"file://{copy}", f"sqlite:///{copy}", f"file:{copy}"):
        assert totals(where) == totals(copy)


def test_a_truncated_store_is_one_line_and_nothing_is_changed(copy):
    copy.write_bytes(copy.read_bytes()[: copy.stat().st_size * 2 // 3])
    before = copy.read_bytes()
    assert "damaged" in one_line("resume", copy)
    one_line("report", copy)
    assert copy.read_bytes() == before


def test_a_flipped_bit_never_changes_a_total_unnoticed(whole, tmp_path):
    content, rng = bytearray(whole.read_bytes()), random.Random(3)
    right = totals(whole)
    noticed = 0
    for number in range(60):
        damaged = bytearray(content)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        db = tmp_path / f"{number}.db"
        db.write_bytes(damaged)
        try:
            with Store.open(str(db)) as store:
                cells = [row.as_dict() for row in make_report(store).rows]
        except UserError as error:
            assert "\n" not in str(error)
            noticed += 1
            continue
        for cell in cells:
            del cell["seconds"]
        assert json.loads(json.dumps(cells)) == right
    assert noticed > 10


def test_a_row_that_was_edited_is_noticed(copy):
    change(copy, "update range set payload = replace(payload, '\"executions\": 100', '\"executions\": 999')")
    assert "range 0 of cell 0: the file is damaged" in one_line("report", copy)


def test_a_store_with_triggers_is_not_run(copy):
    change(copy, "create trigger t after insert on range begin delete from campaign; end")
    assert "triggers" in one_line("resume", copy)


def test_names_in_a_store_do_not_leave_the_folder_for_reproducers(copy, tmp_path):
    """A hostile store: its reproducers are whole, but one says that its index is a path."""
    database = sqlite3.connect(copy, isolation_level=None)
    cell, number, text = database.execute(
        "select cell, number, payload from range where payload like '%anonvma-rt reproducer%' limit 1"
    ).fetchone()
    payload = json.loads(text)
    body = json.loads(payload["reproducer"])
    del body["sha256"]
    body["found_by"]["index"] = "/../../../escaped"
    body["sha256"] = hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    payload["reproducer"] = json.dumps(body)
    text = json.dumps(payload)
    database.execute(
        "update range set payload = ?, seal = ? where cell = ? and number = ?",
        (text, seal(cell, number, Done.state, text), cell, number),
    )
    database.close()
    said = one_line("reproducers", copy, "--out", tmp_path / "a" / "b" / "c")
    assert "found_by: index: must be a whole number" in said
    assert not list(tmp_path.glob("escaped*")) and not list(tmp_path.parent.glob("escaped*"))


def test_results_are_idempotent_and_a_different_one_is_an_error(tmp_path):
    with empty_store(tmp_path) as store:
        sums = {"executions": 100, "benign_misses": 0, "points": 1, "switches": 1, "seconds": 0.5}
        one = Done({**sums, "violations": {}, "first": None, "schedules_sha256": "aa" * 32}, [], None)
        for _ in range(2):
            with store.transaction():
                store.finish(0, 0, one)
        assert Survey().look(store)[0][2:4] == (1, 100)
        other = Done({**one.result, "schedules_sha256": "bb" * 32}, [], None)
        with pytest.raises(StoreError, match="came out differently"), store.transaction():
            store.finish(0, 0, other)
        assert [outcome for _, outcome in store.rows(0)] == [one]


def test_the_tables_are_strict(tmp_path):
    assert TABLES.count("create table") == TABLES.count("strict")
    with empty_store(tmp_path) as store, pytest.raises(StoreError), store.transaction():
        store.lease("zero", 0)
