"""Rule 1: a schedule is a pure function of (program, strategy, seed, execution index).

Each test computes the same executions in two circumstances and compares their digests, which cover every choice.
"""

from itertools import pairwise

import pytest
from engine_programs import BUSY, CORES, CPU, STRATEGIES, WRONG, child, explore, failures, split_digests
from hypothesis import given, settings
from hypothesis import strategies as st

from anonvma_rt.engine.strategy.random import Random
from anonvma_rt.litmus.program import Program

every_strategy = pytest.mark.parametrize("name", STRATEGIES)
N = 300


def digests(name, program=BUSY, seed=7, first=0, count=N):
    with explore(program, STRATEGIES[name](), seed=seed) as explorer:
        return split_digests(explorer.run(first, count))


@every_strategy
def test_repeated_runs_choose_the_same(name):
    with explore(BUSY, STRATEGIES[name](), seed=7) as explorer:
        once = explorer.run(0, N)
        assert once.ran == N
        assert explorer.run(0, N) == once
    assert digests(name) == split_digests(once)


@every_strategy
def test_an_index_is_reached_on_any_way(name):
    """In one block, in blocks of 1, 7, 64, ..., alone, and in reverse order."""
    whole = digests(name)
    with explore(BUSY, STRATEGIES[name](), seed=7) as explorer:
        pieces, at = [], 0
        for size in (1, 7, 64, 2, 100, 126):
            pieces += split_digests(explorer.run(at, size))
            at += size
        assert pieces == whole
        assert [split_digests(explorer.run(i, 1))[0] for i in reversed(range(N))] == whole[::-1]
    assert digests(name, first=211, count=1) == whole[211:212]


@given(
    name=st.sampled_from(sorted(STRATEGIES)),
    seed=st.integers(0, 2**64 - 1),
    first=st.integers(0, 2**64 - 50),
    cuts=st.lists(st.integers(1, 40), max_size=4),
)
@settings(max_examples=25)
def test_blocks_may_be_cut_anywhere(name, seed, first, cuts):
    bounds = sorted({0, 40, *cuts})
    with explore(WRONG, STRATEGIES[name](), seed=seed) as explorer:
        whole = explorer.run(first, 40)
        parts = [explorer.run(first + a, b - a) for a, b in pairwise(bounds)]
    assert b"".join(part.digests for part in parts) == whole.digests
    assert [failure for part in parts for failure in part.failures] == whole.failures
    for total in ("points", "switches", "ran"):
        assert sum(getattr(part, total) for part in parts) == getattr(whole, total)


@every_strategy
def test_another_explorer_at_the_same_time_changes_nothing(name):
    """On the other core where there is one. Both arenas are alive, so they are at different addresses."""
    alone = digests(name)
    other_core = CORES[(CORES.index(CPU) + 1) % len(CORES)]
    with (
        explore(WRONG, STRATEGIES[name](), seed=1) as noise,
        explore(BUSY, STRATEGIES[name](), seed=7) as one,
        explore(BUSY, STRATEGIES[name](), seed=7, cpu=other_core) as two,
    ):
        for explorer in (noise, one, two):
            explorer.submit(0, N)
        for explorer in (noise, one, two):
            explorer.finish()
        assert split_digests(one.collect()) == split_digests(two.collect()) == alone


def test_an_explorer_without_a_core_of_its_own_chooses_the_same():
    with explore(BUSY, seed=7, cpu=-1) as explorer:
        assert split_digests(explorer.run(0, 50)) == digests("random", count=50)


def test_a_fresh_process_chooses_the_same():
    out, err, code = child(
        "for name in sorted(STRATEGIES):\n"
        "    with explore(BUSY, STRATEGIES[name](), seed=7) as e: print(name, e.run(0, 50).digests.hex())"
    )
    expected = [f"{name} {b''.join(digests(name, count=50)).hex()}" for name in sorted(STRATEGIES)]
    assert (out.splitlines(), err, code) == (expected, "", 0)


@every_strategy
def test_a_violation_before_it_changes_nothing(name):
    """Execution i after failing ones of all kinds, against execution i as the first of its explorer."""
    with explore(WRONG, STRATEGIES[name](), seed=3) as explorer:
        result = explorer.run(0, N)
    together, kinds = split_digests(result), failures(WRONG, result)
    if name == "random":
        assert set(kinds.values()) == {"lock-order", "bad-unlock", "list-corruption", "use-after-free"}
    for index in range(0, N, 23):
        with explore(WRONG, STRATEGIES[name](), seed=3) as fresh:
            alone = fresh.run(index, 1)
        assert split_digests(alone) == [together[index]]
        assert failures(WRONG, alone) == {i: kind for i, kind in kinds.items() if i == index}


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "replay"])
def test_seeds_and_indices_choose_differently(name):
    """Two thirds of BUSY's random schedules are unique; PCT and sticky repeat themselves more often."""
    a, b = digests(name, seed=1), digests(name, seed=2)
    assert a != b
    assert sum(x == y for x, y in zip(a, b, strict=True)) < N / 2
    assert len(set(a)) > 5


@given(seed=st.integers(0, 2**64 - 1), index=st.integers(0, 2**63))
@settings(max_examples=20)
def test_neighbours_are_unrelated(seed, index):
    """seed + 1 at index i is not seed at index i + 1: blocks of 40 schedules share next to none."""
    with explore(BUSY, Random(), seed=seed) as one, explore(BUSY, Random(), seed=(seed + 1) % 2**64) as two:
        assert len(set(split_digests(one.run(index + 1, 40))) & set(split_digests(two.run(index, 40)))) < 10


def test_digests_tell_schedules_apart():
    """Equal digests are equal segments, forced choices included, and the other way round."""
    one = [("lock", "a"), ("load", "x", "r"), ("unlock", "a")]
    other = [("await", "x", 0), ("lock", "a"), ("unlock", "a")]
    with explore(Program([one, other])) as explorer:
        seen = {}
        for i, digest in enumerate(split_digests(explorer.run(0, 400))):
            if i < 150:
                segments = tuple(explorer.trace(i).segments)
                assert seen.setdefault(digest, segments) == segments
        assert len(set(seen.values())) == len(seen) > 5
