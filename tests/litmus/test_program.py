"""Program: what each verb does, and one clear line for everything that is none."""

import pytest
from engine_programs import explore, failures, verdict

from anonvma_rt.engine.run.explorer import Explorer
from anonvma_rt.engine.strategy import script
from anonvma_rt.engine.strategy.random import Random
from anonvma_rt.litmus.program import Program


def run(*threads, **options):
    """The values after the sequential execution."""
    program = Program(threads, **options)
    with explore(program, script.replay()) as explorer:
        assert verdict(program, explorer.trace(0)) == "ok"
        return program.values(explorer)


@pytest.mark.parametrize(
    "thread, values",
    [
        ([("store", "x", 5), ("load", "x", "r")], {"x": 5, "0:r": 5}),
        ([("load", "x", "r"), ("store", "y", "r")], {"x": 0, "y": 0, "0:r": 0}),
        ([("store", "x", -3), ("load", "x", "r"), ("add", "x", "r"), ("add", "x", 1)], {"x": -5, "0:r": -3}),
        ([("cas", "x", 0, 7, "a"), ("cas", "x", 0, 8, "b")], {"x": 7, "0:a": 1, "0:b": 0}),
        ([("cas", "x", 0, 7, "a"), ("cas", "y", "a", "a", "a")], {"x": 7, "y": 0, "0:a": 0}),
        ([("trylock", "l", "a"), ("trylock", "l", "b"), ("unlock", "l")], {"0:a": 1, "0:b": 0}),
        ([("read_lock", "l"), ("trylock", "l", "a"), ("read_unlock", "l")], {"0:a": 0}),
        ([("store", "x", 2), ("await", "x", 2), ("spin", "x", 2)], {"x": 2}),
        ([("store", "x", 2**63 - 1), ("store", "y", -(2**63))], {"x": 2**63 - 1, "y": -(2**63)}),
        ([("set", "x", 4), ("get", "x", "r"), ("set", "y", "r"), ("await", "y", 4)], {"x": 4, "y": 4, "0:r": 4}),
        ([], {}),
    ],
    ids=str,
)
def test_verbs(thread, values):
    assert run(thread) == values


def test_registers_belong_to_their_thread():
    steps = [("add", "x", 1), ("load", "x", "r")]
    assert run(steps, steps, steps) == {"x": 3, "0:r": 1, "1:r": 2, "2:r": 3}


def test_steps_may_be_any_sequences():
    assert run((("store", "x", 1),), [["add", "x", 2]], iter([("add", "x", 3)]), setup=(["add", "x", 1],)) == {"x": 6}


def test_forbidden_outcomes():
    """All of one mapping, any of the mappings, and the first that holds is named by its number."""
    program = Program(
        [[("store", "x", 1), ("load", "y", "r")], [("store", "y", 1), ("load", "x", "r")]],
        forbidden=[{"0:r": 0, "1:r": 0}, {"x": 2}, {"0:r": 1, "1:r": 1, "x": 1}, {"0:r": 1, "1:r": 1}],
    )
    with explore(program) as explorer:
        found = failures(program, explorer.run(0, 200))
        assert set(found.values()) == {"assertion"}
        for index in range(200):
            traced, values = explorer.trace(index), program.values(explorer)
            both = values["0:r"] == values["1:r"] == 1
            assert (traced.finding is not None) == both == (index in found)
            if both:
                assert traced.finding == (16, -1, traced.points, 2, 0, 0)


@pytest.mark.parametrize(
    "words, holds",
    [
        (["x", 5, "=="], True),
        (["x", 5, "!="], False),
        (["x", "0:r", "<"], False),
        (["x", "0:r", "<="], True),
        (["x", "0:r", "+", 10, "==", "x", 5, "<", "or"], True),
        (["x", "0:r", "-", 0, "==", "x", 5, "<", "and"], False),
        ([2**63 - 1, "x", "+", -(2**63) + 4, "=="], True),
        (["x"], True),
        ([0], False),
    ],
    ids=str,
)
def test_conditions_in_reverse_polish_notation(words, holds):
    program = Program([[("store", "x", 5), ("load", "x", "r")]], forbidden=[words])
    with explore(program, script.replay()) as explorer:
        assert verdict(program, explorer.trace(0)) == ("assertion" if holds else "ok")


