"""Scenario files: the built-in ones say what the field knows, and a bad one ends in one line that tells what is right.

What the built-in scenarios lead to in the simulated kernel is tested with the kernel; here it is what they ask of it.
"""

import doctest
import errno
import hashlib
import itertools
import re
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anonvma_rt.errors import ParameterError, ScenarioError, UserError
from anonvma_rt.kernel.algorithm import PRESETS, Algorithm
from anonvma_rt.kernel.scenario import BoundScenario, Call, Scenario, explain_refusal
from anonvma_rt.kernel.scenario_file import VIOLATION_KINDS
from anonvma_rt.text.parameters import Parameter, parse_parameters

PAGE, MIB2 = 4096, 2 << 20
BUILTIN = Scenario.builtin_names()
# The scenarios of 2011, and the presets that differ in nothing but the order of the list and the look of a walk.
OF_2011 = ["error-path", "lkml-2011", "lucky-merge", "merge", "peek"]
LIST_ERA = ["unpatched", "moveto-tail", "moveto-tail-merge-only", "peeking", "rmap-locks"]

GOOD = """\
name = "round-trip"
about = "half of an area goes out and comes back"
processes = ["main", "child"]
parameters.pages = { default = 4, min = 2, max = 64, multiple_of = 2, about = "pages of the area" }
parameters.extra = { default = false, about = "one more thread" }
require = [{ that = "pages != 62", otherwise = "pages must not be 62" }]
names.half = "pages // 2"
names.a = "1*GiB"
setup = [
    { do = "mmap", at = "a", pages = "pages" },
    { do = "touch", at = "a", pages = "pages", tag = 9 },
    { do = "mremap", from = "a", pages = "half", to = "2*GiB" },
]
[[thread]]
name = "mremap"
steps = [{ do = "mremap", from = "2*GiB", pages = "half", to = "a" }]
[[thread]]
name = "noise"
process = "child"
steps = [{ do = "read", at = "a", pages = 1, when = "extra" }]
[[after]]
do = "compare"
a = "a"
b = "a + half*PAGE"
pages = "half"
[expect]
"linux-3.2" = "stale-migration-entry"
moveto-tail = "none"
"""


def refused(text: str, **values: str | int | bool) -> str:
    """The one line with which a scenario text, or values for its parameters, are refused."""
    with pytest.raises(UserError) as caught:
        Scenario.from_text(text, source="x.toml").bind(values)
    message = str(caught.value)
    assert message.isprintable() and message.startswith("x.toml: ")
    return message.removeprefix("x.toml: ")


def edited(old: str, new: str, text: str = GOOD) -> str:
    assert old in text
    return text.replace(old, new, 1)


def steps_of(program: BoundScenario) -> list[Call]:
    return [*program.setup, *(step for thread in program.threads for step in thread.calls), *program.after]


# What a scenario means


def test_a_program_is_plain_integers_with_the_place_of_every_step() -> None:
    program = Scenario.from_text(GOOD, "dir/x.toml").bind({"pages": "8"})
    gib = 1 << 30
    assert program.setup == (
        Call("mmap", 0, (gib, 8, 1, 0, 0), 0, "dir/x.toml: setup step 1 (mmap)"),
        Call("touch", 0, (gib, 8, 9), 0, "dir/x.toml: setup step 2 (touch)"),
        Call("mremap", 0, (gib, 4, 4, 2 * gib, 1, 0), 0, "dir/x.toml: setup step 3 (mremap)"),
    )
    assert [thread.name for thread in program.threads] == ["mremap"]
    assert program.threads[0].calls[0].where == 'dir/x.toml: thread "mremap" step 1 (mremap)'
    assert program.after == (Call("compare", 0, (gib, gib + 4 * PAGE, 4), 0, "dir/x.toml: after step 1 (compare)"),)
    assert program.parameters == {"pages": 8, "extra": False} and program.processes == ("main", "child")


def test_a_step_that_is_left_out_leaves_the_places_of_the_others() -> None:
    text = edited('{ do = "mmap"', '{ do = "read", at = 0, pages = 1, when = "extra" },\n    { do = "mmap"')
    assert Scenario.from_text(text).bind({}).setup[0].where == "scenario: setup step 2 (mmap)"


def test_a_thread_runs_in_its_process_and_a_step_may_run_in_another() -> None:
    text = edited("tag = 9 }", 'tag = 9, process = "child" }')
    program = Scenario.from_text(text).bind({"extra": True})
    assert [step.process for step in steps_of(program)] == [0, 1, 0, 0, 1, 0]
    assert [thread.name for thread in program.threads] == ["mremap", "noise"]


