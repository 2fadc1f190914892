"""Guided learns within an epoch, and still execution i is execution i: however a hunt is cut, and whoever makes it."""

import pytest
from engine_programs import BUSY, explore, failures, split_digests, told

from anonvma_rt.engine.strategy import script
from anonvma_rt.engine.strategy.guided import Guided
from anonvma_rt.engine.strategy.portfolio import Portfolio
from anonvma_rt.engine.strategy.pos import Pos
from anonvma_rt.engine.strategy.random import Random
from anonvma_rt.execution.reproducer import Reproducer, replay
from anonvma_rt.lab.pump import Diverged
from anonvma_rt.litmus.litmus import Litmus
from anonvma_rt.litmus.program import Program
from anonvma_rt.search.hunt import hunt

EPOCHS = 512  # two of them
SHAPE = (27, [9, 9, 9])
# Each of six sets x and then y, and one more must see both or none.
REORDER = Program(
    [*([[("store", "x", 1), ("store", "y", 1)]] * 6), [("load", "x", "a"), ("load", "y", "b")]],
    forbidden=[{"6:a": 1, "6:b": 0}],
)
# The same where x is read last: then no order lets it be.
RIGHT = Program(
    [*([[("store", "x", 1), ("store", "y", 1)]] * 6), [("load", "y", "b"), ("load", "x", "a")]],
    forbidden=[{"6:a": 0, "6:b": 1}],
)


def guided(seed=5, **options):
    return explore(BUSY, told(Guided(), *SHAPE), seed=seed, **options)


@pytest.fixture(scope="module")
def whole():
    with guided() as explorer:
        return split_digests(explorer.run(0, 3 * EPOCHS))


def test_it_learns_within_an_epoch_and_begins_anew_with_the_next(whole):
    with explore(BUSY, told(Pos(), *SHAPE), seed=5) as explorer:
        plain = split_digests(explorer.run(0, 3 * EPOCHS))
    different = [sum(a != b for a, b in zip(whole[i:j], plain[i:j], strict=True)) for i, j in ((0, 512), (512, 1024))]
    assert all(count > 100 for count in different)
    with guided(seed=6) as explorer:
        assert split_digests(explorer.run(0, EPOCHS)) != whole[:EPOCHS]


@pytest.mark.parametrize(
    "cuts", [[0, 512, 1024], [0, 1, 2, 255, 257, 511, 513, 700, 1023, 1025], [1500, 700, 701, 3, 0]]
)
@pytest.mark.parametrize("carrier", ["threads", "fibers"])
def test_any_cut_makes_the_same_executions_on_each_carrier(whole, cuts, carrier):
    ends = [*cuts[1:], 3 * EPOCHS] if cuts == sorted(cuts) else [min(cut + 9, 3 * EPOCHS) for cut in cuts]
    with guided(carrier=carrier) as explorer:
        for first, end in zip(cuts, ends, strict=True):
            block = explorer.run(first, end - first)
            assert split_digests(block) == whole[first:end] and (block.first, block.ran) == (first, end - first)


def test_one_execution_made_again_is_the_same_and_leaves_the_rest_as_it_is(whole):
    with guided(carrier="fibers") as explorer:
        assert split_digests(explorer.run(0, 600)) == whole[:600]
        for index in (599, 17, 600, 1200):
            recorded = explorer.trace(index)
            assert recorded.digests == whole[index]
            # Its schedule makes it again without seed, index and what was learned.
            again = explorer.trace(0, script.replay(recorded.segments))
            assert (again.digests, again.events) == (recorded.digests, recorded.events)
            assert explorer.trace(index, until=5).halt == "until"
            assert explorer.trace(index).events == recorded.events
        assert split_digests(explorer.run(600, 600)) == whole[600:1200]
        # For another explorer, with another strategy in between.
        strategy = told(Guided(), *SHAPE)
        explorer.run_with(Random(), 0, 3)
        assert split_digests(explorer.run_with(strategy, 1000, 20)) == whole[1000:1020]
    with explore(BUSY, strategy, seed=5) as other:
        assert split_digests(other.run(1020, 20)) == whole[1020:1040]


def test_jobs_carriers_and_ranges_of_a_hunt_agree():
    def digests(start=0, runs=2000, **options):
        found = hunt("merge", algorithms=["unpatched"], strategy="guided", start=start, runs=runs, **options)
        one = found.results[0]
        return one.schedules_sha256, one.violations, one.indices, one.classes

    once = digests(carrier="fibers")
    assert once[2] and once == digests(carrier="fibers", jobs=2) == digests(carrier="threads")
    late = digests(start=700, runs=600, carrier="fibers", keep=2)
    assert late[2] == [index for index in once[2] if 700 <= index < 1300]
    assert late == digests(start=700, runs=600, carrier="threads", jobs=2)


def test_what_it_found_comes_again_from_its_file(tmp_path):
    found = hunt("merge", algorithms=["unpatched"], strategy="guided", start=900, runs=2000, out=tmp_path, keep=1)
    for kept in found.results[0].kept:
        reproducer = Reproducer.load(kept.reproducer)
        assert reproducer.strategy == "guided" and replay(reproducer).reproduced


def test_it_finds_what_is_wrong_sooner_than_pos_and_nothing_in_what_is_right():
    def first(program, strategy, seed, runs=3000):
        with explore(program, told(strategy, 20, [3] * 7), seed=seed, carrier="fibers") as explorer:
            found = failures(program, explorer.run(0, runs))
        return min(found, default=None)

    ours, theirs = ([first(REORDER, made(), seed) for seed in range(20)] for made in (Guided, Pos))
    assert None not in ours and sorted(ours)[10] < sorted(n if n is not None else 3000 for n in theirs)[10]
    assert first(RIGHT, Guided(), 0) is None


def test_as_a_member_of_a_portfolio_it_says_why_not():
    with pytest.raises(Diverged, match="it learns from one execution to the next"):
        hunt(Litmus.load("order"), {"pages": 2}, strategy=Portfolio([Pos(), Guided()]), runs=20)
