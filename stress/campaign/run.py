"""The runner: hands out ranges, takes what comes back, and stores it.

Cells take turns, so that a cell which stops early has few ranges ahead of it. Only so many ranges are under way as keep
the workers busy. Whatever is finished is stored in one transaction per turn of the loop; everything that is not can be
done again, because a range is a pure function. A range whose worker was lost is done again up to TRIES times.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Any

from anonvma_rt.engine.base.bell import StopToken
from anonvma_rt.errors import UserError
from anonvma_rt.stress.campaign.cell import Cell, Unit
from anonvma_rt.stress.campaign.executors import CannotStart, Crew, Lost, host_is_short
from anonvma_rt.stress.campaign.queue import Live
from anonvma_rt.stress.campaign.store import Store, StoreError
from anonvma_rt.stress.campaign.totals import Done, Failed, Outcome, Poisoned, Totals
from anonvma_rt.stress.campaign.work import PATIENCE, RangeTimeout, WrongVersion, run_range

__all__ = ["TRIES", "Progress", "Shortage", "run_campaign"]

# Workers that a range may cost: few enough for a poisonous one to be known soon, more than a machine that kills at
# random (a kernel short of memory) takes from the same range by chance.
TRIES = 8
POLL = 0.1  # seconds for which a signal or a stop token can go unseen
SETTLE = 5.0  # seconds for the futures of a broken executor to say so
BEAT = 10.0  # seconds between heartbeats
MOST_RENEWALS = 20  # of an executor, in a row without a finished range
MOST_SHORTAGES = 20  # of the machine, in a row without a finished range
MOST_OF_ONE = 5  # of one range, before it is put aside
BREATH = 0.05  # seconds in which nothing is handed out after a shortage, more each time
GRACE = 2 * PATIENCE  # seconds that a worker has to end itself in, beside twice its timeout

_GO_ON = ": what is finished is stored, nothing counts as lost, and `campaign resume` goes on"

Work = Callable[[Unit], Done]


@dataclass
class Progress:
    """What has just happened, for whoever shows it: executions, violations and classes that were added."""

    executions: int
    violations: int
    classes: int
    cell: Cell


class Shortage(UserError):
    """The machine lacks what workers need. What is finished is stored, and nothing counts as poison."""


@dataclass(eq=False)
class _Lease:
    live: Live
    number: int


def run_campaign(
    store: Store,
    crew: Crew,
    stop: StopToken | None = None,
    progress: Callable[[Progress], None] | None = None,
    work: Work = run_range,
    own: Sequence[str] = (),
) -> bool:
    """Works on the campaign in `store` until it is complete; False if `stop` ended it before.

    After a stop, ranges under way are finished and stored, and no new ones are handed out. Raises UserError where the
    store or the crew fail; what was stored then stays. work: what is done with a unit, on the workers. own: subjects of
    the user's own that they may import.
    """
    store.take()
    try:
        runner = _Runner(store, crew, stop or StopToken(), progress, work, own)
        if runner.lives:
            crew.begin()
            hurry = True
            try:
                runner.loop()
                hurry = False
            finally:
                runner.cancel()
                crew.end(kill=hurry)
    finally:
        with suppress(StoreError):  # the next runner sees by itself that this one is gone
            store.leave()
    return not runner.lives


class _Runner:
    def __init__(
        self, store: Store, crew: Crew, stop: StopToken, progress: Callable[[Progress], None] | None, work: Work,
        own: Sequence[str],
    ) -> None:  # fmt: skip
        self.store, self.crew, self.stop, self.progress, self.work = store, crew, stop, progress, work
        self.own = own
        self.texts = store.texts()
        self.lives: dict[int, Live] = {}
        ended = store.endings()
        for cell in store.cells():
            live = self._live(cell)
            if ended.get(cell.number) is None or live.totals.ended is None:
                self.lives[cell.number] = live
        with store.transaction():
            for number in ended.keys() & self.lives.keys():
                store.reopen(number)  # ranges of it are missing
        self.turns: deque[Live] = deque(self.lives.values())
        self.under_way: dict[Future[Any], _Lease] = {}
        self.suspects: deque[_Lease] = deque()  # one of these broke an executor: each is tried alone
        self.renewals = 0
        self.shortages = 0
        self.short_of = ""
        self.breathe_until = 0.0
        self.beat = monotonic()
        # A runner may have been killed right before it could say that a cell has ended.
        self._end([live for live in self.lives.values() if live.totals.ended])

    def _live(self, cell: Cell) -> Live:
        live = Live(cell, Totals(cell), tries=self.store.tries(cell.number))
        for number, outcome in self.store.rows(cell.number):
            live.skip(number)
            live.take(number, outcome)
        heapq.heapify(live.again)
        return live

    def loop(self) -> None:
        while self.lives:
            breathing = monotonic() < self.breathe_until
            if self.stop.stopped:
                if self.crew.exact:  # other crews would take back what has begun, too
                    self.cancel()
            elif not breathing:
                self._hand_out()
            if not self.under_way and (self.stop.stopped or not breathing):
                self._nothing_left()
                return
            if not self.under_way:
                sleep(POLL)
            done, _ = wait(self.under_way, POLL, FIRST_COMPLETED)
            self.crew.look()
            if done:
                self._take_back(done)
            if monotonic() - self.beat > BEAT:
                self.store.heartbeat()
                self.beat = monotonic()

    # Handing out.

    def _hand_out(self) -> None:
        room = self.crew.width(self.crew.executor) - len(self.under_way)
        leases = self._choose(room)
        if not leases:
            return
        with self.store.transaction():
            for lease in leases:
                self.store.lease(lease.live.cell.number, lease.number)
        for lease in leases:
            self._submit(lease)

    def _choose(self, room: int) -> list[_Lease]:
        while self.suspects and self.suspects[0].live.totals.ended is not None:
            self.suspects.popleft()
        if self.suspects:
            return [] if self.under_way else [self.suspects.popleft()]
        leases: list[_Lease] = []
        idle = 0
        while self.turns and len(leases) < room and idle < len(self.turns):
            live = self.turns[0]
            self.turns.rotate(-1)
            if live.has_work:
                leases.append(_Lease(live, live.pop()))
                idle = 0
            else:
                idle += 1
        return leases

    def _submit(self, lease: _Lease) -> None:
        try:
            self.under_way[self._call(self._unit(lease))] = lease
        except (RuntimeError, OSError, MemoryError) as error:  # since the last look (BrokenExecutor is a RuntimeError)
            broken: Future[Any] = Future()
            broken.set_exception(error if host_is_short(error) else BrokenExecutor(str(error)))
            self.under_way[broken] = lease

    def _call(self, unit: Unit) -> "Future[Any]":
        return self.crew.submit(self.work, unit, within=2 * unit["timeout"] + GRACE)

    def _unit(self, lease: _Lease) -> Unit:
        source, text = self.texts[lease.live.cell.sha256]
        return lease.live.cell.unit(lease.number, text, source, self.own)

    # Taking back.

    def _take_back(self, done: Iterable[Future[Any]]) -> None:
        outcomes: list[tuple[_Lease, Outcome]] = []
        lost: list[tuple[_Lease, str]] = []
        broken: list[tuple[_Lease, BaseException]] = []
        for future in done:
            lease = self.under_way.pop(future)
            error = CancelledError() if future.cancelled() else future.exception()
            if lease.live.totals.ended is not None:
                continue  # it lies behind the range that ended its cell
            if error is None:
                outcomes.append((lease, future.result()))
            elif isinstance(error, WrongVersion | CannotStart):
                raise error
            elif isinstance(error, ImportError):
                raise UserError(f"a worker lacks what it needs: {error}")
            elif host_is_short(error):
                self._short(lease, _reason(error))
            elif isinstance(error, UserError):
                outcomes.append((lease, Failed(str(error))))
            elif self.stop.stopped:
                continue  # whoever stops the runner may have stopped the workers, too: no range is to blame
            elif isinstance(error, (BrokenExecutor, CancelledError, *self.crew.gone)):
                broken.append((lease, error))
            else:
                lost.append((lease, _reason(error)))
        if broken:
            lost += self._replace_executor(broken)
        for lease, why in lost:
            tried = lease.live.tries[lease.number] = lease.live.tries.get(lease.number, 0) + 1
            if tried >= TRIES:
                outcomes.append((lease, Poisoned(why, self._isolate(lease, why))))
            else:
                heapq.heappush(lease.live.again, lease.number)
        try:
            self._store(outcomes, lost)
        except StoreError as error:
            raise StoreError(f"{error}{_unstored(outcomes)}") from None

    def _store(self, outcomes: list[tuple[_Lease, Outcome]], lost: list[tuple[_Lease, str]]) -> None:
        with self.store.transaction():
            for lease, why in lost:
                self.store.lose(lease.live.cell.number, lease.number, why)
            for lease, outcome in outcomes:
                self.store.finish(lease.live.cell.number, lease.number, outcome)
        for lease, outcome in outcomes:
            lease.live.take(lease.number, outcome)
            self.renewals = self.shortages = 0
            if self.progress is not None:
                now = Progress(outcome.executions, outcome.violations, outcome.classes, lease.live.cell)
                self.progress(now)
        self._end([live for live in {lease.live for lease, _ in outcomes} if live.totals.ended])

    def _end(self, lives: list[Live]) -> None:
        """These cells are complete: what lies behind the range that ended them goes."""
        if not lives:
            return
        with self.store.transaction():
            for live in lives:
                assert live.totals.ended is not None
                self.store.end(live.cell.number, live.totals.ended, live.totals.ranges)
        for live in lives:
            del self.lives[live.cell.number]
            self.turns.remove(live)
            self.cancel(live)

    def cancel(self, live: Live | None = None) -> None:
        """Takes back what no worker has begun; of one cell, or of all."""
        for future, lease in list(self.under_way.items()):
            if (live is None or lease.live is live) and future.cancel():
                del self.under_way[future]

    # What goes wrong.

    def _short(self, lease: _Lease, why: str) -> None:
        """The machine could not do that range now: later, or when somebody resumes."""
        live, number = lease.live, lease.number
        self.short_of = why
        self.shortages += 1
        live.short[number] += 1
        if live.short[number] < MOST_OF_ONE:
            heapq.heappush(live.again, number)
        else:
            live.aside.add(number)
        self.breathe_until = monotonic() + BREATH * self.shortages
        if self.shortages >= MOST_SHORTAGES:
            raise Shortage(f"this machine lacks what workers need ({why}; {self.shortages} times in a row){_GO_ON}")

    def _nothing_left(self) -> None:
        """Nothing is under way and nothing can be handed out. Raises Shortage where ranges were put aside."""
        aside = sum(len(live.aside) for live in self.lives.values())
        if aside and not self.stop.stopped:
            raise Shortage(f"this machine is too short for {aside} range(s) ({self.short_of}){_GO_ON}")

    def _replace_executor(self, broken: list[tuple[_Lease, BaseException]]) -> list[tuple[_Lease, str]]:
        """A new executor for one that is gone. Returns the range that is to blame, if it was alone; else all that were
        under way are suspects."""
        error = broken[0][1]
        alone = len(broken) == 1 and not self.under_way
        if self.under_way:
            # Those which finished before are good; the rest has the same error as the first.
            wait(self.under_way, timeout=SETTLE)
            for future, lease in list(self.under_way.items()):
                if not future.done() or future.cancelled() or future.exception() is not None:
                    del self.under_way[future]
                    broken.append((lease, error))
        self.renewals += 1
        if self.renewals > MOST_RENEWALS:
            raise UserError(f"the executor broke {self.renewals} times without a finished range: {error}")
        self.crew.renew()
        if alone and not isinstance(error, self.crew.gone):
            return [(broken[0][0], f"{type(error).__name__}: {error}")]
        self.suspects.extend(lease for lease, _ in broken)
        return []

    def _isolate(self, lease: _Lease, why: str) -> int | None:
        """The execution that kills its worker, by bisection, where that is cheap: where workers tell who was lost."""
        if not self.crew.exact or RangeTimeout.__name__ in why:
            return None
        unit = self._unit(lease)
        low, high = unit["start"], unit["start"] + unit["runs"]
        while high - low > 1:
            middle = (low + high) // 2
            good = self._survives({**unit, "start": low, "runs": middle - low})
            if good is None:
                return None
            low, high = (middle, high) if good else (low, middle)
        return low if self._survives({**unit, "start": low, "runs": 1}) is False else None

    def _survives(self, unit: Unit) -> bool | None:
        """Whether a worker survives a unit; None after a stop."""
        future = self._call(unit)
        while not future.done():
            wait([future], POLL)
            self.crew.look()
            if self.stop.stopped:
                future.cancel()
                return None
        return None if host_is_short(future.exception()) else not isinstance(future.exception(), Exception)


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, Lost) else f"{type(error).__name__}: {error}"


def _unstored(outcomes: list[tuple[_Lease, Outcome]]) -> str:
    """What could not be stored, for the message: it was found, and it will be found again."""
    if not outcomes:
        return ""
    text = f"; {len(outcomes)} finished range(s) could not be stored and will run again"
    for lease, outcome in outcomes:
        first = outcome.result["first"] if isinstance(outcome, Done) else None
        if first is not None:
            cell = lease.live.cell
            return (
                f"{text}, with {first['kind']} of {cell.scenario} under {cell.algorithm} at execution {first['index']}"
            )
    return text
