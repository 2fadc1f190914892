"""What is seen, what is silent, and where it says that it happened."""

import pytest
from compiled import BESIDE

from anonvma_rt.engine.audit.audit import Audit, listen
from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.strategy.random import Random
from anonvma_rt.subjects.stacks import Stacks

LINES = (BESIDE / "racy.pyx").read_text().splitlines()


def lines_of(word):
    """The numbers of the lines that the source marks with a word."""
    return {number for number, line in enumerate(LINES, 1) if line.endswith(f"# {word}")}


def audited(racy, way, carrier="fibers", runs=50):
    """(the pairs, the lines on which their sides stand) of one way to share."""
    with Explorer(racy.Racy(racy.WAYS.index(way)), Random(), carrier=carrier) as explorer:
        assert listen([racy.__file__]) == [racy.__file__]
        audit = Audit(explorer)
        assert explorer.run(0, runs).ran == runs
        audit.close()
        pairs = audit.pairs
    stacks = Stacks(racy.__file__)
    places = {pair[side][3] for pair in pairs for side in (0, 1)}
    return pairs, {stacks.of((place,))[0].line for place in places}


@pytest.mark.parametrize("carrier", ["fibers", "threads"])
@pytest.mark.parametrize("way", ["plain", "behind", "looked", "set", "freed"])
def test_what_nothing_orders_is_reported_with_both_lines(racy, way, carrier):
    pairs, lines = audited(racy, way, carrier)
    assert lines == lines_of(way)
    assert {side[0] for pair in pairs for side in pair[:2]} == {0, 1}


@pytest.mark.parametrize("carrier", ["fibers", "threads"])
@pytest.mark.parametrize("way", ["locked", "pointed", "bytes", "ordered", "tried", "asked"])
def test_what_is_ordered_is_silent(racy, way, carrier):
    assert audited(racy, way, carrier) == ([], set())


def test_the_same_executions_are_made_and_the_pairs_come_again(racy):
    with Explorer(racy.Racy(0), Random()) as explorer:
        before = explorer.run(0, 20).digests
        audit = Audit(explorer)
        listen([racy.__file__])
        assert explorer.run(0, 20).digests == before
        pairs = audit.pairs
        assert explorer.run(0, 20).digests == before
        assert [pair[6] * 2 for pair in pairs] == [pair[6] for pair in audit.pairs]
        with pytest.raises(RuntimeError, match="audited once"):
            Audit(explorer)
        audit.close()
        assert explorer.run(0, 20).digests == before
        assert [pair[6] * 2 for pair in pairs] == [pair[6] for pair in audit.pairs]


def test_a_pair_has_its_object_and_a_stack(racy):
    (pair, *_), _ = audited(racy, "plain")
    first, second, kind, serial, offset, index, count, frames = pair
    assert (kind, serial, offset) == (1, 1, 0) and 0 <= index < 50 and count > 0 and len(frames) > 2
    assert 1 in (first[2], second[2]) and first[1] <= second[1]