@pytest.mark.parametrize(
    ("step", "args"),
    [
        ('{ do = "mmap", at = 4096, pages = 2 }', (4096, 2, 1, 0, 0)),
        ('{ do = "mmap", at = 0, pages = 512, writable = false, huge = true }', (0, 512, 0, 1, 0)),
        ('{ do = "mmap", at = 0, pages = 1, stack = true }', (0, 1, 1, 0, 1)),
        ('{ do = "mprotect", at = 4096, pages = 2, writable = false }', (4096, 2, 0)),
        ('{ do = "brk", at = 4096, pages = 2 }', (4096, 2)),
        ('{ do = "fork", child = "child" }', (1,)),
        ('{ do = "exit" }', ()),
        ('{ do = "exec", at = 4096, shift = 1 }', (4096, 1)),
        ('{ do = "move_pages", at = 4096, pages = 2 }', (4096, 2)),
        ('{ do = "referenced", at = 4096 }', (4096,)),
        ('{ do = "split", at = 4096 }', (4096,)),
        ('{ do = "uffd_move", from = 0, to = 4096 }', (0, 4096)),
        ('{ do = "vmas", at = 0, pages = 4, count = 2 }', (0, 4, 2)),
        ('{ do = "munmap", at = "PAGE", pages = 0 }', (4096, 0)),
        ('{ do = "touch", at = 0, pages = 1 }', (0, 1, 1)),
        ('{ do = "touch", at = 0, pages = 1, tag = 0xff }', (0, 1, 255)),
        ('{ do = "read", at = 1, pages = 1 }', (1, 1)),
        ('{ do = "mremap", from = 0, pages = 3 }', (0, 3, 3, -1, 1, 0)),
        ('{ do = "mremap", from = 0, pages = 3, new_pages = 5, maymove = false }', (0, 3, 5, -1, 0, 0)),
        ('{ do = "mremap", from = 0, pages = 3, to = 8192, fail_after = 0 }', (0, 3, 3, 8192, 1, 0)),
        ('{ do = "mremap", from = 0, pages = 3, dontunmap = true }', (0, 3, 3, -1, 1, 1)),
        ('{ do = "migrate", at = 0 }', (0, 0)),
        ('{ do = "migrate", at = 0, fail_copy = "not extra" }', (0, 1)),
        ('{ do = "compare", a = 0, b = 4096, pages = 67108864 }', (0, 4096, 1 << 26)),
    ],
)
def test_the_arguments_of_each_verb_and_their_defaults(step: str, args: tuple[int, ...]) -> None:
    text = edited('{ do = "mmap", at = "a", pages = "pages" }', step)
    assert Scenario.from_text(text).bind({}).setup[0].args == args


def test_a_step_may_expect_an_errno() -> None:
    text = edited('to = "2*GiB" }', 'to = "2*GiB", fail_after = 1, errno = "ENOMEM" }')
    step = Scenario.from_text(text).bind({}).setup[2]
    assert (step.errno, step.fails) == (errno.ENOMEM, ("table", 1))
    text = edited('to = "2*GiB" }', 'to = "2*GiB", fail = "anon_vma_chain", fail_after = "1 + 1" }')
    assert Scenario.from_text(text).bind({}).setup[2].fails == ("anon_vma_chain", 2)


def test_allocations_may_fail_by_chance() -> None:
    for value, rate, kinds in (("0.25", 0.25, ()), ('"0.1:table,page"', 0.1, ("table", "page")), ("0", 0.0, ())):
        scenario = Scenario.from_text(f"fail_alloc = {value}\n" + GOOD)
        failing = scenario.bind({}).failing
        assert failing is not None and (failing.rate, failing.kinds) == (rate, kinds)
    assert Scenario.from_text(GOOD).bind({}).failing is None


def test_expectations_are_found_by_alias_and_by_preset() -> None:
    program = Scenario.from_text(GOOD).bind({})
    assert program.expected("unpatched") == program.expected("linux-3.2") == "stale-migration-entry"
    assert program.expected("linux-3.3") == "none"
    assert program.expected("peeking") is None
    assert program.expected("moveto-tail,restore_peeks=true") is None
    assert program.expected("somebody's own") is None


def test_a_scenario_keeps_its_exact_text() -> None:
    text = "# \u00e9 \r\n" + GOOD
    scenario = Scenario.from_text(text)
    assert scenario.text == text and scenario.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert Scenario.from_text(scenario.text) == scenario


