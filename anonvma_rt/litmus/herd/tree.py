"""What a litmus file says, as a tree: expressions and statements of its threads, its condition, its initial state.

Each node of a thread has its line, because whoever lowers it may have to complain about it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from anonvma_rt.litmus.herd.lexer import Result

__all__ = [
    "TRUE",
    "Address",
    "Assembly",
    "Assign",
    "Atom",
    "Binary",
    "Break",
    "Call",
    "Cast",
    "Condition",
    "Declare",
    "Do",
    "Expr",
    "If",
    "Index",
    "Join",
    "Loop",
    "Name",
    "Not",
    "Number",
    "Parameter",
    "Proposition",
    "Statement",
    "Test",
    "Thread",
    "Truth",
    "Unary",
]  # fmt: skip


class Number(NamedTuple):
    value: int
    line: int


class Name(NamedTuple):
    name: str
    line: int


class Unary(NamedTuple):
    """op: ! ~ - * &"""

    op: str
    operand: "Expr"
    line: int


class Binary(NamedTuple):
    op: str
    left: "Expr"
    right: "Expr"
    line: int


class Call(NamedTuple):
    name: str
    args: "tuple[Expr, ...]"
    line: int


class Index(NamedTuple):
    base: "Expr"
    at: "Expr"
    line: int


class Cast(NamedTuple):
    """kind: the type as types.py has it."""

    kind: str
    operand: "Expr"
    line: int


Expr = Number | Name | Unary | Binary | Call | Index | Cast


class Declare(NamedTuple):
    """A local variable; kind: its type."""

    name: str
    kind: str
    value: Expr | None
    line: int


class Assign(NamedTuple):
    """To a register (a Name) or, as a plain store, to a shared variable."""

    target: Expr
    value: Expr
    line: int


class Do(NamedTuple):
    """An expression for what it does."""

    expression: Expr
    line: int


class If(NamedTuple):
    condition: Expr
    then: "tuple[Statement, ...]"
    other: "tuple[Statement, ...]"
    line: int


class Loop(NamedTuple):
    """while, do and for; step: what comes at the end of a round; first: whether the condition is asked before it."""

    condition: Expr
    body: "tuple[Statement, ...]"
    step: "tuple[Statement, ...]"
    first: bool
    line: int


class Break(NamedTuple):
    """what: break, continue or return."""

    what: str
    line: int


class Assembly(NamedTuple):
    """A line of a table: a label, or an instruction with its operands as they are written."""

    word: str
    operands: tuple[str, ...]
    is_label: bool
    line: int


Statement = Declare | Assign | Do | If | Loop | Break | Assembly


class Parameter(NamedTuple):
    """A shared variable under its name; kind: the type of what it points to."""

    name: str
    kind: str
    line: int


class Thread(NamedTuple):
    """parameters: none where the thread is a column of a table."""

    parameters: tuple[Parameter, ...]
    body: tuple[Statement, ...]
    line: int


# ---- the condition ---------------------------------------------------------------------------------------------------


class Address(NamedTuple):
    """The address of a shared variable, as a value."""

    name: str


class Atom(NamedTuple):
    """place == value. Places: a shared variable "x", or a register "0:r1"; so are names among the values."""

    place: str
    op: str
    value: int | Address | str
    line: int


class Not(NamedTuple):
    operand: "Proposition"


class Join(NamedTuple):
    """op: and, or."""

    op: str
    left: "Proposition"
    right: "Proposition"


class Truth(NamedTuple):
    value: bool


Proposition = Atom | Not | Join | Truth
TRUE = Truth(True)


class Condition(NamedTuple):
    """quantifier: exists, ~exists or forall. filter: what the states must be to count. text: for people."""

    quantifier: str
    proposition: Proposition
    filter: Proposition
    locations: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Test:
    """A litmus file. kinds, initial: of shared variables by name ("x", or "x[1]"), as far as the file says them.
    registers: what they begin with, by thread and name. arrays: how many elements. result: what the file says."""

    arch: str
    name: str
    source: str
    kinds: Mapping[str, str]
    initial: Mapping[str, int | Address]
    registers: Mapping[tuple[int, str], int | Address]
    arrays: Mapping[str, int]
    threads: tuple[Thread, ...]
    condition: Condition
    result: Result | None
