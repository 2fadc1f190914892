"""Executions of more tasks than a word has bits: 65, 128, 200 and the most. Tasks beyond the first word count as others
do, whoever decides and whoever searches."""

import random
from collections import Counter

import pytest
from engine_programs import CPU

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.run.subject import MOST_TASKS
from anonvma_rt.engine.search.dpor import Dpor
from anonvma_rt.engine.search.few import Few
from anonvma_rt.engine.search.probe import Probe
from anonvma_rt.engine.strategy import script
from anonvma_rt.engine.strategy.python import PyStrategy
from anonvma_rt.engine.strategy.random import Random
from anonvma_rt.lab.strategies import STRATEGIES, make_strategy
from anonvma_rt.litmus.program import Program

SIZES = [65, 128, 200, MOST_TASKS]
BODY = [("lock", "m"), ("add", "y", 1), ("unlock", "m"), ("load", "x", "r"), ("add", "x", 1)]
# Two that lose an update, and an await.
LOSE = [("load", "x", "r"), ("store", "x", 1)]


def explorer_of(threads, strategy, carrier="fibers", **more):
    return Explorer(Program(threads, **more), strategy, seed=3, cpu=CPU, carrier=carrier)


@pytest.mark.parametrize("tasks", SIZES)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_makes_the_same_executions_on_every_carrier_and_they_replay(strategy, tasks):
    digests = set()
    for carrier in ("fibers", "threads"):
        with explorer_of([BODY] * tasks, make_strategy(strategy), carrier) as explorer:
            block = explorer.run(0, 8)
            assert (block.ran, block.failures) == (8, [])
            traced = explorer.trace(5)
            assert {task for task, _ in traced.segments} == set(range(tasks))
            again = explorer.run_with(script.replay(traced.segments), 5, 1)
            assert again.digests == block.digests[40:48]
            digests.add(block.digests)
    assert len(digests) == 1


@pytest.mark.parametrize("tasks", SIZES)
def test_every_task_comes_first_some_time(tasks):
    for strategy in ("random", "urw", "pos", "pct", "starve", "sticky", "preempt"):
        with explorer_of([[]] * tasks, make_strategy(strategy)) as explorer:
            first = Counter(explorer.trace(i).segments[0][0] for i in range(1500))
        assert len(first) > 0.98 * tasks, (strategy, len(first))
        assert max(first.values()) < 40


def test_schedules_that_differ_in_a_task_only_have_digests_that_differ():
    orders = [list(range(129)), [64, *range(1, 64), 0, *range(65, 129)], [128, *range(1, 128), 0]]
    with explorer_of([[]] * 129, Random()) as explorer:
        made = {explorer.run_with(script.replay([(task, 1) for task in order]), 0, 1).digests for order in orders}
    assert len(made) == 3


@pytest.mark.parametrize("tasks", SIZES)
def test_who_can_not_go_on_is_named(tasks):
    with explorer_of([[("await", "x", 1)]] * (tasks - 1) + [[("await", "y", 0)]], Random()) as explorer:
        found = explorer.trace(0).finding
    assert found.kind == 1
    assert [i for i in range(300) if found.a >> i & 1] == list(range(tasks - 1))


@pytest.mark.parametrize("tasks", SIZES)
def test_a_lock_knows_its_owner_and_all_may_share_it(tasks):
    with explorer_of([[]] * (tasks - 2) + [[("lock", "a")], [("unlock", "a")]], script.replay()) as explorer:
        assert explorer.trace(0).finding.kind == 4  # the last one unlocks what is not its own
    shares = [("read_lock", "a"), ("add", "n", 1), ("await", "n", tasks), ("read_unlock", "a")]
    program = Program([shares] * tasks)
    with Explorer(program, Random(), cpu=CPU, carrier="fibers") as explorer:
        assert explorer.run(0, 20).failures == []
        assert program.values(explorer)["n"] == tasks