def test_a_scenario_file_is_loaded_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(GOOD.encode())
    scenario = Scenario.load(str(path))
    assert scenario.name == "round-trip" and scenario.source == str(path) and scenario.text == GOOD


# The built-in scenarios


def test_the_built_in_scenarios_are_there() -> None:
    assert Scenario.builtin_names() == sorted(set(BUILTIN))
    assert set(OF_2011) <= set(BUILTIN)


@pytest.mark.parametrize("name", BUILTIN)
def test_a_built_in_scenario_says_what_it_is_and_what_it_expects(name: str) -> None:
    scenario = Scenario.load(name)
    assert scenario.name == name and scenario.source == f"{name}.toml" and 40 < len(scenario.about) <= 120
    assert all(parameter.about for parameter in scenario.parameters.values())
    named = [algorithm for algorithm in scenario.expect if algorithm != "*"]
    assert named and all(Algorithm.parse(algorithm).name == algorithm for algorithm in named)
    assert set(scenario.expect.values()) <= {"none", *VIOLATION_KINDS}
    assert "none" in scenario.expect.values(), "some algorithm is right"
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
    assert set(scenario.expect.values()) > {"none"}, "some algorithm has it"


def test_the_zoo_has_every_entry_that_needs_no_tlb_and_no_file() -> None:
    entries = {entry for name in BUILTIN for entry in Scenario.load(name).zoo.split(", ") if entry}
    wanted = [*range(1, 8), *range(12, 23), 24, 27, *range(29, 33), 37]
    assert entries == {f"Z{number}" for number in wanted}


def test_an_asterisk_stands_for_the_presets_that_are_not_named() -> None:
    expect = '[expect]\nunpatched = "bug-on"\n"*" = "none"\n"modern,pin=false" = "use-after-free"\n'
    text = GOOD[: GOOD.index("[expect]")] + expect
    scenario = Scenario.from_text(text)
    assert scenario.expected("unpatched") == "bug-on"
    assert scenario.expected("modern") == "none"
    assert scenario.expected("modern,pin=false") == "use-after-free"
    assert scenario.expected("modern,merge=6.16") is None
    assert scenario.algorithms() == [*PRESETS, "modern,pin=false"]


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


@pytest.mark.parametrize(
    ("name", "caught"),
    [
        ("lkml-2011", {"unpatched", "peeking"}),
        ("merge", {"unpatched", "peeking"}),
        ("error-path", {"unpatched", "peeking", "moveto-tail-merge-only"}),
        ("peek", {"peeking"}),
        ("lucky-merge", {"peeking"}),
    ],
)
def test_a_stale_entry_is_expected_of_these_presets_and_of_no_other(name: str, caught: set[str]) -> None:
    scenario = Scenario.load(name)
    kinds = {preset: scenario.expected(preset) for preset in LIST_ERA}
    assert kinds == {preset: "stale-migration-entry" if preset in caught else "none" for preset in LIST_ERA}


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


# Parameters


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pags": 4}, 'unknown parameter "pags" (did you mean "pages"?)'),
        ({"zzz": 4}, 'unknown parameter "zzz" (choices: pages, extra)'),
        ({"pages": "7"}, "parameter pages: 7 is not a multiple of 2 (6 and 8 are)"),
        ({"pages": 0}, "parameter pages: 0 is below the minimum 2"),
        ({"pages": "66"}, "parameter pages: 66 is above the maximum 64"),
        ({"pages": "-2"}, "parameter pages: -2 is below the minimum 2"),
        ({"pages": "many"}, 'parameter pages: "many": unknown name "many" (choices: PAGE, KiB, '),
        ({"pages": "1.5"}, 'parameter pages: "1.5": the character "." has no meaning in an expression'),
        ({"pages": "half"}, 'parameter pages: "half": unknown name "half"'),
        ({"pages": True}, "parameter pages: must be an integer, not true"),
        ({"pages": "true"}, "parameter pages: must be an integer, not true"),
        ({"pages": 2.0}, "parameter pages: must be an integer, true, false or text, not a float"),
        ({"pages": 1 << 70}, "parameter pages: a number of 2**62 or more is above the maximum 64"),
        ({"extra": "maybe"}, 'parameter extra: must be true or false, not "maybe"'),
        ({"extra": 1}, "parameter extra: must be true or false, not 1"),
        ({"pages": 62}, "pages must not be 62 (pages=62, extra=false)"),
    ],
)
def test_a_parameter_out_of_range_is_refused_with_what_is_right(values: dict[str, int], message: str) -> None:
    assert refused(GOOD, **values).startswith(message)
    with pytest.raises(ParameterError):
        Scenario.from_text(GOOD).bind(values)


