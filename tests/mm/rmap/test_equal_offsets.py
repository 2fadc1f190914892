"""Whether ptes have to move under the root's lock where source and destination have the same vm_pgoff: "<" or "<=" in
need_rmap_locks. In no small world: what a merge changes is put back into the tree behind its equals."""

import pytest
from small_worlds import merging, raced

from anonvma_rt import verify

STRICT, NONE = "interval-tree,ordering=strict-rmap-locks", "interval-tree,ordering=none"


def verdicts(places, depth):
    """{order: {(verified under STRICT, under NONE): worlds}}; order: the destination's vm_pgoff less the source's."""
    found = {-1: {}, 0: {}, 1: {}}
    for world in merging(places, depth):
        scenario = raced(world)
        if scenario is not None:
            results = verify(scenario, algorithms=[STRICT, NONE]).results
            key = tuple(one.verdict.startswith("VERIFIED") for one in results)
            worlds = found[(world.order > 0) - (world.order < 0)]
            worlds[key] = worlds.get(key, 0) + 1
    return found


def test_equal_offsets_need_no_lock_in_the_smallest_worlds():
    found = verdicts(4, 1)
    assert found[0].keys() == {(True, True)} and found[0][True, True] >= 5
    # Where the destination comes first it is the lock that helps, in every world.
    assert found[-1].keys() == {(True, False)} and found[-1][True, False] >= 5


@pytest.mark.long
def test_equal_offsets_need_no_lock_in_any_small_world():
    found = verdicts(5, 2)
    assert found[0] == {(True, True): 239} and found[-1] == {(True, False): 232} and found[1].keys() == {(True, True)}
