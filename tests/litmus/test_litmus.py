"""Litmus tests against an enumeration of all their interleavings: verdicts, outcomes, numbers of schedules."""

import re

import pytest
from engine_programs import explore, failures
from hypothesis import given, settings
from hypothesis import strategies as st
from interpreter import Model

from anonvma_rt import verify
from anonvma_rt.engine.strategy.random import Random
from anonvma_rt.errors import AlgorithmError, ParameterError
from anonvma_rt.execution.reproducer import Reproducer, replay
from anonvma_rt.lab.explorers import make_explorer
from anonvma_rt.litmus import Litmus, Variant
from anonvma_rt.litmus.compile import subject_of
from anonvma_rt.search.hunt import hunt

CLASSIC = ["2+2w", "corr", "iriw", "isa2", "lb", "mp", "r", "s", "sb", "wrc"]
EVERY = [(name, variant) for name in Litmus.builtin_names() for variant in Litmus.load(name).variants]
# What branches or follows pointers is not enumerated: the search says it.
SEARCHED = [(name, variant) for name, variant in EVERY if name in ("aba", "exchange-lock", "rcu-reuse")]
FORMS = [form for form in EVERY if form not in SEARCHED]


def model_of(code, starts=False):
    """The interpreter's model of one variant of a LitmusProgram."""
    threads = [[one.words for one in thread.instructions] for thread in code.threads]
    return Model(threads, [one.words for one in code.setup], starts, shared=True)


def says(text, names):
    """Whether a condition holds; Python's own reading of it."""
    return bool(eval(text, {"__builtins__": {}}, {"true": True, "false": False, **names}))


def code_of(name, variant, **values):
    return Litmus.load(name).bind(values).codes[variant]


def enumerated(code):
    """(interleavings, bad ones, kinds of violations, outcomes) of a variant."""

    def is_bad(final):
        return any(says(one.text, {**one.names, **final}) for one in code.forbidden)

    total, bad, outcomes = model_of(code).count(is_bad)
    kinds = {verdict for verdict, _ in outcomes} - {"ok"}
    if any(final is not None and is_bad(dict(final)) for _, final in outcomes):
        kinds.add("assertion")
    return total, bad, kinds, outcomes


def hunted(program, variant, runs, seed=0):
    """{(verdict, final values)} of so many executions under the uniform walk."""
    found = set()
    code = program.codes[variant]
    with make_explorer(program, program.choose(variant), Random(), seed=seed) as explorer:
        explorer.bound = 10_000
        kinds = explorer.subject.kinds()
        for index in range(runs):
            failures = explorer.run(index, 1).failures
            kind = kinds[failures[0][1]] if failures else "ok"
            ended = kind in ("ok", "assertion")
            found.add((kind, tuple(sorted(code.final(explorer).items())) if ended else None))
    return found


# ---- the built-in ones against the enumeration -----------------------------------------------------------------------


@pytest.mark.parametrize(("name", "variant"), FORMS)
def test_each_variant_does_what_its_file_says_and_nothing_else(name, variant):
    """The enumeration is complete, so "none" is a proof here."""
    test = Litmus.load(name)
    _, _, kinds, _ = enumerated(code_of(name, variant))
    assert kinds == {test.expect[variant]} - {"none"}


@pytest.mark.parametrize(("name", "variant"), FORMS)
def test_what_is_called_reachable_is_reached(name, variant):
    code = code_of(name, variant)
    finals = [dict(final) for verdict, final in enumerated(code)[3] if verdict == "ok"]
    for one in code.reachable:
        assert any(says(one.text, {**one.names, **final}) for final in finals), one.text


@pytest.mark.parametrize(("name", "variant"), SEARCHED)
def test_the_search_finds_in_each_variant_what_its_file_says(name, variant):
    one = verify(name, algorithms=[variant]).results[0]
    assert (set(one.violating_classes) or {"none"}) == {Litmus.load(name).expect[variant]}
    assert one.complete == (Litmus.load(name).expect[variant] == "none")