class Highest(PyStrategy):
    def choose(self, moment):
        return moment.enabled[-1]


def test_a_strategy_in_python_sees_all_of_them():
    with explorer_of([[]] * 200, Highest(), "threads") as explorer:
        assert [task for task, _ in explorer.trace(0).segments] == list(range(199, -1, -1))


# ---- searches --------------------------------------------------------------------------------------------------------


def searched(threads, preemptions=None):
    """How many executions of a search end how, with which final values; registers are numbered from the last thread."""
    program = Program(threads)
    ends, ran = Counter(), 0
    with Explorer(program, Dpor(preemptions), cpu=CPU, carrier="fibers") as explorer:
        while not explorer.strategy.exhausted:
            block = explorer.run(ran, 1)
            ran += block.ran + block.pruned
            values = frozenset(
                (name if ":" not in name else f"{int(name.split(':')[0]) - len(threads)}:{name.split(':')[1]}", value)
                for name, value in program.values(explorer).items()
                if value
            )
            ends[block.ran, tuple(kind for _, kind in block.failures), values if block.ran else None] += 1
    return ends


STEPS = [
    ("load", "x", "r"), ("store", "x", 1), ("add", "y", 1), ("load", "y", "s"), ("await", "y", 1), ("lock", "a"),
    ("unlock", "a"), ("read_lock", "b"), ("read_unlock", "b"), ("write_lock", "b"), ("write_unlock", "b"),
    ("trylock", "a", "t"), ("cas", "x", 0, 2, "u"),
]  # fmt: skip


@pytest.mark.parametrize("seed", range(40))
def test_a_search_is_the_same_whatever_the_numbers_of_its_tasks(seed):
    draw = random.Random(seed)
    threads = [[draw.choice(STEPS) for _ in range(draw.randint(1, 3))] for _ in range(draw.choice([2, 3, 3]))]
    # Of 65 one thread is in the second word, of 80 all are. (Of more, a task may share a lock less often.)
    padded = {n: [[]] * (n - len(threads)) + threads for n in (65, 66, 80)}
    for preemptions in (None, 1):
        plain = searched(threads, preemptions)
        for n, many in padded.items():
            # Who violates something ends it before or after others began: those are of one class.
            assert set(searched(many, preemptions)) == set(plain), (n, threads)
    if not any(kinds for _, kinds, _ in plain):
        assert searched(padded[80]) == searched(threads)


def test_a_search_goes_on_from_what_another_one_gave_away():
    threads = [[]] * 126 + [LOSE] * 4
    whole = sum(searched(threads).values())
    first, second = Dpor(), Dpor()
    visited = 0
    with explorer_of(threads, first) as one, explorer_of(threads, second) as other:
        visited += one.run(0, 5).ran
        part = first.dump()
        assert max(part["backtrack"]) > 1 << 64
        second.load(part)
        assert second.dump() == part
        while not second.exhausted:
            visited += other.run(0, 256).ran
    assert visited == whole


def test_how_many_classes_there_are_is_estimated_from_all_tasks():
    with explorer_of([[]] * 126 + [[("store", "x", 1)]] * 4, Probe()) as explorer:
        explorer.run(0, 400)
        weights = explorer.strategy.weights
    assert 20 < sum(weights) / len(weights) < 28  # 4! orders


def test_schedules_with_few_switches_are_all_different_and_can_be_made():
    with explorer_of([[]] * 100 + [LOSE, LOSE], Few(104, 1)) as explorer:
        block = explorer.run(0, 200)
        made = [explorer.strategy.segments(i) for i in range(block.ran + block.pruned)]
    made = [tuple(one) for one in made if one]
    assert len(set(made)) == len(made) > 100
    with explorer_of([[]] * 100 + [LOSE, LOSE], Random()) as explorer:
        for one in made[:20]:
            assert explorer.run_with(script.replay(one), 0, 1).ran == 1
