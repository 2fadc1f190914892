"""A thread of a litmus file in C, as steps of a Program: statements, expressions, and the kernel's primitives."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

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
    Statement,
    Thread,
    Unary,
)  # fmt: skip
from anonvma_rt.litmus.herd.types import LOCK, SRCU, VOID
from anonvma_rt.litmus.lowering.emitter import Emitter, Value, Word
from anonvma_rt.litmus.lowering.forms import Form, form_of
from anonvma_rt.litmus.lowering.rounds import only_looks

__all__ = ["CThread", "Shared"]

_TRUTHS = ("==", "!=", "<", "<=", ">", ">=")
_OPERATORS = {"&&": "and", "||": "or"}
# Words that a row in reverse Polish notation takes for an operator.
_RESERVED = ("and", "or", "neg", "int8", "uint8", "int16", "uint16", "int32", "uint32")


class Shared(NamedTuple):
    """The types of shared variables, and how many elements those have that are arrays."""

    kinds: Mapping[str, str]
    arrays: Mapping[str, int]


class CThread(Emitter):
    """steps: those of a thread. given: its registers that have a value in the beginning; unroll: the most rounds of a
    loop that does more than look."""

    def __init__(
        self, source: str, name: str, thread: Thread, shared: Shared, given: Iterable[str], unroll: int
    ) -> None:
        super().__init__(source, name)
        self.kinds, self.arrays = shared
        self.unroll = unroll
        self.shared = {parameter.name for parameter in thread.parameters}
        self.registers: dict[str, str] = {}
        self.loops: list[tuple[str, str]] = []
        self.end = ""
        for name_, kind in _registers(thread.body):
            self.registers.setdefault(name_, kind)
        for name_ in given:
            self.registers.setdefault(name_, "")
        for statement in thread.body:
            self.statement(statement)
        if self.end:
            self.emit("label", self.end)

    # ---- statements --------------------------------------------------------------------------------------------------

    def block(self, statements: tuple[Statement, ...]) -> None:
        for statement in statements:
            self.statement(statement)

    def statement(self, one: Statement) -> None:
        self.begin_statement()
        match one:
            case Declare():
                self.declare(one)
            case Assign(target=target, value=value, line=line):
                self.assign(target, value, line)
            case Do(expression=expression):
                self.do(expression)
            case If(condition=condition, then=then, other=other):
                otherwise = self.label()
                self.emit("jump_unless", self.register(self.value(condition)), otherwise)
                self.block(then)
                if other:
                    end = self.label()
                    self.emit("jump", end)
                    self.emit("label", otherwise)
                    self.block(other)
                    otherwise = end
                self.emit("label", otherwise)
            case Loop():
                self.loop(one)
            case Break(what=what, line=line):
                self.leave(what, line)

    def declare(self, one: Declare) -> None:
        if one.name in self.shared:
            self.fail(one.line, f"{one.name} is declared again")
        if one.kind in (LOCK, SRCU, VOID):
            self.fail(one.line, f"{one.name} is no register: locks and domains are shared")
        if one.value is not None:
            self.set_register(one.name, self.value(one.value))

    def set_register(self, name: str, value: Value) -> None:
        """The step that gave the value gives it to the register at once, where that is all that it does."""
        kind = self.registers[name]
        self.set(name, value.wrapped(kind))

    def assign(self, target: Expr, value: Expr, line: int) -> None:
        match target:
            case Name(name=name) if name in self.shared:
                self.fail(line, f"{name} is a pointer to a shared variable, which stays what it is (write *{name})")
            case Name(name=name):
                self.set_register(name, self.value(value))
            case Unary(op="*") | Index():
                stored = self.operand(self.value(value))
                self.emit("plain_store", self.place_of(target), stored)
            case _:
                self.fail(line, "what is assigned to is no register, and no shared variable")

    def do(self, expression: Expr) -> None:
        while isinstance(expression, Cast) and expression.kind == VOID:
            expression = expression.operand
        if isinstance(expression, Call):
            self.call(expression)
        else:
            self.value(expression)

    def loop(self, loop: Loop) -> None:
        if only_looks(loop):
            self.wait(loop)
            return
        exit_ = self.label()
        for at in range(self.unroll + 1):
            if loop.first or at > 0:
                self.leave_unless(loop.condition, exit_)
            if at == self.unroll:
                self.emit("beyond")
            else:
                self.round(loop, exit_)
        self.emit("label", exit_)

    def wait(self, loop: Loop) -> None:
        """A loop that only looks until somebody else has written something."""
        top, exit_ = self.label(), self.label()
        self.emit("spin_start")
        self.emit("label", top)
        if loop.first:
            self.leave_unless(loop.condition, exit_)
        self.round(loop, exit_)
        if not loop.first:
            self.leave_unless(loop.condition, exit_)
        self.emit("spin_hint")
        self.emit("jump", top)
        self.emit("label", exit_)

    def leave_unless(self, condition: Expr, exit_: str) -> None:
        self.begin_statement()
        if not isinstance(condition, Number):
            self.emit("jump_unless", self.register(self.value(condition)), exit_)
        elif not condition.value:
            self.emit("jump", exit_)

    def round(self, loop: Loop, exit_: str) -> None:
        next_ = self.label()
        self.loops.append((exit_, next_))
        self.block(loop.body)
        self.loops.pop()
        self.emit("label", next_)
        self.block(loop.step)

    def leave(self, what: str, line: int) -> None:
        if what == "return":
            self.end = self.end or self.label()
            self.emit("jump", self.end)
        elif not self.loops:
            self.fail(line, f"{what} is in no loop")
        else:
            self.emit("jump", self.loops[-1][what == "continue"])

    # ---- values ------------------------------------------------------------------------------------------------------

    def value(self, node: Expr) -> Value:
        match node:
            case Number(value=value):
                return Value((value,), "int32" if -(2**31) <= value < 2**31 else "")
            case Name(name=name, line=line):
                return self.named(name, line)
            case Unary(op="*") | Index():
                name = self.place_of(node)
                temporary = self.temporary()
                self.emit("plain_load", name, temporary)
                return Value((temporary,), self.kind_of(name))
            case Unary(op="&", operand=operand):
                return self.address_of(operand)
            case Unary(op=op, operand=operand):
                inner = self.value(operand)
                if op == "!":
                    return Value((*inner.words, "!"), "int32")
                return _computed((*inner.words, "neg" if op == "-" else "~"), _promoted(inner.kind))
            case Binary():
                return self.binary(node)
            case Cast(kind=kind, operand=operand, line=line):
                if kind in (LOCK, SRCU, VOID):
                    self.fail(line, "a cast to a type that has no value")
                return self.value(operand).wrapped(kind)
            case Call(line=line, name=name):
                found = self.call(node)
                if found is None:
                    self.fail(line, f"{name}() returns nothing")
                return found

    def named(self, name: str, line: int) -> Value:
        if name in self.shared:
            return Value((f"&{self.element(name, 0)}",))
        if name not in self.registers:
            self.fail(line, f"{name} is no parameter of the thread, and was given no value")
        return Value((name,), self.registers[name])

    def binary(self, node: Binary) -> Value:
        if node.op in _OPERATORS:
            return self.either(node)
        left, right = self.value(node.left), self.value(node.right)
        words = (*left.words, *right.words, node.op)
        if node.op in _TRUTHS:
            return Value(words, "int32")
        shift = node.op in ("<<", ">>")
        kind = _promoted(left.kind) if shift else _common(_promoted(left.kind), _promoted(right.kind))
        return _computed(words, kind)

    def either(self, node: Binary) -> Value:
        """&& and ||, whose right side is left alone where the left one decides, if that does anything."""
        left = self.value(node.left)
        before = len(self.steps)
        labels, temporaries = self.labels, self.temporaries
        right = self.value(node.right)
        if len(self.steps) == before:
            return Value((*left.words, *right.words, _OPERATORS[node.op]), "int32")
        del self.steps[before:]
        self.labels, self.temporaries = labels, temporaries
        truth, end = self.temporary(), self.label()
        self.let(truth, Value((*left.words, 0, "!=")))
        self.emit("jump_unless" if node.op == "&&" else "jump_if", truth, end)
        self.let(truth, Value((*self.value(node.right).words, 0, "!=")))
        self.emit("label", end)
        return Value((truth,), "int32")

    # ---- shared variables --------------------------------------------------------------------------------------------

    def kind_of(self, place: str) -> str:
        return "" if place.startswith("*") else self.kinds.get(place, "")

    def element(self, name: str, at: int) -> str:
        return f"{name}[{at}]" if name in self.arrays else name

    def place_of(self, lvalue: Expr) -> str:
        """How a step names an lvalue: a variable, or a register with its address."""
        match lvalue:
            case Unary(op="*", operand=operand):
                return self.pointed(operand)
            case Index(base=base, at=index, line=line):
                return self.pointed(Binary("+", base, index, line))
            case Cast(operand=operand):
                return self.place_of(operand)
        self.fail(lvalue.line, "this is no shared variable (write *x for what x points to)")

    def pointed(self, pointer: Expr) -> str:
        while isinstance(pointer, Cast) and pointer.kind == "":
            pointer = pointer.operand
        match pointer:
            case Name(name=name) if name in self.shared:
                return self.element(name, 0)
            case Unary(op="&", operand=operand):
                return self.place_of(operand)
            case Binary(op="+", left=Name(name=name), right=Number(value=at), line=line) if name in self.arrays:
                if not 0 <= at < self.arrays[name]:
                    self.fail(line, f"{name} has no element {at}")
                return self.element(name, at)
            case Binary(op="+", left=Name(name=name), right=index) if name in self.arrays:
                return f"*{self.register(Value(self.chosen(name, self.value(index))))}"
        return f"*{self.register(self.value(pointer))}"

    def chosen(self, name: str, index: Value) -> tuple[Word, ...]:
        """The address of an element that is known only then: 0, which is a bad pointer, where there is none."""
        at = self.operand(index)
        words: list[Word] = [0]
        for number in range(self.arrays[name]):
            words += [at, number, "==", f"&{name}[{number}]", "*", "+"]
        return tuple(words)

    def address_of(self, lvalue: Expr) -> Value:
        place = self.place_of(lvalue)
        return Value((place[1:] if place.startswith("*") else f"&{place}",))

    # ---- primitives --------------------------------------------------------------------------------------------------

    def call(self, node: Call) -> Value | None:
        form = form_of(node.name)
        if form is None:
            self.fail(node.line, f"{node.name}() is not understood")
        if len(node.args) != len(form.args):
            self.fail(node.line, f"{node.name} takes {len(form.args)} arguments, not {len(node.args)}")
        place, values = "", {}
        for kind, arg in zip(form.args, node.args, strict=True):
            if kind in "lp":
                place = self.place_of(arg) if kind == "l" else self.pointed(arg)
            else:
                values[kind] = self.value(arg)
        return self.primitive(form, place, values)

    def primitive(self, form: Form, place: str, values: Mapping[str, Value]) -> Value | None:
        if not form.verb:
            return None
        filled = {name: value.words for name, value in values.items()}
        operands = [self.operand(Value(_fill(words, filled))) for words in form.operands]
        old = [self.temporary()] if form.gives else []
        self.emit(form.verb, *([place] if place else []), *operands, *old)
        if form.then:
            self.emit(form.then)
        if not form.result:
            return None
        kind = "int32" if form.verb in ("trylock", "is_locked", "add_unless", "srcu_read_lock") else self.kind_of(place)
        words = _fill(form.result, {**filled, "old": (old[0],)})
        if not form.wraps:
            return Value(words, kind)
        if words[-1] in _TRUTHS:
            return Value((*_computed(words[:-2], kind).words, *words[-2:]), "int32")
        return _computed(words, kind)


def _fill(words: tuple[Word, ...], filled: Mapping[str, tuple[Word, ...]]) -> tuple[Word, ...]:
    return tuple(part for word in words for part in (filled.get(word, (word,)) if isinstance(word, str) else (word,)))


def _computed(words: tuple[Word, ...], kind: str) -> Value:
    return Value((*words, kind) if kind else words, kind)


def _promoted(kind: str) -> str:
    """What C computes with: nothing smaller than an int."""
    return "int32" if kind in ("int8", "uint8", "int16", "uint16") else kind


def _common(left: str, right: str) -> str:
    return "" if "" in (left, right) else "uint32" if "uint32" in (left, right) else "int32"


def _registers(statements: tuple[Statement, ...]) -> Iterator[tuple[str, str]]:
    """(name, type) of each local of a thread: those that are declared, then those that are only assigned to."""
    assigned = []
    for one in statements:
        match one:
            case Declare(name=name, kind=kind):
                yield name, kind
            case Assign(target=Name(name=name)):
                assigned.append(name)
            case If(then=then, other=other):
                yield from _registers((*then, *other))
            case Loop(body=body, step=step):
                yield from _registers((*body, *step))
    yield from ((name, "") for name in assigned)
