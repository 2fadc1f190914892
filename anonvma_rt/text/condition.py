"""Conditions over the final state of a litmus test: `postfix("r0 == 0 and x != n", {"r0", "x"}, {"n": 2}, "where")`.

The text is an expression (expression.py). What follows from parameters alone is computed at once; the rest becomes
words in reverse Polish notation, which the engine's Program evaluates without Python: what the threads of a litmus test
compute (words_of), and what must not be at the end.
"""

import ast
import re
from collections.abc import Iterable, Mapping

from anonvma_rt.errors import ScenarioError, nearest, quote
from anonvma_rt.text.expression import CONSTANTS, NAME, evaluate, parse

__all__ = ["Word", "names_in", "postfix", "words_of"]

Word = int | str

# Operators of a comparison: the word, and whether the two sides change places before it.
_COMPARISONS: Mapping[type, tuple[str, bool]] = {
    ast.Eq: ("==", False), ast.NotEq: ("!=", False), ast.Lt: ("<", False), ast.LtE: ("<=", False),
    ast.Gt: ("<", True), ast.GtE: ("<=", True),
}  # fmt: skip
_ARITHMETIC: Mapping[type, str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Mod: "%"}
# What parameters do not know: where one of these stands, the engine computes.
_OF_BITS: Mapping[type, str] = {
    ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^", ast.LShift: "<<", ast.RShift: ">>",
}  # fmt: skip
_MORE = "&|^~"
# An "&" in front of a name, and behind no value: the address of a variable.
_ADDRESS = re.compile(rf"(?<![A-Za-z0-9_)])(\s*)&\s*({NAME})")
_IS_ADDRESS = "address_of_the_variable_with_the_name_"  # 39 characters, and no name has more than 40


def postfix(text: str, places: Iterable[str], names: Mapping[str, int | bool], where: str) -> list[Word]:
    """The condition in reverse Polish notation over `places`, the variables and registers; `names` have values already.

    Over places there are + - * / % and & | ^ << >> ~ of 64 bits as C has them, comparisons (also chained), and, or, not
    and "&x", the address of x; below them anything that is a number without them. Raises ScenarioError, whose message
    begins with `where`.

    >>> postfix("r0 == n - 1 and not x > y", {"r0", "x", "y"}, {"n": 2}, "example")
    ['r0', 1, '==', 'y', 'x', '<', 0, '==', 'and']
    """
    words, is_truth = words_of(text, places, names, where)
    if not is_truth:
        raise ScenarioError(f"{where}: {quote(text)}: must be true or false (compare it with something)")
    return words


def words_of(text: str, places: Iterable[str], names: Mapping[str, int | bool], where: str) -> tuple[list[Word], bool]:
    """The same for an expression that may also be a number, and whether it is a truth value."""
    return _words(_parse(text, where), set(places), names, f"{where}: {quote(text)}")


def names_in(text: str, where: str) -> set[str]:
    """The names that stand in an expression, without those of functions."""
    return _mentioned(_parse(text, where))


def _parse(text: str, where: str) -> ast.expr:
    return parse(_addressed(text), where, _MORE)


def _addressed(text: str) -> str:
    def replaced(found: re.Match[str]) -> str:
        before = text[: found.start()].split()
        follows_value = before and (before[-1][-1] in "_)" or before[-1][-1].isalnum())
        if follows_value and before[-1] not in ("and", "or", "not", "if", "else"):
            return found[0]
        return f"{found[1]} {_IS_ADDRESS}{found[2]}"

    return _ADDRESS.sub(replaced, text)


def _mentioned(node: ast.expr) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and not _is_called(n, node)}


def _words(node: ast.expr, places: set[str], names: Mapping[str, int | bool], where: str) -> tuple[list[Word], bool]:
    """The words of a node, and whether it is a truth value."""
    mentioned = _mentioned(node)
    own = any(type(n) in _OF_BITS or isinstance(n, ast.Invert) for n in ast.walk(node))
    if not mentioned & places and not own and not any(name.startswith(_IS_ADDRESS) for name in mentioned):
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
            return [f"&{name.removeprefix(_IS_ADDRESS)}" if name.startswith(_IS_ADDRESS) else name], False
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return [0, *number(operand), "-"], False
        case ast.UnaryOp(op=ast.Invert(), operand=operand):
            return [*number(operand), "~"], False
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return [*truth(operand), 0, "=="], True
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC or type(op) in _OF_BITS:
            return [*number(left), *number(right), {**_ARITHMETIC, **_OF_BITS}[type(op)]], False
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
    known = "+ - * / %, & | ^ << >> ~, comparisons, and, or, not"
    raise ScenarioError(f"{where}: over registers and final values there are only {known}")


def _is_called(name: ast.Name, node: ast.expr) -> bool:
    return any(isinstance(n, ast.Call) and n.func is name for n in ast.walk(node))
