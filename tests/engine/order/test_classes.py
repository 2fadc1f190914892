"""Observed executions: to which class of interleavings each belongs, compared with brute force, and at what it changes.

Two executions are of one class if they order all dependent operations alike (engine/order/relation.pxd).
"""

import random
from collections import defaultdict
from dataclasses import replace
from itertools import combinations_with_replacement, islice

import pytest
from engine_programs import BUSY, STRATEGIES, WRONG, explore
from hypothesis import assume, given
from interpreter import class_of, interleavings
from random_programs import small_programs, steps

from anonvma_rt import StopToken, UserError, hunt
from anonvma_rt.engine.strategy import script
from anonvma_rt.engine.strategy.pos import Pos
from anonvma_rt.engine.strategy.random import Random
from anonvma_rt.engine.strategy.sticky import Sticky
from anonvma_rt.lab.explorers import make_explorer, prepare, profile
from anonvma_rt.lab.strategies import make_strategy
from anonvma_rt.litmus.litmus import Litmus
from anonvma_rt.litmus.program import Program

MOST_INTERLEAVINGS = 700


def rows(block):
    return list(memoryview(block.classes).cast("Q"))


def observed(program, strategy, count, first=0, **options):
    with explore(program, strategy, carrier="fibers", **options) as explorer:
        explorer.observing = True
        return rows(explorer.run(first, count))


# ---- the number of classes -------------------------------------------------------------------------------------------


ORDER = [(1, 3, 2000), (2, 15, 20_000), (3, 84, 80_000), (4, 495, 600_000)]


@pytest.mark.parametrize(("pages", "count", "runs"), ORDER)
def test_a_hunt_of_order_sees_the_classes_that_there_are_and_no_more(pages, count, runs):
    result = hunt("order", {"pages": pages}, ["patched"], "pos", "fibers", runs=runs, classes=runs).results[0]
    assert (result.classes.observed, result.classes.distinct) == (runs, count)
    assert result.classes.executions_per_class == runs / count


def compare_with_brute_force(threads):
    """Every interleaving there is: one hash for each class, and one final state."""
    every = list(islice(interleavings(threads), MOST_INTERLEAVINGS + 1))
    if len(every) > MOST_INTERLEAVINGS:
        return False
    hashes, states = {}, {}
    program = Program([steps(thread) for thread in threads])
    starts = [(task, 1) for task in range(len(threads))]
    with explore(program, Random(), carrier="fibers") as explorer:
        explorer.observing = True
        for done, values in every:
            block = explorer.run_with(script.replay([*starts, *((task, 1) for task, _, _ in done)]), 0, 1)
            (one,) = rows(block)
            # The same class where the same hash, and the other way round; and the class says how it ends.
            assert hashes.setdefault(class_of(done), one) == one
            assert frozenset((name, value) for name, value in program.values(explorer).items() if value) == values
            state = values, tuple(block.failures)
            assert states.setdefault(one, state) == state
        assert len(states) == len(hashes)
        # Where the tasks begin is nobody's business.
        assert set(rows(explorer.run(0, 200))) <= states.keys()
    return True


@given(small_programs())
def test_there_are_as_many_hashes_as_classes_among_all_interleavings_of_a_program(threads):
    assume(compare_with_brute_force(threads))


def test_every_kind_of_operation_on_one_lock_and_one_variable():
    """The groups that commute within themselves: readers, those who wait, tries that fail; and no two of them."""
    tries, taken = ("trylock", "A", "t"), [("lock", "A"), ("unlock", "A")]
    for one, other in combinations_with_replacement(
        [[("wait", "A")], [tries], [("read_trylock", "A", "t")], [("read_lock", "A"), ("read_unlock", "A")], taken], 2
    ):
        assert compare_with_brute_force([one, other, taken])
    words = [("load", "x", "r"), ("store", "x", 1), ("add", "x", 1)]
    for three in combinations_with_replacement(words, 3):
        assert compare_with_brute_force([[step] for step in three])


def test_where_an_object_lies_is_no_difference():
    """Two allocations are ordered by the list that they go to and by nothing else, so not by addresses."""
    program = Program([[("new", "a"), ("new", "a")], [("new", "b")], [("store", "x", 1)]])
    assert len(set(observed(program, Random(), 500))) == 3


def test_two_tasks_that_do_the_same_are_two_tasks():
    program = Program([[("store", "x", 1)], [("store", "x", 1)]])
    assert len(set(observed(program, Random(), 100))) == 2


def test_waiting_for_a_value_is_ordered_with_what_changes_it():
    program = Program(
        [[("store", "x", 1), ("store", "x", 2), ("store", "x", 1)], [("await", "x", 1)], [("load", "x", "r")]]
    )
    # The one who waits goes on after the first or the last store; the load has four places of its own.
    assert len(set(observed(program, Random(), 2000))) == 2 * 4


