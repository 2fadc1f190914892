"""Explorers of what was loaded: made, told what an execution is like, and asked why they ended.

A profile, run once per scenario and algorithm, says how long an execution is and what each task has in it; PCT's k,
URW's and SURW's counts and the livelock bound follow from it, and all of them depend on nothing but scenario, algorithm
and seed.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.records import Block, StormBlock
from anonvma_rt.engine.run.strategy import Strategy
from anonvma_rt.engine.run.subject import BuildRefused, BuildViolation
from anonvma_rt.engine.strategy import script
from anonvma_rt.engine.strategy.sticky import Sticky
from anonvma_rt.errors import ScenarioError
from anonvma_rt.subjects.protocols import Bound, Choice

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
    try:
        explorer = Explorer(program.make_subject(choice), strategy, **options)
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
        raise program.refusal(*explorer.refusal)
    if block.halt == "no-memory":
        raise MemoryError("no memory left for the subject or the search")
    return block


@dataclass(frozen=True)
class Profile:
    """What an execution is like, for Strategy.profiled and the livelock bound.

    steps: of a long execution; bound: at which one counts as a livelock. task_steps, task_marks: steps and interesting
    operations of each task.
    """

    steps: int
    bound: int
    task_steps: list[int]
    task_marks: list[int]

    def tell(self, strategy: Strategy) -> None:
        strategy.profiled(self.steps, self.task_steps, self.task_marks)


def profile(program: Bound, explorer: Explorer) -> Profile:
    """Of the sequential execution and, if that is short, of sixteen sticky walks: the longest, and the median of what
    each task has. On ^C, KeyboardInterrupt says where an execution was stuck, if one was."""
    try:
        return _profile(program, explorer)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_where_stuck(program, explorer)) from None


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
    if steps <= SHORT_PROFILE and sequential.halt != "stuck":
        for walk in range(WALKS):
            walked = checked(program, explorer, explorer.profile(Sticky(), walk, LONGEST_WALK))
            # One that does not end says nothing of how long an execution is.
            steps = max(steps, walked.longest if walked.longest < LONGEST_WALK else 0)
            tasks.append(walked.tasks)
            if walked.halt == "stuck":
                break
    middle = len(tasks) // 2
    columns = [[sorted(column)[middle] for column in zip(*task, strict=True)] for task in zip(*tasks, strict=True)]
    return Profile(
        steps, max(SMALLEST_BOUND, 20 * steps), [made for made, _ in columns], [marks for _, marks in columns]
    )


def prepare(explorer: Explorer, found: Profile) -> None:
    """Tells an explorer and its strategy what the profile found."""
    found.tell(explorer.strategy)
    explorer.bound = found.bound
