"""The arithmetic of scenario files: it means what Python means, it is bounded, and it never executes anything.

A scenario file may come from anyone, so garbage of every kind must end in one line of text and nothing else.
"""

import ast
import warnings
from contextlib import suppress

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from anonvma_rt.errors import ScenarioError, UserError, nearest, quote
from anonvma_rt.text.expression import LIMIT, evaluate

NAMES = {"pages": 16, "half": 8, "p": 1 << 30, "exact": True, "merged": False}


def align(x: int, n: int) -> int:
    return (x + n - 1) // n * n


def refused(text: object, names: dict[str, int] = NAMES) -> str:
    with pytest.raises(ScenarioError) as caught:
        evaluate(text, names, "x.toml: names.y")
    message = str(caught.value)
    assert message.isprintable() and message.startswith("x.toml: names.y: ")
    return message.removeprefix("x.toml: names.y: ")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("p + half*PAGE", (1 << 30) + 8 * 4096),
        ("align(p + 16, 2*MiB)", (1 << 30) + (2 << 20)),
        ("align(p, 2*MiB)", 1 << 30),
        ("5*GiB // PAGE", 1310720),
        ("0x1000 - 1_000", 3096),
        ("-7 // 2", -4),
        ("-7 % 4", 1),
        ("min(3, 1, 2) + max(4, 5)", 6),
        ("0 <= half < pages", True),
        ("not merged and exact or false", True),
        ("1 if exact else 1 // 0", 1),
        ("exact * 4", 4),
        ("  pages\t", 16),
        (12, 12),
        (True, True),
    ],
)
def test_addresses_and_lengths_are_computed_from_parameters(text: object, value: int) -> None:
    result = evaluate(text, NAMES, "here")
    assert result == value and type(result) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pagse // 2", '"pagse // 2": unknown name "pagse" (did you mean "pages"?)'),
        (
            "q + 1",
            '"q + 1": unknown name "q" (choices: pages, half, p, exact, merged, PAGE, KiB, MiB, GiB, true, false)',
        ),
        ("alin(p, 2)", '"alin(p, 2)": unknown function "alin" (did you mean "align"?)'),
        ("pages / 2", '"pages / 2": there are only whole numbers: write "//" for "/"'),
        ("pages // (half - 8)", '"pages // (half - 8)": division by zero'),
        ("pages % 0", '"pages % 0": division by zero'),
        ("align(p)", '"align(p)": align(x, n) takes two numbers, and the second must be at least 1'),
        ("align(p, 0)", '"align(p, 0)": align(x, n) takes two numbers, and the second must be at least 1'),
        ("min(1)", '"min(1)": min takes two numbers or more'),
        ("max()", '"max()": max takes two numbers or more'),
        ("1 << 4", '"1 << 4": only + - * // %, comparisons, and, or, not, if-else, align, min and max are allowed'),
        ("2 ** 9", '"2 ** 9": only + - * // %, comparisons, and, or, not, if-else, align, min and max are allowed'),
        ("1 is 1", '"1 is 1": only + - * // %, comparisons, and, or, not, if-else, align, min and max are allowed'),
        ("None", '"None": only + - * // %, comparisons, and, or, not, if-else, align, min and max are allowed'),
        ("min(*p)", '"min(*p)": only + - * // %, comparisons, and, or, not, if-else, align, min and max are allowed'),
        ("p.real", '"p.real": the character "." has no meaning in an expression'),
        ("p[0]", '"p[0]": the character "[" has no meaning in an expression'),
        ("1\n+ 1", '"1\\n+ 1": the character "\\n" has no meaning in an expression'),
        ("16k", '"16k": "16k" is not a number (12, 4_096 and 0x1000 are)'),
        ("007", '"007": "007" is not a number (12, 4_096 and 0x1000 are)'),
        ("2*", '"2*": not an expression (invalid syntax)'),
        ("", '"": not an expression (invalid syntax)'),
        ("pages and exact", '"pages and exact": "and" needs true or false, and 16 is a number'),
        ("not 0", '"not 0": "not" needs true or false, and 0 is a number'),
        ("1 if pages else 2", '"1 if pages else 2": "if" needs true or false, and 16 is a number'),
        ("4*GiB*GiB", '"4*GiB*GiB": the value is too big (below 2**62 is right)'),
        ("9" * 150, f'"{"9" * 57}...": the value is too big (below 2**62 is right)'),
        ("1" + "+1" * 100, f'"1{"+1" * 28}...": 201 characters are too long for an expression (at most 200)'),
        ("-" * 150 + "1", f'"{"-" * 57}...": nested too deeply (at most 100 levels)'),
        (1 << 62, "the number is too big (below 2**62 is right)"),
        (1.5, "an integer, true, false or an expression in quotes is needed, not a float"),
        (["p"], "an integer, true, false or an expression in quotes is needed, not a list"),
    ],
)
def test_what_is_not_arithmetic_is_refused_in_one_line(text: object, message: str) -> None:
    assert refused(text).startswith(message)