@pytest.mark.parametrize("given", ["8", "0x8", "2*4", "32*KiB//PAGE", 8])
def test_a_number_may_be_given_as_an_expression(given: str | int) -> None:
    assert Scenario.from_text(GOOD).bind({"pages": given}).parameters["pages"] == 8


@pytest.mark.parametrize(("given", "value"), [("yes", True), ("FALSE", False), ("0", False), (True, True)])
def test_a_switch_is_set_by_the_usual_words(given: str | bool, value: bool) -> None:
    assert Scenario.from_text(GOOD).bind({"extra": given}).parameters["extra"] is value


def test_near_a_bound_only_the_multiples_that_are_allowed_are_named() -> None:
    assert Parameter("n", 4, 4, 8, 4).problem(7) == "7 is not a multiple of 4 (4 and 8 are)"
    assert Parameter("n", 4, 4, 7, 4).problem(7) == "7 is not a multiple of 4 (4 is)"


def test_parameters_are_written_name_equals_value() -> None:
    assert parse_parameters(["pages=64", " exact = false "]) == {"pages": "64", "exact": "false"}
    assert parse_parameters([]) == {}


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["pages"], 'parameter "pages" is not of the form NAME=VALUE'),
        (["=4"], 'parameter "=4" is not of the form NAME=VALUE'),
        (["pages="], 'parameter "pages=" is not of the form NAME=VALUE'),
        (["pages=4", "pages=5"], 'parameter "pages" is given twice'),
    ],
)
def test_what_is_not_name_equals_value_is_refused(assignments: list[str], message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        parse_parameters(assignments)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("lkml-2011", {"page": 8}, "lkml-2011.toml: page must be below pages/2 (pages=16, exact=true, page=8)"),
        ("lkml-2011", {"pages": 17}, "lkml-2011.toml: parameter pages: 17 is not a multiple of 2 (16 and 18 are)"),
        ("merge", {"page": 4}, "merge.toml: page must be below pages (case=2, pages=4, page=4, fail_copy=false)"),
        ("merge", {"case": 4}, "merge.toml: parameter case: 4 is above the maximum 3"),
        (
            "error-path",
            {"page": 2},
            "error-path.toml: page must be below pages//2, to be moved before the failure (mer",
        ),
        ("peek", {"page": 1}, "peek.toml: page must be below pages (pages=1, page=1)"),
        ("lucky-merge", {"page": 4}, "lucky-merge.toml: page must be below pages (pages=4, page=4)"),
    ],
)
def test_only_a_page_that_moves_can_be_migrated(name: str, values: dict[str, int], message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        Scenario.load(name).bind(values)
    assert str(caught.value).startswith(message)


# Bad files


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lkml-2012", 'unknown scenario "lkml-2012" (did you mean "lkml-2011"?); a file\'s path ends in .toml'),
        (
            "",
            f'unknown scenario "" (choices: {", ".join(BUILTIN)[:60]}',
        ),
        ("no/such.toml", "no/such.toml: cannot be read: No such file or directory"),
        ("such.toml", "such.toml: cannot be read: No such file or directory"),
        ("./", "./: cannot be read: Is a directory"),
        ("a\0/b", "a\\x00/b: cannot be read: embedded null byte"),
        ("a\n/b", "a\\n/b: cannot be read: No such file or directory"),
    ],
)
def test_a_scenario_that_is_not_there_is_refused(name: str, message: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        Scenario.load(name)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name = \xff", "not UTF-8 text (at byte 7)"),
        (b"#" * 80 + b"\n" + b"\n" * (1 << 20), "larger than 1 MiB, which is the most for a scenario"),
        ("\u00e9".encode() * (1 << 20), "larger than 1 MiB, which is the most for a scenario"),
        (b"", "thread: there are 0 threads (1 to 64 are right)"),
        (b"name = ", "line 1, at the end: Invalid value"),
        (b"\nname = 'x' y\n", "line 2, column 12: Expected newline or end of document after a statement"),
        (b"a = 1\na = 2\n", "line 2, column 6: Cannot overwrite a value"),
        (b"a = " + b"[" * 4000, "values are nested too deeply"),
        (b"a = [\n" * 1 + b"[\n" * 20000, "values are nested too deeply"),
        (b"a = " + b"{a=" * 1300, "values are nested too deeply"),
        (b"a = " + b"1" * 4200, "line 1: longer than 4096 characters"),
        (b"a" + b".a" * 33 + b" = 1", "line 1: more than 32 dots (no key is nested so deeply)"),
        (b"a" + b".a" * 32 + b" = 1", 'unknown key "a" (choices: name, about, zoo, commit, '),
    ],
)
def test_a_file_that_is_no_toml_is_refused_with_its_place(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(ScenarioError) as caught:
        Scenario.load(str(path))
    assert str(caught.value).startswith(f"{path}: {message}") and str(caught.value).isprintable()


MMAP = '{ do = "mmap", at = "a", pages = "pages" }'


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        # unknown keys, everywhere
        ("require", "requires", 'unknown key "requires" (did you mean "require"?)'),
        ("multiple_of", "multipleof", 'parameters.pages: unknown key "multipleof" (did you mean "multiple_of"?)'),
        ("otherwise", "otherwize", 'require 1: unknown key "otherwize" (did you mean "otherwise"?)'),
        ("from", "frm", 'setup step 3 (mremap): unknown key "frm" (did you mean "from"?)'),
        ('process = "child"\n', 'proces = "child"\n', 'thread 2: unknown key "proces" (did you mean "process"?)'),
        ('b = "a + half', 'c = "a + half', 'after step 1 (compare): unknown key "c" (choices: a, b, pages, do, '),
        (MMAP, '{ do = "mmap", at = 0, pages = 1, tag = 1 }', 'setup step 1 (mmap): unknown key "tag" (choices: at, '),
        # names of all kinds
        ('"mmap"', '"map"', 'setup step 1: unknown verb "map" (did you mean "mmap"?)'),
        ('process = "child"', 'process = "chidl"', 'thread 2: unknown process "chidl" (did you mean "child"?)'),
        ("tag = 9", 'process = "x"', 'setup step 2 (touch): unknown process "x" (choices: main, child)'),
        ("tag = 9", 'errno = "ENOMEN"', 'setup step 2 (touch): unknown errno "ENOMEN" (did you mean "ENOMEM"?)'),
        ("tag = 9", 'errno = "?"', 'setup step 2 (touch): unknown errno "?" (choices: EINVAL, EFAULT, ENOMEM, '),
        ('"linux-3.2"', "unpached", 'expect: unknown algorithm "unpached" (did you mean "unpatched"?)'),
        ("linux-3.2", "peeking,x=1", 'expect: algorithm "peeking,x=1": unknown field "x" (choices: ordering, '),
        ('"linux-3.2"', "linux-3.2", 'expect.linux-3: is a table (a name with a dot needs quotes: "linux-3.2")'),
        ("moveto-tail", "unpatched", 'expect.unpatched: the same algorithm is there twice (once as "unpatched")'),
        ('"none"', '"no"', 'expect.moveto-tail: unknown violation kind "no" (did you mean "none"?)'),
        ('"none"', '"stale"', 'expect.moveto-tail: unknown violation kind "stale" (choices: none, stale-migration-ent'),
        ('"noise"', '"mremap"', 'thread 2: there are two threads of the name "mremap" (names must differ)'),
        ('["main", "child"]', '["main", "main"]', 'processes: "main" is there twice (names must differ)'),
        ('["main", "child"]', "[]", "processes: there are 0 (1 to 64 are right)"),
        ('"round-trip"', '"../x"', 'name: "../x" is not a name (at most 40 letters, digits, dots, - and _)'),
        ("names.half", 'names."a b"', 'names: "a b" is not a name (letters, digits and _, at most 40)'),
        ("names.half", "names.PAGE", "names.PAGE: the name has a meaning already (choose another name)"),
        ("names.half", "names.align", "names.align: the name has a meaning already (choose another name)"),
        ("parameters.extra", "parameters.if", "parameters.if: the name has a meaning already (choose another name)"),
        ("names.half", "names.pages", "names.pages: there is a parameter of this name (choose another name)"),
        # what is missing
        ('name = "round-trip"\n', "", 'the key "name" is missing'),
        ('about = "half', "#", 'the key "about" is missing'),
        ('do = "mmap", ', "", 'setup step 1: the key "do" is missing (one of mmap, munmap, mprotect, brk, touch, read'),
        ('at = "a", ', "", 'setup step 1 (mmap): the key "at" is missing'),
        ("default = 4, ", "", 'parameters.pages: the key "default" is missing (an integer, true or false)'),
        ('that = "pages != 62", ', "", 'require 1: the key "that" is missing'),
        (', otherwise = "pages must not be 62"', "", 'require 1: the key "otherwise" is missing'),
        ('name = "mremap"\n', "", 'thread 1: the key "name" is missing'),
        ('steps = [{ do = "mremap"', 'steps = []\nx = [{ do = "mremap"', 'thread 1: unknown key "x" (choices: name, '),
        (
            '[{ do = "read", at = "a", pages = 1, when = "extra" }]',
            "[]",
            'thread 2: thread "noise" has no steps (at le',
        ),
        # types
        ('["main", "child"]', '"main"', 'processes: must be a list, not "main"'),
        ('["main", "child"]', '["main", 7]', "processes: must be a string, not 7"),
        ('["main", "child"]', '["main", ""]', 'processes: must be one line of 1 to 300 characters, not ""'),
        ("names.half", "expect.x", None),
        ('"pages // 2"', "1.5", "names.half: must be an integer, true, false or an expression in quotes, not a float"),
        ('"pages // 2"', "[1]", "names.half: must be an integer, true, false or an expression in quotes, not a list"),
        ('"pages // 2"', "{}", "names.half: must be an integer, true, false or an expression in quotes, not a table"),
        (
            '"pages // 2"',
            "1979-05-27",
            "names.half: must be an integer, true, false or an expression in quotes, not a ",
        ),
        ('about = "half', 'about = "two\\nlines', 'about: must be one line of 1 to 300 characters, not "two\\nlines'),
        ('"mmap"', "7", "setup step 1: do: must be a string, not 7"),
        (MMAP, "7", "setup step 1: must be a table, not 7"),
        ("tag = 9", "errno = 12", "setup step 2 (touch): errno: must be a string, not 12"),
        ('"none"', "false", "expect.moveto-tail: must be a string, not false"),
        ("default = 4", 'default = "4"', 'parameters.pages: default: must be an integer, true or false, not "4"'),
        ("min = 2", "min = true", "parameters.pages: min: must be an integer, not true"),
        (
            "max = 64",
            "max = 9223372036854775807",
            "parameters.pages: max: must be an integer, not a number of 2**62 or",
        ),
        (
            "default = false",
            "default = false, max = 1",
            "parameters.extra: max has no meaning for a parameter that is tr",
        ),
        ("default = 4", "default = 3", "parameters.pages: default: 3 is not a multiple of 2 (2 and 4 are)"),
        ("multiple_of = 2", "multiple_of = 0", "parameters.pages: multiple_of: must be at least 1, not 0"),
        # values
        ('"pages // 2"', '"pagse // 2"', 'names.half: "pagse // 2": unknown name "pagse" (did you mean "pages"?)'),
        ('"pages // 2"', '"a // 2"', 'names.half: "a // 2": unknown name "a"'),
        ('when = "extra"', 'when = "pages"', 'thread "noise" step 1 (read): when: must be true or false, and "pages" '),
        ('that = "pages != 62"', "that = 1", "require 1: that: must be true or false, and 1 is a number"),
        (
            'at = "a"',
            'at = "a - 2*GiB"',
            "setup step 1 (mmap): at: must be an address in bytes, from 0 to below 2**39, n",
        ),
        (
            'at = "a"',
            "at = 0x8000000000",
            "setup step 1 (mmap): at: must be an address in bytes, from 0 to below 2**39",
        ),
        (
            'at = "a"',
            "at = true",
            "setup step 1 (mmap): at: must be an address in bytes, from 0 to below 2**39, not tru",
        ),
        (
            'to = "2*GiB"',
            "to = -1",
            "setup step 3 (mremap): to: must be an address in bytes, from 0 to below 2**39, not ",
        ),
        (
            'pages = "pages"',
            "pages = -1",
            "setup step 1 (mmap): pages: must be a length in pages, from 0 to 2**26, not -",
        ),
        (
            'pages = "pages"',
            "pages = 67108865",
            "setup step 1 (mmap): pages: must be a length in pages, from 0 to 2**2",
        ),
        ("tag = 9", "tag = -1", "setup step 2 (touch): tag: must be a content tag, from 0 to below 2**31, not -1"),
        (
            'to = "2*GiB"',
            "fail_after = -1",
            "setup step 3 (mremap): fail_after: must be a number, from 0 to below 2**31, not -",
        ),
        (
            'to = "2*GiB"',
            'fail = "tabel", fail_after = 1',
            'setup step 3 (mremap): fail: unknown kind of allocation "tabel"',
        ),
        ('to = "2*GiB"', 'fail = "table"', 'setup step 3 (mremap): the key "fail_after" is missing'),
        ('to = "2*GiB"', "maymove = 1", "setup step 3 (mremap): maymove: must be true or false, not 1"),
    ],
)
def test_a_bad_scenario_is_refused_in_one_line_that_tells_where(old: str, new: str, message: str | None) -> None:
    text = edited(old, new)
    if message is None:
        message = 'expect: unknown algorithm "x" (choices: '
        text = edited("[expect]\n", "", text)
        text = edited('"linux-3.2" = "stale-migration-entry"\nmoveto-tail = "none"\n', "", text)
    assert refused(text).startswith(message)