@pytest.mark.parametrize("name", sorted({name for name, _ in SEARCHED}))
def test_what_is_called_reachable_is_reached_in_some_variant(name):
    codes = Litmus.load(name).bind({}).codes.values()
    for outcomes in zip(*(code.reachable for code in codes), strict=True):
        subjects = [
            subject_of(code.setup, code.threads, [outcome], code.registers, code.declared)
            for code, outcome in zip(codes, outcomes, strict=True)
        ]
        assert any(ends_so(subject) for subject in subjects), outcomes[0].text


def ends_so(subject):
    with explore(subject) as explorer:
        return any(kind == "assertion" for kind in failures(subject, explorer.run(0, 2000)).values())


@pytest.mark.parametrize("name", CLASSIC)
def test_a_classic_test_has_one_outcome_that_sequential_consistency_forbids(name):
    """Of all values that its registers and variables might end with, that one is not there, and it is not vacuous."""
    code = code_of(name, "sc")
    (forbidden,) = code.forbidden
    assert len(code.reachable) == 3
    program = Litmus.load(name).bind({})
    seen = hunted(program, "sc", 3000)
    assert seen == {(verdict, tuple(sorted(final))) for verdict, final in enumerated(code)[3]}
    assert not any(says(forbidden.text, dict(final)) for _, final in seen)


def by_hand(pages, patched):
    """ORDER, written out without its file."""
    mover, walker = [], []
    for i in range(pages):
        mover += [("lock", "s"), ("lock", "d"), ("set", f"src{i}", 0), ("set", f"dst{i}", 1), ("unlock", "d"),
                  ("unlock", "s")]  # fmt: skip
        looks = [("s", f"src{i}", f"at_src{i}"), ("d", f"dst{i}", f"at_dst{i}")]
        walker.append(("lock", "root"))
        for lock, place, register in looks if patched else looks[::-1]:
            walker += [("lock", lock), ("get", place, register), ("unlock", lock)]
        walker.append(("unlock", "root"))
    return Model([mover, walker], [("set", f"src{i}", 1) for i in range(pages)], starts=False, shared=True)


@pytest.mark.parametrize(("pages", "interleavings"), [(1, 22), (2, 1_234), (3, 74_196), (4, 4_648_002)])
@pytest.mark.parametrize("variant", ["unpatched", "patched"])
def test_order_has_the_interleavings_that_other_tools_count(pages, interleavings, variant):
    total, bad, _, outcomes = enumerated(code_of("order", variant, pages=pages))
    assert total == interleavings
    assert (bad > 0) == (variant == "unpatched")
    expected = by_hand(pages, variant == "patched").count()
    assert (total, outcomes) == (expected[0], expected[2])


def test_order_has_ten_points_per_page():
    program = Litmus.load("order").bind({"pages": 7})
    with make_explorer(program, program.choose("patched"), Random()) as explorer:
        assert explorer.run(0, 50).points == 50 * (7 * 10 + 2)  # and one for each start


@pytest.mark.parametrize("variant", ["unpatched", "patched"])
def test_order_is_explored_completely_where_it_is_small(variant):
    """The engine makes every outcome that the enumeration lists, and no other."""
    program = Litmus.load("order").bind({"pages": 2})
    verdicts = {
        ("assertion" if program.codes[variant].forbidden and _bad(program.codes[variant], final) else verdict, final)
        for verdict, final in ((v, tuple(sorted(f))) for v, f in enumerated(program.codes[variant])[3])
    }
    assert hunted(program, variant, 4000) == verdicts


def _bad(code, final):
    return any(says(one.text, {**one.names, **dict(final)}) for one in code.forbidden)


def test_philosophers_of_any_number():
    for seats in (2, 4, 5):
        program = Litmus.load("philosophers").bind({"seats": seats})
        for variant, kinds in (("right-handed", {"deadlock"}), ("one-left-handed", set())):
            assert enumerated(program.codes[variant])[2] == kinds
            assert {kind for kind, _ in hunted(program, variant, 300)} - {"ok"} == kinds


# ---- random ones -----------------------------------------------------------------------------------------------------

