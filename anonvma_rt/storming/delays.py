"""The delays of a storm: where its tasks are delayed and for how long, each a name with a few numbers.

They are data for the engine (engine/chaos), where every delay is a function of (seed, execution, task, the task's
own points). None are best everywhere: which find a race differs by orders of magnitude between scenarios, and
between runs of one, so a storm has several and learns while it runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from anonvma_rt.errors import UserError, among, nearest, quote

__all__ = ["DELAYS", "Delays", "parse_delays"]

MOST = 1 << 24


@dataclass(frozen=True)
class _Known:
    """about: one line. usual: the engine's numbers. names: what a user may set, and which number that is."""

    about: str
    usual: Mapping[str, int]
    names: Mapping[str, str]


DELAYS: dict[str, _Known] = {
    "none": _Known("no delays: the tasks run as they come", {}, {}),
    "yield": _Known("a task gives its core away at one point in `every`", {"every": 32, "most": 0}, {"every": "every"}),
    "spin": _Known(
        "up to `most` pauses at one point in `every`", {"every": 8, "most": 64}, {"every": "every", "most": "most"}
    ),
    "long": _Known(
        "rare long spins, log-uniform up to `most` pauses",
        {"every": 256, "most": 32768, "rare": 1},
        {"every": "every", "most": "most"},
    ),
    "skew": _Known("each task starts up to `most` pauses late", {"skew": 512}, {"most": "skew"}),
    "starve": _Known(
        "one task of each execution stands still for windows of up to `most` pauses",
        {"window": 16384},
        {"most": "window"},
    ),
    "stall": _Known(
        "up to `most` pauses right after a lock was taken, one in `every`; lock=NAME: of that class only",
        {"stall_every": 4, "stall_most": 4096, "stall_class": 0},
        {"every": "stall_every", "most": "stall_most"},
    ),
}


@dataclass(frozen=True)
class Delays:
    """text: as the user wrote it. numbers: for the engine. lock: the lock class to stall at, "" for any."""

    text: str
    numbers: Mapping[str, int]
    lock: str = ""

    def for_subject(self, lock_classes: Mapping[str, int]) -> dict[str, int]:
        """The engine's numbers, with the lock's name looked up. Raises UserError where there is none of that name."""
        if not self.lock:
            return dict(self.numbers)
        if self.lock not in lock_classes:
            known = f"; known are {', '.join(lock_classes)}" if lock_classes else "; none of its locks has a class"
            raise UserError(f"profile {self.text}: no lock class {quote(self.lock)}{known}")
        return {**self.numbers, "stall_class": lock_classes[self.lock]}


def parse_delays(text: str) -> Delays:
    """What `NAME` or `NAME:parameter=value,...` stands for. Raises UserError with the nearest name.

    >>> parse_delays("spin:every=4").numbers
    {'every': 4, 'most': 64}
    >>> parse_delays("stall:lock=ptl").lock
    'ptl'
    """
    name, _, rest = text.partition(":")
    among("profile", name, DELAYS)
    known = DELAYS[name]
    numbers, lock = dict(known.usual), ""
    for assignment in filter(None, rest.split(",")):
        key, equals, value = (part.strip() for part in assignment.partition("="))
        if name == "stall" and key == "lock" and value:
            lock = value
            continue
        if key not in known.names:
            raise UserError(f"profile {name}: unknown parameter {quote(key)}{nearest(key, known.names)}")
        if not equals or not value.isdecimal() or not 1 <= int(value) <= MOST:
            raise UserError(f"profile {name}: {key} must be a whole number from 1 to {MOST}, not {quote(value)}")
        numbers[known.names[key]] = int(value)
    return Delays(text, numbers, lock)
