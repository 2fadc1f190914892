"""From the words of a user to strategies: the table of the built-in ones, and `NAME:parameter=value,...`."""

from typing import Any

from anonvma_rt.engine.run.strategy import Strategy
from anonvma_rt.engine.strategy.delay import Delay
from anonvma_rt.engine.strategy.guided import Guided
from anonvma_rt.engine.strategy.pct import Pct
from anonvma_rt.engine.strategy.portfolio import Portfolio
from anonvma_rt.engine.strategy.pos import Pos
from anonvma_rt.engine.strategy.preempt import Preempt
from anonvma_rt.engine.strategy.random import Random
from anonvma_rt.engine.strategy.starve import Starve
from anonvma_rt.engine.strategy.sticky import Sticky
from anonvma_rt.engine.strategy.surw import Surw
from anonvma_rt.engine.strategy.urw import Urw
from anonvma_rt.errors import UserError, nearest, quote
from anonvma_rt.own.gate import is_own, name_of

__all__ = ["DEFAULT_STRATEGY", "STRATEGIES", "make_strategy", "strategy_name", "with_values"]

STRATEGIES: dict[str, tuple[Any, str]] = {
    "portfolio": (
        Portfolio,
        "three times surw, then in turn surw with draw=1, pos, sticky, pct, starve, urw, preempt, delay",
    ),
    "surw": (
        Surw,
        "every order of what is interesting, or of what is done at a place, is equally likely; place=0, draw=0",
    ),
    "pct": (Pct, "random priorities and depth-1 change points (ASPLOS 2010); depth=3"),
    "pos": (Pos, "random priorities of operations, drawn again after a race (CAV 2018)"),
    "guided": (Guided, "changed a little from those that showed a new pair of accesses (ASPLOS 2024)"),
    "urw": (Urw, "every interleaving is about equally likely: weights are the steps left (ASPLOS 2025)"),
    "delay": (Delay, "round robin that passes over a task at few random steps (POPL 2011); delays=2"),
    "preempt": (Preempt, "few preemptions at random steps (PLDI 2007); bound=2"),
    "starve": (Starve, "one task gets no step at all, for log-uniform windows (rr chaos mode)"),
    "sticky": (Sticky, "the running task goes on with probability (n-1)/n; n=8"),
    "random": (Random, "every enabled task is equally likely at each point"),
}
DEFAULT_STRATEGY = "portfolio"


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
