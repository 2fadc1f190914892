"""Conditions over the final state of a litmus test: `postfix("r0 == 0 and x != n", {"r0", "x"}, {"n": 2}, "where")`.

The text is an expression (expression.py). What follows from parameters alone is computed at once; the rest becomes
words in reverse Polish notation, which the engine's Program evaluates without Python at the end of an execution.
"""

import ast
from collections.abc import Iterable, Mapping

from anonvma_rt.errors import ScenarioError, nearest, quote
from anonvma_rt.text.expression import CONSTANTS, evaluate, parse

__all__ = ["Word", "postfix"]

Word = int | str

# Operators of a comparison: the word, and whether the two sides change places before it.
_COMPARISONS: Mapping[type, tuple[str, bool]] = {
    ast.Eq: ("==", False), ast.NotEq: ("!=", False), ast.Lt: ("<", False), ast.LtE: ("<=", False),
    ast.Gt: ("<", True), ast.GtE: ("<=", True),
}  # fmt: skip
_SUMS: Mapping[type, str] = {ast.Add: "+", ast.Sub: "-"}


def postfix(text: str, places: Iterable[str], names: Mapping[str, int | bool], where: str) -> list[Word]:
    """The condition in reverse Polish notation over `places`, the variables and registers; `names` have values already.

    Over places there are + and -, comparisons (also chained), and, or and not; below them anything that is a number
    without them. Raises ScenarioError, whose message begins with `where`.

    >>> postfix("r0 == n - 1 and not x > y", {"r0", "x", "y"}, {"n": 2}, "example")
    ['r0', 1, '==', 'y', 'x', '<', 0, '==', 'and']
    """
    known = set(places)
    words, is_truth = _words(parse(text, where), known, names, f"{where}: {quote(text)}")
    if not is_truth:
        raise ScenarioError(f"{where}: {quote(text)}: must be true or false (compare it with something)")
    return words


def _words(node: ast.expr, places: set[str], names: Mapping[str, int | bool], where: str) -> tuple[list[Word], bool]:
    """The words of a node, and whether it is a truth value."""
    mentioned = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and not _is_called(n, node)}
    if not mentioned & places:
        for name in sorted(mentioned):
            if name not in names and name not in CONSTANTS:
                raise ScenarioError(f"{where}: unknown name {quote(name)}{nearest(name, [*sorted(places), *names])}")
        value = evaluate(ast.unparse(node), names, where)
        return [int(value)], isinstance(value, bool)

    def number(operand: ast.expr) -> list[Word]:
        words, is_truth = _words(operand, places, names, where)
        if is_truth:
            raise ScenarioError(f"{where}: a number is needed, not true or false")
        return words

    def truth(operand: ast.expr) -> list[Word]:
        words, is_truth = _words(operand, places, names, where)
        if not is_truth:
            raise ScenarioError(f"{where}: true or false is needed, not a number (compare it with something)")
        return words

    match node:
        case ast.Name(id=name):
            return [name], False
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return [0, *number(operand), "-"], False
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return [*truth(operand), 0, "=="], True
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _SUMS:
            return [*number(left), *number(right), _SUMS[type(op)]], False
        case ast.BoolOp(op=op, values=values):
            words = truth(values[0])
            for operand in values[1:]:
                words += [*truth(operand), "and" if isinstance(op, ast.And) else "or"]
            return words, True
        case ast.Compare(left=left, ops=ops, comparators=rights) if all(type(op) in _COMPARISONS for op in ops):
            words = []
            for comparison, before, after in zip(ops, [left, *rights], rights, strict=False):
                word, swapped = _COMPARISONS[type(comparison)]
                sides = (after, before) if swapped else (before, after)
                words += [*number(sides[0]), *number(sides[1]), word, *(["and"] if words else [])]
            return words, True
    raise ScenarioError(f"{where}: over final values there are only + and -, comparisons, and, or, not")


def _is_called(name: ast.Name, node: ast.expr) -> bool:
    return any(isinstance(n, ast.Call) and n.func is name for n in ast.walk(node))
