"""From the words of a user to the parts of the engine: subjects, strategies, explorers ready to run.

What hunt, replay and every later verb share. A profile, run once per scenario and algorithm, says how long an execution
is and what each task has in it; PCT's k, URW's and SURW's counts and the livelock bound follow from it, and all of them
depend on nothing but scenario, algorithm and seed.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from anonvma_rt.engine.run.explorer import BuildRefused, BuildViolation, Explorer
from anonvma_rt.engine.strategy import script
from anonvma_rt.engine.strategy.base import Strategy
from anonvma_rt.engine.strategy.delay import Delay
from anonvma_rt.engine.strategy.pct import Pct
from anonvma_rt.engine.strategy.portfolio import Portfolio
from anonvma_rt.engine.strategy.pos import Pos
from anonvma_rt.engine.strategy.preempt import Preempt
from anonvma_rt.engine.strategy.random import Random
from anonvma_rt.engine.strategy.starve import Starve
from anonvma_rt.engine.strategy.sticky import Sticky
from anonvma_rt.engine.strategy.surw import Surw
from anonvma_rt.engine.strategy.urw import Urw
from anonvma_rt.errors import ScenarioError, UserError, nearest, quote
from anonvma_rt.kernel.scenario import Scenario
from anonvma_rt.litmus.file import is_litmus
from anonvma_rt.litmus.litmus import Litmus
from anonvma_rt.own.gate import find, is_own, name_of
from anonvma_rt.own.subject import Embedded, is_embedded, subject_named_in
from anonvma_rt.subjects.protocols import Bound, Choice, Described
from anonvma_rt.text.files import read_text

__all__ = [
    "AUTO",
    "CARRIERS",
    "DEFAULT_STRATEGY",
    "HUNT_CARRIERS",
    "STRATEGIES",
    "described_by",
    "load",
    "make_explorer",
    "make_strategy",
    "make_subject",
    "names_of_all",
    "prepare",
    "profile",
    "smallest",
    "strategy_name",
    "with_values",
]

# `parallel`, the third one, is not deterministic and belongs to storm alone.
CARRIERS = {
    "threads": "one OS thread per task, pooled, pinned to one core; deterministic",
    "fibers": "one stack per task on a single OS thread: the same executions, hash for hash, and faster",
}
AUTO = "auto"
HUNT_CARRIERS = CARRIERS | {AUTO: "for hunts: searches on fibers, and makes violating executions again on threads"}
STRATEGIES: dict[str, tuple[Any, str]] = {
    "portfolio": (Portfolio, "three times surw, then one of pct, pos, sticky, preempt, urw, starve, delay in turn"),
    "surw": (Surw, "every order of the interesting operations is equally likely (ASPLOS 2025)"),
    "pct": (Pct, "random priorities and depth-1 change points (ASPLOS 2010); depth=3"),
    "pos": (Pos, "random priorities of operations, drawn again after a race (CAV 2018)"),
    "urw": (Urw, "every interleaving is about equally likely: weights are the steps left (ASPLOS 2025)"),
    "delay": (Delay, "round robin that passes over a task at few random steps (POPL 2011); delays=2"),
    "preempt": (Preempt, "few preemptions at random steps (PLDI 2007); bound=2"),
    "starve": (Starve, "one task gets no step at all, for log-uniform windows (rr chaos mode)"),
    "sticky": (Sticky, "the running task goes on with probability (n-1)/n; n=8"),
    "random": (Random, "every enabled task is equally likely at each point"),
}
DEFAULT_STRATEGY = "portfolio"

LONGEST_PROFILE = 1 << 26  # steps; a sequential execution that is longer counts as endless
SHORT_PROFILE = 100_000  # steps; up to this length a few random walks are part of the profile
LONGEST_WALK = 10 * SHORT_PROFILE
WALKS = 16
SMALLEST_BOUND = 20_000  # steps


def names_of_all() -> list[str]:
    """The names of the built-in scenarios, and then those of the litmus tests.

    >>> "sb" in names_of_all()
    True
    """
    return [*Scenario.builtin_names(), *Litmus.builtin_names()]


def load(name_or_path: str, own: Iterable[Embedded] = ()) -> Described:
    """A built-in scenario or litmus test by name, or any by path: what contains a / or ends in .toml is a path.

    own: the user's own subjects, which may be named as well. Nothing is imported here: a name can come from a file.

    >>> load("sb").name, load("merge").name
    ('sb', 'merge')
    """
    if "/" in name_or_path or name_or_path.endswith(".toml"):
        return described_by(read_text(name_or_path), name_or_path, own)
    if is_own(name_or_path):
        return find(name_or_path, own, "scenario", "--subject")
    if name_or_path in Litmus.builtin_names():
        return Litmus.load(name_or_path)
    if name_or_path not in Scenario.builtin_names():
        hint = nearest(name_or_path, names_of_all())
        raise ScenarioError(f"unknown scenario {quote(name_or_path)}{hint}; a file's path ends in .toml")
    return Scenario.load(name_or_path)


def smallest(described: Described) -> dict[str, int]:
    """The least value of each number among its parameters; switches stay as they are.

    >>> smallest(load("order"))
    {'pages': 1}
    """
    return {
        p.name: -(-p.minimum // p.multiple_of) * p.multiple_of
        for p in described.parameters.values()
        if not isinstance(p.default, bool)
    }


def described_by(text: str, source: str, own: Iterable[Embedded] = ()) -> Described:
    """What a TOML text describes: a litmus test if it has the key `litmus`, one of the user's own subjects if it has
    the key `subject`, else a scenario. Raises UserError where such a subject is not among `own`, or is another now."""
    if "subject" in text and is_embedded(text, source):
        found: Embedded = find(subject_named_in(text, source), own, source, "--subject")
        if found.text != text:
            raise ScenarioError(f"{source}: {found.source} has other parameters or variants by now: hunt it again")
        return found
    return Litmus.from_text(text, source) if is_litmus(text, source) else Scenario.from_text(text, source)


def make_strategy(spec: str | Strategy) -> Any:
    """A fresh strategy: what `NAME` or `NAME:parameter=value,...` stands for, or one like the given one, which may be
    of the user's own. Raises UserError with the nearest name. Nothing is imported: the text can come from a file.

    >>> make_strategy("pct:depth=5").parameters()
    {'depth': 5}
    """
    if not isinstance(spec, str):
        return spec.clone()
    name, _, rest = spec.partition(":")
    if name not in STRATEGIES:
        if is_own(spec):
            raise UserError(f"strategy {quote(spec)} is code of your own, which no file may start (--strategy may)")
        raise UserError(f"unknown strategy {quote(name)}{nearest(name, STRATEGIES)}")
    return with_values(STRATEGIES[name][0], name, rest)


def strategy_name(spec: str | Strategy) -> str:
    """How a strategy is called in results and reproducers.

    >>> strategy_name("pct:depth=5")
    'pct:depth=5'
    """
    if isinstance(spec, str):
        return spec
    values = ",".join(f"{key}={value}" for key, value in spec.parameters().items())
    name = spec.name if STRATEGIES.get(spec.name, (None,))[0] is type(spec) else name_of(type(spec))
    return f"{name}:{values}" if values else name


def with_values(made: type, name: str, rest: str) -> Any:
    """An object of the class `made` with the values in `parameter=value,...`. Raises UserError."""
    values = {}
    try:
        known = made().parameters()
    except Exception as error:
        raise UserError(f"strategy {name}: {type(error).__name__}: {error}") from error
    for assignment in filter(None, rest.split(",")):
        key, equals, value = (part.strip() for part in assignment.partition("="))
        if key not in known:
            raise UserError(f"strategy {name}: unknown parameter {quote(key)}{nearest(key, known)}")
        if not equals or not value.isdecimal():
            raise UserError(f"strategy {name}: {key} must be a whole number, not {quote(value)}")
        values[key] = int(value)
    try:
        return made(**values)
    except (ValueError, OverflowError) as error:
        raise UserError(str(error)) from None


def make_subject(program: Bound, algorithm: Choice) -> Any:
    """The subject that runs `program` under `algorithm`: a simulated kernel, or an engine.program.Program."""
    return program.make_subject(algorithm)


def make_explorer(program: Bound, algorithm: Choice, strategy: Any, **options: Any) -> Explorer:
    """An explorer of `program`, built. Raises ScenarioError where the simulated kernel refuses a step of setup."""
    try:
        return Explorer(make_subject(program, algorithm), strategy, **options)
    except BuildRefused as error:
        raise program.build_refusal(error) from None
    except BuildViolation as error:
        raise ScenarioError(f"{program.scenario.source}: {error}") from None


def refusal(program: Bound, explorer: Explorer) -> ScenarioError:
    """The error for a block that ended because a step of a thread did not return what the scenario expects."""
    return program.refusal(*explorer.refusal)


def profile(program: Bound, explorer: Explorer) -> dict[str, Any]:
    """What an execution of `program` is like, for Strategy.profiled and the livelock bound.

    `steps` of a long execution, and `bound`, at which one counts as a livelock: the longest of the sequential execution
    and, if that is short, of sixteen sticky walks. `task_steps`, `task_marks`: steps and interesting operations of each
    task, the median over all of these.
    """
    sequential = explorer.profile(script.replay(), 0, LONGEST_PROFILE)
    if sequential.halt == "refused":
        raise refusal(program, explorer)
    endless = sequential.longest >= LONGEST_PROFILE
    steps = 0 if endless else sequential.longest
    tasks = [sequential.tasks]
    if steps <= SHORT_PROFILE:
        for walk in range(WALKS):
            walked = explorer.profile(Sticky(), walk, LONGEST_WALK)
            if walked.halt == "refused":
                raise refusal(program, explorer)
            # One that does not end says nothing of how long an execution is.
            steps = max(steps, walked.longest if walked.longest < LONGEST_WALK else 0)
            tasks.append(walked.tasks)
    middle = len(tasks) // 2
    columns = [[sorted(column)[middle] for column in zip(*task, strict=True)] for task in zip(*tasks, strict=True)]
    return {
        "steps": steps,
        "bound": max(SMALLEST_BOUND, 20 * steps),
        "task_steps": [made for made, _ in columns],
        "task_marks": [marks for _, marks in columns],
    }


def prepare(explorer: Explorer, shape: Mapping[str, Any]) -> None:
    """Tells an explorer and its strategy what the profile found."""
    explorer.strategy.profiled(shape["steps"], shape["task_steps"], shape["task_marks"])
    explorer.bound = shape["bound"]
