"""Explorers of what was loaded: made, told what an execution is like, and asked why they ended.

A profile, run once per scenario and algorithm, says how long an execution is and what each task has in it; PCT's k,
URW's and SURW's counts and the livelock bound follow from it, and all of them depend on nothing but scenario, algorithm
and seed.
"""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from anonvma_rt.engine.memory.buffers import TOO_MANY_VARIABLES, Buffers
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.records import Block, Place, StormBlock
from anonvma_rt.engine.run.strategy import Strategy
from anonvma_rt.engine.run.subject import BuildRefused, BuildViolation
from anonvma_rt.engine.search.places import Places
from anonvma_rt.engine.strategy import script
from anonvma_rt.engine.strategy.sticky import Sticky
from anonvma_rt.errors import ScenarioError, UserError, nearest, quote
from anonvma_rt.subjects.protocols import SC, Bound, Choice
from anonvma_rt.text.names import OPTION

__all__ = ["AUTO", "CARRIERS", "HUNT_CARRIERS", "Profile", "checked", "make_explorer", "prepare", "profile"]

# `parallel`, the third one, is not deterministic and belongs to storm alone.
CARRIERS = {
    "threads": "one OS thread per task, pooled, pinned to one core; deterministic",
    "fibers": "one stack per task on a single OS thread: the same executions, hash for hash, and faster",
}
AUTO = "auto"
HUNT_CARRIERS = {
    AUTO: "the default of hunts: searches on fibers, and makes violating executions again on threads"
} | CARRIERS

LONGEST_PROFILE = 1 << 26  # steps; a sequential execution that is longer counts as endless
SHORT_PROFILE = 100_000  # steps; up to this length a few random walks are part of the profile
LONGEST_WALK = 10 * SHORT_PROFILE
WALKS = 16
SMALLEST_BOUND = 20_000  # steps

AnyBlock = TypeVar("AnyBlock", bound=Block | StormBlock)


def make_explorer(
    program: Bound, choice: Choice, strategy: Any, *, bound: int | None = None, **options: Any
) -> Explorer:
    """An explorer of `program`, built. bound: steps that count as a livelock; options: those of Explorer. Raises
    ScenarioError where the setup does not do what is expected."""
    memory = Buffers(program.memory) if program.memory != SC else None
    try:
        explorer = Explorer(program.make_subject(choice), strategy, memory=memory, **options)
    except BuildRefused as error:
        raise program.build_refusal(error) from None
    except BuildViolation as error:
        raise ScenarioError(f"{program.scenario.source}: {error}") from None
    if bound is not None:
        explorer.bound = bound
    return explorer


def checked(program: Bound, explorer: Explorer, block: AnyBlock) -> AnyBlock:
    """The block that an explorer ended, unless that is an error: every halt becomes its exception here.

    Raises ScenarioError where a call of a thread did not return what is expected, and MemoryError. That it was stopped,
    or could not follow a schedule, is no error; of a strategy that follows none the Pump says otherwise.
    """
    program.learn(explorer)
    if block.halt == "refused":
        if explorer.refusal.errno == TOO_MANY_VARIABLES:
            raise UserError(
                f"{program.scenario.name}: --memory {program.memory}: {program.task_names()[explorer.refusal.task]} "
                f"stores to more than {explorer.refusal.step} variables, for which there are no buffers"
            )
        raise program.refusal(*explorer.refusal)
    if block.halt == "no-memory":
        raise MemoryError("no memory left for the subject or the search")
    return block


@dataclass(frozen=True)
class Profile:
    """What an execution is like, for Strategy.profiled and the livelock bound.

    steps: of a long execution; bound: at which one counts as a livelock. task_steps, task_marks: steps and interesting
    operations of each task. places: where the order of the tasks can matter; warnings: of names that order nothing.
    """

    steps: int
    bound: int
    task_steps: list[int]
    task_marks: list[int]
    places: list[Place]
    warnings: list[str] = field(default_factory=list)

    def tell(self, strategy: Strategy) -> None:
        strategy.profiled(self.steps, self.task_steps, self.task_marks)
        try:
            strategy.surveyed(self.places)
        except ValueError as error:
            raise UserError(str(error)) from None


