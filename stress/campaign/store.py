"""The store of a campaign: one SQLite file that a kill or a full disk leaves intact.

One process writes (the row `runner` says which), any number may read. A range is finished by one transaction, keyed by
(cell, range), so it is there once or not at all. Whatever is read back was sealed when it was written; nothing in a
store is ever executed.
"""

import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from anonvma_rt import __version__
from anonvma_rt.errors import quote
from anonvma_rt.execution.reproducer import LARGEST_FILE
from anonvma_rt.stress.campaign.cell import SPEC, Cell
from anonvma_rt.stress.campaign.database import Database, StoreError, began, lives, seal
from anonvma_rt.stress.campaign.file import Plan
from anonvma_rt.stress.campaign.totals import Done, Outcome, Totals, read_outcome
from anonvma_rt.text import shape
from anonvma_rt.text.files import Limits, load_json
from anonvma_rt.text.toml import LARGEST_FILE as LARGEST_TEXT

__all__ = ["Campaign", "Store", "StoreError", "Survey"]

LIMITS = Limits(2 * LARGEST_FILE, 100_000)  # of one row
END_OF_TIME = 253_370_764_800  # the year 9999, in seconds since 1970
_NUMBER = shape.whole()
_SOURCE, _TEXT, _ASKED = shape.text(1 << 13), shape.text(LIMITS.bytes), shape.list_of(shape.line(2000), 1000)
_RUNNER = shape.tuple_of(shape.line(least=0), shape.whole(0, 1 << 32), shape.whole(), shape.number(0, END_OF_TIME))
CAMPAIGN = shape.record(
    {
        "name": shape.line(), "about": shape.line(least=0), "source": _SOURCE, "text": shape.text(LARGEST_TEXT),
        "asked": _TEXT, "made_by": shape.line(), "created": shape.number(0, END_OF_TIME),
    }
)  # fmt: skip
_CAMPAIGN = ("name", "about", "source", "text", "asked", "made_by", "created")


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


class CellProgress(NamedTuple):
    """How far a cell is; ended: why it is complete, or None. ranges: that are finished."""

    number: int
    ended: str | None
    ranges: int
    executions: int
    violations: int


class Survey:
    """How far the cells of a store are, checked as a report checks them, but each range only once however often one
    looks."""

    def __init__(self) -> None:
        self.known: dict[int, Totals] = {}

    def look(self, store: "Store") -> list[CellProgress]:
        return [self._look(store, cell) for cell in store.cells()]

    def _look(self, store: "Store", cell: Cell) -> CellProgress:
        totals = self.known.setdefault(cell.number, Totals(cell))
        ranges, executions, violations = totals.ranges, 0, 0
        for number, outcome in store.rows(cell.number, totals.ranges):
            if number == totals.ranges and totals.ended is None:
                totals.add(outcome)
            else:  # finished before its turn
                executions, violations = executions + outcome.executions, violations + outcome.violations
            ranges += 1
        return CellProgress(
            cell.number, totals.ended, ranges, totals.executions + executions, totals.found + violations
        )


