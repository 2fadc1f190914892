"""Arithmetic for scenario files: `evaluate("p + half*PAGE", {"p": 4096, "half": 8}, "where")`.

A scenario computes its addresses from its parameters, so its values may be small expressions. Python's own parser
reads them, and only a list of harmless nodes is evaluated: nothing is ever executed, and text, nesting and numbers are
bounded, because a scenario file may come from anyone.
"""

import ast
import keyword
import operator
import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from anonvma_rt.errors import ScenarioError, nearest, quote

__all__ = ["CONSTANTS", "LIMIT", "NAME", "PAGE", "evaluate", "has_meaning", "is_free_name", "parse"]

LONGEST_TEXT = 200  # characters of one expression
DEEPEST = 100  # nodes below each other; 1+1+...+1 of the longest text just fits
LIMIT = 1 << 62  # every value is below it in magnitude, so that any sum of two fits a signed 64-bit integer

PAGE = 4096  # bytes
CONSTANTS: Mapping[str, int | bool] = {
    "PAGE": PAGE, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "true": True, "false": False,
}  # fmt: skip


NAME = r"[A-Za-z_][A-Za-z0-9_]{0,39}"  # of what an expression may name


def has_meaning(name: str) -> bool:
    """Whether expressions know the name already, or Python does."""
    return name in CONSTANTS or name in FUNCTIONS or keyword.iskeyword(name)


def is_free_name(word: str) -> bool:
    """Whether it is a name, and nothing else has it."""
    return re.fullmatch(NAME, word) is not None and not has_meaning(word)


