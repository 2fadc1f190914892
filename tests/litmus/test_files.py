"""Litmus files: what is in them, what they may say, and one clear line for everything else."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anonvma_rt.cli import main
from anonvma_rt.errors import ScenarioError, UserError
from anonvma_rt.kernel.scenario import Scenario
from anonvma_rt.lab.load import described_by, load, names_of_all
from anonvma_rt.litmus.file import KINDS
from anonvma_rt.litmus.litmus import Litmus
from anonvma_rt.litmus.program import Program

HEAD = 'litmus = "t"\nabout = "a test"\n'
ONE = HEAD + 'thread = [{ name = "P", steps = ["load x r", "store y 1"] }]\n'


def test_the_built_in_ones_are_there_and_no_scenario_has_their_names():
    names = Litmus.builtin_names()
    assert names == ["2+2w", "aba", "corr", "exchange-lock", "iriw", "isa2", "lb", "lock-order", "mp", "order",
                     "philosophers", "r", "rcu-reuse", "s", "sb", "wrc"]  # fmt: skip
    assert len(set(names_of_all())) == len(names_of_all())
    for name in names:
        test = load(name)
        assert isinstance(test, Litmus) and test.name == name
        assert test.algorithms() == list(test.variants)


def test_the_kinds_are_those_of_the_engine():
    assert sorted(KINDS) == sorted(Program([[]]).kinds().values())


def test_what_a_text_is_follows_from_what_is_in_it(tmp_path):
    path = tmp_path / "x.toml"
    for name, kind in (("sb", Litmus), ("merge", Scenario)):
        text = load(name).text
        path.write_text(text)
        assert type(load(str(path))) is type(described_by(text, "x")) is kind
    path.write_text("litmus = [")
    with pytest.raises(ScenarioError, match=r"x\.toml: line 1"):
        load(str(path))


def test_lines_are_filled_repeated_and_left_out():
    text = """
