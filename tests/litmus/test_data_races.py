"""Plain accesses: a proof under SC says "data-race" for exactly those programs that have one by its definition."""

import random

import pytest
from races import partly_plain, races
from random_memory import PIECES, random_pieces

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.search.dpor import Dpor
from anonvma_rt.litmus.program import Program

EACH, MANY = 100, 2500
# A locked operation that compares writes or not, which is a question of its own.
VERBS = ("load", "store", "store", "store_release", "mb", "add", "exchange")


def found(threads):
    program, search, ran = Program(threads), Dpor(), 0
    race = [kind for kind, name in program.kinds().items() if name == "data-race"]
    with Explorer(program, search, carrier="fibers") as explorer:
        while not search.exhausted:
            block = explorer.run(ran, 256)
            ran += block.ran + block.pruned
            if any(kind in race for _, kind in block.failures):
                return True
    return False


def compare(kind, first, last):
    """How many of the programs have a race."""
    racy = 0
    for seed in range(first, last):
        draw = random.Random(f"{kind} {seed}")
        threads = partly_plain(draw, random_pieces(draw, PIECES[kind], VERBS))
        expected = races(threads)
        assert found(threads) == expected, f"{kind} {seed}: {threads}"
        racy += expected
    return racy


@pytest.mark.parametrize("kind", PIECES)
def test_a_race_is_found_where_there_is_one_and_nowhere_else(kind):
    assert EACH / 10 < compare(kind, 0, EACH) < 9 * EACH / 10


@pytest.mark.long
@pytest.mark.parametrize("kind", PIECES)
def test_a_race_is_found_where_there_is_one_and_nowhere_else_in_many_programs(kind):
    compare(kind, EACH, MANY)