class Store(Database):
    """An open store. Made by create() or open(); a context manager. Readers never change anything."""

    def __init__(self, where: str, write: bool, plan: Plan | None = None) -> None:
        super().__init__(where, write, None if plan is None else partial(self._fill, plan))
        try:
            with self._explained():
                self.campaign = self._campaign()
        except BaseException:
            self.close()
            raise

    @classmethod
    def create(cls, where: str, plan: Plan) -> "Store":
        """A store for `plan`, or the one that is there if it is of the same campaign. Raises StoreError."""
        store = cls(where, write=True, plan=plan)
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

    def _fill(self, plan: Plan) -> None:
        specs = [(cell.number, json.dumps(cell.as_dict())) for cell in plan.cells]
        self.database.execute(
            "insert into campaign values (1, ?, ?, ?, ?, ?, ?, ?)",
            (plan.name, plan.about, plan.source, plan.text, json.dumps(plan.asked), __version__, time.time()),
        )
        self.database.executemany(
            "insert into scenario values (?, ?, ?)", [(sha, *found) for sha, found in plan.texts.items()]
        )
        self.database.executemany(
            "insert into cell values (?, ?, null, ?)", [(number, spec, seal(number, spec)) for number, spec in specs]
        )

    # What is in it.

    def _campaign(self) -> Campaign:
        row = self.database.execute(
            "select name, about, source, text, asked, made_by, created from campaign"
        ).fetchone()
        if row is None:
            raise StoreError(f"{self.where}: the file is damaged (it names no campaign)")
        where = f"{self.where}: the campaign"
        with self.readable():
            known = CAMPAIGN(dict(zip(_CAMPAIGN, row, strict=True)), where)
            asked = _ASKED(self._json(known.pop("asked"), where), where)
        return Campaign(**known, asked=tuple(asked))

    def _json(self, text: Any, where: str) -> Any:
        return load_json(_TEXT(text, where).encode(), LIMITS, where)

    def cells(self) -> list[Cell]:
        with self._explained():
            rows = self.database.execute("select number, spec, seal from cell order by number").fetchall()
        cells = []
        for number, spec, sealed in rows:
            where = f"{self.where}: cell {number}"
            if seal(number, spec) != sealed:
                raise StoreError(f"{where}: the file is damaged (its seal is another)")
            with self.readable():
                cells.append(Cell(**(SPEC(self._json(spec, where), where) | {"number": _NUMBER(number, where)})))
        return cells

    def texts(self) -> dict[str, tuple[str, str]]:
        """(source, text) of each scenario by its sha256."""
        with self._explained():
            rows = self.database.execute("select sha256, source, text from scenario").fetchall()
        texts = {}
        for sha, source, text in rows:
            where = f"{self.where}: the scenario {quote(str(source))}"
            with self.readable():
                texts[str(sha)] = (_SOURCE(source, where), _TEXT(text, where))
            if hashlib.sha256(text.encode()).hexdigest() != sha:
                raise StoreError(f"{where}: the file is damaged (the text is another)")
        for cell in self.cells():
            if cell.sha256 not in texts:
                raise StoreError(f"{self.where}: the file is damaged (the scenario of cell {cell.number} is missing)")
        return texts

    def endings(self) -> dict[int, str]:
        """The cells that have ended, and why."""
        with self._explained():
            return dict(self.database.execute("select number, ended from cell where ended is not null"))

    def rows(self, cell: int, first: int = 0) -> Iterator[tuple[int, Outcome]]:
        """The number and the outcome of each range of a cell that is finished, in order, from `first` on."""
        with self._explained():
            rows = self.database.execute(
                "select number, state, payload, seal from range where cell = ? and number >= ? order by number",
                (cell, first),
            )
            for number, state, payload, sealed in rows:
                where = f"{self.where}: range {number} of cell {cell}"
                if seal(cell, number, state, payload) != sealed:
                    raise StoreError(f"{where}: the file is damaged (its seal is another)")
                with self.readable():
                    outcome = read_outcome(state, self._json(payload, where), where)
                    yield _NUMBER(number, where), outcome

    def totals(self, cell: Cell) -> Totals:
        """What the finished ranges of a cell add up to, as far as they follow each other without a gap."""
        totals = Totals(cell)
        for number, outcome in self.rows(cell.number):
            if number != totals.ranges or totals.ended:
                break
            totals.add(outcome)
        return totals

    def runner(self) -> tuple[str, int] | None:
        """(host, pid) of who is running this campaign now, or None."""
        with self._explained():
            row = self.database.execute("select host, pid, began, heartbeat from runner").fetchone()
        if row is None:
            return None
        with self.readable():
            host, pid, since, heartbeat = _RUNNER(list(row), f"{self.where}: the runner")
        return (host, pid) if lives(host, pid, since, heartbeat) else None

    def under_way(self) -> int:
        """Ranges that somebody works on."""
        with self._explained():
            return self._number("select count(*) from lease where owner is not null")

    # What the runner writes.

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

    def finish(self, cell: int, number: int, outcome: Outcome) -> None:
        """Within a transaction: the outcome of a range. A second one must be the same, and changes nothing."""
        state, text = outcome.state, json.dumps(outcome.as_dict())
        added = self.database.execute(
            "insert into range values (?, ?, ?, ?, ?, ?, ?) on conflict do nothing",
            (cell, number, state, outcome.executions, outcome.violations, text, seal(cell, number, state, text)),
        )
        self.database.execute("delete from lease where cell = ? and number = ?", (cell, number))
        if added.rowcount == 0 and isinstance(outcome, Done):
            (before,) = self.database.execute(
                "select payload from range where cell = ? and number = ?", (cell, number)
            ).fetchone()
            with self.readable():
                known = read_outcome(state, self._json(before, self.where), self.where)
            if not isinstance(known, Done) or known.result["schedules_sha256"] != outcome.result["schedules_sha256"]:
                raise StoreError(f"{self.where}: range {number} of cell {cell} came out differently when it ran again")

    def end(self, cell: int, why: str, ranges: int) -> None:
        """Within a transaction: a cell is complete with its first `ranges` ranges; what lies behind does not count."""
        self.database.execute("update cell set ended = ? where number = ?", (why, cell))
        self.database.execute("delete from range where cell = ? and number >= ?", (cell, ranges))
        self.database.execute("delete from lease where cell = ?", (cell,))

    def reopen(self, cell: int) -> None:
        """Within a transaction: a cell is not complete after all, because ranges of it are missing."""
        self.database.execute("update cell set ended = null where number = ?", (cell,))