def test_the_longest_sum_is_not_nested_too_deeply() -> None:
    assert evaluate("1" + "+1" * 99, {}, "here") == 100


@pytest.mark.parametrize("text", ["(" * 99 + "1" + ")" * 99, "(" * 200, "-" * 199 + "1", "not " * 49 + "true"])
def test_deep_nesting_ends_in_a_value_or_a_line(text: str) -> None:
    try:
        evaluate(text, {}, "here")
    except ScenarioError as error:
        assert str(error).isprintable()


@pytest.mark.parametrize(
    "text", ["__import__('os')", "open('x')", "().__class__", "exit()", "lambda: 1", "(yield)", "a:=1"]
)
def test_nothing_is_ever_executed(text: str) -> None:
    refused(text)


@pytest.mark.parametrize("text", ["1if exact else 2", "1or exact", "1 is 1", "1()", "0xfor exact"])
def test_pythons_parser_prints_no_warning_beside_our_one_line(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refused(text)


numbers = st.integers(0, 1 << 40).map(str) | st.integers(0, 1 << 20).map(hex) | st.sampled_from(["pages", "half", "p"])
truths = st.sampled_from(["exact", "merged", "True", "False"])


def _calls(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds("{}({}, {})".format, st.sampled_from(["min", "max"]), inner, inner) | st.builds(
        "align({}, {})".format, inner, st.integers(1, 4096)
    )


arithmetic = st.recursive(
    numbers,
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "//", "%"]), inner)
        | st.builds("{} {} {}".format, inner, st.sampled_from(["+", "-", "*", "//", "%"]), inner)
        | st.builds("-{}".format, inner)
        | _calls(inner)
    ),
    max_leaves=8,
)
comparison = st.builds(
    "{} {} {}".format, arithmetic, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), arithmetic
)  # fmt: skip
logic = st.recursive(
    truths | comparison,
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner)
        | st.builds("not ({})".format, inner)
    ),
    max_leaves=4,
)
expressions = arithmetic | logic | st.builds("{} if {} else {}".format, arithmetic, logic, arithmetic)


def has_a_value_too_big(text: str) -> bool:
    """Whether a part of the expression is, by itself."""
    for node in ast.walk(ast.parse(text, mode="eval")):
        if isinstance(node, ast.BinOp | ast.UnaryOp | ast.Call):
            with suppress(ZeroDivisionError):
                value = eval(
                    compile(ast.Expression(node), "part", "eval"), {"align": align, "min": min, "max": max}, NAMES
                )
                if abs(value) >= LIMIT:
                    return True
    return False


@settings(deadline=None)
@given(expressions)
@example("((4 * p) * p + (0 // 0))")
@example("(0 // 0 + (4 * p) * p)")
def test_an_expression_means_what_it_means_in_python(text: str) -> None:
    assume(len(text) <= 200)
    try:
        meant = eval(text, {"align": align, "min": min, "max": max}, dict(NAMES))
    except ZeroDivisionError:
        # Whatever is wrong first is told: a value may be too big before the division is come to.
        assert "division by zero" in (told := refused(text)) or ("too big" in told and has_a_value_too_big(text))
        return
    try:
        assert evaluate(text, NAMES, "here") == meant
    except ScenarioError as error:
        # Only a part that is too big may be refused, and then it was big in Python too.
        assert "too big" in str(error) or "too deeply" in str(error) or "align" in str(error)


@settings(deadline=None)
@given(st.text(max_size=220) | st.text("p1( )+-*/%=<>!,0x notadrifels", max_size=220))
@example("0" * 300)
@example("\ud800")
@example("1 if 1")
def test_garbage_is_never_anything_but_a_user_error(text: str) -> None:
    try:
        value = evaluate(text, NAMES, "here")
    except UserError as error:
        assert str(error).isprintable()
    else:
        assert abs(value) < LIMIT


@settings(deadline=None)
@given(st.integers())
def test_every_value_fits_the_bound(number: int) -> None:
    try:
        assert evaluate(number, {}, "here") == number and abs(number) < LIMIT
    except ScenarioError:
        assert abs(number) >= LIMIT


def test_a_message_stays_one_line_whatever_the_user_wrote() -> None:
    assert str(UserError("a\nb\x1b[31m\u2028\ud800")) == "a\\nb\\x1b[31m\\u2028\\ud800"
    assert quote("x" * 100) == '"' + "x" * 57 + '..."'


def test_the_nearest_choice_is_suggested() -> None:
    assert nearest("UNPACHED", ["moveto-tail", "unpatched"]) == ' (did you mean "unpatched"?)'
    assert nearest("z", ["moveto-tail", "unpatched"]) == " (choices: moveto-tail, unpatched)"
    assert nearest("z", []) == " (there are none)"
    assert nearest("z", [f"n{i}" for i in range(20)]).endswith("n11, ...)")
    assert len(nearest("z" * 1_000_000, (f"name{i}" for i in range(1_000_000)))) < 200
