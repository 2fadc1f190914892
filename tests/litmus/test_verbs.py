"""Program: pointers, branches, computed values, types, atomics and plain accesses."""

import operator

import pytest
from against_machine import explored
from engine_programs import explore, failures, verdict
from hypothesis import given
from hypothesis import strategies as st

from anonvma_rt.engine.search.dpor import Dpor
from anonvma_rt.engine.strategy import script
from anonvma_rt.litmus.program import Program


def run(*threads, says="ok", **options):
    """The values after the sequential execution."""
    program = Program(threads, **options)
    with explore(program, script.replay()) as explorer:
        assert verdict(program, explorer.trace(0)) == says
        return program.values(explorer)


def kinds_of(threads, **options):
    program = Program(threads, **options)
    with explore(program) as explorer:
        return set(failures(program, explorer.run(0, 400)).values())


# ---- what each verb does ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("thread", "values"),
    [
        ([("store_release", "x", 5), ("load_acquire", "x", "r")], {"x": 5, "0:r": 5}),
        ([("plain_store", "x", 5), ("plain_load", "x", "r")], {"x": 5, "0:r": 5}),
        ([("exchange", "x", 7, "a"), ("exchange", "x", "a", "b")], {"x": 0, "0:a": 0, "0:b": 7}),
        ([("compare_exchange", "x", 0, 7, "a"), ("compare_exchange", "x", 0, 8, "b")], {"x": 7, "0:a": 0, "0:b": 7}),
        ([("fetch_add", "x", 5, "a"), ("fetch_add", "x", -7, "b")], {"x": -2, "0:a": 0, "0:b": 5}),
        ([("fetch_or", "x", 6, "a"), ("fetch_and", "x", 3, "b")], {"x": 2, "0:a": 0, "0:b": 6}),
        ([("fetch_xor", "x", 5, "a"), ("fetch_xor", "x", 6, "b")], {"x": 3, "0:a": 0, "0:b": 5}),
        ([("add_unless", "x", 2, 2, "a"), ("add_unless", "x", 2, 2, "b")], {"x": 2, "0:a": 1, "0:b": 0}),
        ([("mb",), ("rmb",), ("wmb",)], {}),
        ([("lock", "l"), ("is_locked", "l", "a"), ("unlock", "l"), ("is_locked", "l", "b")], {"0:a": 1, "0:b": 0}),
        ([("read_lock", "l"), ("is_locked", "l", "a"), ("read_unlock", "l")], {"0:a": 1}),
        ([("let", "r", 2), ("let", "r", "r", "r", "*", 1, "+")], {"0:r": 5}),
        ([("jump", "end"), ("store", "x", 1), ("label", "end")], {"x": 0}),
        ([("let", "r", 1), ("jump_if", "r", "end"), ("store", "x", 1), ("label", "end")], {"x": 0, "0:r": 1}),
        ([("let", "r", 1), ("jump_unless", "r", "end"), ("store", "x", 1), ("label", "end")], {"x": 1, "0:r": 1}),
        ([("spin_start",), ("spin_hint",)], {}),
        # A register that no way has given a value, in a thread with jumps.
        ([("jump", "end"), ("label", "end"), ("store", "x", "r")], {"x": 0, "0:r": 0}),
        # Backwards.
        ([("label", "l"), ("let", "i", "i", 1, "+"), ("let", "c", "i", 9, "<"), ("jump_if", "c", "l")],
         {"0:i": 9, "0:c": 0}),
    ],
    ids=str,
)  # fmt: skip
def test_verbs(thread, values):
    assert run(thread) == values