def evaluate(value: object, names: Mapping[str, int | bool], where: str) -> int | bool:
    """The number or truth value that `value` stands for; integers and booleans stand for themselves.

    Expressions know decimal and hexadecimal integers, names, + - * // %, parentheses, comparisons (also chained),
    and, or, not, `a if condition else b`, align(x, n) (x rounded up to a multiple of n), min and max, and the constants
    PAGE, KiB, MiB, GiB (bytes), true and false. They mean what they mean in Python, except that and, or, not and if
    want truth values. `where` begins every message.

    Raises ScenarioError for anything else, for unknown names, for division by zero and for values of 2**62 and more.

    >>> evaluate("align(pages, 8) * PAGE", {"pages": 13}, "example")
    65536
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if abs(value) >= LIMIT:
            raise ScenarioError(f"{where}: the number is too big (below 2**62 is right)")
        return value
    if not isinstance(value, str):
        kind = type(value).__name__
        raise ScenarioError(f"{where}: an integer, true, false or an expression in quotes is needed, not a {kind}")
    try:
        return _value(_parse(value), names, 0)
    except _Problem as problem:
        raise ScenarioError(f"{where}: {quote(value)}: {problem}") from None


def parse(text: str, where: str, more: str = "") -> ast.expr:
    """The expression in `text` as Python's parser reads it: for whoever evaluates it in a way of its own.

    What stands in it is not checked; evaluate() would refuse some of it. more: characters that have a meaning there
    beside those of evaluate(). Raises ScenarioError.
    """
    try:
        return _parse(text, more)
    except _Problem as problem:
        raise ScenarioError(f"{where}: {quote(text)}: {problem}") from None


class _Problem(Exception):
    """What is wrong with an expression, before it is known where the expression stands."""


@lru_cache(maxsize=4096)
def _parse(text: str, more: str = "") -> ast.expr:
    if len(text) > LONGEST_TEXT:
        raise _Problem(f"{len(text)} characters are too long for an expression (at most {LONGEST_TEXT})")
    # Python's parser would take far more than the grammar, and would print warnings for some of it: filter first.
    strange = re.search(r"[^A-Za-z0-9_+\-*/%()<>=!, \t]", text)
    while strange and strange[0] in more:
        strange = re.compile(r"[^A-Za-z0-9_+\-*/%()<>=!, \t]").search(text, strange.end())
    if strange:
        raise _Problem(f"the character {quote(strange[0])} has no meaning in an expression")
    for number in re.finditer(r"\b[0-9]\w*", text):
        if not re.fullmatch(r"0|[1-9][0-9]*(_[0-9]+)*|0[xX][0-9a-fA-F]+", number[0]):
            raise _Problem(f"{quote(number[0])} is not a number (12, 4_096 and 0x1000 are)")
    try:
        return ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise _Problem(f"not an expression ({error.msg or 'invalid syntax'})") from None
    except (ValueError, RecursionError, MemoryError):
        raise _Problem("not an expression") from None


def _floordiv(a: int, b: int) -> int:
    if b == 0:
        raise _Problem("division by zero")
    return a // b


def _modulo(a: int, b: int) -> int:
    if b == 0:
        raise _Problem("division by zero")
    return a % b


def _align(args: list[int]) -> int:
    if len(args) != 2 or args[1] < 1:
        raise _Problem("align(x, n) takes two numbers, and the second must be at least 1")
    return -(-args[0] // args[1]) * args[1]


def _of_several(name: str, choose: Callable[[list[int]], int]) -> Callable[[list[int]], int]:
    def function(args: list[int]) -> int:
        if len(args) < 2:
            raise _Problem(f"{name} takes two numbers or more")
        return choose(args)

    return function


FUNCTIONS: Mapping[str, Callable[[list[int]], int]] = {
    "align": _align, "min": _of_several("min", min), "max": _of_several("max", max),
}  # fmt: skip
_ARITHMETIC: Mapping[type, Callable[[int, int], int]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.FloorDiv: _floordiv, ast.Mod: _modulo,
}  # fmt: skip
_COMPARISONS: Mapping[type, Callable[[int, int], bool]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt,
    ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip


def _value(node: ast.expr, names: Mapping[str, int | bool], depth: int) -> int | bool:
    if depth >= DEEPEST:
        raise _Problem(f"nested too deeply (at most {DEEPEST} levels)")
    result = _node_value(node, names, depth + 1)
    if abs(result) >= LIMIT:
        raise _Problem("the value is too big (below 2**62 is right)")
    return result


def _node_value(node: ast.expr, names: Mapping[str, int | bool], depth: int) -> int | bool:
    match node:
        case ast.Constant(value=bool() | int() as constant):
            return constant
        case ast.Name(id=name):
            if name in names:
                return names[name]
            if name in CONSTANTS:
                return CONSTANTS[name]
            raise _Problem(f"unknown name {quote(name)}{nearest(name, [*names, *CONSTANTS])}")
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, names, depth)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _truth("not", operand, names, depth)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            return _ARITHMETIC[type(op)](_value(left, names, depth), _value(right, names, depth))
        case ast.BinOp(op=ast.Div()):
            raise _Problem('there are only whole numbers: write "//" for "/"')
        case ast.BoolOp(op=ast.And(), values=values):
            return all(_truth("and", operand, names, depth) for operand in values)
        case ast.BoolOp(values=values):
            return any(_truth("or", operand, names, depth) for operand in values)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return _value(body if _truth("if", test, names, depth) else orelse, names, depth)
        case ast.Compare(left=left, ops=ops, comparators=rights) if all(type(op) in _COMPARISONS for op in ops):
            before = _value(left, names, depth)
            for comparison, right in zip(ops, rights, strict=True):
                after = _value(right, names, depth)
                if not _COMPARISONS[type(comparison)](before, after):
                    return False
                before = after
            return True
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
            if name not in FUNCTIONS:
                raise _Problem(f"unknown function {quote(name)}{nearest(name, FUNCTIONS)}")
            return FUNCTIONS[name]([_value(argument, names, depth) for argument in args])
    raise _Problem("only + - * // %, comparisons, and, or, not, if-else, align, min and max are allowed")


def _truth(operator_name: str, node: ast.expr, names: Mapping[str, int | bool], depth: int) -> bool:
    # A number would nearly always be a slip here ("page and 1"), and Python's `and` would even return it.
    result = _value(node, names, depth)
    if not isinstance(result, bool):
        raise _Problem(f'"{operator_name}" needs true or false, and {result} is a number (compare it with something)')
    return result
