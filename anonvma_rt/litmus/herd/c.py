"""The threads of a litmus file in C: statements and expressions of herd's subset of the language, to a tree."""

from anonvma_rt.litmus.herd.lexer import Tokens
from anonvma_rt.litmus.herd.tree import (
    Assign,
    Binary,
    Break,
    Call,
    Cast,
    Declare,
    Do,
    Expr,
    If,
    Index,
    Loop,
    Name,
    Number,
    Parameter,
    Statement,
    Thread,
    Unary,
)  # fmt: skip
from anonvma_rt.litmus.herd.types import begins_type, read_stars, read_type

__all__ = ["read_threads"]

_DEEPEST = 100
# From those that bind least.
_BINARY = (("||",), ("&&",), ("|",), ("^",), ("&",), ("==", "!="), ("<", "<=", ">", ">="), ("<<", ">>"), ("+", "-"),
           ("*", "/", "%"))  # fmt: skip
_ASSIGNMENTS = ("+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>=")
_NOT_HERE = ("goto", "switch", "case", "asm", "sizeof", "typeof")


def read_threads(tokens: Tokens) -> tuple[Thread, ...]:
    """P0(...) { ... } and all that follow, in their order."""
    threads: list[Thread] = []
    while tokens.next.text.startswith("P") and tokens.next.text[1:].isdigit():
        token = tokens.take()
        if token.text != f"P{len(threads)}":
            tokens.fail(f"{token.text} comes behind {len(threads)} threads: P{len(threads)} is needed here", token.line)
        threads.append(_Reader(tokens, token.text).thread(token.line))
    if not threads:
        tokens.fail(f"P0 and its parameters are needed here, not {tokens.next.text}")
    return tuple(threads)