def test_pointers_lead_to_the_variable_whose_address_they_hold():
    steps = [("load", "p", "a"), ("store", "*a", 3), ("store", "p", "&y"), ("load", "p", "a"), ("add", "*a", "a")]
    values = run(steps, initial={"p": "&x"})
    assert values["x"] == 3
    assert values["y"] == values["p"] == values["0:a"] != 0
    assert run(steps, initial={"p": "&x"}) == values
    # Addresses differ, are never 0, and can be compared.
    assert kinds_of([steps], initial={"p": "&x"}, forbidden=[["p", "&y", "=="]]) == {"assertion"}
    assert kinds_of([steps], initial={"p": "&x"}, forbidden=[["&x", "&y", "=="], ["&x", 0, "=="], {"p": "&x"}]) == set()


@pytest.mark.parametrize("address", [0, 1, 2**32 + 1, 2**32 + 64 * 5, -1, 2**63 - 1])
def test_what_leads_to_no_variable_is_a_violation(address):
    run([("let", "p", address), ("load", "*p", "r")], says="bad-pointer")
    run([("lock", "a"), ("let", "p", 2**32), ("load", "*p", "r")], says="bad-pointer")


def test_a_get_through_a_pointer_is_a_point_where_no_lock_keeps_others_away():
    reads = [("let", "p", "&x"), ("get", "*p", "a"), ("get", "*p", "b")]
    ends = explored([reads, [("store", "x", 1)]], "sc")[0]
    assert any(("0:b", 1) in end and ("0:a", 1) not in end for end in ends)


def test_locks_are_held_on_every_way_or_not_at_all():
    """On one way the writer has no lock, so what it sets is a point of its own."""
    sets = [("set", "x", 1), ("set", "x", 2)]
    some = [("load", "y", "r"), ("jump_if", "r", "no"), ("lock", "a"), ("label", "no"), *sets]
    always = [("load", "y", "r"), ("jump_if", "r", "no"), ("label", "no"), ("lock", "a"), *sets, ("unlock", "a")]
    reader = [("lock", "a"), ("get", "x", "q"), ("unlock", "a")]

    def seen(writer):
        return {value for end in explored([writer, reader], "sc")[0] for name, value in end if name == "1:q"}

    assert seen(always) == {2}
    assert seen([("store", "y", 1), *some]) == {1, 2}


def test_a_loop_without_a_step_is_a_livelock():
    run([("label", "again"), ("jump", "again")], says="livelock")


def test_a_loop_that_was_cut_is_told():
    loop = [("load", "x", "r"), ("jump_if", "r", "end"), ("beyond",), ("label", "end")]
    assert kinds_of([loop, [("store", "x", 1)]]) == {"loop-bound"}
    assert kinds_of([loop], initial={"x": 1}) == set()


def test_a_loop_that_only_looks_ends_when_it_sees_something():
    waits = [("spin_start",), ("label", "again"), ("load", "x", "r"), ("jump_if", "r", "end"), ("spin_hint",),
             ("jump", "again"), ("label", "end")]  # fmt: skip
    assert kinds_of([waits, [("store", "x", 1)]]) == set()
    assert kinds_of([waits]) == {"livelock"}


# ---- computed values -------------------------------------------------------------------------------------------------


def truncated(a, b):
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


TWO = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": truncated,
    "%": lambda a, b: a - b * truncated(a, b), "&": operator.and_, "|": operator.or_, "^": operator.xor,
    "<<": operator.lshift, ">>": operator.rshift, "==": operator.eq, "!=": operator.ne, "<": operator.lt,
    "<=": operator.le, ">": operator.gt, ">=": operator.ge, "and": lambda a, b: bool(a and b),
    "or": lambda a, b: bool(a or b),
}  # fmt: skip


def wrapped(value, bits=64, signed=True):
    value %= 1 << bits
    return value - (1 << bits) if signed and value >> (bits - 1) else value


ONE = {"!": lambda a: a == 0, "~": operator.invert, "neg": operator.neg}
ONE |= {f"int{bits}": lambda a, bits=bits: wrapped(a, bits) for bits in (8, 16, 32)}
ONE |= {f"uint{bits}": lambda a, bits=bits: wrapped(a, bits, False) for bits in (8, 16, 32)}

