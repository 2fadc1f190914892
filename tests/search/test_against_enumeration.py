"""Random worlds of the simulated kernel and random programs over the public API: the exhaustive search, plain
enumeration of all schedules and hunts must agree on classes, on how each of them ends, and on kinds of violations."""

from dataclasses import replace

import pytest
from against_enumeration import Limits, compare
from api_programs import draw_program
from worlds import OFTEN, draw_world

from anonvma_rt import Scenario, verify
from anonvma_rt.cli import main
from anonvma_rt.engine.run.subject import BuildViolation
from anonvma_rt.engine.search.dpor import Dpor
from anonvma_rt.kernel.algorithm import BEHAVIOUR, CHOICES, PRESETS, Algorithm

WORLDS = Limits(search=1000, plain=500, hunt=150)
MANY_WORLDS = Limits(search=20_000, plain=20_000, hunt=2000)
PROGRAMS = Limits(search=3000, plain=3000, hunt=150)
AT_A_TIME = 100


# What the simulated kernel does not announce yet: words of the algorithm, or of the text, that such worlds have.
OPEN = (("vma_locks=racy", ""), ("vma_locks=fork", ""), (",pin=false", ""))


def is_open(world):
    return any(algorithm in world.algorithm and text in world.text for algorithm, text in OPEN)


def world_of(witness, seed, algorithm=""):
    """The world's program and its kernel, which says how executions end. algorithm: not the one that was drawn."""
    world = draw_world(seed)
    world = replace(world, algorithm=algorithm) if algorithm else world
    program, algorithm = world.program(), Algorithm.parse(world.algorithm)
    threads = [thread.calls for thread in program.threads]
    processes = len(program.processes)
    kernel = witness[0].Witness(
        algorithm.as_dict(), processes, program.setup, threads, program.after, None, program.failing
    )
    return world, program, kernel


def worlds_agree(witness, seeds, limits, algorithm=""):
    counts = {"searched": 0, "enumerated": 0, "kinds": set()}
    for seed in seeds:
        world, _, kernel = world_of(witness, seed, algorithm)
        if is_open(world):
            continue
        try:
            found = compare(kernel, limits)
        except BuildViolation:
            continue  # an algorithm that is wrong without any race
        assert found.wrong == [], (seed, world.algorithm, world.failures, world.text)
        counts["searched"] += found.searched
        counts["enumerated"] += found.enumerated
        counts["kinds"] |= found.kinds
    return counts


def programs_agree(witness, seeds, limits):
    kinds = set()
    for seed in seeds:
        program = draw_program(seed)
        found = compare(witness[1].ApiProgram(*program), limits)
        assert found.wrong == [], (seed, program)
        kinds |= found.kinds
    return kinds


@pytest.mark.parametrize("first", range(0, 1000, AT_A_TIME))
def test_a_thousand_small_worlds_are_searched_as_they_are_enumerated(witness, first):
    counts = worlds_agree(witness, range(first, first + AT_A_TIME), WORLDS)
    assert counts["searched"] > 60 and counts["enumerated"] > 30


# How faults go without mmap_sem, and each mistake that was or could be made.
LOCKED = ("linux-6.4", "linux-6.5", "linux-6.15", "linux-6.19", "modern,vma_locks=6.15-any-mm")


@pytest.mark.parametrize("algorithm", LOCKED)
def test_worlds_whose_faults_lock_a_vma_are_searched_as_they_are_enumerated(witness, algorithm):
    counts = worlds_agree(witness, range(3000, 3040), WORLDS, algorithm)
    assert counts["searched"] > 20 and counts["enumerated"] > 10


@pytest.mark.long
@pytest.mark.parametrize("algorithm", LOCKED)
@pytest.mark.parametrize("first", range(101_000, 111_000, 1000))
def test_ten_thousand_worlds_whose_faults_lock_a_vma(witness, first, algorithm):
    worlds_agree(witness, range(first, first + 1000), MANY_WORLDS, algorithm)


@pytest.mark.parametrize("first", range(0, 1000, AT_A_TIME))
def test_a_thousand_programs_over_the_api_are_searched_as_they_are_enumerated(witness, first):
    kinds = programs_agree(witness, range(first, first + AT_A_TIME), PROGRAMS)
    assert kinds >= {"deadlock", "wrong-value"}


