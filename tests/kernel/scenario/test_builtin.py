"""The built-in scenarios say what the field knows. What they lead to is tested in test_races.py; here it is what they
ask of the simulated kernel."""

import errno
import itertools
import re
from pathlib import Path

import pytest
from scenario_tools import steps_of

from anonvma_rt.errors import UserError
from anonvma_rt.kernel.algorithm import Algorithm
from anonvma_rt.kernel.scenario import Scenario
from anonvma_rt.kernel.scenario_file import VIOLATION_KINDS

PAGE, MIB2 = 4096, 2 << 20
BUILTIN = Scenario.builtin_names()
# The scenarios of 2011, and the presets that differ in nothing but the order of the list and the look of a walk.
OF_2011 = ["error-path", "lkml-2011", "lucky-merge", "merge", "peek"]
LIST_ERA = ["unpatched", "moveto-tail", "moveto-tail-merge-only", "peeking", "rmap-locks"]


def test_the_built_in_scenarios_are_there() -> None:
    assert Scenario.builtin_names() == sorted(set(BUILTIN))
    assert set(OF_2011) <= set(BUILTIN)


def kinds(scenario: Scenario) -> set[str]:
    """All that it says of algorithms; each of several may be right."""
    said = scenario.expect.values()
    return {kind for one in said for kind in ([one] if isinstance(one, str) else one)}


@pytest.mark.parametrize("name", BUILTIN)
def test_a_built_in_scenario_says_what_it_is_and_what_it_expects(name: str) -> None:
    scenario = Scenario.load(name)
    assert scenario.name == name and scenario.source == f"{name}.toml" and 40 < len(scenario.about) <= 120
    assert all(parameter.about for parameter in scenario.parameters.values())
    named = [algorithm for algorithm in scenario.expect if algorithm != "*"]
    assert named and all(Algorithm.parse(algorithm).name == algorithm for algorithm in named)
    assert kinds(scenario) <= {"none", *VIOLATION_KINDS}
    assert "none" in kinds(scenario), "some algorithm is right"
    assert set(named) <= set(scenario.algorithms())
    assert scenario.bind({}).threads


@pytest.mark.parametrize("name", BUILTIN)
def test_a_scenario_of_the_zoo_says_which_bug_it_is(name: str) -> None:
    scenario = Scenario.load(name)
    if name in ("lucky-merge", "own-mm-migration"):
        assert not scenario.zoo, "these are right in every kernel that does not peek"
        return
    assert all(re.fullmatch(r"Z\d+", entry) for entry in scenario.zoo.split(", "))
    assert scenario.commit and scenario.symptom
    assert all(2006 < int(year) < 2027 for year in scenario.year.split(", "))
    assert kinds(scenario) > {"none"}, "some algorithm has it"


def test_every_entry_of_the_zoo_has_a_scenario_and_the_other_way_round() -> None:
    entries = {entry for name in BUILTIN for entry in Scenario.load(name).zoo.split(", ") if entry}
    page = (Path(__file__).parents[3] / "docs" / "zoo.md").read_text("utf-8").split("## Bugs by release")[0]
    rows = re.findall(r"^\| (Z\d+(?:, Z\d+)*) \|", page, re.MULTILINE)
    assert entries == {entry for row in rows for entry in row.split(", ")}
    # Left out, or shown by the scenario of another one (docs/zoo.md).
    missing = {9, 10, 23, 26, 28, *range(33, 37), 45, 65, 68, 69, 76, 77, 82, 83}
    assert entries == {f"Z{number}" for number in {*range(1, 88)} - missing}


@pytest.mark.parametrize("name", BUILTIN)
def test_the_smallest_and_the_largest_value_of_a_parameter_mean_something_or_are_refused_in_words(name: str) -> None:
    scenario = Scenario.load(name)
    for parameter in scenario.parameters.values():
        low, high = parameter.minimum, min(parameter.maximum, 1 << 26)
        for value in (
            (False, True) if isinstance(parameter.default, bool) else (low, high - high % parameter.multiple_of)
        ):
            try:
                assert scenario.bind({parameter.name: value}).threads
            except UserError as error:
                assert str(error).startswith(f"{name}.toml: ") and str(error).isprintable()


@pytest.mark.parametrize("name", OF_2011)
def test_in_the_scenarios_of_2011_a_move_races_with_a_migration(name: str) -> None:
    scenario = Scenario.load(name)
    assert set(LIST_ERA) <= set(scenario.algorithms())
    program = scenario.bind({})
    assert [thread.name for thread in program.threads] == ["mremap", "migrate"]
    assert program.after, "contents are compared at the end"


