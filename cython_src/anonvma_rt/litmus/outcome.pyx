"""Forbidden outcomes, read and looked at (see outcome.pxd)."""

from libc.stdint cimport int64_t, uint64_t

from anonvma_rt.litmus.assemble cimport WORD

from anonvma_rt.litmus.assemble import number

# The operators of forbidden outcomes; each takes two values off the stack and puts one there.
OPERATORS = {
    "+": PLUS,
    "-": MINUS,
    "==": EQUAL,
    "!=": UNEQUAL,
    "<": LESS,
    "<=": LESS_OR_EQUAL,
    "and": AND,
    "or": OR,
}


def compile_outcome(where, outcome, names, kinds, registers):
    """Rows for Term: a kind, and a number or the place of a variable or a register."""
    if isinstance(outcome, dict):
        words = []
        for place, value in outcome.items():
            joined = ["and"] if words else []
            words += [place, number(f"{where}: the value of {place}", value), "==", *joined]
    else:
        words = list(outcome)
    if not words:
        raise ValueError(f"{where} is empty: it would hold always")
    rows = []
    height = 0
    for word in words:
        if isinstance(word, str) and word in OPERATORS:
            height -= 1
            rows.append((OPERATORS[word], 0))
            if height < 1:
                raise ValueError(f"{where}: {word!r} needs two values before it")
            continue
        height += 1
        if height > MAX_STACK:
            raise ValueError(f"{where} has more than {MAX_STACK} values in front of their operators")
        if not isinstance(word, str):
            rows.append((NUMBER, number(f"{where}: a word", word)))
        elif kinds.get(word) == WORD:
            rows.append((VARIABLE, names.index(word)))
        elif word in registers:
            rows.append((REGISTER, registers.index(word)))
        else:
            raise ValueError(f"{where}: {word!r} is no variable, and no register such as '0:r'")
    if height != 1:
        raise ValueError(f"{where} leaves {height} values and not one")
    return rows


cdef bint holds(Term *terms, int n, void **object, int64_t *registers) noexcept nogil:
    """Compiled so that the stack suffices and one value is left. Unsigned where C leaves overflow undefined."""
    cdef int64_t stack[MAX_STACK]
    cdef Term *term
    cdef int64_t a
    cdef int64_t b
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
            continue
        b = stack[top]
        top -= 1
        a = stack[top]
        if term.kind == PLUS:
            stack[top] = <int64_t>(<uint64_t>a + <uint64_t>b)
        elif term.kind == MINUS:
            stack[top] = <int64_t>(<uint64_t>a - <uint64_t>b)
        elif term.kind == EQUAL:
            stack[top] = a == b
        elif term.kind == UNEQUAL:
            stack[top] = a != b
        elif term.kind == LESS:
            stack[top] = a < b
        elif term.kind == LESS_OR_EQUAL:
            stack[top] = a <= b
        elif term.kind == AND:
            stack[top] = a != 0 and b != 0
        else:
            stack[top] = a != 0 or b != 0
    return stack[0] != 0
