"""Interesting operations by name: what each name stands for, and that SURW finds by them what it misses without."""

import json
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anonvma_rt import Scenario, hunt
from anonvma_rt.cli import main
from anonvma_rt.engine.run.records import EVENT, OPS
from anonvma_rt.engine.strategy import script
from anonvma_rt.errors import ScenarioError, UserError
from anonvma_rt.execution.reproducer import Reproducer, replay
from anonvma_rt.lab.explorers import make_explorer
from anonvma_rt.lab.load import load
from anonvma_rt.lab.strategies import make_strategy
from anonvma_rt.litmus.litmus import Litmus
from anonvma_rt.mm.lab.interesting import DEFAULT, NAMES
from anonvma_rt.mm.lab.world import World
from anonvma_rt.text.names import for_threads

ACQUIRES = ("lock", "read-lock", "trylock", "read-trylock", "wait")
# By what a trace says of an operation: the kind of the object and its member.
LOCKS = {
    ("table", "ptl"): "ptl", ("mm", "page_table_lock"): "ptl", ("mm", "mmap_sem"): "mmap-sem",
    ("anon_vma", "mutex"): "root-lock", ("page", "PG_locked"): "page-lock", ("vma", "vm_lock"): "vma-lock",
}  # fmt: skip
WORDS = {
    ("directory", "pmd"): "pmd", ("vma", "vm_start"): "vma", ("vma", "vm_end"): "vma", ("vma", "vm_pgoff"): "vma",
    ("anon_vma", "head"): "list", ("anon_vma", "refcount"): "refcount", ("page", "count"): "refcount",
    ("page", "mapcount"): "mapcount", ("vma", "anon_vma"): "anon-vma", ("anon_vma", "root"): "anon-vma",
    ("page", "mapping"): "anon-vma",
}  # fmt: skip
WORLDS = {
    "lkml-2011": "unpatched",
    "fork-child-first": "unpatched",
    "fault-during-fork": "modern,vma_locks=fork",
    "thp-split-vs-move": "interval-tree",
    "uffd-move": "modern",
    "exec-stack": "unpatched,stack_flag=false",
}


def names_of(op, what):
    """The names that an operation answers to, but for the usual one."""
    if what is None:
        return set()
    kind, _, member = what
    if op in ACQUIRES:
        return {LOCKS[kind, member]} if (kind, member) in LOCKS else set()
    if op not in ("load", "store", "atomic"):
        return set()
    name = WORDS.get((kind, member), "pte" if kind == "table" and member != "ptl" else None)
    return set() if name is None else {name} if op == "load" else {name, f"{name}-write"}


@cache
def sequential(scenario):
    """(thread, names) of each operation of the execution in which the threads run one after the other."""
    program = Scenario.load(scenario).bind({})
    with make_explorer(program, program.choose(WORLDS[scenario]), script.replay()) as explorer:
        recorded = explorer.trace(0)
        world = World(explorer)
        return [
            (program.threads[task].name, names_of(OPS[op], world.name(a)))
            for _, task, op, _, a, _, _ in EVENT.iter_unpack(recorded.events)
            if OPS[op] != "note"
        ]


def marks(program):
    """How many interesting operations each thread has in that execution, as a profile counts them."""
    with make_explorer(program, program.choose(program.usual()[0]), script.replay()) as explorer:
        return [count for _, count in explorer.profile(script.replay(), 0, 10**6).tasks]


@pytest.mark.parametrize("name", [name for name in NAMES if name != DEFAULT])
def test_a_name_stands_for_the_operations_that_a_trace_would_give_it(name):
    total = 0
    for scenario in WORLDS:
        program = Scenario.load(scenario).bind({})
        expected = [
            sum(1 for who, names in sequential(scenario) if who == thread.name and name in names)
            for thread in program.threads
        ]
        assert marks_of(scenario, (name,)) == expected
        total += sum(expected)
    assert total > 0, "nothing in these scenarios has this name, so nothing was tested"


def marks_of(scenario, names):
    program = Scenario.load(scenario).bind({}).with_interesting(names)
    with make_explorer(program, program.choose(WORLDS[scenario]), script.replay()) as explorer:
        return [count for _, count in explorer.profile(script.replay(), 0, 10**6).tasks]


@settings(max_examples=40)
@given(st.data())
def test_several_names_of_several_threads_mark_each_operation_once(data):
    scenario = data.draw(st.sampled_from(list(WORLDS)[:3]))
    threads = [thread.name for thread in Scenario.load(scenario).bind({}).threads]
    text = st.builds(
        lambda thread, name: f"{thread}:{name}" if thread else name,
        st.sampled_from(["", *threads]),
        st.sampled_from([name for name in NAMES if name != DEFAULT]),
    )
    names = data.draw(st.lists(text, min_size=1, max_size=5))
    expected = [0] * len(threads)
    for who, of_operation in sequential(scenario):
        if any(f"{who}:{name}" in names or name in names for name in of_operation):
            expected[threads.index(who)] += 1
    assert marks_of(scenario, names) == expected