accesses = st.one_of(
    st.tuples(st.sampled_from(["store", "add", "set", "await"]), st.sampled_from("xy"), st.integers(0, 2)),
    st.tuples(st.sampled_from(["load", "get"]), st.sampled_from("xy"), st.sampled_from("rq")),
    st.tuples(st.sampled_from(["lock", "unlock"]), st.sampled_from("ab")),
)
sections = st.tuples(st.sampled_from("ab"), st.lists(accesses, max_size=2)).map(
    lambda s: [("lock", s[0]), *s[1], ("unlock", s[0])]
)
pieces = st.lists(st.one_of(accesses.map(lambda a: [a]), sections), min_size=1, max_size=3)
programs = st.lists(pieces.map(lambda parts: [step for part in parts for step in part]), min_size=1, max_size=3)


def litmus_of(threads, **more):
    """Registers of different threads must have different names."""
    lines = {
        f"P{i}": [
            " ".join([*map(str, s[:-1]), f"{s[-1]}{i}" if s[0] in ("load", "get") else str(s[-1])]) for s in steps
        ]
        for i, steps in enumerate(threads)
    }
    return Litmus.of("random", lines, **more)


@settings(max_examples=60)
@given(programs, st.integers(0, 2**32))
def test_a_hunt_finds_nothing_that_cannot_be(threads, seed):
    program = litmus_of(threads).bind({})
    outcomes = {(v, f and tuple(sorted(f))) for v, f in model_of(program.codes["sc"], starts=True).count()[2]}
    assert hunted(program, "sc", 40, seed) <= outcomes


@settings(max_examples=30)
@given(programs)
def test_where_the_first_step_has_a_point_a_start_changes_no_outcome(threads):
    threads = [[("add", f"n{i}", 1), *steps] for i, steps in enumerate(threads)]
    code = litmus_of(threads).bind({}).codes["sc"]
    assert model_of(code).count()[2] == model_of(code, starts=True).count()[2]


numbers = st.recursive(
    st.one_of(st.integers(-9, 9).map(str), st.sampled_from(["x", "y", "r", "n", "min(n, 2)", "n // 2"])),
    lambda inner: st.tuples(inner, st.sampled_from("+-"), inner).map(lambda t: f"({' '.join(t)})"),
    max_leaves=4,
)
comparisons = st.tuples(numbers, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), numbers).map(" ".join)
chains = st.tuples(comparisons, st.sampled_from(["==", "<", ">="]), numbers).map(" ".join)
conditions = st.recursive(
    st.one_of(comparisons, chains, st.sampled_from(["true", "n == 3"])),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({' '.join(t)})"),
        inner.map(lambda t: f"(not {t})"),
    ),
    max_leaves=4,
).filter(lambda text: len(text) < 200)

VALUES = """
litmus = "values"
about = "a condition"
parameters.n = { default = 0, min = -9, max = 9 }
setup = ["set x {n}", "store y 2"]
thread = [{ name = "P", steps = ["add x 1", "load x r", "get y q"] }]
forbidden = "CONDITION"
"""


@settings(max_examples=100)
@given(conditions, st.integers(-9, 9))
def test_the_engine_judges_a_condition_as_python_does(condition, n):
    program = Litmus.from_text(VALUES.replace("CONDITION", condition)).bind({"n": n})
    values = {"x": n + 1, "y": 2, "r": n + 1, "q": 2, "n": n}
    expected = bool(eval(condition, {"true": True, "min": min}, values))
    assert {kind for kind, _ in hunted(program, "sc", 1)} == {"assertion" if expected else "ok"}


# ---- every verb takes them -------------------------------------------------------------------------------------------


def test_a_hunt_over_any_number_of_explorers_is_the_same(tmp_path):
    one, two = (hunt("order", runs=3000, jobs=jobs) for jobs in (1, 2))
    assert [r.algorithm for r in one.results] == ["unpatched", "patched"]
    assert one.as_expected and two.as_expected
    for a, b in zip(one.results, two.results, strict=True):
        assert (a.schedules_sha256, a.violations, a.points) == (b.schedules_sha256, b.violations, b.points)


