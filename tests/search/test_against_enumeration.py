"""Random worlds of the simulated kernel and random programs over the public API: the exhaustive search, plain
enumeration of all schedules and hunts must agree on classes, on how each of them ends, and on kinds of violations."""

from against_enumeration import Limits, compare
from worlds import OFTEN, draw_world

from anonvma_rt.engine.search.dpor import Dpor
from anonvma_rt.kernel.algorithm import BEHAVIOUR, CHOICES, PRESETS, Algorithm

PROGRAMS = Limits(search=3000, plain=3000, hunt=150)


def test_worlds_are_a_function_of_their_seed_and_say_all_that_there_is():
    worlds = [draw_world(seed) for seed in range(2000)]
    assert worlds == [draw_world(seed) for seed in range(2000)] and len({world.text for world in worlds}) > 1900
    assert sum(world.failures is not None for world in worlds) > 100
    programs = [world.program() for world in worlds[:500]]
    calls = [call for program in programs for thread in program.threads for call in thread.calls]
    assert {call.verb for call in calls} == set(OFTEN) and {len(program.threads) for program in programs} == {2, 3}
    assert {call.fails[0] for call in calls if call.fails} == {"vma", "anon_vma", "anon_vma_chain", "page", "table"}
    built = [call for program in programs for call in program.setup]
    assert {call.verb for call in built} >= {"mmap", "touch", "fork", "mremap", "migrate"}
    assert any(call.verb == "mmap" and call.args[3] for call in built), "huge pages"
    algorithms = [Algorithm.parse(world.algorithm) for world in worlds]
    assert {algorithm.name.split(",")[0] for algorithm in algorithms} == set(PRESETS)
    for field in BEHAVIOUR:
        assert {getattr(one, field) for one in algorithms} == set(CHOICES.get(field, (False, True))), field


def test_what_differs_is_seen(witness):
    program = witness[1].ApiProgram
    two = [[("store", 0, 1), ("load", 1, 0)], [("store", 0, 2), ("store", 1, 1)]]
    assert compare(program(two), PROGRAMS).wrong == []
    lazy = compare(program(two), PROGRAMS, Dpor(0))
    assert any("that the search has not" in line for line in lazy.wrong), "classes that were left out"
    sneaky = compare(program([[("load", 1, 0), ("sneak", 0, 1)], [("load", 1, 0), ("sneak", 0, 2)]]), PROGRAMS)
    assert any("end in" in line for line in sneaky.wrong), "an access that nobody announced"