litmus = "repeats"
about = "a test"
parameters.n = { default = 2, min = 0, max = 100_000 }
names.last = "n - 1"
[[setup]]
repeat = "n"
as = "i"
steps = ["set x{i} {-i}"]
[[thread]]
name = "T{i}"
repeat = "n"
as = "i"
steps = [
    "lock l{(i + 1) % n}",
    { repeat = "i", as = "j", steps = ["add x{j} 1", { when = "i == last", steps = ["get x{i * 1} r{i}_{j}"] }] },
]
[[forbidden]]
repeat = "n"
as = "i"
outcomes = ["x{i} == i + 7", { when = "i == last", outcomes = ["x0 == last"] }]
"""
    code = Litmus.from_text(text).bind({"n": "3"}).codes["sc"]
    assert [step.text for step in code.setup] == ["set x0 0", "set x1 -1", "set x2 -2"]
    assert {thread.name: [one.text for one in thread.instructions] for thread in code.threads} == {
        "T0": ["lock l1"],
        "T1": ["lock l2", "add x0 1"],
        "T2": ["lock l0", "add x0 1", "get x2 r2_0", "add x1 1", "get x2 r2_1"],
    }
    assert [(one.text, one.words) for one in code.forbidden] == [
        ("x0 == i + 7", ("x0", 7, "==")),
        ("x1 == i + 7", ("x1", 8, "==")),
        ("x2 == i + 7", ("x2", 9, "==")),
        ("x0 == last", ("x0", 2, "==")),
    ]
    with pytest.raises(ScenarioError, match="1 to 255 threads, not 0"):
        Litmus.from_text(text).bind({"n": 0})
    with pytest.raises(ScenarioError, match="more than 10000 steps"):
        Litmus.from_text(text).bind({"n": 100_000})


def test_a_test_made_in_python_is_a_text_like_any_other():
    made = Litmus.of("plain", {"A": ["add x 1"]}, about='says "hi"\\')
    assert made.about == 'says "hi"\\'
    assert Litmus.from_text(made.text, "plain") == made
    assert made.sha256 != Litmus.of("plain", {"A": ["add x 2"]}).sha256
    assert made.expected("sc") is None
    with pytest.raises(ScenarioError, match="is not a name"):
        Litmus.of('q"uo', {"A": ["add x 1"]})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("litmus = 3", "litmus: must be a string, not 3"),
        (HEAD, "there are 0 threads"),
        ('litmus = "t"\nthread = [{ name = "P", steps = [] }]', 'the key "about" is missing'),
        (ONE + "forbiden = []", 'unknown key "forbiden" (did you mean "forbidden"?)'),
        (ONE + "forbidden = [3]", "forbidden: outcome 1: must be a line in quotes"),
        (ONE + 'forbidden = "r"', "must be true or false"),
        (ONE + 'forbidden = "r = 1"', "not an expression"),
        (ONE + 'forbidden = "r == q"', 'unknown name "q"'),
        (ONE + 'forbidden = "r // r == 1"', "there are only + - * / %, & |"),
        (ONE + 'forbidden = "r and y"', "true or false is needed"),
        (ONE + 'forbidden = "r + (r == 1) == 1"', "a number is needed"),
        (ONE + 'reachable = "min(r, y) == 1"', "there are only + - * / %, & |"),
        (ONE + f'forbidden = "{"r + (" * 39}r{")" * 39} == 0"', "too long"),
        (ONE + 'expect.pached = "none"', 'unknown variant "pached" (choices: sc)'),
        (ONE + 'expect.sc = "asertion"', 'did you mean "assertion"'),
        (ONE + "expect.sc = 1", "expect.sc: must be a string"),
        (ONE + "variants.a.n = 1", 'variants.a: unknown key "n"'),
        (ONE + 'parameters.n = { default = 1 }\nvariants.a.n = "x"', "variants.a.n: must be an integer"),
        (ONE + "parameters.n = { default = 1, max = 3 }\nvariants.a.n = 4", "4 is above the maximum 3"),
        (ONE + "parameters.x = { default = 1 }", '"x" has a meaning already'),
        (ONE + "parameters.r = { default = 1 }", '"r" is not only a register'),
        (ONE + "parameters.n = { default = 1 }\nnames.n = 2", "there is a parameter of this name"),
        (ONE + 'parameters.n = { default = 1 }\nrequire = [{ that = "n > 1", otherwise = "few" }]', "few (n=1)"),
        (ONE + 'setup = ["load x q"]', "only store, set, add of numbers"),
        (ONE + 'setup = ["set x q"]', "only store, set, add of numbers"),
        (ONE + 'classes = { x = 1 }', "'x' is not a lock"),
        (ONE + 'types = { x = "int7" }', "'int7' of 'x' is not one of int64, int8, uint8, int16"),
        (ONE + "types = { x = 7 }", "types: x: must be a string"),
        (ONE + "initial = { x = 1.5 }", "initial.x: must be an integer"),
        (ONE + 'initial = { x = "r" }', 'initial.x: "r": unknown name "r"'),
        (ONE + 'initial = { x = "&1" }', '"1" is not a name'),
        (ONE + 'setup = [{ if = "1 == 1", steps = [] }]', "only store, set, add of numbers"),
        (ONE + 'forbidden = "x == &z"', "'&z' is no variable"),
        (ONE + 'classes = { x = "1" }', "classes.x: must be a number"),
    ]
    + [
        (HEAD + f'thread = [{{ name = "P", {rest} }}]', says)
        for rest, says in [
            ("x = 1", 'unknown key "x"'),
            ("as = 1", "belong together"),
            ('repeat = 2, as = "3i", steps = []', '"3i" is not a name'),
            ('repeat = 2, as = "i", steps = []', 'two threads of the name "P"'),
            ('repeat = "true", as = "i", steps = []', "repeat: must be a number"),
            ('when = 1, steps = ["add x 1"]', "when: must be true or false"),
            ('steps = [""]', "must be one line"),
            ('steps = ["lod x r"]', 'unknown verb "lod" (did you mean "load"?)'),
            ('steps = ["load x"]', "load takes NAME REGISTER"),
            ('steps = ["store x"]', "store takes NAME VALUE"),
            ('steps = ["load 3 r"]', '"3" is not a name'),
            ('steps = ["load x and"]', '"and" is not a name'),
            ('steps = ["store x 1.5"]', '"1.5" is not a number or a register'),
            ('steps = ["store x r"]', "register 'r' was given no value before"),
            ('steps = ["store x 9999999999999999999"]', "must be a number of 64 bits"),
            ('steps = ["store x {y}"]', 'unknown name "y"'),
            ('steps = ["store x {"]', "is not a number"),
            ('steps = ["load x x"]', '"x" is not only a register'),
            ('steps = ["lock a", "load a r"]', "load needs a variable, but 'a' is a lock"),
            ('steps = [{ steps = [], outcomes = [] }]', 'unknown key "outcomes"'),
            (f"steps = [{'{ steps = [' * 12}{'] }' * 12}]", "nested too deeply"),
            ('steps = ["mb x"]', "mb takes nothing"),
            ('steps = ["compare_exchange x 1 r"]', "compare_exchange takes NAME VALUE VALUE REGISTER"),
            ('steps = ["!mb"]', "mb is no step of its own"),
            ('steps = ["let r"]', 'let takes REGISTER = EXPRESSION, such as "let r = q + 1"'),
            ('steps = ["let and = 1"]', '"and" is not a name'),
            ('steps = ["let r = 1 +"]', "not an expression"),
            ('steps = ["let r = q"]', "register 'q' was given no value before"),
            ('steps = ["store x &1"]', '"&1" is not a number or a register'),
            ('steps = ["load *1 r"]', '"*1" is not a name (letters, digits and _, at most 40) or *REGISTER'),
            ('steps = ["lock *r"]', "a name is a text without ':'"),
            ('steps = ["lock a", "store x &a"]', "'a' is a lock, and only variables have addresses"),
            ('steps = ["jump there"]', "there is no label 'there'"),
            ('steps = [{ if = "r == 1" }]', 'the key "steps" is missing'),
            ('steps = [{ if = "r", steps = [] }]', "must be true or false"),
            ('steps = [{ if = "r == 1", steps = [], most = 1 }]', 'unknown key "most"'),
            ('steps = [{ if = "r == 1", steps = [] }]', '"r" is given no value by this thread'),
            ('steps = ["store x 1", { if = "x == 1", steps = [] }]', '"x" is a variable: load it first'),
            ('steps = [{ while = "1 == 1", steps = [], else = [] }]', 'unknown key "else"'),
            ('steps = [{ while = "1 == 1", most = -1, steps = [] }]', "most: must be a number from 0 on, not -1"),
            ('steps = [{ while = "1 == 1", most = 20_000, steps = [] }]', "more than 10000 steps"),
            ("steps = [" + '{ if = "1 == 1", steps = [' * 12 + "] }" * 12 + "]", "nested too deeply"),
            ('steps = ["load x r"] }, { name = "Q", steps = ["load x r"]', 'another thread has a register "r"'),
        ]
    ],
)  # fmt: skip
def test_everything_else_is_one_clear_line(text, says):
    with pytest.raises(UserError) as error:
        Litmus.from_text(text, "t.toml").bind({})
    assert says in str(error.value)
    assert str(error.value).startswith("t.toml: ")


@settings(max_examples=150)
@given(data=st.data())
def test_no_damage_escapes_as_another_exception(data):
    text = list(load(data.draw(st.sampled_from(Litmus.builtin_names()))).text)
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at] = data.draw(st.sampled_from([*'{}[]"=#\n0123456789abcdefghiklprstx+-*/%<>(),._ ', "", "\0", "\ud800"]))
    try:
        described_by("".join(text), "damaged").bind({})
    except UserError as error:
        assert "\n" not in str(error)


def test_the_command_line_takes_names_and_paths(tmp_path, capsys):
    assert main(["hunt", "sb", "--runs", "200", "--out", str(tmp_path)]) == 0
    assert "sc " in capsys.readouterr().out
    path = tmp_path / "mine.toml"
    path.write_text(load("lock-order").text.replace('"lock-order"', '"mine"'))
    assert main(["hunt", str(path), "--runs", "200", "--json", "--out", str(tmp_path)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["scenario"], told["parameters"]) == ("mine", {})
    found = told["results"][0]
    assert list(found["violations"]) == ["deadlock"]
    assert main(["replay", found["first"]["reproducer"], "--until", "4"]) == 0
    shown = capsys.readouterr().out
    assert "mine under ab-ba" in shown and "x = 0" in shown
