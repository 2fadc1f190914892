"""For each strategy a bug that it finds and a weaker one misses; and the portfolio finds them all."""

import pytest
from engine_draws import shape_of
from engine_programs import explore, failures, told

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
from anonvma_rt.litmus.program import Program


def away(n):
    """n steps that concern nobody else."""
    return [("load", "own", "o")] * n


def marked(threads):
    return [[("!" + verb, *rest) if rest[0] == "x" else (verb, *rest) for verb, *rest in thread] for thread in threads]


# Each of two reads has to fall between two writes, which are far from each other.
BETWEEN = (
    [[*away(60), ("store", "x", 1), *away(60), ("store", "x", 2), *away(60), ("store", "x", 3)],
     [("load", "x", "r"), ("load", "x", "q")]],
    {"1:r": 1, "1:q": 2},
)  # fmt: skip
# The same without anything that says what is interesting, and nearer.
NEARER = (
    [[*away(25), ("store", "x", 1), *away(25), ("store", "x", 2)], [("load", "x", "r")]],
    {"1:r": 1},
)
# A read after a write that comes late.
LATE = ([[*away(20), ("store", "x", 1)], [("load", "x", "r")]], {"1:r": 1})
# Three changes of task in the midst of things, of which one is an end.
TURNS = (
    [[("store", "x", 1), ("store", "x", 2)], [("load", "x", "r"), ("load", "x", "q")]],
    {"1:r": 1, "1:q": 2},
)
# Task 1 begins before task 0 and is kept away until its end.
KEPT_AWAY = (
    [[("store", "x", 1), *away(100), ("store", "y", 1)], [("load", "x", "r"), ("load", "y", "q")]],
    {"1:r": 0, "1:q": 1},
)
# Each read right after another write: ten operations in one order.
IN_STEP = (
    [[("store", "x", i) for i in (1, 2, 3, 4, 5)], [("load", "x", f"r{i}") for i in (1, 2, 3, 4)]],
    {f"1:r{i}": i for i in (1, 2, 3, 4)},
)
# Two reads that come late and far from each other, each between two writes that do, too.
ABREAST = (
    [[*away(20), ("store", "x", 1), *away(20), ("store", "x", 2), *away(20), ("store", "x", 3)],
     [*away(20), ("load", "x", "r"), *away(20), ("load", "x", "q")]],
    {"1:r": 1, "1:q": 2},
)  # fmt: skip
# As BETWEEN, and so far that nobody gets there by luck.
FAR_BETWEEN = (
    [[*away(300), ("store", "x", 1), *away(300), ("store", "x", 2), *away(300), ("store", "x", 3)],
     [("load", "x", "r"), ("load", "x", "q")]],
    {"1:r": 1, "1:q": 2},
)  # fmt: skip


def program_of(bug, marks=False):
    threads, outcome = bug
    return Program(marked(threads) if marks else threads, forbidden=[outcome])


def hits(program, strategy, count=4000):
    with explore(program, told(strategy, *shape_of(program)), seed=11) as explorer:
        return len(failures(program, explorer.run(0, count)))


# a bug, whether its interesting operations are marked, who finds it in how many of 4000 at least, who misses it
KNOWN = {
    "surw": (BETWEEN, True, Surw(), 300, [Random(), Sticky(), Pct(2), Preempt(1)]),
    "urw": (NEARER, False, Urw(), 1000, [Random()]),
    "pos": (LATE, False, Pos(), 80, [Random()]),
    "random": (IN_STEP, False, Random(), 3, [Pct(3), Preempt(2), Delay(2), Sticky(), Starve()]),
    "sticky": (ABREAST, False, Sticky(), 300, [Pct(3), Preempt(2), Delay(2)]),
    "pct": (TURNS, False, Pct(3), 30, [Pct(2), Pct(1), Delay(1), Preempt(1)]),
    "delay": (TURNS, False, Delay(2), 40, [Delay(1), Delay(0)]),
    "preempt": (TURNS, False, Preempt(2), 40, [Preempt(1), Preempt(0), Pct(2)]),
    "starve": (KEPT_AWAY, False, Starve(), 10, [Random(), Sticky(), Delay(0), Preempt(0)]),
}


@pytest.mark.parametrize("name", KNOWN)
def test_it_finds_what_a_weaker_one_misses(name):
    bug, marks, strategy, least, weaker = KNOWN[name]
    program = program_of(bug, marks)
    assert hits(program, strategy) >= least
    assert [hits(program, other) for other in weaker] == [0] * len(weaker)


ALL = [BETWEEN, NEARER, LATE, TURNS, KEPT_AWAY, IN_STEP, ABREAST, FAR_BETWEEN]


@pytest.mark.parametrize("bug", ALL)
@pytest.mark.parametrize("marks", [False, True])
def test_the_portfolio_finds_every_one_of_them(bug, marks):
    assert hits(program_of(bug, marks), Portfolio()) > 0


def test_no_member_of_the_portfolio_finds_all_that_it_finds():
    programs = [program_of(bug) for bug in ALL]
    for member in Portfolio().members:
        assert not all(hits(program, member) for program in programs), member.name


def test_the_chance_of_surw_does_not_fall_with_length():
    """Three operations decide: one order of three. PCT's chance falls as one over the length."""

    def chance(length, strategy):
        threads = [[*away(length), ("store", "x", 1), *away(length), ("store", "x", 2)], [("load", "x", "r")]]
        return hits(program_of((threads, {"1:r": 1}), True), strategy, 2000) / 2000

    assert [chance(n, Surw()) for n in (0, 10, 1000)] == pytest.approx([1 / 3] * 3, abs=0.05)
    assert chance(1000, Random()) == 0
