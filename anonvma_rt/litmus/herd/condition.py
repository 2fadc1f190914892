"""The end of a litmus file: locations, filter, and exists, ~exists or forall of a proposition over the final state."""

from anonvma_rt.litmus.herd.lexer import Tokens
from anonvma_rt.litmus.herd.tree import TRUE, Address, Atom, Condition, Join, Not, Proposition, Truth

__all__ = ["read_condition"]

_DEEPEST = 200


def read_condition(tokens: Tokens) -> Condition:
    """From where the last thread ends to the end of the file."""
    locations: list[str] = []
    kept: Proposition = TRUE
    while True:
        if tokens.accept("locations"):
            locations += _locations(tokens)
        elif tokens.accept("filter"):
            kept = _proposition(tokens, "filter")
        else:
            break
    if tokens.next.kind == "end":
        # A file that asks for nothing, as herd has it: every state is right.
        return Condition("forall", TRUE, kept, tuple(locations), "forall true")
    token = tokens.take()
    quantifier = token.text
    if quantifier in ("~", "not"):
        tokens.expect("exists", "behind ~")
        quantifier = "~exists"
    if quantifier not in ("exists", "~exists", "forall"):
        tokens.fail(f"exists, ~exists or forall is needed here, not {token.text}", token.line)
    begin = tokens.at
    proposition = _proposition(tokens, quantifier)
    text = _spelled([one.text for one in tokens.tokens[begin : tokens.at]])
    tokens.accept(";")
    if tokens.next.kind != "end":
        tokens.fail(f"{quantifier}: {tokens.next.text} behind its condition is not understood")
    return Condition(quantifier, proposition, kept, tuple(locations), f"{quantifier} {text}")


def _locations(tokens: Tokens) -> list[str]:
    found = []
    tokens.expect("[", "locations")
    while not tokens.accept("]"):
        found.append(_place(tokens, "locations"))
        while tokens.accept("*"):
            pass
        if not tokens.accept(";"):
            tokens.expect("]", "locations")
            break
    return found


def _proposition(tokens: Tokens, where: str, depth: int = 0) -> Proposition:
    """An implication: it binds least, then or, then and."""
    if depth > _DEEPEST:
        tokens.fail(f"{where}: nested too deeply")
    left = _joined(tokens, where, depth, ("\\/", "||"), "or")
    if not tokens.accept("=>"):
        return left
    return Join("or", Not(left), _proposition(tokens, where, depth + 1))


def _joined(tokens: Tokens, where: str, depth: int, signs: tuple[str, ...], op: str) -> Proposition:
    def one() -> Proposition:
        return _joined(tokens, where, depth, ("/\\", "&&"), "and") if op == "or" else _one(tokens, where, depth)

    left = one()
    while tokens.accept(*signs):
        left = Join(op, left, one())
    return left


def _one(tokens: Tokens, where: str, depth: int) -> Proposition:
    if depth > _DEEPEST:
        tokens.fail(f"{where}: nested too deeply")
    if tokens.accept("not", "~"):
        return Not(_one(tokens, where, depth + 1))
    if tokens.accept("("):
        inner = _proposition(tokens, where, depth + 1)
        tokens.expect(")", where)
        return inner
    if token := tokens.accept("true", "false"):
        return Truth(token.text == "true")
    line = tokens.next.line
    place = _place(tokens, where)
    sign = tokens.accept("=", "==", "!=", "<", "<=", ">", ">=")
    if sign is None:
        tokens.fail(f"{where}: = and a value are needed behind {place}, not {tokens.next.text}")
    op = "==" if sign.text == "=" else sign.text
    return Atom(place, op, _value(tokens, where), line)


def _place(tokens: Tokens, where: str) -> str:
    """A register "0:r1", or a shared variable "x", "[x]", "x[1]", "*x"."""
    if tokens.accept("["):
        place = _place(tokens, where)
        tokens.expect("]", where)
        return place
    tokens.accept("*")
    if tokens.next.kind == "number":
        thread = tokens.number(where)
        tokens.expect(":", where)
        tokens.accept("%", "$")
        return f"{thread}:{tokens.name(where).text}"
    name = tokens.name(where).text
    if tokens.next.text == "[" and tokens.ahead().kind == "number":
        tokens.take()
        name = f"{name}[{tokens.number(where)}]"
        tokens.expect("]", where)
    return name


def _value(tokens: Tokens, where: str) -> int | Address | str:
    if tokens.next.kind == "number" and tokens.ahead().text == ":":
        return _place(tokens, where)
    if tokens.next.text == "-" or tokens.next.kind == "number":
        return tokens.number(where)
    if tokens.accept("&"):
        return Address(_place(tokens, where))
    if tokens.accept("("):
        value = _value(tokens, where)
        tokens.expect(")", where)
        return value
    if tokens.next.kind != "name":
        tokens.fail(f"{where}: a value is needed here, not {tokens.next.text}")
    return Address(_place(tokens, where))


def _spelled(words: list[str]) -> str:
    """Words as people write them: spaces around what joins, none within "0:r1=0"."""
    return "".join(f" {word} " if word in ("/\\", "\\/", "=>", "not") else word for word in words).strip()