def test_a_message_never_repeats_a_long_or_deep_value() -> None:
    deep = "names.half" + ".a" * 31
    assert refused(edited("names.half", deep)) == (
        "names.half: must be an integer, true, false or an expression in quotes, not a table"
    )
    assert len(refused(edited('"mmap"', '"' + "m" * 3000 + '"'))) < 200


def test_threads_and_steps_are_bounded() -> None:
    thread = '[[thread]]\nname = "t{}"\nsteps = [{{ do = "read", at = 0, pages = 1 }}]\n'
    head = 'name = "x"\nabout = "x"\n'
    assert len(Scenario.from_text(head + "".join(map(thread.format, range(64)))).bind({}).threads) == 64
    assert refused(head + "".join(map(thread.format, range(65)))).startswith("thread: there are 65 threads (1 to 64 ")
    steps = '{ do = "read", at = 0, pages = 1 },\n'
    full = head + f"setup = [\n{steps * 9999}]\n" + thread.format(0)
    assert len(Scenario.from_text(full).bind({}).setup) == 9999
    assert refused(edited("setup = [", f"setup = [\n{steps}", full)) == "more than 10000 steps"


def test_a_scenario_whose_threads_are_all_left_out_is_refused() -> None:
    text = re.sub(
        r'name = "mremap"\nsteps = .*', 'name = "mremap"\nsteps = [{ do = "migrate", at = 0, when = false }]', GOOD
    )
    assert refused(text) == 'no thread has a step left (every "when" is false)'


