"""The portfolio takes turns by index; counts of the profile; and what is true of every strategy of the lab."""

import pytest
from engine_draws import shape_of
from engine_programs import BUSY, CPU, explore, split_digests, told

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.strategy import script
from anonvma_rt.engine.strategy.delay import Delay
from anonvma_rt.engine.strategy.pct import Pct
from anonvma_rt.engine.strategy.portfolio import Portfolio
from anonvma_rt.engine.strategy.preempt import Preempt
from anonvma_rt.engine.strategy.random import Random
from anonvma_rt.kernel.algorithm import Algorithm
from anonvma_rt.kernel.scenario import Scenario
from anonvma_rt.lab.explorers import make_explorer, profile
from anonvma_rt.lab.strategies import DEFAULT_STRATEGY, STRATEGIES, make_strategy
from anonvma_rt.litmus.program import Program

SHAPE = (27, [9, 9, 9])
MARKS = [2, 1, 1]


def digests(strategy, count=160, marks=(0, 0, 0), first=0):
    with explore(BUSY, told(strategy, *SHAPE, marks), seed=5) as explorer:
        return split_digests(explorer.run(first, count))


@pytest.mark.parametrize("marks", [[0, 0, 0], MARKS])
def test_execution_i_is_execution_i_of_the_member_whose_turn_it_is(marks):
    members = Portfolio().members
    assert {m.name for m in members} == {"surw", "pct", "pos", "sticky", "preempt", "urw", "starve", "delay"}
    others = len(members) - 1
    alone = [digests(member.clone(), marks=marks) for member in members]
    together = digests(Portfolio(), marks=marks)
    for index, digest in enumerate(together):
        turns = (0, 0, 0, 1 + index // 4 % others) if any(marks) else (1 + index % others,)
        assert digest == alone[turns[index % len(turns)]][index]


@pytest.mark.parametrize("name", STRATEGIES)
def test_pieces_clones_and_runs_with_history_make_the_same_executions(name):
    whole = digests(make_strategy(name), 60, MARKS)
    assert digests(make_strategy(name).clone(), 30, MARKS, first=30) == whole[30:]
    with explore(BUSY, told(make_strategy(name), *SHAPE, MARKS), seed=5) as explorer:
        assert [explorer.trace(i).digests for i in reversed(range(60))] == whole[::-1]


@pytest.mark.parametrize("name", STRATEGIES)
def test_each_has_its_name_its_parameters_and_a_line(name):
    made, line = STRATEGIES[name]
    assert (made().name, made().clone().parameters()) == (name, made().parameters())
    assert line and "\n" not in line
    for key, value in made().parameters().items():
        assert f"{key}={value}" in line


def test_the_portfolio_is_the_usual_strategy_and_the_first_that_is_offered():
    assert next(iter(STRATEGIES)) == DEFAULT_STRATEGY == "portfolio"


def test_members_of_ones_own():
    portfolio = Portfolio([Random(), Pct(5), Pct(2)])
    twin = portfolio.clone()
    with Explorer(BUSY, told(portfolio, *SHAPE), cpu=CPU) as one, Explorer(BUSY, told(twin, *SHAPE), cpu=CPU) as two:
        assert one.run(0, 50) == two.run(0, 50)
    # One whose schedule is fixed keeps its lease, whoever had the turn before.
    fixed = [(0, 3), (1, 1), (2, 4), (0, 2)]
    mixed = digests(Portfolio([Random(), Pct(2), script.replay(fixed)]), 12)
    assert mixed[1::2] == digests(script.replay(fixed), 12)[1::2]
    for members in ([], [Random()], [Random()] * 65):
        with pytest.raises(ValueError, match=f"strategy portfolio: 2 to 64 members, not {len(members)}"):
            Portfolio(members)
    with pytest.raises(TypeError):
        Portfolio([Random(), "pct"])


@pytest.mark.parametrize("number", [-1, 33])
def test_bounds_that_are_none(number):
    with pytest.raises(ValueError, match=f"strategy delay: delays must be from 0 to 32, not {number}"):
        Delay(number)
    with pytest.raises(ValueError, match=f"strategy preempt: bound must be from 0 to 32, not {number}"):
        Preempt(number)


def test_the_profile_counts_steps_and_marks_of_each_task():
    program = Program([[("!lock", "a"), ("!unlock", "a"), ("load", "x", "r")], [("store", "x", 1)]])
    assert shape_of(program) == (6, [4, 2], [2, 0])
    with pytest.raises(ValueError, match="unknown verb '!lock'"):
        Program([[("!!lock", "a")]])


def test_a_mark_changes_nothing_for_those_who_do_not_look():
    plain = [("lock", "a"), ("add", "x", 1), ("unlock", "a")]
    marked = [("!" + verb, *rest) for verb, *rest in plain]
    for strategy in (Random, Pct, Delay):
        runs = []
        for threads in ([plain, plain], [marked, marked]):
            with explore(Program(threads), told(strategy(), 8, (4, 4)), seed=2) as explorer:
                runs.append(explorer.run(0, 200))
        assert runs[0] == runs[1]


def test_the_profile_of_the_kernel_finds_the_locks_of_the_page_that_migrates():
    """The move takes the lock once, a migration to unmap the page and at each place where it looks to restore it: the
    same however many pages move."""
    for pages in (4, 16, 256):
        program = Scenario.load("lkml-2011").bind({"pages": pages})
        found = []
        for _ in range(2):
            with make_explorer(program, Algorithm.parse("unpatched"), make_strategy("surw")) as explorer:
                found.append(profile(program, explorer))
        assert found[0] == found[1]
        assert found[0].task_marks[0] == 1
        assert 2 <= found[0].task_marks[1] <= 3
