"""The store of a campaign: one SQLite file that a kill, a full disk or a newer program leaves intact.

One process writes (the row `runner` says which), any number may read. A range is finished by one transaction, keyed by
(cell, range), so it is there once or not at all. Whatever is read back was sealed when it was written; nothing in a
store is ever executed.
"""

import hashlib
import json
import os
import socket
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote as url_quote

from anonvma_rt import __version__
from anonvma_rt.errors import quote
from anonvma_rt.stress.campaign.cell import DONE, Cell, Totals
from anonvma_rt.stress.campaign.file import Plan
from anonvma_rt.stress.campaign.place import StoreError, began, lives, path_of
from anonvma_rt.stress.campaign.schema import APPLICATION, TABLES, VERSION, seal

__all__ = ["Campaign", "Store", "StoreError"]

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


@dataclass(frozen=True)
class Campaign:
    """What a store says of its campaign: the file's text, and the version that began it."""

    name: str
    about: str
    source: str
    text: str
    asked: tuple[str, ...]
    made_by: str
    created: float


class Store:
    """An open store. Made by create() or open(); a context manager.

    write: for the one runner. Readers never change anything.
    """

    def __init__(self, where: str, write: bool, make: Plan | None = None) -> None:
        self.where = where
        self.path = path_of(where)
        if sqlite3.sqlite_version_info < (3, 37):
            raise StoreError(f"stores need SQLite 3.37 or newer, and this Python has {sqlite3.sqlite_version}")
        exists = self.path.exists()
        if not exists and make is None:
            raise StoreError(f"{where}: there is no such store")
        writable = os.access(self.path.parent, os.W_OK) and (not exists or os.access(self.path, os.W_OK))
        if write and not writable:
            raise StoreError(f"{where}: {_WHY[sqlite3.SQLITE_READONLY]}, and whoever runs a campaign writes")
        with self._explained():
            self.database = self._connect("rwc" if make is not None else "rw" if write else "ro")
        try:
            with self._explained():
                self._prepare(write, make)
        except BaseException:
            self.database.close()
            raise

    @classmethod
    def create(cls, where: str, plan: Plan) -> "Store":
        """A store for `plan`, or the one that is there if it is of the same campaign. Raises StoreError."""
        store = cls(where, write=True, make=plan)
        if (store.campaign.text, store.campaign.asked) != (plan.text, plan.asked):
            store.close()
            raise StoreError(
                f"{where}: holds another campaign ({quote(store.campaign.name)}, or an older text of it): choose "
                "another file, or go on with `campaign resume`"
            )
        return store

    @classmethod
    def open(cls, where: str, write: bool = False) -> "Store":
        """The store in a file. Raises StoreError."""
        return cls(where, write)

    def _connect(self, mode: str) -> sqlite3.Connection:
        uri = f"file:{url_quote(str(self.path))}?mode={mode}"
        if mode == "ro" and not os.access(self.path.parent, os.W_OK) and not Path(f"{self.path}-wal").exists():
            uri += "&immutable=1"  # SQLite cannot make the files in which readers of a log meet, and needs none
        database = sqlite3.connect(uri, uri=True, timeout=PATIENCE, isolation_level=None)
        # Functions and triggers that somebody put into the file get no chance.
        database.execute("pragma trusted_schema = off")
        database.execute("pragma foreign_keys = on")
        return database

    def _prepare(self, write: bool, make: Plan | None) -> None:
        application, version = (self._number(f"pragma {name}") for name in ("application_id", "user_version"))
        if make is not None and not self._number("select count(*) from sqlite_schema") and not version:
            self.database.execute("pragma journal_mode = wal")
            self._make(make)
            application, version = APPLICATION, VERSION
        if application != APPLICATION:
            raise StoreError(f"{self.where}: {_WHY[sqlite3.SQLITE_NOTADB]}")
        if version != VERSION:
            age = "a newer" if version > VERSION else "an older"
            raise StoreError(f"{self.where}: written by {age} anonvma_rt (format {version}; this one reads {VERSION})")
        if write:
            self._check_whole()
        self.database.execute("pragma synchronous = normal")
        self.campaign = self._campaign()

    def _check_whole(self) -> None:
        (problem,) = self.database.execute("pragma quick_check(1)").fetchone()
        if problem != "ok":
            raise StoreError(f"{self.where}: the file is damaged ({problem}); `report` shows what can still be read")
        if self._number("select count(*) from sqlite_schema where type in ('trigger', 'view')"):
            raise StoreError(f"{self.where}: has triggers or views, which no store has")

    def _make(self, plan: Plan) -> None:
        specs = [(cell.number, json.dumps(cell.as_dict())) for cell in plan.cells]
        with self.transaction():
            for statement in filter(str.strip, TABLES.split(";")):
                self.database.execute(statement)
            self.database.execute(
                "insert into campaign values (1, ?, ?, ?, ?, ?, ?, ?)",
                (plan.name, plan.about, plan.source, plan.text, json.dumps(plan.asked), __version__, time.time()),
            )
            self.database.executemany(
                "insert into scenario values (?, ?, ?)", [(sha, *found) for sha, found in plan.texts.items()]
            )
            self.database.executemany(
                "insert into cell values (?, ?, null, ?)",
                [(number, spec, seal(number, spec)) for number, spec in specs],
            )
            self.database.execute(f"pragma application_id = {APPLICATION}")
            self.database.execute(f"pragma user_version = {VERSION}")

    # What is in it.

    def _campaign(self) -> Campaign:
        row = self.database.execute(
            "select name, about, source, text, asked, made_by, created from campaign"
        ).fetchone()
        if row is None:
            raise StoreError(f"{self.where}: {_WHY[sqlite3.SQLITE_CORRUPT]} (it names no campaign)")
        name, about, source, text, asked, made_by, created = row
        with self.readable("the campaign"):
            return Campaign(name, about, source, text, tuple(map(str, json.loads(asked))), made_by, created)

    def cells(self) -> list[Cell]:
        with self._explained(), self.readable("the cells"):
            rows = self.database.execute("select number, spec, seal from cell order by number").fetchall()
            cells = []
            for number, spec, sealed in rows:
                if seal(number, spec) != sealed:
                    raise StoreError(f"{self.where}: the file is damaged (cell {number})")
                cells.append(Cell(**(json.loads(spec) | {"number": number})))
            return cells

    def texts(self) -> dict[str, tuple[str, str]]:
        """(source, text) of each scenario by its sha256."""
        with self._explained():
            rows = self.database.execute("select sha256, source, text from scenario").fetchall()
        for sha, source, text in rows:
            if hashlib.sha256(text.encode()).hexdigest() != sha:
                raise StoreError(f"{self.where}: the file is damaged (the text of {source})")
        return {sha: (source, text) for sha, source, text in rows}

    def endings(self) -> dict[int, str]:
        """The cells that have ended, and why."""
        with self._explained():
            return dict(self.database.execute("select number, ended from cell where ended is not null"))

    def rows(self, cell: int) -> Iterator[tuple[int, str, dict[str, Any]]]:
        """(number, state, payload) of each range of a cell that is finished, in order."""
        with self._explained():
            rows = self.database.execute(
                "select number, state, payload, seal from range where cell = ? order by number", (cell,)
            )
            for number, state, payload, sealed in rows:
                if seal(cell, number, state, payload) != sealed:
                    raise StoreError(f"{self.where}: the file is damaged (range {number} of cell {cell})")
                with self.readable(f"range {number} of cell {cell}"):
                    yield number, state, json.loads(payload)

    def totals(self, cell: Cell) -> Totals:
        """What the finished ranges of a cell add up to, as far as they follow each other without a gap."""
        totals = Totals(cell)
        for number, state, payload in self.rows(cell.number):
            if number != totals.ranges or totals.ended:
                break
            with self.readable(f"range {number} of cell {cell.number}"):
                totals.add(state, payload)
        return totals

    def progress(self) -> list[tuple[int, str | None, int, int, int]]:
        """(cell, ended, finished ranges, executions, violations) of each cell, without reading what was found."""
        with self._explained():
            return self.database.execute(
                "select cell.number, ended, count(range.number), coalesce(sum(executions), 0), coalesce(sum(found), 0)"
                " from cell left join range on range.cell = cell.number group by cell.number order by cell.number"
            ).fetchall()

    def runner(self) -> tuple[str, int] | None:
        """(host, pid) of who is running this campaign now, or None."""
        with self._explained():
            row = self.database.execute("select host, pid, began, heartbeat from runner").fetchone()
        return row[:2] if row is not None and lives(*row) else None

    def under_way(self) -> int:
        """Ranges that somebody works on."""
        with self._explained():
            return self._number("select count(*) from lease where owner is not null")

    # What the runner writes.

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

    def take(self) -> None:
        """Makes this process the runner. Raises StoreError where another one lives."""
        if self.campaign.made_by != __version__:
            raise StoreError(
                f"{self.where}: was begun by anonvma_rt {self.campaign.made_by}, whose executions may be others than "
                f"those of {__version__}: go on with that version, or begin anew"
            )
        with self.transaction():
            living = self.runner()
            if living is not None and living != (socket.gethostname(), os.getpid()):
                raise StoreError(f"{self.where}: is being run by process {living[1]} on {living[0]}")
            self.database.execute(
                "insert or replace into runner values (1, ?, ?, ?, ?)",
                (socket.gethostname(), os.getpid(), began(os.getpid()), time.time()),
            )
            self._free_leases()

    def heartbeat(self) -> None:
        with self.transaction():
            self.database.execute("update runner set heartbeat = ?", (time.time(),))

    def leave(self) -> None:
        """Gives the leases back and makes room for the next runner."""
        with self.transaction():
            self._free_leases()
            self.database.execute("delete from runner")

    def _free_leases(self) -> None:
        self.database.execute("delete from lease where tries = 0")
        self.database.execute("update lease set owner = null")

    def tries(self, cell: int) -> dict[int, int]:
        """How often ranges of a cell were lost, where that is not never."""
        with self._explained():
            return dict(self.database.execute("select number, tries from lease where cell = ? and tries > 0", (cell,)))

    def lease(self, cell: int, number: int) -> None:
        """Within a transaction: this process sees to that range."""
        self.database.execute(
            "insert into lease values (?, ?, ?, ?, 0, null) on conflict do update set owner = excluded.owner,"
            " since = excluded.since",
            (cell, number, f"{socket.gethostname()}:{os.getpid()}", time.time()),
        )

    def lose(self, cell: int, number: int, why: str) -> None:
        """Within a transaction: whoever worked on that range was lost."""
        self.database.execute(
            "update lease set tries = tries + 1, why = ?, owner = null where cell = ? and number = ?",
            (why, cell, number),
        )

    def finish(self, cell: int, number: int, state: str, payload: Mapping[str, Any]) -> None:
        """Within a transaction: the outcome of a range. A second one must be the same, and changes nothing."""
        text = json.dumps(payload)
        result = payload.get("result", {"executions": 0, "violations": {}})
        added = self.database.execute(
            "insert into range values (?, ?, ?, ?, ?, ?, ?) on conflict do nothing",
            (
                cell, number, state, result["executions"], sum(result["violations"].values()), text,
                seal(cell, number, state, text),
            ),
        )  # fmt: skip
        self.database.execute("delete from lease where cell = ? and number = ?", (cell, number))
        if added.rowcount == 0 and state == DONE:
            (before,) = self.database.execute(
                "select payload from range where cell = ? and number = ?", (cell, number)
            ).fetchone()
            known = json.loads(before).get("result", {}).get("schedules_sha256")
            if known != result["schedules_sha256"]:
                raise StoreError(f"{self.where}: range {number} of cell {cell} came out differently when it ran again")

    def end(self, cell: int, why: str, ranges: int) -> None:
        """Within a transaction: a cell is complete with its first `ranges` ranges; what lies behind does not count."""
        self.database.execute("update cell set ended = ? where number = ?", (why, cell))
        self.database.execute("delete from range where cell = ? and number >= ?", (cell, ranges))
        self.database.execute("delete from lease where cell = ?", (cell,))

    def close(self) -> None:
        self.database.close()

    def __enter__(self) -> "Store":
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
    def readable(self, what: str) -> Iterator[None]:
        """Content that is not what a store holds."""
        try:
            yield
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise StoreError(f"{self.where}: the file is damaged ({what}: {type(error).__name__})") from None
