"""The table of kernel-reference 7: which algorithm can miss a pte in which scenario, and which never does.

The reference's rows come from an exhaustive search of a small model. Here every row that these algorithms and scenarios
can express is hunted: a MISS must turn up within 20 000 executions, and where there is none, none may.
"""

from typing import NamedTuple

import pytest
from mm_tools import core

from anonvma_rt.kernel.algorithm import Algorithm
from anonvma_rt.kernel.scenario import Scenario
from anonvma_rt.lab.lab import make_explorer, make_strategy, profile

FIND_WITHIN, NONE_IN, NONE_IN_LONG, BLOCK = 20_000, 10_000, 200_000, 500
STALE = "stale-migration-entry"


class Row(NamedTuple):
    says: str  # the reference's words
    scenario: str
    parameters: dict
    algorithms: tuple
    miss: bool


def case(number, **more):
    return {"case": number} | more


PEEKING_LOCKS = "rmap-locks,restore_peeks=true"
PEEKING_TAIL = "moveto-tail,restore_peeks=true"
STRICT = ("unpatched", "moveto-tail", "moveto-tail-merge-only", "rmap-locks")
MERGE_TAILS = ("moveto-tail", "moveto-tail-merge-only")
LOCKS = ("rmap-locks", PEEKING_LOCKS)
ONCE, MERGED = {}, {"merged": True}

TABLE = [
    Row("fresh dst, forward, ptl walker", "peek", ONCE, STRICT, False),
    Row("fresh dst, forward, ptl walker", "peek", {"pages": 3, "page": 1}, STRICT, False),
    Row("fresh dst, forward, PEEKING walker", "peek", ONCE, ("peeking", PEEKING_TAIL), True),
    Row("merge case 2, list [dst,src], unpatched", "merge", case(2), ("unpatched",), True),
    Row("merge case 1/3 with the root lock around the resize", "merge", case(1), ("unpatched",), True),
    Row("merge case 1/3 with the root lock around the resize", "merge", case(3), ("unpatched",), True),
    Row("merge, lucky list [src,dst], unpatched", "lucky-merge", ONCE, STRICT, False),
    Row("merge, lucky list, but peeking", "lucky-merge", ONCE, ("peeking",), True),
    Row("merge + moveto_tail(dst)", "merge", case(1), MERGE_TAILS, False),
    Row("merge + moveto_tail(dst)", "merge", case(2), MERGE_TAILS, False),
    Row("merge + moveto_tail(dst)", "merge", case(3), MERGE_TAILS, False),
    Row("the same where the copy fails: walk 2'", "merge", case(2, fail_copy=True), ("unpatched",), True),
    Row("the same where the copy fails: walk 2'", "merge", case(2, fail_copy=True), MERGE_TAILS, False),
    Row("fresh dst + failure + move back, no second tail", "error-path", ONCE,
        ("unpatched", "moveto-tail-merge-only"), True),
    Row("same with moveto_tail(src)", "error-path", ONCE, ("moveto-tail",), False),
    Row("merge + failure: no tails / first tail only", "error-path", MERGED,
        ("unpatched", "moveto-tail-merge-only"), True),
    Row("merge + failure: both tails", "error-path", MERGED, ("moveto-tail",), False),
    Row("rmap lock per extent, wrong order, forward; peeking too", "merge", case(1), LOCKS, False),
    Row("rmap lock per extent, wrong order, forward; peeking too", "merge", case(2), LOCKS, False),
    Row("rmap lock per extent, wrong order, forward; peeking too", "merge", case(3), LOCKS, False),
    Row("rmap lock per extent, and back; peeking too", "error-path", ONCE, LOCKS, False),
    Row("rmap lock per extent, and back; peeking too", "error-path", MERGED, LOCKS, False),
    Row("rmap lock per extent, fresh; peeking too", "peek", ONCE, LOCKS, False),
    Row("LKML round trip, exactly sized (case 2)", "lkml-2011", ONCE, ("unpatched", "peeking"), True),
    Row("LKML round trip, exactly sized (case 2)", "lkml-2011", ONCE, ("moveto-tail", *LOCKS), False),
    Row("LKML round trip, as glibc serves it (case 1)", "lkml-2011", {"exact": False}, ("unpatched",), True),
    Row("LKML round trip, as glibc serves it (case 1)", "lkml-2011", {"exact": False}, ("moveto-tail",), False),
    Row("one page-table lock per mm changes no order", "merge", case(2), ("unpatched,single_ptl=true",), True),
    Row("one page-table lock per mm changes no order", "merge", case(2), ("moveto-tail,single_ptl=true",), False),
    Row("a walker that decodes in zap too", "merge", case(2), ("unpatched,decode_in_zap=true",), True),
]  # fmt: skip
ROWS = [(row, algorithm) for row in TABLE for algorithm in row.algorithms]