@pytest.mark.parametrize("name", ["order", "philosophers", "lock-order"])
def test_what_is_found_replays_from_its_file(name, tmp_path):
    result = hunt(name, runs=2000, out=tmp_path)
    bad = result.results[0]
    replayed = replay(Reproducer.load(bad.first.reproducer), times=100)
    assert replayed.reproduced == 100 and replayed.same_trace
    assert replayed.kind == bad.first.kind == Litmus.load(name).expect[bad.algorithm]
    assert replayed.trace.table(100, full=True).count("starts") == len(replayed.trace.tasks)
    assert replayed.trace.cause() == Reproducer.load(bad.first.reproducer).cause


def test_the_sentence_the_table_and_the_state(tmp_path):
    lost = Litmus.of(
        "lost",
        {"A": ["load x a", "store x 5"], "B": ["add x 1"]},
        ["set x 4"],
        ["a == 4 and x == 5"],
        expect="assertion",
    )
    result = hunt(lost, runs=200, out=tmp_path).results[0]
    assert result.as_expected
    reproducer = Reproducer.load(result.first.reproducer)
    assert reproducer.scenario == lost
    replayed = replay(reproducer)
    assert replayed.trace.cause() == "The end is one that must not be, a == 4 and x == 5: x = 5, a = 4."
    rows = [text for _, _, text in replayed.trace.rows()]
    assert sorted(rows) == ["add x 1 -> 5", "load x -> a = 4", "store x 5"]
    assert replayed.program.state(replayed.explorer, replayed.trace) == "\n  x = 5\n  a = 4"
    early = replay(reproducer, until=1)
    assert early.program.state(early.explorer, early.trace) == "\n  x = 4\n  a = 0"


def test_a_deadlock_and_a_bad_unlock_say_who_is_where():
    result = hunt(Litmus.of("stuck", {"A": ["await x 1"], "B": ["lock a", "lock a"]}), runs=1).results[0]
    assert re.fullmatch(
        r'Nobody can go on: A is at "await x 1"; B is at "lock a", which it itself holds since step \d\.',
        result.trace.cause(),
    )
    result = hunt(Litmus.of("bad", {"A": ["add x 1", "unlock a"]}), runs=1).results[0]
    assert result.first.kind == "bad-unlock" and not result.as_expected
    assert "A stopped at step" in result.trace.cause() and "'unlock a'" in result.trace.cause()


def test_a_lock_with_a_class_is_checked_for_its_order():
    text = """
litmus = "classes"
about = "the same deadlock, found one step earlier"
expect.sc = "lock-order"
classes = { a = 1, b = 2 }
thread = [{ name = "P", steps = ["lock a", "lock b", "unlock b", "unlock a", "lock b", "lock a"] }]
"""
    result = hunt(Litmus.from_text(text), runs=10)
    assert result.as_expected and "class 1 while it held one of class 2" in result.results[0].trace.cause()


def test_a_given_value_leaves_the_variants_that_agree_with_it():
    order = Litmus.load("order")
    assert order.bind({}).usual() == ["unpatched", "patched"]
    assert order.bind({"patched": "true", "pages": "2"}).usual() == ["patched"]
    assert order.bind({}).parameters == {"pages": 4}
    assert order.bind({"patched": "true"}).parameters == {"pages": 4, "patched": True}
    assert [r.algorithm for r in hunt("order", {"patched": False}, runs=50).results] == ["unpatched"]
    with pytest.raises(ParameterError, match="variant unpatched has another value"):
        hunt("order", {"patched": True}, ["unpatched"], runs=50)
    with pytest.raises(AlgorithmError, match=r'unknown variant "pached" \(did you mean "patched"'):
        hunt("order", algorithms=["pached"], runs=50)
    with pytest.raises(AlgorithmError, match="unknown variant"):
        hunt("order", algorithms=[Variant("patched", {"patched": False})], runs=50)
    with pytest.raises(ParameterError, match="33 is above the maximum 32"):
        order.bind({"pages": 33})