def test_the_usual_marks_are_page_table_locks_and_not_counted_twice_beside_them():
    usual, locks = marks_of("lkml-2011", (DEFAULT,)), marks_of("lkml-2011", ("ptl",))
    assert 0 < usual[0] < locks[0] and 0 < usual[1] <= locks[1]
    assert marks_of("lkml-2011", (DEFAULT, "ptl")) == locks
    assert marks_of("lkml-2011", (f"mremap:{DEFAULT}",)) == [usual[0], 0]
    assert marks_of("lkml-2011", (f"migrate:{DEFAULT}", "mremap:mmap-sem")) == [1, usual[1]]
    assert marks_of("lkml-2011", ()) == [0, 0]


# scenario, an algorithm that is wrong, the same one put right, what SURW must be told
HIDDEN = [
    ("own-locks", "unpatched,own_lock=true", "unpatched", "vma"),
    ("border-shift", "unpatched", "interval-tree", "vma"),
    ("exec-stack", "unpatched,stack_flag=false", "unpatched", "ptl"),
    ("uffd-move", "modern,recheck_mapping=false", "modern", "anon-vma"),
]


@pytest.mark.parametrize(("scenario", "wrong", "right", "name"), HIDDEN)
def test_surw_misses_with_the_usual_marks_what_it_finds_with_the_right_ones(scenario, wrong, right, name):
    def violations(algorithm, interesting):
        found = hunt(scenario, None, [algorithm], "surw", "fibers", runs=1500, interesting=interesting).results[0]
        return sum(found.violations.values())

    if scenario == "uffd-move":
        # No page migrates, so nothing is marked: SURW draws, and finds it sometimes.
        assert 0 < violations(wrong, [DEFAULT]) < violations(wrong, [name]) / 5
    else:
        assert violations(wrong, [DEFAULT]) == 0
    assert violations(wrong, [name]) > 150
    assert violations(right, [name]) == 0
    # The scenario says so itself.
    assert Scenario.load(scenario).interesting == (name,)
    assert violations(wrong, None) == violations(wrong, [name])


@pytest.mark.parametrize("names", [("ptl",), ("mremap:pte", "migrate:vma"), ()])
def test_a_hunt_with_names_is_a_pure_function_of_them_too(names):
    def of(start=0, runs=600, **options):
        found = hunt("merge", None, ["unpatched"], "portfolio", start=start, runs=runs, interesting=names, **options)
        return found.results[0]

    whole = of()
    assert {of(jobs=2).schedules_sha256, of(carrier="fibers").schedules_sha256} == {whole.schedules_sha256}
    assert of(runs=250).indices + of(start=250, runs=350).indices == whole.indices
    assert hunt("merge", None, ["unpatched"], runs=600).results[0].schedules_sha256 != whole.schedules_sha256


def test_a_reproducer_keeps_the_names_and_replays_without_them(tmp_path):
    found = hunt("own-locks", None, ["unpatched,own_lock=true"], "surw", runs=200, out=tmp_path, interesting=["vma"])
    assert found.as_dict()["interesting"] == ("vma",)
    first = found.results[0].first
    kept = Reproducer.load(first.reproducer)
    assert (kept.strategy, kept.interesting) == ("surw", ("vma",))
    replayed = replay(kept, times=20)
    assert replayed.reproduced == 20 and replayed.same_trace
    # What is kept is enough to make the same execution again by its strategy.
    again = hunt(kept.scenario, kept.parameters, [kept.algorithm], kept.strategy, start=kept.index, runs=1,
                 interesting=kept.interesting)  # fmt: skip
    assert again.results[0].first.kind == kept.kind


# ---- litmus tests ----------------------------------------------------------------------------------------------------

FAR = """
litmus = "far"
about = "one read has to fall between two stores that are far from each other"
{key}
[[thread]]
name = "writer"
steps = [
    {{ repeat = "200", as = "i", steps = ["load away a"] }},
    "{bang}store x 1",
    {{ repeat = "200", as = "i", steps = ["load away b"] }},
    "{bang}store x 2",
]
[[thread]]
name = "reader"
steps = ["{bang}load x r"]
[[forbidden]]
outcomes = ["r == 1"]
"""
PLAIN = FAR.format(key="", bang="")
MARKED = FAR.format(key="", bang="!")
NAMED = FAR.format(key='interesting = ["x"]', bang="")


def chance(text, names=None):
    found = hunt(Litmus.from_text(text), None, None, "surw", "fibers", runs=900, interesting=names).results[0]
    return sum(found.violations.values()) / 900


