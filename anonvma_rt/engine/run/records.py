"""What the engine tells Python of the executions it has made: of a block, and of one recorded execution.

A kind is the number of a violation (Subject.kinds names it), an index the number of an execution, an offset a place in
the subject's arena in bytes. Steps count from 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

# The operations that a task announces, in the order of base/operation.pxd.
OPS = (
    "start", "lock", "read-lock", "wait", "await", "unlock", "read-unlock", "trylock", "load", "store", "atomic",
    "note", "read-trylock", "take", "downgrade", "fence",
)  # fmt: skip

# One event of a history: step, task, op (an index into OPS), code, a, b, c.
EVENT = Struct("=qiiqqqq")


class Failure(NamedTuple):
    """An execution with a violation."""

    index: int  # type: ignore[assignment]  # no tuple is searched here
    kind: int


class Finding(NamedTuple):
    """The violation of a recorded execution: who found it, in which step, and three numbers that explain the kind."""

    kind: int
    task: int
    step: int
    a: int
    b: int
    c: int


class Pending(NamedTuple):
    """Where a task stood when a recorded execution ended: what it had announced, and whether it could have gone on."""

    op: str
    object: int
    enabled: bool


class Crash(NamedTuple):
    """Where the code under test was when it crashed or was stuck: the address that it could not use, and the return
    addresses of its calls, innermost first."""

    address: int
    frames: tuple[int, ...]


class Refusal(NamedTuple):
    """The call that did not do what was expected, and the errno that it gave."""

    task: int
    step: int
    errno: int


class Kept(NamedTuple):
    """A violation at large with its schedule: per step a byte with the task, and two with its signature."""

    index: int  # type: ignore[assignment]  # no tuple is searched here
    kind: int
    tasks: bytes
    signatures: bytes


class Waiting(NamedTuple):
    """A task that waits at this moment: for which operation, at which offset, and which task holds the lock, if one
    does."""

    task: int
    op: str
    object: int
    owner: int | None


class Place(NamedTuple):
    """An object that several tasks touch, one of them writing, by its offset (engine/search/places).

    acquired: what is done to it is that it is acquired. marked: some of that is an interesting operation. visits: of
    each task, in one execution. under: the lock that everybody holds there, so that the order is that of its
    acquisitions; None where there is none.
    """

    offset: int
    acquired: bool
    marked: bool
    visits: tuple[int, ...]
    under: int | None


@dataclass(frozen=True, slots=True)
class Block:
    """The totals of the executions from `first` on."""

    first: int
    # Completed executions; those that the strategy gave up are `pruned`, and no other number counts them.
    ran: int
    pruned: int
    # 8 bytes for each that was completed: the hash of its schedule.
    digests: bytes
    failures: list[Failure]
    # 8 bytes for each where the explorer was observing, else none: equal for executions that order all dependent
    # operations alike (engine/order).
    classes: bytes
    points: int
    switches: int
    # Steps of the longest execution.
    longest: int
    # By the names of the subject's counters.
    counters: dict[str, int]
    # Why the block ended early: "stopped", "diverged", "no-memory", "until", "refused", or "stuck": then the last
    # execution counts, as a violation of that name.
    halt: str | None


@dataclass(frozen=True, slots=True)
class Profiled(Block):
    """A block of one execution, and of each task its (steps, interesting operations)."""

    tasks: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Recorded(Block):
    """A block of one execution, and its history."""

    # (task, steps), one after the other.
    segments: list[tuple[int, int]]
    # EVENT, one after the other.
    events: bytes
    finding: Finding | None
    # Per task; None where it came to its end.
    pending: list[Pending | None]
    # Per event its return addresses, innermost first, where they were asked for.
    stacks: list[tuple[int, ...]] | None
    # Of a violation `crash` or `stuck`.
    crash: Crash | None = None
    # Store buffers of each task with a body; the tasks of buffers come behind those with bodies.
    buffers: int = 0


@dataclass(frozen=True, slots=True)
class StormBlock:
    """The totals of executions at large, from `first` on."""

    first: int
    ran: int
    seconds: float
    points: int
    counters: dict[str, int]
    failures: list[Failure]
    kept: Sequence[Kept]
    # Violations whose schedule was not kept.
    unkept: int
    halt: str | None
