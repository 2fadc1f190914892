"""Who held which lock from when to when, who waited for it, and whose release let whom go on.

All of it follows from the recorded operations: every acquire and release is one, and a try succeeds exactly if the lock
is free. A task announces its next operation right after its last step, so from there on it waits.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from anonvma_rt.engine.run.records import Pending
from anonvma_rt.subjects.history import Event

__all__ = ["Flow", "Hold", "Locks", "Wait", "locks_of"]

TAKES = {"lock": False, "read-lock": True, "trylock": False, "read-trylock": True}
GIVES = ("unlock", "read-unlock", "downgrade")


class Hold(NamedTuple):
    """A task holds a lock (its offset) from the step that takes it to the one that gives it back, or to the end."""

    task: int
    lock: int
    first: int
    last: int
    shared: bool
    given_back: bool


class Wait(NamedTuple):
    """A task cannot go on before the step `last`, because others have the lock; to the end where it never gets it."""

    task: int
    lock: int
    first: int
    last: int
    ended: bool


class Flow(NamedTuple):
    """The release at a step that let a waiting task make another step later."""

    lock: int
    from_task: int
    from_step: int
    to_task: int
    to_step: int


class Locks(NamedTuple):
    holds: list[Hold]
    waits: list[Wait]
    flows: list[Flow]

    def held(self, task: int, step: int) -> list[Hold]:
        """What the task holds after that step, in the order in which it was taken."""
        return [
            one
            for one in self.holds
            if one.task == task and one.first <= step and (step < one.last or (step == one.last and not one.given_back))
        ]


def locks_of(events: Iterable[Event], pending: Sequence[Pending | None], end: int) -> Locks:
    """pending: what each task stood at when the execution ended after step `end`, as Explorer.trace() says it.

    >>> point = lambda step, task, what: Event(step, task, what, False, 64, 0, 0)
    >>> both = [point(1, 0, "lock"), point(2, 1, "start"), point(3, 0, "unlock"), point(4, 1, "lock")]
    >>> found = locks_of(both, [None, None], 4)
    >>> found.waits
    [Wait(task=1, lock=64, first=3, last=4, ended=True)]
    >>> found.flows
    [Flow(lock=64, from_task=0, from_step=3, to_task=1, to_step=4)]
    """
    tracker = _Tracker()
    for event in events:
        if event.is_note:
            continue
        if event.what in TAKES or event.what == "wait":
            tracker.take(event)
        elif event.what in GIVES:
            tracker.give(event)
        tracker.last[event.task] = event.step
    return tracker.result(pending, end)


class _Tracker:
    def __init__(self) -> None:
        self.now: dict[int, dict[int, tuple[int, bool]]] = {}  # lock: {task: (since, shared)}
        self.past: dict[int, list[Hold]] = {}  # lock: its holds that have ended
        self.last: dict[int, int] = {}  # task: the step of its last point
        self.found = Locks([], [], [])

    def take(self, event: Event) -> None:
        holders = self.now.setdefault(event.a, {})
        if event.what == "wait":
            self.waited(event, shared=False)
            return
        shared = TAKES[event.what]
        if "try" in event.what and any(not (shared and other) for _, other in holders.values()):
            return
        if "try" not in event.what:
            self.waited(event, shared)
        holders[event.task] = (event.step, shared)

    def waited(self, event: Event, shared: bool) -> None:
        """A wait, if somebody had the lock since the task came to its point."""
        came = self.last.get(event.task, 0) + 1
        first, release = event.step, None
        for hold in reversed(self.past.get(event.a, ())):
            if hold.last < came:
                break
            if hold.task != event.task and not (shared and hold.shared):
                first = min(first, max(came, hold.first + 1))
                release = release or hold
        if release is not None:
            self.found.waits.append(Wait(event.task, event.a, first, event.step, True))
            self.found.flows.append(Flow(event.a, release.task, release.last, event.task, event.step))

    def give(self, event: Event) -> None:
        since = self.now.get(event.a, {}).pop(event.task, None)
        if since is not None:
            hold = Hold(event.task, event.a, since[0], event.step, since[1], True)
            self.past.setdefault(event.a, []).append(hold)
            self.found.holds.append(hold)
        if event.what == "downgrade":
            self.now.setdefault(event.a, {})[event.task] = (event.step, True)

    def result(self, pending: Sequence[Pending | None], end: int) -> Locks:
        for lock, holders in self.now.items():
            for task, (since, shared) in holders.items():
                self.found.holds.append(Hold(task, lock, since, end, shared, False))
        for task, stands in enumerate(pending):
            if stands is not None and not stands.enabled:
                first = self.last.get(task, 0) + 1
                others = [since for other, (since, _) in self.now.get(stands.object, {}).items() if other != task]
                self.found.waits.append(Wait(task, stands.object, min(end, max([first, *others])), end, False))
        self.found.holds.sort(key=lambda one: (one.first, one.task))
        self.found.waits.sort(key=lambda one: (one.first, one.task))
        return self.found
