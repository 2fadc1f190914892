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
from anonvma_rt.kernel.cause import cause, miss_of
from anonvma_rt.subjects.history import WALKS, Event, Trace
from anonvma_rt.subjects.locks import Locks, locks_of
from anonvma_rt.subjects.protocols import Choice
from anonvma_rt.subjects.scenes import Scenes

__all__ = ["Story", "counterpart", "story_of"]

# Bytes that a journal may compare: about a second. A larger execution is looked at before every n-th step only.
JOURNAL_BYTES = 1 << 30
# Of a larger memory there are no scenes: to read what changed in it would take minutes.
LARGEST_MEMORY = 64 << 20
RESTORE = 2


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
        return cause(self.trace)

    @cached_property
    def locks(self) -> Locks:
        return locks_of(self.trace.events, self.pending, self.end)

    @cached_property
    def missed(self) -> str | None:
        """The scenes' name of the entry that the violation is about."""
        if self.kind in ("stale-migration-entry", "unreachable-pte") and self.trace.finding:
            process, address = self.trace.finding[3:5]
            return f"pte:{process}:{address:#x}"
        return None

    def about_missed(self, event: Event) -> bool:
        """Whether an event is a look at the missed entry, or a change of it."""
        if self.missed is None or event.what not in ("look", "set", "copy", "unmap", "clear", "restore"):
            return False
        return self.missed == f"pte:{self.trace.owners.get(event.a, 0)}:{event.b:#x}"

    @cached_property
    def miss(self) -> int | None:
        """The step of the last look that passed over the missed entry."""
        if self.missed not in self.stale:
            return None
        looks = miss_of(self.trace).looks()
        return looks[-1].step if looks else None

    @cached_property
    def stale(self) -> dict[str, int]:
        """Migration entries that are left at the end, and the step from which nobody comes for them any more."""
        if self.scenes is None:
            return {}
        ended: dict[int, int] = {}
        for event in self.trace.events:
            if event.what == "walk" and event.a == RESTORE:
                ended[event.b] = event.step if event.c else 0
        changed = {name: step for step, changes in self.scenes.later for name in changes}
        return {
            name: max(ended[value[1]], changed.get(name, 0))
            for name, value in self.scenes.at(self.end).items()
            if name.startswith("pte:") and value[0] == "migration" and ended.get(value[1])
        }

    @cached_property
    def walkers(self) -> list[tuple[int, dict[str, Any]]]:
        """Where each walk of the reverse map is: ("walker:TASK": [kind, page, anon_vma, vma or ""]) by step, None at
        its end. In the form of Scenes.later."""
        found: list[tuple[int, dict[str, Any]]] = []
        walk: dict[int, list[Any]] = {}
        for event in self.trace.events:
            if event.what == "walk":
                walk[event.task] = [WALKS[event.a], event.b, 0, ""]
                if event.c:
                    del walk[event.task]
            elif event.what == "list" and event.task in walk:
                walk[event.task][2] = event.a
            elif event.what in ("look", "no-look", "huge-look") and event.task in walk:
                walk[event.task][3] = self.trace.vma(event.a)
            else:
                continue
            now = {f"walker:{event.task}": list(walk[event.task]) if event.task in walk else None}
            if found and found[-1][0] == event.step:
                found[-1][1].update(now)
            else:
                found.append((event.step, now))
        return found

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
            algorithm=chosen.name,
            trace=made.trace,
            kind=made.kind,
            schedule=made.schedule,
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