def test_get_and_set_have_a_point_only_where_no_lock_keeps_others_away():
    locked = [("lock", "a"), ("set", "x", 1), ("get", "x", "r"), ("unlock", "a")]
    # The starts, lock and unlock; then also set, get and the access without the lock.
    others = [(locked, 6), ([("await", "x", 1)], 7), ([("load", "x", "r")], 7), ([("get", "y", "r")], 4)]
    for other, points in others:
        program = Program([locked, other])
        with explore(program) as explorer:
            assert failures(program, explorer.run(0, 100)) == {}
            assert explorer.trace(0).points == points


def test_a_final_state_is_judged_only_where_all_tasks_ended():
    program = Program([[("await", "x", 1)]], forbidden=[{"x": 0}])
    with explore(program) as explorer:
        assert set(failures(program, explorer.run(0, 5)).values()) == {"deadlock"}


ONE = [[("load", "x", "r"), ("lock", "a"), ("unlock", "a"), ("use", "o")]]


@pytest.mark.parametrize(
    "threads, options, message",
    [
        ([], {}, "a program has 1 to 255 threads, not 0"),
        ([["load"]], {}, "thread 0, step 0: a step is (verb, name, ...), not 'load'"),
        ([[()]], {}, "thread 0, step 0: a step is (verb, name, ...), not ()"),
        ([[], [("store", "x", 1), ("lok", "a")]], {}, "thread 1, step 1: unknown verb 'lok'; known are lock, unlock,"),
        ([[(["lock"], "a")]], {}, "thread 0, step 0: unknown verb ['lock']"),
        ([[("load", "x")]], {}, "thread 0, step 0: load takes 2 operands, not 1"),
        ([[("lock", "a", 1)]], {}, "thread 0, step 0: lock takes 1 operands, not 2"),
        ([[("lock",)]], {}, "thread 0, step 0: lock takes 1 operands, not 0"),
        ([[("lock", 3)]], {}, "thread 0, step 0: a name is a text without ':', not 3"),
        ([[("lock", "")]], {}, "thread 0, step 0: a name is a text without ':', not ''"),
        ([[("lock", "0:a")]], {}, "thread 0, step 0: a name is a text without ':', not '0:a'"),
        ([[("lock", "a"), ("load", "a", "r")]], {}, "thread 0, step 1: load needs a variable, but 'a' is a lock"),
        ([[("use", "a")], [("lock", "a")]], {}, "thread 1, step 0: lock needs a lock, but 'a' is an object"),
        ([[("free", "x")], [("load", "x", "r")]], {}, "thread 0, step 0: 'x' is a variable; only locks and objects"),
        ([[("store", "x", 2**63)]], {}, "thread 0, step 0: the value of store must be a number of 64 bits, not 922"),
        ([[("store", "x", 1.0)]], {}, "thread 0, step 0: the value of store must be a number of 64 bits, not 1.0"),
        ([[("store", "x", True)]], {}, "thread 0, step 0: the value of store must be a number of 64 bits, not True"),
        ([[("store", "x", None)]], {}, "thread 0, step 0: the value of store must be a number of 64 bits, not None"),
        ([[("load", "x", 5)]], {}, "thread 0, step 0: a register is a text without ':', not 5"),
        ([[("load", "x", "0:r")]], {}, "thread 0, step 0: a register is a text without ':', not '0:r'"),
        ([[("store", "x", "r")]], {}, "thread 0, step 0: register 'r' was given no value before"),
        ([[("load", "x", "r")], [("store", "x", "r")]], {}, "thread 1, step 0: register 'r' was given no value before"),
        ([[]], {"setup": [("load", "x", "r")]}, "setup, step 0: setup has no registers, so not 'r'"),
        ([[]], {"setup": [("nap", 1)]}, "setup, step 0: unknown verb 'nap'"),
        (ONE, {"forbidden": [{}]}, "forbidden outcome 0 is empty: it would hold always"),
        (ONE, {"forbidden": [{"x": 1}, {"y": 1}]}, "forbidden outcome 1: 'y' is no variable, and no register such as"),
        (ONE, {"forbidden": [{"a": 1}]}, "forbidden outcome 0: 'a' is no variable"),
        (ONE, {"forbidden": [["x", 1]]}, "forbidden outcome 0 leaves 2 values and not one"),
        (ONE, {"forbidden": [["x", "=="]]}, "forbidden outcome 0: '==' needs two values before it"),
        (ONE, {"forbidden": [["x"] * 65]}, "forbidden outcome 0 has more than 64 values in front of their operators"),
        (ONE, {"forbidden": [["x", 1.5, "=="]]}, "forbidden outcome 0: a word must be a number of 64 bits, not 1.5"),
        (ONE, {"forbidden": [{"1:r": 1}]}, "forbidden outcome 0: '1:r' is no variable"),
        (ONE, {"forbidden": [{"0:r": "1"}]}, "forbidden outcome 0: the value of 0:r must be a number of 64 bits, not"),
        (ONE, {"classes": {"x": 1}}, "classes: 'x' is not a lock of this program"),
        (ONE, {"classes": {"b": 1}}, "classes: 'b' is not a lock of this program"),
        (ONE, {"classes": {"a": 16}}, "classes: the class of 'a' is a number from 0 to 15, not 16"),
        (ONE, {"classes": {"a": "1"}}, "classes: the class of 'a' is a number from 0 to 15, not '1'"),
        (ONE, {"order": ["a"]}, "order: a pair of locks is needed, not 'a'"),
        (ONE, {"order": [("a", "b")]}, "order: 'a' is not a lock with a class other than 0"),
        (ONE, {"classes": {"a": 1}, "order": [("a", "a")]}, "order: 'a' and 'a' are of the same class"),
        ([[("load", "x", f"r{i}") for i in range(65)]], {}, "thread 0 has more than 64 registers"),
        ([[("lock", f"l{i}") for i in range(1025)]], {}, "a program has at most 1024 shared names, not 1025"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_one_clear_line(threads, options, message):
    with pytest.raises(ValueError) as caught:
        Program(threads, **options)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("threads", [5, None, [5]])
def test_what_is_no_program(threads):
    with pytest.raises(TypeError):
        Program(threads)


def test_the_limits_themselves_are_allowed():
    threads = [[("store", f"x{i}", i) for i in range(1024)], [("load", "x5", f"r{i}") for i in range(64)]]
    assert run(*threads)["1:r63"] == 5
    assert len(Program([[]] * 255).names) == 0


def test_a_program_is_compiled_once():
    program = Program(ONE)
    with pytest.raises(RuntimeError, match="compiled once"):
        program.__init__(ONE)
    with pytest.raises(ValueError, match="a subject has 1 to 255 tasks, not 0"):
        Explorer(Program.__new__(Program), Random())


def test_values_are_those_of_the_programs_own_explorer():
    with explore(Program(ONE)) as explorer, pytest.raises(ValueError, match="another subject"):
        Program(ONE).values(explorer)
    with pytest.raises(TypeError):
        Program(ONE).values(None)


def test_names_are_readable():
    program = Program(ONE, setup=[("store", "y", 1)])
    assert (program.tasks, program.names, program.registers) == (1, ("x", "a", "o", "y"), ("0:r",))
    assert program.kinds()[16] == "assertion"
