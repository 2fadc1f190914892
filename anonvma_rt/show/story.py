"""The story of one recorded execution: what every form of `show` draws from.

The execution is made again once, with its journal; events become rows and locks, the journal becomes scenes. story_of()
makes it of a reproducer, and of the same schedule under another algorithm.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from anonvma_rt.engine.run.records import Pending
from anonvma_rt.errors import UserError
from anonvma_rt.execution.record import record
from anonvma_rt.execution.reproducer import Reproducer, ReproducerError
from anonvma_rt.execution.schedule import Schedule
from anonvma_rt.subjects.history import Event, Trace
from anonvma_rt.subjects.locks import Locks, locks_of
from anonvma_rt.subjects.protocols import Choice
from anonvma_rt.subjects.scenes import Key, Scenes

__all__ = ["Story", "counterpart", "story_of"]

# Bytes that a journal may compare: about a second. A larger execution is looked at before every n-th step only.
JOURNAL_BYTES = 1 << 30
# Of a larger memory there are no scenes: to read what changed in it would take minutes.
LARGEST_MEMORY = 64 << 20


@dataclass(frozen=True)
class Story:
    """One execution. scenes: None where none were asked for, or the memory is too large; every: they are right at each
    `every`-th step.

    pending: what each task stood at, as Explorer.trace() says it. stacks: the return addresses of
    each event, where asked for.
    """

    scenario: str
    parameters: Mapping[str, int | bool]
    algorithm: str
    trace: Trace
    kind: str | None
    schedule: Schedule
    pending: list[Pending | None]
    scenes: Scenes | None
    every: int
    stacks: list[tuple[int, ...]] | None

    @property
    def end(self) -> int:
        """The last step."""
        return self.schedule.steps

    @cached_property
    def why(self) -> str | None:
        return self.trace.cause()

    @cached_property
    def locks(self) -> Locks:
        return locks_of(self.trace.events, self.pending, self.end)

    @cached_property
    def missed(self) -> Key | None:
        """What the violation is about, as the scenes name it."""
        return self.trace.missed()

    @cached_property
    def miss(self) -> int | None:
        """The step of the last look that passed over the missed entry."""
        misses = self.trace.misses() if self.missed in self.stale else []
        return misses[-1].step if misses else None

    @cached_property
    def stale(self) -> Mapping[Key, int]:
        """Migration entries that are left at the end, and the step from which nobody comes for them any more."""
        return self.trace.stale(self.scenes, self.end) if self.scenes else {}

    @cached_property
    def walkers(self) -> list[tuple[int, dict[Key, Any]]]:
        """Where each walk of the reverse map is, in the form of Scenes.later."""
        return self.trace.walkers()

    def about_missed(self, event: Event) -> bool:
        """Whether an event is a look at the missed entry, or a change of it."""
        return self.missed is not None and self.missed == self.trace.key(event)

    def first_difference(self, other: "Story") -> int | None:
        """The first step at which the two do not do the same, or None where they never differ."""
        for one, two in zip(self.trace.events, other.trace.events, strict=False):
            if one != two:
                return min(one.step, two.step)
        shorter = min(self, other, key=lambda story: len(story.trace.events))
        same = len(self.trace.events) == len(other.trace.events)
        return None if same else min(shorter.end + 1, max(self.end, other.end))


def story_of(
    reproducer: Reproducer, choice: Choice | None = None, *, scenes: bool = True, stacks: bool = False
) -> Story:
    """Makes the execution again. choice: another algorithm, under the same schedule as far as it can be followed.

    Raises ReproducerError where the recorded algorithm does not do what the file says any more.
    """
    program = reproducer.program()
    chosen = reproducer.algorithm if choice is None else program.choose(choice)
    with reproducer.open(program, None if choice is None else chosen) as explorer:
        scenes = scenes and explorer.arena_bytes <= LARGEST_MEMORY
        every = max(1, -(-explorer.arena_bytes * reproducer.steps // JOURNAL_BYTES))
        made = record(program, chosen, explorer, journal=every if scenes else 0, stacks=stacks)
        if choice is None and made.kind != reproducer.kind:
            raise ReproducerError(
                f"{reproducer.name()} does not replay: {made.kind or 'no violation'} instead of {reproducer.kind} "
                f"(it was written by anonvma_rt {reproducer.version})"
            )
        return Story(
            scenario=reproducer.scenario.name,
            parameters=program.parameters,
            algorithm=reproducer.under(chosen.name),
            trace=made.trace,
            kind=made.kind,
            # Of what goes on for ever the history has one round.
            schedule=made.schedule.upto(made.trace.events[-1].step) if made.trace.loops else made.schedule,
            pending=made.pending,
            scenes=program.scenes(explorer, made.trace) if scenes else None,
            every=every,
            stacks=made.stacks,
        )


def counterpart(reproducer: Reproducer, named: str | None = None) -> Choice | None:
    """The algorithm to set beside that of the reproducer: the one named, or of those that the scenario expects to be
    right one that is usually compared, else the one that differs in the fewest choices. None where there is none."""
    program = reproducer.program()
    if named is not None:
        return program.choose(named)
    own = reproducer.algorithm.as_dict()
    usual = program.usual()
    found: list[tuple[bool, int, int, Choice]] = []
    for name in reproducer.scenario.algorithms():
        if reproducer.scenario.expected(name) != "none" or name == reproducer.algorithm.name:
            continue
        try:
            choice = program.choose(name)
        except UserError:
            continue  # a variant that has other values than these
        differing = sum(own.get(field) != value for field, value in choice.as_dict().items() if field != "name")
        found.append((choice.name not in usual, differing, len(found), choice))
    return min(found)[3] if found else None