def profile(program: Bound, explorer: Explorer) -> Profile:
    """Of the sequential execution and, if that is short, of sixteen sticky walks: the longest, and the median of what
    each task has. A long one is walked once, for its places. On ^C, KeyboardInterrupt says where an execution was
    stuck, if one was."""
    try:
        found = _profile(program, explorer)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_where_stuck(program, explorer)) from None
    return _named(program, explorer, found) if program.interesting else found


def names_of_places(program: Bound, explorer: Explorer) -> Callable[[int], str]:
    """Words for an offset, of an idle explorer, which then holds the state from which executions begin."""
    explorer.trace(0, script.replay(), until=1)
    return program.lock_names(explorer)


def _named(program: Bound, explorer: Explorer, found: Profile) -> Profile:
    """The profile with those places alone that have been named. An access that everybody makes under one lock is in the
    order of the lock: that is said where somebody named it."""
    guarded = [place for place in found.places if place.marked and place.under is not None and not place.acquired]
    if not guarded and not program.named_places:
        return found
    name = names_of_places(program, explorer)
    if program.named_places:
        chosen = _by_name(program, found.places, name)
        guarded = [place for place in chosen if place.under is not None]
        found = replace(found, places=[place._replace(under=None) for place in chosen])
    said = [
        f"{OPTION}: {name(place.offset)} is touched under {name(place.under)} alone, which decides the order: "
        "take the lock instead"
        for place in guarded
        if place.under is not None
    ]
    return replace(found, warnings=list(dict.fromkeys(said)))


def _by_name(program: Bound, places: list[Place], name: Callable[[int], str]) -> list[Place]:
    """Those places that have been named. Raises UserError where one is none."""
    by_name: dict[str, list[Place]] = {}
    for place in places:
        by_name.setdefault(name(place.offset), []).append(place)
    for wanted in program.named_places:
        if wanted not in by_name:
            there = ", ".join(sorted(by_name)) or "nothing"
            raise UserError(
                f"{program.scenario.source}: {OPTION}: {quote(wanted)} is nothing that several tasks touch and one "
                f"writes{nearest(wanted, by_name)}; there is {there}"
            )
    return [place for wanted in program.named_places for place in by_name[wanted]]


def _where_stuck(program: Bound, explorer: Explorer) -> str:
    """In words, of the execution that was interrupted; "" where it was not stuck. Makes it once more, which takes a
    second, for its history."""
    if explorer.idle and (block := explorer.collect()).halt == "stuck":
        explorer.stop.reset()
        for strategy in (script.replay(), Sticky()):
            recorded = explorer.trace(block.first, strategy)
            if recorded.crash is not None:
                return program.trace(recorded, explorer, program.before(explorer)).cause() or ""
    return ""


def _profile(program: Bound, explorer: Explorer) -> Profile:
    sequential = checked(program, explorer, explorer.profile(script.replay(), 0, LONGEST_PROFILE))
    steps = sequential.longest if sequential.longest < LONGEST_PROFILE else 0
    tasks = [sequential.tasks]
    short = steps <= SHORT_PROFILE
    with closing(Places(explorer)) as places:
        for walk in range((WALKS if short else 1) if sequential.halt != "stuck" else 0):
            walked = checked(program, explorer, explorer.profile(Sticky(), walk, LONGEST_WALK))
            if short:
                # One that does not end says nothing of how long an execution is.
                steps = max(steps, walked.longest if walked.longest < LONGEST_WALK else 0)
                tasks.append(walked.tasks)
            if walked.halt == "stuck":
                break
    middle = len(tasks) // 2
    columns = [[sorted(column)[middle] for column in zip(*task, strict=True)] for task in zip(*tasks, strict=True)]
    return Profile(
        steps,
        max(SMALLEST_BOUND, 20 * steps),
        [made for made, _ in columns],
        [marks for _, marks in columns],
        places.shared,
    )


def prepare(explorer: Explorer, found: Profile) -> None:
    """Tells an explorer and its strategy what the profile found."""
    found.tell(explorer.strategy)
    explorer.bound = found.bound