def test_a_litmus_test_marks_steps_or_names_what_is_interesting_and_the_user_overrides_it():
    third = pytest.approx(1 / 3, abs=0.06)
    assert marks(Litmus.from_text(PLAIN).bind({})) == [0, 0]
    for text in (MARKED, NAMED):
        assert marks(Litmus.from_text(text).bind({})) == [2, 1]
        assert chance(text) == third
        assert chance(text, ["away"]) < 0.02
        assert marks(Litmus.from_text(text).bind({}).with_interesting(["away", "reader:x"])) == [400, 1]
    assert chance(PLAIN, ["x"]) == third


def test_a_lock_by_name_means_that_it_is_taken_in_every_variant():
    program = load("order").bind({"pages": 3}).with_interesting(["ptl_src", "walker:ptl_dst", "anon_vma"])
    for variant in ("unpatched", "patched"):
        with make_explorer(program, program.choose(variant), make_strategy("surw")) as explorer:
            assert [count for _, count in explorer.profile(script.replay(), 0, 10**6).tasks] == [3, 9]
    assert hunt("order", {"pages": 3}, interesting=["ptl_src", "ptl_dst"], strategy="surw", runs=400).as_expected


def test_what_is_no_step_cannot_be_marked():
    with pytest.raises(ScenarioError, match="set is no step of its own, so it cannot be an interesting one"):
        Litmus.from_text(PLAIN.replace("store", "!set")).bind({})


# ---- what is wrong is said in one line -------------------------------------------------------------------------------

WRONG = [
    ("lkml-2011", "ptll", '--interesting: unknown operation "ptll" (did you mean "ptl"?)'),
    ("lkml-2011", "mremp:ptl", '--interesting: unknown thread "mremp" (did you mean "mremap"?)'),
    ("lkml-2011", "ptl,,pte", '--interesting must be 1 to 64 names with commas between them, not "ptl,,pte"'),
    ("lkml-2011", "", '--interesting must be 1 to 64 names with commas between them, not ""'),
    ("order", "ptl_scr", '--interesting: unknown operation "ptl_scr" (did you mean "ptl_src"?)'),
    ("order", "walkers:ptl_src", '--interesting: unknown thread "walkers" (did you mean "walker"?)'),
]


def test_names_are_of_one_scenario(capsys):
    assert main(["hunt", "--all", "--interesting", "ptl"]) == 2
    assert "--all hunts them all: omit one of them" in capsys.readouterr().err


@pytest.mark.parametrize(("scenario", "names", "line"), WRONG)
def test_a_name_that_there_is_not(scenario, names, line, capsys):
    assert main(["hunt", scenario, "--runs", "1", "--interesting", names]) == 2
    out = capsys.readouterr()
    assert (out.out, out.err) == ("", f"anonvma-rt: {line}\n")


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ('interesting = ["ptll"]', 'far.toml: interesting: unknown operation "ptll"'),
        ('interesting = ["x", "z:x"]', 'far.toml: interesting: unknown thread "z"'),
        ("interesting = 3", "far.toml: interesting: must be a list, not 3"),
        ("interesting = [3]", "far.toml: interesting: must be a string, not 3"),
        (f"interesting = {['x'] * 65}", "far.toml: interesting: more than 64 names"),
    ],
)
def test_a_file_that_names_what_there_is_not(key, line):
    litmus = FAR.format(key=key, bang="")
    with pytest.raises(ScenarioError, match=line):
        Litmus.from_text(litmus, "far.toml").bind({})
    scenario = f"{key}\n{Scenario.load('merge').text}".replace('"x"', '"ptl"')
    with pytest.raises(ScenarioError, match=line):
        Scenario.from_text(scenario, "far.toml")


def test_the_list_of_names_is_shown_and_each_says_what_it_is(tmp_path, capsys):
    assert main(["list", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["interesting"]
    assert [entry["name"] for entry in told] == list(NAMES)
    words = ["hunt", "merge", "--runs", "5", "--strategy", "surw", "--interesting", "ptl, mremap:pte"]
    assert main([*words, "--out", str(tmp_path)]) in (0, 1)
    assert "strategy surw (interesting: ptl, mremap:pte)" in capsys.readouterr().out
    found = hunt("own-locks", None, ["unpatched,own_lock=true"], runs=200, out=tmp_path).results[0].first
    assert main(["replay", found.reproducer]) == 0
    assert "found by portfolio (interesting: vma) with seed 0" in capsys.readouterr().out


def test_for_threads():
    assert for_threads(["a", "t:b"], ["s", "t"], ["a", "b"], UserError, "x") == [{"a"}, {"a", "b"}]
    with pytest.raises(UserError, match=r"x: unknown operation \"c\" \(choices: a, b\)"):
        for_threads(["c"], ["s"], ["a", "b"], UserError, "x")