numbers = st.one_of(
    st.integers(-9, 70), st.integers(-(2**63), 2**63 - 1), st.sampled_from([2**31, 2**63 - 1, -(2**63)])
)
terms = st.recursive(
    numbers.map(lambda n: ([n], n)),
    lambda inner: st.one_of(
        st.tuples(inner, inner, st.sampled_from(sorted(TWO))).map(
            lambda t: ([*t[0][0], *t[1][0], t[2]], of_two(t[0][1], t[1][1], t[2]))
        ),
        st.tuples(inner, st.sampled_from(sorted(ONE))).map(
            lambda t: ([*t[0][0], t[1]], None if t[0][1] is None else wrapped(int(ONE[t[1]](t[0][1]))))
        ),
    ),
    max_leaves=8,
)


def of_two(a, b, operation):
    """None where it has no value."""
    if a is None or b is None or (operation in "/%" and b == 0) or (operation in ("<<", ">>") and not 0 <= b < 64):
        return None
    return wrapped(int(TWO[operation](a, b)))


@given(terms)
def test_let_and_outcomes_compute_as_c_does(term):
    words, value = term
    if value is None:
        run([("let", "r", *words)], says="bad-value")
        run([], forbidden=[[*words, 0, "and"]], says="bad-value")
    else:
        assert run([("let", "r", *words)]) == {"0:r": value}
        run([], forbidden=[[*words, value, "=="]], says="assertion")
        run([], forbidden=[[*words, value, "!="]])


TYPES = {"int8": (8, True), "uint16": (16, False), "int32": (32, True), "uint32": (32, False), "int64": (64, True)}


@given(st.sampled_from(sorted(TYPES)), numbers, numbers)
def test_a_variable_of_a_type_holds_what_fits(name, first, second):
    bits, signed = TYPES[name]

    def fit(value):
        return wrapped(value, bits, signed)

    steps = [("fetch_add", "x", second, "a"), ("exchange", "y", first, "b"), ("store", "z", first), ("set", "w", first),
             ("compare_exchange", "v", 0, first, "c"), ("add", "u", first)]  # fmt: skip
    values = run(steps, types=dict.fromkeys("xyzwvu", name), initial={"x": first})
    assert values["0:a"] == fit(first)
    assert values["x"] == fit(fit(first) + second)
    assert {values[variable] for variable in "yzwvu"} == {fit(first)}


# ---- data races ------------------------------------------------------------------------------------------------------

GUARDED = [("load", "f", "r"), ("jump_unless", "r", "end"), ("plain_load", "x", "q"), ("label", "end")]


@pytest.mark.parametrize(
    ("one", "other", "races"),
    [
        ([("plain_store", "x", 1)], [("plain_load", "x", "r")], True),
        ([("plain_store", "x", 1)], [("plain_store", "x", 1)], True),
        ([("plain_store", "x", 1)], [("load", "x", "r")], True),
        ([("store", "x", 1)], [("plain_load", "x", "r")], True),
        ([("fetch_add", "x", 1, "q")], [("plain_load", "x", "r")], True),
        ([("plain_store", "x", 1)], [("await_at_least", "x", 0)], True),
        ([("store", "x", 1)], [("load", "x", "r")], False),
        ([("plain_load", "x", "q")], [("plain_load", "x", "r")], False),
        ([("plain_store", "x", 1)], [("plain_load", "y", "r")], False),
        # A compare-exchange that fails only looks.
        ([("compare_exchange", "x", 5, 1, "q")], [("plain_load", "x", "r")], False),
        ([("compare_exchange", "x", 0, 1, "q")], [("plain_load", "x", "r")], True),
        ([("add_unless", "x", 1, 0, "q")], [("plain_load", "x", "r")], False),
        # Behind other steps of both, so that they need not meet in the first execution of a search.
        ([("store", "a", 1), ("plain_store", "x", 1)], [("store", "b", 1), ("plain_load", "x", "r")], True),
        # Kept apart by a lock, by a flag, by a pointer that is published.
        ([("lock", "l"), ("plain_store", "x", 1), ("unlock", "l")],
         [("lock", "l"), ("plain_load", "x", "r"), ("unlock", "l")], False),
        ([("plain_store", "x", 1), ("store_release", "f", 1)], GUARDED, False),
        ([("store_release", "f", 1), ("plain_store", "x", 1)], GUARDED, True),
        ([("plain_store", "x", 1), ("store_release", "p", "&x")],
         [("load", "p", "a"), ("jump_unless", "a", "end"), ("plain_load", "*a", "r"), ("label", "end")], False),
    ],
    ids=str,
)  # fmt: skip
def test_data_races(one, other, races):
    assert kinds_of([one, other]) == ({"data-race"} if races else set())
    assert kinds_of([other, one]) == ({"data-race"} if races else set())
    program = Program([one, other])
    with explore(program, Dpor()) as explorer:
        found = set(failures(program, explorer.run(0, 1000)).values())
    assert found == ({"data-race"} if races else set())