def test_the_violation_kinds_are_those_of_the_design() -> None:
    assert len(set(VIOLATION_KINDS)) == len(VIOLATION_KINDS) == 14


# Refusals of the simulated kernel


def mremap(source: int, pages: int, new_pages: int, to: int, maymove: int = 1, fails: int | None = None) -> Call:
    where = "x.toml: setup step 3 (mremap)"
    failing = None if fails is None else ("table", fails)
    return Call("mremap", 0, (source, pages, new_pages, to, maymove, 0), 0, where, failing)


@pytest.mark.parametrize(
    ("step", "number", "message"),
    [
        (
            mremap(4096, 4, 4, 8192),
            errno.EINVAL,
            "EINVAL: source [0x1000,0x5000) and destination [0x2000,0x6000) overlap",
        ),
        (mremap(4097, 4, 4, 1 << 20), errno.EINVAL, "EINVAL: address 0x1001 is not page-aligned"),
        (mremap(4096, 4, 4, 4097), errno.EINVAL, "EINVAL: address 0x1001 is not page-aligned"),
        (mremap(4096, 4, 0, -1), errno.EINVAL, "EINVAL: the new length is 0 pages"),
        (mremap(4096, 0, 4, -1), errno.EINVAL, "EINVAL: the length is 0 pages"),
        (
            mremap(4096, 1, 1, 1 << 20, 0),
            errno.EINVAL,
            "EINVAL: a destination (to) needs maymove = true, as MREMAP_FIX",
        ),
        (
            mremap(4096, 4, 4, (1 << 39) - 4096),
            errno.EINVAL,
            "EINVAL: [0x7ffffff000,0x8000003000) ends above the addres",
        ),
        (mremap(4096, 4, 4, 1 << 20), errno.EINVAL, "EINVAL: Invalid argument"),
        (mremap(4096, 4, 4, 1 << 20), errno.EFAULT, "EFAULT: the range [0x1000,0x5000) is not inside one mapping"),
        (
            mremap(4096, 4, 4, 1 << 20, 1, 2),
            errno.ENOMEM,
            "ENOMEM: allocation of table failed after 2 (fail_after)",
        ),
        (mremap(4096, 4, 8, -1, 0), errno.ENOMEM, "ENOMEM: the mapping cannot grow where it is, and maymove is false"),
        (mremap(4096, 4, 4, 1 << 20), errno.ENOMEM, "ENOMEM: Cannot allocate memory"),
        (mremap(4096, 4, 4, 1 << 20), -errno.EFAULT, "EFAULT: the range [0x1000,0x5000) is not inside one mapping"),
        (mremap(4096, 4, 4, 1 << 20), 4095, "errno 4095: Unknown error 4095"),
        (mremap(4096, 4, 4, 1 << 20)._replace(errno=errno.ENOMEM), 0, "ENOMEM is expected, but the step succeeded"),
        (
            mremap(1, 4, 4, 8)._replace(errno=errno.ENOMEM),
            errno.EINVAL,
            "ENOMEM is expected, but EINVAL: address 0x1 is ",
        ),
    ],
)
def test_a_refused_mremap_is_explained(step: Call, number: int, message: str) -> None:
    assert explain_refusal(step, number).startswith(f"x.toml: setup step 3 (mremap): {message}")