def test_an_execution_may_use_more_objects_than_the_table_has_room_for_at_first():
    threads = [
        [("store", "first", task), *[("store", f"{name}{i}", 1) for i in range(500)], ("store", "last", task)]
        for task, name in enumerate("ab")
    ]
    hashes = observed(Program(threads), Sticky(50), 400)
    assert len(set(hashes)) == 4
    assert observed(Program(threads), Sticky(50), 1, first=399) == hashes[399:]


def test_what_was_done_to_an_object_is_known_when_the_table_has_grown():
    threads = [[("store", "x", 0), *[("store", f"a{i}", 1) for i in range(600)]], [("store", "x", 1)]]
    before, after = [(0, 2), (1, 2)], [(0, 602), (1, 2)]
    assert observed(Program(threads), script.replay(before), 1) == observed(Program(threads), script.replay(after), 1)


# ---- what it changes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", [BUSY, WRONG], ids=["busy", "wrong"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_observed_execution_makes_the_same_choices(strategy, program):
    blocks = defaultdict(list)
    for carrier in ("threads", "fibers"):
        with explore(program, STRATEGIES[strategy](), carrier=carrier, seed=5) as explorer:
            for observing in (False, True, False):
                explorer.observing = observing
                block = explorer.run(0, 100)
                blocks[observing].append(block.classes)
                blocks["all"].append(replace(block, classes=b""))
    assert all(block == blocks["all"][0] for block in blocks["all"])
    assert set(blocks[False]) == {b""}
    # And the classes are the same on both carriers.
    assert blocks[True][0] == blocks[True][1] != b""


def test_the_class_of_an_execution_depends_on_nothing_that_was_before():
    with explore(BUSY, Random(), carrier="fibers") as explorer:
        explorer.observing = True
        whole = rows(explorer.run(0, 300))
        assert [rows(explorer.run(i, 1))[0] for i in reversed(range(300))] == whole[::-1]
        assert len(set(whole)) > 30
        # Nor on whether its history is recorded.
        assert rows(explorer.trace(17)) == [whole[17]]


def test_a_busy_explorer_is_not_told_to_observe():
    with explore(Program([[("store", "x", 1)] * 1000] * 2)) as explorer:
        explorer.submit(0, 10_000)
        with pytest.raises(RuntimeError, match="busy"):
            explorer.observing = True


# ---- in a hunt -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", ["merge", "reused-root", "fork-child-first", "order"])
def test_the_classes_of_a_hunt_do_not_depend_on_how_the_work_is_done(scenario):
    counted = [
        [
            r.classes
            for r in hunt(scenario, strategy="portfolio", carrier=carrier, jobs=jobs, runs=900, classes=700).results
        ]
        for carrier, jobs in (("fibers", 1), ("fibers", 3), ("threads", 2))
    ]
    assert counted[0] == counted[1] == counted[2]
    assert all(one.observed == 700 and one.distinct > 1 for one in counted[0])


def test_the_first_executions_are_counted_and_no_others():
    def count(**options):
        return (
            hunt("merge", algorithms=["unpatched"], strategy="sticky", carrier="fibers", **options).results[0].classes
        )

    some = count(runs=5000, classes=1000, start=300)
    assert some == count(runs=1000, start=300)
    assert some != count(runs=1000)
    assert count(runs=50, classes=0) is None
    assert count(runs=1, start=2**64 - 1).observed == 1
    for wrong in (-1, (1 << 22) + 1):
        with pytest.raises(UserError, match=f"--classes must be from 0 to 4194304, not {wrong}"):
            count(runs=1, classes=wrong)


def test_a_hunt_that_is_stopped_counts_what_it_did():
    token = StopToken()
    draw = random.Random(0)

    def stop(algorithm, executions):
        if draw.random() < 0.2:
            token.stop()

    result = hunt("merge", runs=10**9, jobs=2, classes=1 << 22, stop=token, progress=stop).results[0]
    assert result.classes.observed == result.executions > 0


def test_what_is_never_done_under_a_strategy_is_unseen_and_the_bound_does_not_know_it():
    """Why it is no proof: without preemptions these two classes of four have no probability."""
    code = ["load x a", "store x 1"]
    lost = Litmus.of("lost", {"A": code, "B": ["load x b", "store x 2"]})
    seen = {
        strategy: hunt(lost, strategy=strategy, runs=3000).results[0].classes for strategy in ("preempt:bound=0", "pos")
    }
    assert seen["preempt:bound=0"].distinct == 2 < seen["pos"].distinct == 4
    assert seen["preempt:bound=0"].unseen_upper_95 < 0.003


def test_the_searched_classes_are_those_that_other_strategies_see():
    program = Litmus.load("order").bind({"pages": 2})
    seen = []
    for strategy in (Pos(), make_strategy("random"), make_strategy("portfolio")):
        with make_explorer(program, program.choose("patched"), strategy, carrier="fibers") as explorer:
            prepare(explorer, profile(program, explorer))
            explorer.observing = True
            seen.append(set(rows(explorer.run(0, 20_000))))
    assert seen[0] == seen[1] == seen[2] and len(seen[0]) == 15
