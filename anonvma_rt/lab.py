"""From the words of a user to the parts of the engine: subjects, strategies, explorers ready to run.

What hunt, replay and every later verb share. A profile, run once per scenario and algorithm, says how long an execution
is; PCT's k and the livelock bound follow from it, and both depend on nothing but the scenario and the algorithm.
"""

from collections.abc import Mapping
from typing import Any

from anonvma_rt.algorithm import Algorithm
from anonvma_rt.engine.explorer import Explorer
from anonvma_rt.engine.strategy.pct import Pct
from anonvma_rt.engine.strategy.random import Random
from anonvma_rt.engine.strategy.replay import Replay
from anonvma_rt.engine.strategy.sticky import Sticky
from anonvma_rt.errors import ScenarioError, UserError, nearest, quote
from anonvma_rt.mm.kernel import Kernel, Refused
from anonvma_rt.scenario import Program, explain_refusal

__all__ = ["CARRIERS", "DEFAULT_STRATEGY", "STRATEGIES", "make_explorer", "make_strategy", "make_subject", "profile"]

CARRIERS = {"threads": "one OS thread per task, pooled, pinned to one core; deterministic"}
STRATEGIES: dict[str, tuple[Any, str]] = {
    "pct": (Pct, "random priorities and depth-1 change points (ASPLOS 2010); depth=3"),
    "random": (Random, "every enabled task is equally likely at each point"),
    "sticky": (Sticky, "the running task goes on with probability (n-1)/n; n=8"),
}
DEFAULT_STRATEGY = "pct"

LONGEST_PROFILE = 1 << 26  # steps; a sequential execution that is longer counts as endless
SHORT_PROFILE = 100_000  # steps; up to this length a few random walks are part of the profile
SMALLEST_BOUND = 20_000  # steps


def make_strategy(text: str) -> Any:
    """The strategy that `NAME` or `NAME:parameter=value,...` stands for. Raises UserError with the nearest name.

    >>> make_strategy("pct:depth=5").parameters()
    {'depth': 5}
    """
    name, _, rest = text.partition(":")
    if name not in STRATEGIES:
        raise UserError(f"unknown strategy {quote(name)}{nearest(name, STRATEGIES)}")
    made, values = STRATEGIES[name][0], {}
    known = made().parameters()
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


def make_subject(program: Program, algorithm: Algorithm) -> Kernel:
    """The simulated kernel that runs `program` under `algorithm`."""
    return Kernel(
        algorithm.as_dict(),
        len(program.processes),
        program.setup,
        [thread.steps for thread in program.threads],
        program.after,
    )


def make_explorer(program: Program, algorithm: Algorithm, strategy: Any, **options: Any) -> Explorer:
    """An explorer of `program`, built. Raises ScenarioError where the simulated kernel refuses a step of setup."""
    try:
        return Explorer(make_subject(program, algorithm), strategy, **options)
    except Refused as refused:
        raise ScenarioError(explain_refusal(program.setup[refused.index], refused.errno)) from None


def refusal(program: Program, explorer: Explorer) -> ScenarioError:
    """The error for a block that ended because a step of a thread did not return what the scenario expects."""
    task, step, errno = explorer.refusal
    steps = program.threads[task].steps if task < len(program.threads) else program.after
    return ScenarioError(explain_refusal(steps[step], errno))


def profile(program: Program, explorer: Explorer) -> Mapping[str, int]:
    """Steps of a typical long execution (`steps`) and the number at which one counts as a livelock (`bound`).

    The sequential execution and, if it is short, sixteen sticky walks; the longest counts.
    """
    sequential = explorer.run_with(Replay(), 0, 1, LONGEST_PROFILE)
    if sequential["halt"] == "refused":
        raise refusal(program, explorer)
    endless = sequential["longest"] >= LONGEST_PROFILE
    steps = 0 if endless else sequential["longest"]
    if steps <= SHORT_PROFILE:
        walks = explorer.run_with(Sticky(), 0, 16, SHORT_PROFILE * 10)
        if walks["halt"] == "refused":
            raise refusal(program, explorer)
        steps = max(steps, walks["longest"])
    return {"steps": steps, "bound": max(SMALLEST_BOUND, 20 * steps)}