class _Reader:
    """One thread."""

    def __init__(self, tokens: Tokens, where: str) -> None:
        self.tokens, self.where, self.depth = tokens, where, 0

    def thread(self, line: int) -> Thread:
        parameters = self.parameters()
        return Thread(parameters, self.block(), line)

    def parameters(self) -> tuple[Parameter, ...]:
        tokens = self.tokens
        found: list[Parameter] = []
        tokens.expect("(", self.where)
        if tokens.accept("void"):
            tokens.expect(")", self.where)
            return ()
        while not tokens.accept(")"):
            kind, stars = read_type(tokens, self.where)
            name = tokens.name(self.where)
            if tokens.accept("["):
                if tokens.next.kind == "number":
                    tokens.take()
                tokens.expect("]", self.where)
                stars += 1
            if not stars:
                tokens.fail(f"{self.where}: {name.text} is no pointer: a thread's parameters are shared variables")
            found.append(Parameter(name.text, "" if stars > 1 else kind, name.line))
            if not tokens.accept(","):
                tokens.expect(")", self.where)
                break
        return tuple(found)

    # ---- statements --------------------------------------------------------------------------------------------------

    def block(self) -> tuple[Statement, ...]:
        self.tokens.expect("{", self.where)
        found: list[Statement] = []
        while not self.tokens.accept("}"):
            found += self.statement()
        return tuple(found)

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > _DEEPEST:
            self.tokens.fail(f"{self.where}: nested too deeply")

    def statement(self) -> tuple[Statement, ...]:
        self.deeper()
        found = self.any_statement()
        self.depth -= 1
        return found

    def any_statement(self) -> tuple[Statement, ...]:
        tokens = self.tokens
        token = tokens.next
        if token.text == "{":
            return self.block()
        if tokens.accept(";"):
            return ()
        if token.text in _NOT_HERE:
            tokens.fail(f"{self.where}: {token.text} is not understood")
        if tokens.accept("if"):
            condition = self.in_parentheses()
            then = self.statement()
            other = self.statement() if tokens.accept("else") else ()
            return (If(condition, then, other, token.line),)
        if tokens.accept("while"):
            condition = self.in_parentheses()
            return (Loop(condition, self.statement(), (), True, token.line),)
        if tokens.accept("do"):
            body = self.statement()
            tokens.expect("while", self.where)
            condition = self.in_parentheses()
            tokens.expect(";", self.where)
            return (Loop(condition, body, (), False, token.line),)
        if tokens.accept("for"):
            return self.loop(token.line)
        if tokens.accept("break", "continue", "return"):
            if tokens.next.text != ";":
                tokens.fail(f"{self.where}: a thread returns no value")
            tokens.take()
            return (Break(token.text, token.line),)
        found = self.declaration() if begins_type(token.text) else self.simple()
        tokens.expect(";", self.where)
        return found

    def loop(self, line: int) -> tuple[Statement, ...]:
        tokens = self.tokens
        tokens.expect("(", self.where)
        before: tuple[Statement, ...] = ()
        if tokens.next.text != ";":
            before = self.declaration() if begins_type(tokens.next.text) else self.simple()
        tokens.expect(";", self.where)
        condition = Number(1, line) if tokens.next.text == ";" else self.expression()
        tokens.expect(";", self.where)
        step = () if tokens.next.text == ")" else self.simple()
        tokens.expect(")", self.where)
        return (*before, Loop(condition, self.statement(), step, True, line))

    def declaration(self) -> tuple[Statement, ...]:
        tokens = self.tokens
        base, stars = read_type(tokens, self.where)
        found: list[Statement] = []
        while True:
            stars += read_stars(tokens)
            name = tokens.name(self.where)
            if tokens.next.text == "[":
                tokens.fail(f"{self.where}: {name.text} is an array of the thread's own, which is not understood")
            value = self.expression() if tokens.accept("=") else None
            found.append(Declare(name.text, "" if stars else base, value, name.line))
            if not tokens.accept(","):
                return tuple(found)
            stars = 0

    def simple(self) -> tuple[Statement, ...]:
        """An assignment, r++, or an expression for what it does."""
        tokens = self.tokens
        line = tokens.next.line
        if sign := tokens.accept("++", "--"):
            target = self.unary()
            return (Assign(target, Binary(sign.text[0], target, Number(1, line), line), line),)
        target = self.expression()
        if sign := tokens.accept("++", "--"):
            return (Assign(target, Binary(sign.text[0], target, Number(1, line), line), line),)
        if sign := tokens.accept(*_ASSIGNMENTS):
            return (Assign(target, Binary(sign.text[:-1], target, self.expression(), line), line),)
        if tokens.accept("="):
            return (Assign(target, self.expression(), line),)
        return (Do(target, line),)

    # ---- expressions -------------------------------------------------------------------------------------------------

    def in_parentheses(self) -> Expr:
        self.tokens.expect("(", self.where)
        found = self.expression()
        self.tokens.expect(")", self.where)
        return found

    def expression(self) -> Expr:
        self.deeper()
        found = self.binary(0)
        if self.tokens.next.text == "?":
            self.tokens.fail(f"{self.where}: ? : is not understood (write if and else)")
        self.depth -= 1
        return found

    def binary(self, level: int) -> Expr:
        if level == len(_BINARY):
            return self.unary()
        left = self.binary(level + 1)
        while sign := self.tokens.accept(*_BINARY[level]):
            left = Binary(sign.text, left, self.binary(level + 1), sign.line)
        return left

    def unary(self) -> Expr:
        tokens = self.tokens
        token = tokens.next
        if tokens.accept("!", "~", "-", "*", "&"):
            self.deeper()
            operand = self.unary()
            self.depth -= 1
            return Unary(token.text, operand, token.line)
        if tokens.accept("+"):
            return self.unary()
        if token.text == "(" and begins_type(tokens.ahead().text):
            tokens.take()
            base, stars = read_type(tokens, self.where)
            tokens.expect(")", self.where)
            self.deeper()
            operand = self.unary()
            self.depth -= 1
            return Cast("" if stars else base, operand, token.line)
        return self.postfix()

    def postfix(self) -> Expr:
        tokens = self.tokens
        found = self.primary()
        while token := tokens.accept("["):
            found = Index(found, self.expression(), token.line)
            tokens.expect("]", self.where)
        if tokens.next.text in ("->", "."):
            tokens.fail(f"{self.where}: members of structures are not understood")
        return found

    def primary(self) -> Expr:
        tokens = self.tokens
        token = tokens.next
        if token.text == "(":
            return self.in_parentheses()
        if token.kind == "number":
            return Number(tokens.number(self.where), token.line)
        if token.kind != "name" or token.text in _NOT_HERE:
            tokens.fail(f"{self.where}: an expression is needed here, not {token.text}")
        tokens.take()
        if token.text == "NULL":
            return Number(0, token.line)
        if tokens.next.text == "{" and token.text.startswith("__"):
            tokens.fail(f"{self.where}: {token.text}{{...}} is not understood (write the kernel's own name)")
        if not tokens.accept("("):
            return Name(token.text, token.line)
        args: list[Expr] = []
        while not tokens.accept(")"):
            args.append(self.expression())
            if not tokens.accept(","):
                tokens.expect(")", self.where)
                break
        return Call(token.text, tuple(args), token.line)