def name(row, algorithm):
    values = ",".join(f"{key}={value}" for key, value in row.parameters.items())
    return f"{row.scenario}{'(' + values + ')' if values else ''} {algorithm}"


def explorer_of(row, algorithm, strategy_name):
    program = Scenario.load(row.scenario).bind(row.parameters)
    strategy = make_strategy(strategy_name)
    explorer = make_explorer(program, Algorithm.parse(algorithm), strategy, cpu=core())
    found = profile(program, explorer)
    strategy.profiled(found["steps"])
    explorer.bound = found["bound"]
    return explorer


def hunt(row, algorithm, strategy, executions, until_found):
    """(executions made, {kind: number}), in blocks; ends at the first block with a violation if until_found."""
    kinds, made = {}, 0
    with explorer_of(row, algorithm, strategy) as explorer:
        names = explorer.subject.kinds()
        while made < executions and not (until_found and kinds):
            block = explorer.run(made, BLOCK)
            assert block["halt"] is None
            made += block["ran"]
            for _, kind in block["failures"]:
                kinds[names[kind]] = kinds.get(names[kind], 0) + 1
    return made, kinds


MISSES = [(row, a) for row, a in ROWS if row.miss]
SAFE = [(row, a) for row, a in ROWS if not row.miss]
STRATEGIES = ("pct:depth=3", "sticky")


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(("row", "algorithm"), MISSES, ids=[name(*row) for row in MISSES])
def test_a_miss_is_found(row, algorithm, strategy):
    made, kinds = hunt(row, algorithm, strategy, FIND_WITHIN, until_found=True)
    assert STALE in kinds, f"{row.says}: nothing in {made} executions but {kinds}"
    assert set(kinds) <= {STALE, "bug-on"}, "somebody may decode the stale entry, but nothing else goes wrong"


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(("row", "algorithm"), SAFE, ids=[name(*row) for row in SAFE])
def test_no_miss_where_there_is_none(row, algorithm, strategy):
    assert hunt(row, algorithm, strategy, NONE_IN, until_found=False) == (NONE_IN, {}), row.says


@pytest.mark.long
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(("row", "algorithm"), SAFE, ids=[name(*row) for row in SAFE])
def test_no_miss_in_200_000(row, algorithm, strategy):
    assert hunt(row, algorithm, strategy, NONE_IN_LONG, until_found=False) == (NONE_IN_LONG, {}), row.says


def test_every_scene_of_a_miss_is_also_run_with_the_whole_patch():
    def scene(row):
        return row.scenario, tuple(row.parameters.items())

    assert {scene(row) for row in TABLE if row.miss} <= {
        scene(row) for row in TABLE if not row.miss and "moveto-tail" in row.algorithms
    }


def test_the_table_agrees_with_what_the_scenarios_expect_themselves():
    for row, algorithm in ROWS:
        program = Scenario.load(row.scenario).bind(row.parameters)
        expected = program.expected(algorithm)
        if expected is not None:
            assert (expected == STALE) == row.miss, name(row, algorithm)
