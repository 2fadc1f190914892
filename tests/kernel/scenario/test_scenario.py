"""What a scenario file means: a program of plain integers, its parameters, and what is expected of whom."""

import doctest
import errno
import hashlib
import sys
from pathlib import Path

import pytest
from scenario_tools import GOOD, edited, refused, steps_of

from anonvma_rt.errors import ParameterError
from anonvma_rt.kernel.algorithm import PRESETS
from anonvma_rt.kernel.scenario import Call, Scenario
from anonvma_rt.text.parameters import Parameter, parse_parameters

PAGE, MIB2 = 4096, 2 << 20


def test_a_program_is_plain_integers_with_the_place_of_every_step() -> None:
    program = Scenario.from_text(GOOD, "dir/x.toml").bind({"pages": "8"})
    gib = 1 << 30
    assert program.setup == (
        Call("mmap", 0, (gib, 8, 1, 0, 0, 0, 0), 0, "dir/x.toml: setup step 1 (mmap)"),
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
        ('{ do = "mmap", at = 4096, pages = 2 }', (4096, 2, 1, 0, 0, 0, 0)),
        ('{ do = "mmap", at = 0, pages = 512, writable = false, huge = true }', (0, 512, 0, 1, 0, 0, 0)),
        ('{ do = "mmap", at = 0, pages = 1, stack = true }', (0, 1, 1, 0, 1, 0, 0)),
        ('{ do = "mmap", at = 0, pages = 1, grows_down = true }', (0, 1, 1, 0, 0, 1, 0)),
        ('{ do = "mmap", at = 0, pages = 1, prot = "none", noreserve = true }', (0, 1, 2, 0, 0, 0, 1)),
        ('{ do = "mmap", at = 0, pages = 1, prot = "write" }', (0, 1, 1, 0, 0, 0, 0)),
        ('{ do = "mprotect", at = 0, pages = 1, prot = "none" }', (0, 1, 2)),
        ('{ do = "mprotect", at = 0, pages = 1, prot = "read" }', (0, 1, 0)),
        ('{ do = "mprotect", at = 4096, pages = 2, writable = false }', (4096, 2, 0)),
        ('{ do = "brk", at = 4096, pages = 2 }', (4096, 2)),
        ('{ do = "fork", child = "child" }', (1,)),
        ('{ do = "exit" }', ()),
        ('{ do = "exec", at = 4096, shift = 1 }', (4096, 1)),
        ('{ do = "move_pages", at = 4096, pages = 2 }', (4096, 2)),
        ('{ do = "referenced", at = 4096 }', (4096,)),
        ('{ do = "split", at = 4096 }', (4096,)),
        ('{ do = "uffd_move", from = 0, to = 4096 }', (0, 4096, 1)),
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


def test_an_asterisk_stands_for_the_presets_that_are_not_named() -> None:
    expect = '[expect]\nunpatched = "bug-on"\n"*" = "none"\n"modern,pin=false" = "use-after-free"\n'
    text = GOOD[: GOOD.index("[expect]")] + expect
    scenario = Scenario.from_text(text)
    assert scenario.expected("unpatched") == "bug-on"
    assert scenario.expected("modern") == "none"
    assert scenario.expected("modern,pin=false") == "use-after-free"
    assert scenario.expected("modern,merge=6.16") is None
    assert scenario.algorithms() == [*PRESETS, "modern,pin=false"]


# ---- parameters ------------------------------------------------------------------------------------------------------


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
        ("error-path", {"page": 2}, "error-path.toml: page must be below pages//2, to be moved before the failure (me"),
        ("peek", {"page": 1}, "peek.toml: page must be below pages (pages=1, page=1)"),
        ("lucky-merge", {"page": 4}, "lucky-merge.toml: page must be below pages (pages=4, page=4)"),
    ],
)
def test_only_a_page_that_moves_can_be_migrated(name: str, values: dict[str, int], message: str) -> None:
    with pytest.raises(ParameterError) as caught:
        Scenario.load(name).bind(values)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("name", ["errors", "text.expression", "kernel.algorithm", "kernel.scenario", "kernel.reasons"])
def test_the_examples_in_the_docstrings_are_true(name: str) -> None:
    results = doctest.testmod(sys.modules[f"anonvma_rt.{name}"])
    assert results.attempted and not results.failed