@pytest.mark.parametrize(
    ("verb", "args", "number", "message"),
    [
        ("mmap", (4097, 1), errno.EINVAL, "EINVAL: address 0x1001 is not page-aligned"),
        ("mmap", (4096, 0), errno.EINVAL, "EINVAL: the length is 0 pages"),
        ("mmap", (0, 1 << 26), errno.EINVAL, "EINVAL: Invalid argument"),
        ("mmap", (1 << 38, 1 << 26), errno.ENOMEM, "ENOMEM: Cannot allocate memory"),
        (
            "mmap",
            ((1 << 38) + 4096, 1 << 26),
            errno.ENOMEM,
            "ENOMEM: [0x4000001000,0x8000001000) ends above the address",
        ),
        ("munmap", (1, 1), errno.EINVAL, "EINVAL: address 0x1 is not page-aligned"),
        ("touch", (4096, 2, 1), errno.EFAULT, "EFAULT: [0x1000,0x3000) is not all mapped"),
        ("read", (4096, 2), errno.EFAULT, "EFAULT: [0x1000,0x3000) is not all mapped"),
        ("read", (4096, 2), errno.EAGAIN, "EAGAIN: Resource temporarily unavailable"),
        ("migrate", (4096, 0), errno.ENOENT, "ENOENT: no page is mapped at 0x1000"),
        ("migrate", (4098, 0), errno.EINVAL, "EINVAL: address 0x1002 is not page-aligned"),
        ("compare", (4096, 8192, 1), errno.EFAULT, "EFAULT: [0x1000,0x2000) or [0x2000,0x3000) is not all mapped"),
        ("compare", (4096, 3, 1), errno.EINVAL, "EINVAL: address 0x3 is not page-aligned"),
        ("compare", (4096, 8192, 1), errno.EIO, "EIO: Input/output error"),
    ],
)
def test_any_refused_step_is_explained(verb: str, args: tuple[int, ...], number: int, message: str) -> None:
    assert explain_refusal(Call(verb, 0, args, 0, "here"), number).startswith(f"here: {message}")


