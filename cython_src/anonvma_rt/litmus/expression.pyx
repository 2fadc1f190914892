"""Expressions, read and computed (see expression.pxd). Numbers wrap at 64 bits, and true is 1."""

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

TYPES = {"int8": INT8, "uint8": UINT8, "int16": INT16, "uint16": UINT16, "int32": INT32, "uint32": UINT32}

# Each takes two values off the stack and puts one there.
OPERATORS = {
    "+": PLUS,
    "-": MINUS,
    "*": TIMES,
    "/": DIVIDED,
    "%": MODULO,
    "&": BITS_AND,
    "|": BITS_OR,
    "^": BITS_XOR,
    "<<": SHIFT_LEFT,
    ">>": SHIFT_RIGHT,
    "==": EQUAL,
    "!=": UNEQUAL,
    "<": LESS,
    "<=": LESS_OR_EQUAL,
    ">": GREATER,
    ">=": GREATER_OR_EQUAL,
    "and": AND,
    "or": OR,
}
# Each replaces the value on top of the stack. The types of variables are casts.
OF_ONE = {"!": NOT, "~": INVERT, "neg": NEGATE, **{name: AS_INT8 + type - INT8 for name, type in TYPES.items()}}


def number(what, value):
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise ValueError(f"{what} must be a number of 64 bits, not {value!r}")
    return value


def address(place):
    return address_of(place)


def compile_expression(where, words, operand):
    """Rows for Term: a kind, and a number or the place of a variable or a register, which `operand` says of a name."""
    rows = []
    height = 0
    for word in words:
        if isinstance(word, str) and word in OPERATORS:
            height -= 1
            rows.append((OPERATORS[word], 0))
            if height < 1:
                raise ValueError(f"{where}: {word!r} needs two values before it")
            continue
        if isinstance(word, str) and word in OF_ONE:
            rows.append((OF_ONE[word], 0))
            if height < 1:
                raise ValueError(f"{where}: {word!r} needs a value before it")
            continue
        height += 1
        if height > MAX_STACK:
            raise ValueError(f"{where} has more than {MAX_STACK} values in front of their operators")
        rows.append(operand(word) if isinstance(word, str) else (NUMBER, number(f"{where}: a word", word)))
    if height != 1:
        raise ValueError(f"{where} leaves {height} values and not one")
    return rows


def compile_outcome(where, outcome, names, variables, registers):
    """A forbidden outcome: an expression, or a mapping to numbers, all of which must be right."""

    def operand(word):
        if word.startswith("&") and word[1:] in names:
            return NUMBER, address(names.index(word[1:]))
        if word in variables:
            return VARIABLE, names.index(word)
        if word in registers:
            return REGISTER, registers.index(word)
        raise ValueError(f"{where}: {word!r} is no variable, and no register such as '0:r'")

    words = outcome
    if isinstance(outcome, dict):
        words = []
        for place, value in outcome.items():
            joined = ["and"] if words else []
            value = value if isinstance(value, str) and value[:1] == "&" else number(
                f"{where}: the value of {place}", value
            )
            words += [place, value, "==", *joined]
    words = list(words)
    if not words:
        raise ValueError(f"{where} is empty: it would hold always")
    return compile_expression(where, words, operand)


cdef int64_t wrapped_small(int64_t value, int type) noexcept nogil:
    if type == INT8:
        return <int8_t>value
    if type == UINT8:
        return <uint8_t>value
    if type == INT16:
        return <int16_t>value
    if type == UINT16:
        return <uint16_t>value
    if type == INT32:
        return <int32_t>value
    return <uint32_t>value


cdef inline int64_t of_two(int kind, int64_t a, int64_t b, bint *bad) noexcept nogil:
    """Unsigned where C leaves overflow undefined. bad: no number is right."""
    if kind == PLUS:
        return <int64_t>(<uint64_t>a + <uint64_t>b)
    if kind == MINUS:
        return <int64_t>(<uint64_t>a - <uint64_t>b)
    if kind == EQUAL:
        return a == b
    if kind == UNEQUAL:
        return a != b
    if kind == LESS:
        return a < b
    if kind == LESS_OR_EQUAL:
        return a <= b
    if kind == GREATER:
        return a > b
    if kind == GREATER_OR_EQUAL:
        return a >= b
    if kind == AND:
        return a != 0 and b != 0
    if kind == OR:
        return a != 0 or b != 0
    if kind == TIMES:
        return <int64_t>(<uint64_t>a * <uint64_t>b)
    if kind == BITS_AND:
        return a & b
    if kind == BITS_OR:
        return a | b
    if kind == BITS_XOR:
        return a ^ b
    if kind == SHIFT_LEFT or kind == SHIFT_RIGHT:
        if b < 0 or b > 63:
            bad[0] = True
            return 0
        return <int64_t>(<uint64_t>a << b) if kind == SHIFT_LEFT else a >> b
    if b == 0:
        bad[0] = True
        return 0
    # The one quotient that 64 bits cannot hold wraps.
    if b == -1:
        return <int64_t>(-<uint64_t>a) if kind == DIVIDED else 0
    return a / b if kind == DIVIDED else a % b


cdef int64_t evaluate(Term *terms, int n, void **object, int64_t *registers, bint *bad) noexcept nogil:
    """Compiled so that the stack suffices and one value is left. bad: set where something was divided by zero, or
    shifted by less than 0 or more than 63 bits."""
    cdef int64_t stack[MAX_STACK]
    cdef Term *term
    cdef int top = -1
    cdef int i
    for i in range(n):
        term = &terms[i]
        if term.kind <= REGISTER:
            top += 1
            if term.kind == NUMBER:
                stack[top] = term.value
            elif term.kind == VARIABLE:
                stack[top] = (<int64_t *>object[term.value])[0]
            else:
                stack[top] = registers[term.value]
        elif term.kind < NOT:
            top -= 1
            stack[top] = of_two(term.kind, stack[top], stack[top + 1], bad)
        elif term.kind == NOT:
            stack[top] = stack[top] == 0
        elif term.kind == INVERT:
            stack[top] = ~stack[top]
        elif term.kind == NEGATE:
            stack[top] = <int64_t>(-<uint64_t>stack[top])
        else:
            stack[top] = wrapped(stack[top], term.kind - AS_INT8 + INT8)
    return stack[0]
