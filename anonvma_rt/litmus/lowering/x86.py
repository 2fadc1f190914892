"""A thread of a litmus file in assembly, x86 (Intel's order of operands) or x86_64 (AT&T's), as steps of a Program.

Each access of memory is one step, and an instruction with the lock prefix is one step that drains the store buffer; one
that reads and writes memory without it is two. What flags say is kept as the two numbers that were compared.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from anonvma_rt.litmus.herd.lexer import value_of
from anonvma_rt.litmus.herd.tree import Assembly, Thread
from anonvma_rt.litmus.lowering.emitter import Emitter, Value, Word

__all__ = ["X86Thread", "register_of"]

_LEGACY = {"a": "ax", "b": "bx", "c": "cx", "d": "dx", "si": "si", "di": "di", "bp": "bp", "sp": "sp"}
_REGISTER: dict[str, tuple[str, int]] = {
    **{f"r{name}": (f"r{name}", 64) for name in _LEGACY.values()},
    **{f"e{name}": (f"r{name}", 32) for name in _LEGACY.values()},
    **{name: (f"r{name}", 16) for name in _LEGACY.values()},
    **{f"{letter}l": (f"r{letter}x", 8) for letter in "abcd"},
    **{
        f"r{n}{end}": (f"r{n}", width)
        for n in range(8, 16)
        for end, width in (("", 64), ("d", 32), ("w", 16), ("b", 8))
    },
}
_WIDTHS = {"b": 8, "w": 16, "l": 32, "q": 64}
_TWO = {"add": "+", "sub": "-", "and": "&", "or": "|", "xor": "^"}
_ONE: dict[str, tuple[Word, ...]] = {"inc": (1, "+"), "dec": (1, "-"), "neg": ("neg",), "not": ("~",)}
_JUMPS: dict[str, str] = {
    "je": "==", "jz": "==", "jne": "!=", "jnz": "!=", "jl": "<", "jle": "<=", "jg": ">", "jge": ">=",
}  # fmt: skip
_FETCH = {"+": "fetch_add", "-": "fetch_add", "&": "fetch_and", "|": "fetch_or", "^": "fetch_xor"}
_FENCES = {"mfence": "mb", "sfence": "wmb", "lfence": "rmb"}
_NOTHING = re.compile(r"nop[lwq]?|endbr(?:64|32)|pause")
# The two numbers that an instruction compared last, and a register for addresses.
_LEFT, _RIGHT = ".left", ".right"


def register_of(name: str) -> tuple[str, int] | None:
    """The whole register, and the width of the part that is named.

    >>> register_of("EAX"), register_of("x")
    (('rax', 32), None)
    """
    return _REGISTER.get(name.lower().lstrip("%"))


class Operand(NamedTuple):
    """One of: a register (its whole, and a width), a number or an address, memory by the place that a step names."""

    register: str = ""
    width: int = 0
    value: Word | None = None
    place: str = ""


class X86Thread(Emitter):
    """kinds: the types of shared variables, as far as they are declared; accessed: those that this thread finds."""

    def __init__(self, source: str, name: str, thread: Thread, arch: str, kinds: Mapping[str, str]) -> None:
        super().__init__(source, name)
        self.att = arch == "X86_64"
        self.declared = kinds
        self.accessed: dict[str, tuple[int, int]] = {}
        self.registers: dict[str, str] = {}
        lines = [one for one in thread.body if isinstance(one, Assembly)]
        self.names = {one.word: f"L{at}" for at, one in enumerate(lines) if one.is_label}
        for one in lines:
            self.begin_statement()
            self.instruction(one)
        if self.labels:
            self.emit("label", "Lend")

    # ---- operands ----------------------------------------------------------------------------------------------------

    def operands(self, one: Assembly, n: int) -> list[Operand]:
        """In Intel's order: what is written comes first."""
        if len(one.operands) != n:
            self.fail(one.line, f"{one.word} takes {n} operands, not {len(one.operands)}")
        texts = one.operands[::-1] if self.att else one.operands
        return [self.parsed(text, one.line) for text in texts]

    def parsed(self, text: str, line: int) -> Operand:
        if found := register_of(text):
            return Operand(*found)
        if re.fullmatch(r"\$?-?(0[xX][0-9a-fA-F]+|\d+)", text):
            digits = text.lstrip("$")
            return Operand(value=-value_of(digits[1:]) if digits[0] == "-" else value_of(digits))
        if re.fullmatch(r"\$[A-Za-z_]\w*", text):
            return Operand(value=f"&{text[1:]}")
        inner = re.fullmatch(r"\[\s*([^\[\]]+?)\s*\]|(?:0|\*)?\(\s*([^()]+?)\s*\)|([A-Za-z_]\w*)(?:\(%rip\))?", text)
        name = next((part for part in inner.groups() if part), "") if inner else ""
        if pointer := register_of(name):
            return Operand(place=f"*{pointer[0]}")
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            self.fail(line, f"the operand {text} is not understood")
        return Operand(place=name)

    def widths(self, one: Assembly, base: str, operands: list[Operand]) -> int:
        """How wide the instruction is: by its suffix, by a register of its operands, by the variable, or 32 bits."""
        suffix = one.word.split()[-1][len(base) :]
        named = {operand.width for operand in operands if operand.width}
        declared = {_width_of(self.declared[o.place]) for o in operands if o.place in self.declared}
        width = _WIDTHS.get(suffix) or min(named or declared or {32})
        for operand in operands:
            if operand.place and not operand.place.startswith("*"):
                known, _ = self.accessed.setdefault(operand.place, (width, one.line))
                wide = _width_of(self.declared[operand.place]) if operand.place in self.declared else known
                if width != wide:
                    self.fail(one.line, f"an access of {width} bits to {operand.place}, which has {wide}")
        return width

    def read(self, operand: Operand, width: int) -> Value:
        if operand.place:
            temporary = self.temporary()
            self.emit("load", operand.place, temporary)
            return Value((temporary,), _kind(width))
        if operand.value is not None:
            return Value((operand.value,))
        return Value((operand.register,)).wrapped(_kind(width))

    def write(self, operand: Operand, value: Value, width: int, line: int) -> None:
        if operand.place:
            self.emit("store", operand.place, self.operand(value))
        elif operand.register:
            self.registers[operand.register] = ""
            self.set(operand.register, value.wrapped(_kind(width)))
        else:
            self.fail(line, "a number is no place to write to")

    # ---- instructions ------------------------------------------------------------------------------------------------

    def instruction(self, one: Assembly) -> None:
        if one.is_label:
            self.emit("label", self.names[one.word])
            return
        locked, word = one.word.startswith("lock "), one.word.split()[-1]
        base = word if word in _KNOWN else word[:-1] if word[-1:] in _WIDTHS and word[:-1] in _KNOWN else ""
        if locked and base not in (*_TWO, *_ONE, "xchg", "xadd", "cmpxchg"):
            self.fail(one.line, f"{word} takes no lock prefix")
        if _NOTHING.fullmatch(word):
            return
        if word in _FENCES:
            self.emit(_FENCES[word])
        elif word in _JUMPS or word == "jmp":
            self.jump(one, word)
        elif word in ("ret", "retq"):
            self.labels += 1
            self.emit("jump", "Lend")
        elif base in _ONE:
            (target,) = self.operands(one, 1)
            self.update(one, target, _ONE[base], self.widths(one, base, [target]), locked)
            if base == "not":
                return
        elif base:
            getattr(self, f"_{_KNOWN[base]}")(one, base, locked)
        else:
            self.fail(one.line, f"the instruction {one.word} is not understood")

    def jump(self, one: Assembly, word: str) -> None:
        target = one.operands[0] if one.operands else ""
        target = target.lower().lstrip(".") if target not in self.names else target
        if target not in self.names:
            self.fail(one.line, f"{word} to {target or 'nowhere'}, which is no label of the thread")
        if word == "jmp":
            self.emit("jump", self.names[target])
        else:
            self.emit("jump_if", self.register(Value((_LEFT, _RIGHT, _JUMPS[word]))), self.names[target])

    def flags(self, left: Value, right: Value) -> None:
        self.let(_LEFT, left)
        self.let(_RIGHT, right)

    def _mov(self, one: Assembly, base: str, _: bool) -> None:
        target, source = self.operands(one, 2)
        if target.place and source.place:
            self.fail(one.line, "an instruction has one operand in memory")
        width = self.widths(one, base, [target, source])
        self.write(target, self.read(source, width), width, one.line)

    def _compare(self, one: Assembly, base: str, _: bool) -> None:
        left, right = self.operands(one, 2)
        width = self.widths(one, base, [left, right])
        first, second = self.read(left, width), self.read(right, width)
        if base == "test":
            first, second = Value((*first.words, *second.words, "&")), Value((0,))
        self.flags(first, second)

    def _two(self, one: Assembly, base: str, locked: bool) -> None:
        target, source = self.operands(one, 2)
        width = self.widths(one, base, [target, source])
        value = self.read(source, width)
        self.update(one, target, (*value.words, _TWO[base]), width, locked)

    def update(self, one: Assembly, target: Operand, words: tuple[Word, ...], width: int, locked: bool) -> None:
        """target = target, words; what comes out is what the next jump goes by."""
        if locked:
            if not target.place:
                self.fail(one.line, "the lock prefix is for what is in memory")
            if words[-1] not in _FETCH:
                self.fail(one.line, f"{one.word} is not understood")
            old, sign = self.temporary(), words[-1]
            operand = (*words[:-1], "neg") if sign == "-" else words[:-1]
            self.emit(_FETCH[str(sign)], target.place, self.operand(Value(operand)), old)
            self.flags(Value((old, *words)).wrapped(_kind(width)), Value((0,)))
            return
        before = self.read(target, width)
        after = self.temporary()
        self.let(after, Value((*before.words, *words)).wrapped(_kind(width)))
        self.write(target, Value((after,), _kind(width)), width, one.line)
        self.flags(Value((after,)), Value((0,)))

    def _exchange(self, one: Assembly, base: str, locked: bool) -> None:
        target, source = self.operands(one, 2)
        if source.place:
            target, source = source, target
        width = self.widths(one, base, [target, source])
        if not source.register:
            self.fail(one.line, f"{base} needs a register")
        value, old = self.read(source, width), self.temporary()
        if target.place and (base == "xchg" or locked):
            self.emit("exchange" if base == "xchg" else "fetch_add", target.place, self.operand(value), old)
        else:
            value = Value((self.register(value),))
            self.let(old, self.read(target, width))
            after = value if base == "xchg" else Value((old, *value.words, "+"))
            self.write(target, after.wrapped(_kind(width)), width, one.line)
        self.write(source, Value((old,), _kind(width)), width, one.line)

    def _cmpxchg(self, one: Assembly, base: str, locked: bool) -> None:
        target, source = self.operands(one, 2)
        if not (target.place and locked):
            self.fail(one.line, f"{base} without the lock prefix, or not in memory, is not understood")
        width = self.widths(one, base, [target, source])
        known, found = Operand("rax", width), self.temporary()
        old = self.operand(self.read(known, width))
        self.emit("compare_exchange", target.place, old, self.operand(self.read(source, width)), found)
        self.flags(Value((found,)), Value((old,)))
        self.write(known, Value((found,), _kind(width)), width, one.line)

    def _shift(self, one: Assembly, base: str, locked: bool) -> None:
        target, by = self.operands(one, 2)
        width = self.widths(one, base, [target])
        words = (*self.read(by, 8).words, "<<" if base in ("shl", "sal") else ">>")
        self.update(one, target, words, width, locked)


_KNOWN: dict[str, str] = {
    "mov": "mov", "cmp": "compare", "test": "compare", "xchg": "exchange", "xadd": "exchange", "cmpxchg": "cmpxchg",
    "shl": "shift", "sal": "shift", **dict.fromkeys(_TWO, "two"), **dict.fromkeys(_ONE, "one"),
}  # fmt: skip


def _kind(width: int) -> str:
    return "" if width == 64 else f"int{width}"


def _width_of(kind: str) -> int:
    return int("".join(letter for letter in kind if letter.isdigit()) or 64)


def kinds_of(threads: list[X86Thread]) -> Iterator[tuple[str, str]]:
    """(variable, type) by how wide the accesses are. Raises ScenarioError where two threads do not agree."""
    found: dict[str, int] = {}
    for thread in threads:
        for place, (width, line) in thread.accessed.items():
            if found.setdefault(place, width) != width:
                thread.fail(line, f"an access of {width} bits to {place}, which has {found[place]}")
            yield place, thread.declared.get(place, _kind(width))