# Garbage

TEXTS = [GOOD, *(Scenario.load(name).text for name in BUILTIN)]


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A good scenario after a few accidents: lines and pieces lost, doubled, moved, or overwritten."""
    text = draw(st.sampled_from(TEXTS))
    text = "\n".join(line for line in text.split("\n") if not line.startswith("#"))
    pieces = re.findall(r"\w+|\s+|.", text) if draw(st.booleans()) else text.splitlines(keepends=True)
    for _ in range(draw(st.integers(1, 4))):
        here, there = draw(st.integers(0, len(pieces) - 1)), draw(st.integers(0, len(pieces) - 1))
        match draw(st.sampled_from(["lose", "double", "swap", "replace", "insert"])):
            case "lose":
                pieces[here] = ""
            case "double":
                pieces[here] *= 2
            case "swap":
                pieces[here], pieces[there] = pieces[there], pieces[here]
            case "replace":
                pieces[here] = draw(
                    st.sampled_from(["-1", "true", "1.5", "[]", "{}", '"x"', "0", "1e9", '"', "99999999999"])
                )
            case "insert":
                pieces[here] += draw(st.text(max_size=3))
    return "".join(pieces)


@settings(deadline=None, max_examples=500, suppress_health_check=[HealthCheck.too_slow])
@given(damaged())
def test_a_damaged_scenario_is_never_anything_but_a_user_error(text: str) -> None:
    try:
        scenario = Scenario.from_text(text, "x.toml")
        program = scenario.bind({})
    except UserError as error:
        assert str(error).isprintable() and str(error).startswith("x.toml: ")
    else:
        assert all(isinstance(arg, int) for step in steps_of(program) for arg in step.args)
        assert len(scenario.sha256) == 64


@pytest.mark.parametrize(
    "name", ["errors", "text.expression", "kernel.algorithm", "kernel.scenario", "kernel.refusals"]
)
def test_the_examples_in_the_docstrings_are_true(name: str) -> None:
    results = doctest.testmod(sys.modules[f"anonvma_rt.{name}"])
    assert results.attempted and not results.failed