# ---- one clear line --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("threads", "options", "message"),
    [
        ([[("mb", "x")]], {}, "thread 0, step 0: mb takes 0 operands, not 1"),
        ([[("let", "r")]], {}, "thread 0, step 0: let takes a register and the words of an expression"),
        ([[("let", "r", "q")]], {}, "thread 0, step 0: register 'q' was given no value before"),
        ([[("let", "r", 1, 2)]], {}, "thread 0, step 0 leaves 2 values and not one"),
        ([[("let", "r", "+")]], {}, "thread 0, step 0: '+' needs two values before it"),
        ([[("let", "r", "neg")]], {}, "thread 0, step 0: 'neg' needs a value before it"),
        ([[("load", "x", "or"), ("let", "r", 1)]], {}, "a register of a program with `let` cannot have the name"),
        ([[("!let", "r", 1)]], {}, "thread 0, step 0: let has no point"),
        ([[("jump", "l")]], {}, "thread 0, step 0: there is no label 'l'"),
        ([[("label", "l"), ("label", "l")]], {}, "thread 0, step 1: the label 'l' is there already"),
        ([[("load", "*r", "q")]], {}, "thread 0, step 0: register 'r' was given no value before"),
        ([[("lock", "*r")]], {}, "thread 0, step 0: a name is a text without ':', not '*r'"),
        ([[("store", "x", "&")]], {}, "thread 0, step 0: an address is '&' with the name of a variable, not '&'"),
        ([[("lock", "a"), ("store", "x", "&a")]], {}, "'a' is a lock, and only variables have addresses"),
        (
            [[("srcu_read_lock", "s", "r"), ("load", "s", "q")]],
            {},
            "thread 0, step 1: load needs a variable, but 's' is",
        ),
        ([[("free", "s"), ("synchronize_srcu", "s")]], {}, "thread 0, step 0: 's' is an SRCU domain; only locks and"),
        ([[]], {"setup": [("let", "r", 1)]}, "setup, step 0: setup has no registers and no labels, so no let"),
        ([[]], {"setup": [("store", "*r", 1)]}, "setup, step 0: setup has no registers, so not 'r'"),
        ([[]], {"types": {"x": "int7"}}, "types: 'int7' of 'x' is not one of int64, int8"),
        ([[]], {"initial": {"x": "5"}}, "initial: the value of x must be a number of 64 bits, not '5'"),
        (
            [[("lock", "a")]],
            {"initial": {"a": 1}},
            "'a' is a lock, and only variables have addresses, types and values",
        ),
        ([[("lock", "a")]], {"types": {"a": "int8"}}, "'a' is a lock, and only variables"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_one_clear_line(threads, options, message):
    with pytest.raises(ValueError) as caught:
        Program(threads, **options)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