@pytest.mark.long
@pytest.mark.parametrize("first", range(1000, 101_000, 1000))
def test_a_hundred_thousand_worlds(witness, first):
    worlds_agree(witness, range(first, first + 1000), MANY_WORLDS)


@pytest.mark.long
@pytest.mark.parametrize("first", range(1000, 101_000, 1000))
def test_a_hundred_thousand_programs(witness, first):
    programs_agree(witness, range(first, first + 1000), PROGRAMS)


CONTENTS = """
name = "contents"
about = "a page is read twice while somebody writes to it"
names.a = "1*GiB"
setup = [{{ do = "mmap", at = "a", pages = {pages}, huge = {huge} }}, {{ do = "touch", at = "a", pages = 1, tag = 1 }}]
[[thread]]
name = "writer"
steps = [{{ do = "touch", at = "a", pages = 1, tag = 2 }}]
[[thread]]
name = "other"
steps = [{step}]
"""


@pytest.mark.parametrize(("pages", "huge"), [(1, "false"), (512, "true")])
def test_who_writes_a_page_is_ordered_with_who_reads_or_writes_it(pages, huge):
    read = '{ do = "compare", a = "a", b = "a", pages = 1 }'
    for step, classes, kinds in (
        (read, 3, {"lost-page"}),
        ('{ do = "touch", at = "a", pages = 1, tag = 3 }', 2, set()),
    ):
        scenario = Scenario.from_text(CONTENTS.format(pages=pages, huge=huge, step=step))
        for one in verify(scenario, algorithms=["unpatched", "modern", "linux-6.19"], all_violations=True).results:
            assert one.classes >= classes and one.violating_classes.keys() == kinds


SPLITS = """
name = "splits"
about = "a huge page is split from two sides, or split while somebody asks for a page of it"
names.a = "1*GiB"
setup = [{{ do = "mmap", at = "a", pages = 512, huge = true }}, {{ do = "touch", at = "a", pages = 1 }}]
[[thread]]
name = "mover"
steps = [{{ do = "mremap", from = "a", pages = 1, to = "2*GiB" }}]
[[thread]]
name = "other"
steps = [{{ do = "{verb}", at = "a + {page}", errno = ["", "EAGAIN"] }}]
"""


@pytest.mark.parametrize("verb", ["split", "migrate", "referenced"])
@pytest.mark.parametrize("page", ["0", "1*PAGE"])
def test_who_asks_for_a_page_is_ordered_with_the_split_of_it(witness, verb, page):
    program = Scenario.from_text(SPLITS.format(verb=verb, page=page)).bind({})
    threads = [thread.calls for thread in program.threads]
    kernel = witness[0].Witness(
        Algorithm.parse("unpatched").as_dict(), 1, program.setup, threads, program.after, None, program.failing
    )
    found = compare(kernel, Limits(search=1000, plain=1000, hunt=1000))
    assert found.wrong == [] and len(found.classes) > 2


@pytest.mark.parametrize("seed", range(20))
def test_verify_says_of_a_world_what_the_search_found(witness, seed, tmp_path, capsys):
    world, _, kernel = world_of(witness, seed)
    found = compare(kernel, WORLDS)
    if not found.searched or world.failures is not None or is_open(world):
        return
    scenario = Scenario.from_text(world.text)
    (one,) = verify(scenario, algorithms=[world.algorithm], all_violations=True).results
    assert one.complete and one.classes == len(found.classes) and one.violating_classes.keys() == found.kinds
    if seed % 10 == 0:
        # And the command line runs it as a file.
        file = tmp_path / "world.toml"
        file.write_text(world.text)
        words = ["verify", str(file), "--algorithm", world.algorithm, "--all-violations", "--out", str(tmp_path)]
        assert main(words) == (1 if found.kinds else 0)
        assert f"{len(found.classes)} classes" in capsys.readouterr().out


def test_worlds_are_a_function_of_their_seed_and_say_all_that_there_is():
    worlds = [draw_world(seed) for seed in range(4000)]
    assert worlds == [draw_world(seed) for seed in range(4000)] and len({world.text for world in worlds}) > 3800
    assert sum(world.failures is not None for world in worlds) > 200
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
