"""From the text of a litmus file to tokens with their lines; comments go, but for what they say about the result.

Whatever comes behind asks a Tokens for the next one, and complains through it: so each message has file and line.
"""

import re
from typing import NamedTuple, NoReturn

from anonvma_rt.errors import ScenarioError, quote

__all__ = ["Result", "Token", "Tokens", "value_of", "without_comments"]

_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<text>"(?:[^"\\\n]|\\.)*")
  | (?P<number>0[xX][0-9a-fA-F]+[uUlL]*|\d+[uUlL]*(?![A-Za-z_]))
  | (?P<name>[A-Za-z_][A-Za-z_0-9]*)
  | (?P<sign>/\\|\\/|<<=|>>=|->|\+\+|--|&&|\|\||<<|>>|[=!<>+*/%&|^-]=|[-+*/%&|^~!<>=(){}\[\];:,.?$@#\\])
    """,
    re.VERBOSE,
)
_COMMENT = re.compile(r"\(\*|\*\)|/\*|\*/|//[^\n]*|[{}]")
_BLANK = re.compile(r"[^\n]")
_END = {"(*": "*)", "/*": "*/"}
# Python takes long for numbers of very many digits.
_LONGEST_NUMBER = 40


class Token(NamedTuple):
    """kind: "number", "name", "sign", "text", or "end"."""

    kind: str
    text: str
    line: int


class Result(NamedTuple):
    """What the file itself says about its outcome: "Never", "Sometimes", "Always" or another word, and more words."""

    verdict: str
    more: str
    line: int


def without_comments(text: str, source: str, in_c: bool) -> tuple[str, Result | None]:
    """The text with comments blanked out, line for line as it was, and the "Result:" that one of them gives.

    Comments nest, as herd's do. In the body of a thread in C "(*" begins none: it is a look through a pointer.

    >>> without_comments("a (* Result: Never *) b", "example", in_c=True)
    ('a                     b', Result(verdict='Never', more='', line=1))
    """
    parts, told, at, begin = [], "", 0, 0
    ends: list[str] = []
    depth = blocks = 0
    for found in _COMMENT.finditer(text):
        mark = found[0]
        if ends:
            if mark == ends[-1]:
                ends.pop()
            elif mark in _END and _END[mark] == ends[-1]:
                ends.append(_END[mark])
            if not ends:
                told += text[begin : found.start()] + "\n"
                parts.append(_BLANK.sub(" ", text[at : found.end()]))
                at = found.end()
        elif mark in "{}":
            blocks += mark == "{" and depth == 0
            depth += 1 if mark == "{" else -1
        elif mark.startswith("//"):
            told += mark + "\n"
            parts += [text[at : found.start()], " " * len(mark)]
            at = found.end()
        elif mark == "/*" or (mark == "(*" and not (in_c and depth > 0 and blocks > 1)):
            parts.append(text[at : found.start()])
            at = begin = found.start()
            ends.append(_END[mark])
    if ends:
        line = text.count("\n", 0, begin) + 1
        raise ScenarioError(f"{source}: line {line}: the comment that begins here has no end")
    parts.append(text[at:])
    return "".join(parts), _result(text, told)


def _result(text: str, told: str) -> Result | None:
    found = re.search(r"\bResult:\s*(\w+)[.]?[ \t]*([^\n]*)", told)
    if not found:
        return None
    return Result(found[1].capitalize(), found[2].strip(), text.count("\n", 0, text.index(found[0])) + 1)


class Tokens:
    """The tokens of a part of a file, to be taken one by one."""

    def __init__(self, text: str, source: str, line: int = 1) -> None:
        self.source = source
        self.tokens: list[Token] = []
        self.at = 0
        position, end = 0, len(text)
        while position < end:
            found = _TOKEN.match(text, position)
            if found is None:
                self.fail(f"{quote(text[position])} is no part of a litmus file", line)
            kind = str(found.lastgroup)
            if kind == "space":
                line += found[0].count("\n")
            else:
                self.tokens.append(Token(kind, found[0], line))
                if kind == "number" and len(found[0]) > _LONGEST_NUMBER:
                    self.fail("a number that no word holds", line)
            position = found.end()
        self.tokens.append(Token("end", "the end of the file", line))

    @property
    def next(self) -> Token:
        return self.tokens[self.at]

    def ahead(self, n: int = 1) -> Token:
        """The token n behind the next one; the last one stays."""
        return self.tokens[min(self.at + n, len(self.tokens) - 1)]

    def take(self) -> Token:
        token = self.tokens[self.at]
        if token.kind != "end":
            self.at += 1
        return token

    def accept(self, *texts: str) -> Token | None:
        """The next token if it is one of these; else nothing is taken."""
        return self.take() if self.next.text in texts and self.next.kind != "text" else None

    def expect(self, text: str, where: str) -> Token:
        token = self.accept(text)
        if token is None:
            self.fail(f"{where}: {quote(text)} is needed here, not {quote(self.next.text)}")
        return token

    def name(self, where: str) -> Token:
        if self.next.kind != "name":
            self.fail(f"{where}: a name is needed here, not {quote(self.next.text)}")
        return self.take()

    def number(self, where: str) -> int:
        """With its sign."""
        sign = -1 if self.accept("-") else 1
        if self.next.kind != "number":
            self.fail(f"{where}: a number is needed here, not {quote(self.next.text)}")
        return sign * value_of(self.take().text)

    def fail(self, what: str, line: int | None = None) -> NoReturn:
        raise ScenarioError(f"{self.source}: line {line or self.next.line}: {what}")


def value_of(text: str) -> int:
    """The number that a token of that kind says, as a word of 64 bits has it.

    >>> value_of("0x10"), value_of("3UL"), value_of("0xffffffffffffffff")
    (16, 3, -1)
    """
    digits = text.rstrip("uUlL")
    octal = len(digits) > 1 and digits[0] == "0" and digits.isdigit() and not set("89") & set(digits)
    value = int(digits, 8 if octal else 0 if digits[:2].lower() == "0x" else 10)
    return (value + 2**63) % 2**64 - 2**63
