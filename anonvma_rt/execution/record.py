"""One execution, made with its history on: the only way in which the lab records one.

Whoever found an execution, and however, it is made once more here; what a file keeps of it and what people read both
come from the Record.
"""

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.records import Pending
from anonvma_rt.engine.run.strategy import Strategy
from anonvma_rt.engine.strategy import script
from anonvma_rt.execution.schedule import Schedule
from anonvma_rt.lab.explorers import checked
from anonvma_rt.subjects.history import Trace
from anonvma_rt.subjects.protocols import Bound, Choice

__all__ = ["Record", "record", "schedule_of"]


@dataclass(frozen=True)
class Record:
    """A recorded execution.

    bound: steps that count as a livelock. kind: of its violation, or None; cause: in words, "" without one. digest: of
    the choices; events_sha256: of everything that happened. failures: the allocations that failed, as (task, n); None
    where none could. pending: what each task stood at, None for one that came to its end. halt: why it ended early, or
    None. stacks: the return addresses of each event, where asked for.
    """

    program: Bound
    choice: Choice
    bound: int
    schedule: Schedule
    trace: Trace = field(repr=False)
    digest: str
    events_sha256: str
    failures: list[tuple[int, int]] | None
    pending: list[Pending | None]
    halt: str | None
    stacks: list[tuple[int, ...]] | None = field(repr=False)

    @property
    def kind(self) -> str | None:
        return self.trace.kind

    @property
    def cause(self) -> str:
        return self.trace.cause() or ""


def record(
    program: Bound, choice: Choice, explorer: Explorer, index: int = 0, strategy: Strategy | None = None, **options: Any
) -> Record:
    """Makes execution `index` on an idle explorer of `program` under `choice`, which then holds the final state.

    strategy: instead of the explorer's own. options: until, journal, stacks, of Explorer.trace. Raises what checked()
    does.
    """
    # Before step 1 is the state from which executions begin.
    explorer.trace(0, script.replay(), until=1)
    before = program.before(explorer)
    recorded = checked(program, explorer, explorer.trace(index, strategy, **options))
    if program.looks_again(recorded, explorer):
        again = script.replay(Schedule(recorded.segments))
        stacks = explorer.trace(0, again, **{**options, "stacks": True}).stacks
        recorded = replace(recorded, stacks=stacks)
    trace = program.trace(recorded, explorer, before)
    failed = [(event.task, event.b) for event in trace.events if event.what == "alloc-fails" and event.c]
    return Record(
        program=program, choice=choice, bound=explorer.bound, schedule=Schedule(recorded.segments), trace=trace,
        digest=recorded.digests.hex(), events_sha256=hashlib.sha256(recorded.events).hexdigest(),
        failures=None if program.failing is None else failed, pending=recorded.pending, halt=recorded.halt,
        stacks=recorded.stacks,
    )  # fmt: skip


def schedule_of(explorer: Explorer, index: int, strategy: Strategy) -> Schedule:
    """Only the schedule of an execution, for a search that makes many."""
    return Schedule(explorer.trace(index, strategy).segments)
