"""The tables of a store, and the version of them.

SQLite keeps the version in its header (user_version), beside a number that says whose file it is (application_id).
"""

import hashlib
import json

__all__ = ["APPLICATION", "TABLES", "VERSION", "seal"]

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
    number integer primary key, spec text not null, ended text, seal text not null
) strict;
create table range (
    cell integer not null references cell, number integer not null,
    state text not null check (state in ('done', 'poisoned', 'failed')),
    executions integer not null, found integer not null, payload text not null,
    seal text not null,
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
