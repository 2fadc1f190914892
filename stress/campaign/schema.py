"""The tables of a store, each version of them, and how one becomes the next.

SQLite keeps the version in its header (user_version), beside a number that says whose file it is (application_id). A
migration runs within one transaction: a store is of the old version or of the new one, whenever the power fails.
"""

import hashlib
import json
import sqlite3
from collections.abc import Callable

__all__ = ["APPLICATION", "MIGRATIONS", "TABLES", "VERSION", "seal"]

APPLICATION = 0x41565254  # "AVRT"
VERSION = 2
TABLES = """
create table campaign (
    id integer primary key check (id = 1),
    name text not null, about text not null, source text not null, text text not null, asked text not null,
    made_by text not null, created real not null
) strict;
create table scenario (sha256 text primary key, source text not null, text text not null) strict, without rowid;
create table cell (
    number integer primary key, spec text not null, ended text, seal text not null default ''
) strict;
create table range (
    cell integer not null references cell, number integer not null,
    state text not null check (state in ('done', 'poisoned', 'failed')),
    executions integer not null, found integer not null, payload text not null,
    seal text not null default '',
    primary key (cell, number)
) strict, without rowid;
create table lease (
    cell integer not null references cell, number integer not null,
    owner text, since real not null, tries integer not null, why text,
    primary key (cell, number)
) strict, without rowid;
create table runner (
    id integer primary key check (id = 1), host text not null, pid integer not null, began integer not null,
    heartbeat real not null
) strict;
"""


def seal(*values: int | str) -> str:
    """What tells later that a row is still the one that was written: SHA-256 over its key and content."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _runner_and_seals(database: sqlite3.Connection) -> None:
    """1 to 2: rows got seals, and the runner a row of its own, so that a second one is refused."""
    database.execute(
        "create table runner (id integer primary key check (id = 1), host text not null, pid integer not null,"
        " began integer not null, heartbeat real not null) strict"
    )
    database.create_function("seal", -1, seal, deterministic=True)
    for table in ("cell", "range"):
        database.execute(f"alter table {table} add column seal text not null default ''")
    database.execute("update cell set seal = seal(number, spec)")
    database.execute("update range set seal = seal(cell, number, state, payload)")


# MIGRATIONS[v] makes version v + 1 of version v.
MIGRATIONS: dict[int, Callable[[sqlite3.Connection], None]] = {1: _runner_and_seals}