@pytest.mark.parametrize("name", OF_2011)
def test_a_built_in_scenario_asks_for_nothing_that_mremap_refuses(name: str) -> None:
    scenario = Scenario.load(name)
    for values in some_values(scenario):
        program = scenario.bind(values)
        for step in steps_of(program):
            if step.verb == "mremap":
                source, pages, new_pages, to, maymove, *_ = step.args
                assert pages == new_pages > 0 and maymove and source % PAGE == to % PAGE == 0
                assert to + pages * PAGE <= source or source + pages * PAGE <= to
        moved = program.threads[0].calls[0].args
        migrated = program.threads[1].calls[0].args[0]
        assert moved[0] <= migrated < moved[0] + moved[1] * PAGE, "the page that migrates is one that moves"


def some_values(scenario: Scenario) -> list[dict[str, int | bool]]:
    """The defaults; each parameter's extremes; and page, where there is one, as large as it may be."""
    found: list[dict[str, int | bool]] = [{}]
    for name, parameter in scenario.parameters.items():
        if isinstance(parameter.default, bool):
            found += [{**values, name: not parameter.default} for values in list(found)]
        elif name == "pages":
            found += [{**values, name: n} for values in list(found) for n in (parameter.minimum, parameter.maximum)]
        elif name == "case":
            found += [{**values, name: n} for values in list(found) for n in (1, 3)]
    return found


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("pages", [2, 16, 1024, 1310720, 1 << 22])
def test_the_areas_of_the_2011_program_do_not_collide(pages: int, exact: bool) -> None:
    program = Scenario.load("lkml-2011").bind({"pages": pages, "exact": exact})
    areas = sorted((step.args[0], step.args[0] + step.args[1] * PAGE) for step in program.setup if step.verb == "mmap")
    p, p2, p3 = (step.args[0] for step in program.setup if step.verb == "touch")
    assert p % MIB2 == p2 % MIB2 == p3 % MIB2 == 0 and p > p2 > p3
    for user, (start, end) in zip((p3, p2, p), areas, strict=True):
        if exact:
            assert (start, end) == (user, user + pages * PAGE)
        else:
            assert start + 16 <= user and user + pages * PAGE < end, "something follows p + SIZE: merge case 1"
    gaps = [right[0] - left[1] for left, right in itertools.pairwise(areas)]
    assert all(gap >= MIB2 for gap in gaps) if exact else gaps == [0, 0]


def test_the_2011_program_fills_its_areas_and_moves_half_of_one_out_and_back() -> None:
    program = Scenario.load("lkml-2011").bind({"pages": 16})
    p, p2, p3 = (step.args[0] for step in program.setup if step.verb == "touch")
    assert [step.args for step in program.setup if step.verb == "touch"] == [
        (p, 16, 0xFF), (p2, 16, 0xFF), (p3, 1, 0x77),
    ]  # fmt: skip
    assert program.setup[-1].args[:4] == (p + 8 * PAGE, 8, 8, p3)
    assert program.threads[0].calls[0].args[:4] == (p3, 8, 8, p + 8 * PAGE)
    assert program.after[0].args == (p, p2, 16)


@pytest.mark.parametrize(("case", "third"), [(1, 1), (2, 2), (3, 0)])
def test_merge_moves_the_third_that_makes_its_case(case: int, third: int) -> None:
    program = Scenario.load("merge").bind({"case": case})
    area = program.setup[0].args[0]
    away, back = program.setup[2].args, program.threads[0].calls[0].args
    assert away[0] == back[3] == area + third * 4 * PAGE and away[3] == back[0]
    assert back[0] // MIB2 > (area + 12 * PAGE) // MIB2, "no common page-table lock"


@pytest.mark.parametrize("merged", [True, False])
@pytest.mark.parametrize("pages", [2, 3, 4, 128, 129, 130, 131, 1023, 1024])
def test_error_path_needs_a_second_table_right_after_the_front_half(pages: int, merged: bool) -> None:
    program = Scenario.load("error-path").bind({"pages": pages, "merged": merged, "page": pages // 2 - 1})
    step = program.threads[0].calls[0]
    source, _, _, to, *_ = step.args
    front = pages // 2
    assert (to + front * PAGE) % MIB2 == 0 and source % MIB2 == 0 and step.errno == errno.ENOMEM
    assert step.fails == ("table", 0 if merged else 1), "the front's table is there already if the rest of A is in it"
    assert (to + pages * PAGE - 1) // MIB2 + 1 < source // MIB2, "nothing keeps the destination's second table alive"
    assert [step.verb for step in program.setup] == ["mmap", "touch", "mremap"][: 3 if merged else 2]


def test_lucky_merge_goes_to_where_the_younger_vma_ends() -> None:
    program = Scenario.load("lucky-merge").bind({})
    out, then = program.setup[2].args, program.threads[0].calls[0].args
    assert then[0] == out[0] + out[1] * PAGE and then[3] == out[3] + out[1] * PAGE
