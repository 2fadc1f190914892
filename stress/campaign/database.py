"""The file of a store: where it is, its tables and their version, and SQLite's errors as one line of ours.

SQLite keeps the version in its header (user_version), beside a number that says whose file it is (application_id). A
file of another version, with triggers, or damaged, is refused before anything of it is used.
"""

import hashlib
import json
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote as url_quote

from anonvma_rt.errors import UserError, reason
from anonvma_rt.text.shape import ShapeError

__all__ = ["TABLES", "VERSION", "Database", "StoreError", "began", "lives", "seal"]

SILENCE = 120.0  # seconds without a heartbeat after which a runner of another host counts as dead
PATIENCE = 10.0  # seconds to wait for another process that has the file
_WHY = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_PERM: "permission denied",
    sqlite3.SQLITE_IOERR: "it cannot be read or written (is the disk full?)",
    sqlite3.SQLITE_NOTADB: "it is not a campaign's store",
    sqlite3.SQLITE_CORRUPT: "the file is damaged",
    sqlite3.SQLITE_BUSY: "another process has it locked",
    sqlite3.SQLITE_LOCKED: "another process has it locked",
    sqlite3.SQLITE_TOOBIG: "what is to be stored is too large",
}
LARGEST_ROW = 128 << 20  # bytes
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


class StoreError(UserError):
    """A store that cannot be opened, read or written; what was in it is still there."""


def _path_of(where: str) -> Path:
    """The file that a path or an URL names: results.db, file:///tmp/results.db, sqlite:///results.db."""
    scheme, colon, rest = where.partition(":")
    if colon and scheme in ("file", "sqlite"):
        if rest.startswith("//"):
            rest = rest.removeprefix("///") if scheme == "sqlite" else rest.removeprefix("//")
        if "?" in rest or "#" in rest:
            raise StoreError(f"{where}: options in the URL of a store are not supported")
        where = rest
    elif colon and rest.startswith("//"):
        raise StoreError(f"{where}: a store is a file on this machine: a path, file:///PATH or sqlite:///PATH")
    if not where or "\0" in where:
        raise StoreError(f"{where or 'the empty name'}: is no name of a file")
    path = Path(where)
    try:
        if path.is_dir() or (path.exists() and not path.is_file()):
            raise StoreError(f"{where}: is not a file")
        if not path.parent.is_dir():
            raise StoreError(f"{where}: the folder {path.parent} does not exist")
    except OSError as error:
        raise StoreError(f"{where}: cannot be opened: {reason(error)}") from None
    return path


def began(pid: int) -> int:
    """When a process of this host began, in ticks since it booted; 0 if there is none. A pid may come again."""
    try:
        with closing(open(f"/proc/{pid}/stat", encoding="ascii", errors="replace")) as file:
            return int(file.read().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


def lives(host: str, pid: int, since: int, heartbeat: float) -> bool:
    """Whether a runner is still there, as far as that can be known from here."""
    if host == socket.gethostname():
        return since != 0 and began(pid) == since
    return time.time() - heartbeat < SILENCE


def seal(*values: Any) -> str:
    """What tells later that a row is still the one that was written: SHA-256 over its key and content."""
    return hashlib.sha256(json.dumps(values, default=repr).encode()).hexdigest()


class Database:
    """An open file; a context manager. write: for the one who may. fill: gives new tables their content, and without it
    the file must be there."""

    def __init__(self, where: str, write: bool, fill: Callable[[], None] | None = None) -> None:
        self.where = where
        self.path = _path_of(where)
        if sqlite3.sqlite_version_info < (3, 37):
            raise StoreError(f"stores need SQLite 3.37 or newer, and this Python has {sqlite3.sqlite_version}")
        exists = self.path.exists()
        if not exists and fill is None:
            raise StoreError(f"{where}: there is no such store")
        writable = os.access(self.path.parent, os.W_OK) and (not exists or os.access(self.path, os.W_OK))
        if write and not writable:
            raise StoreError(f"{where}: {_WHY[sqlite3.SQLITE_READONLY]}, and whoever runs a campaign writes")
        with self._explained():
            self.database = self._connect("rwc" if fill is not None else "rw" if write else "ro")
        try:
            with self._explained():
                self._prepare(write, fill)
        except BaseException:
            self.database.close()
            raise

    def _connect(self, mode: str) -> sqlite3.Connection:
        uri = f"file:{url_quote(str(self.path))}?mode={mode}"
        if mode == "ro" and not os.access(self.path.parent, os.W_OK) and not Path(f"{self.path}-wal").exists():
            uri += "&immutable=1"  # SQLite cannot make the files in which readers of a log meet, and needs none
        database = sqlite3.connect(uri, uri=True, timeout=PATIENCE, isolation_level=None)
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_ROW)
        # Functions and triggers that somebody put into the file get no chance.
        database.execute("pragma trusted_schema = off")
        database.execute("pragma foreign_keys = on")
        return database

    def _prepare(self, write: bool, fill: Callable[[], None] | None) -> None:
        application, version = (self._number(f"pragma {name}") for name in ("application_id", "user_version"))
        if fill is not None and not self._number("select count(*) from sqlite_schema") and not version:
            self.database.execute("pragma journal_mode = wal")
            with self.transaction():
                for statement in filter(str.strip, TABLES.split(";")):
                    self.database.execute(statement)
                fill()
                self.database.execute(f"pragma application_id = {APPLICATION}")
                self.database.execute(f"pragma user_version = {VERSION}")
            application, version = APPLICATION, VERSION
        if not application and not version and not self._number("select count(*) from sqlite_schema"):
            raise StoreError(
                f"{self.where}: there is nothing in it yet: whoever began the campaign was ended while it made the "
                "store; `campaign run` with the campaign's file begins it again"
            )
        if application != APPLICATION:
            raise StoreError(f"{self.where}: {_WHY[sqlite3.SQLITE_NOTADB]}")
        if version != VERSION:
            age = "a newer" if version > VERSION else "an older"
            raise StoreError(f"{self.where}: written by {age} anonvma_rt (format {version}; this one reads {VERSION})")
        if write:
            self._check_whole()
        self.database.execute("pragma synchronous = normal")

    def _check_whole(self) -> None:
        (problem,) = self.database.execute("pragma quick_check(1)").fetchone()
        if problem != "ok":
            raise StoreError(f"{self.where}: the file is damaged ({problem}); `report` shows what can still be read")
        if self._number("select count(*) from sqlite_schema where type in ('trigger', 'view')"):
            raise StoreError(f"{self.where}: has triggers or views, which no store has")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of it or nothing."""
        with self._explained():
            self.database.execute("begin immediate")
            try:
                yield
                self.database.execute("commit")
            except BaseException:
                if self.database.in_transaction:
                    self.database.execute("rollback")
                raise

    def close(self) -> None:
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _number(self, query: str) -> int:
        return int(self.database.execute(query).fetchone()[0])

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """SQLite's errors as one line of ours."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", None)
            why = _WHY.get(code & 0xFF if code is not None else -1)
            raise StoreError(f"{self.where}: {why or 'the store cannot be used'} ({error})") from None

    @contextmanager
    def readable(self) -> Iterator[None]:
        """Content that is not what a store holds."""
        try:
            yield
        except ShapeError as error:
            raise StoreError(f"{error}: the file is damaged") from None
