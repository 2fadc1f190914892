"""Expressions in reverse Polish notation: forbidden outcomes over variables and registers, and what `let` computes."""

from libc.stdint cimport int32_t, int64_t

cdef enum:
    # Values that it may have to remember at a time.
    MAX_STACK = 64
    # Between the addresses of two variables.
    ADDRESS_STEP = 64

# What a term does with the stack: the first three put a value on it, those before NOT take two and put one there, and
# the others replace the one on top.
cdef enum TermKind:
    NUMBER
    VARIABLE
    REGISTER
    PLUS
    MINUS
    TIMES
    DIVIDED
    MODULO
    BITS_AND
    BITS_OR
    BITS_XOR
    SHIFT_LEFT
    SHIFT_RIGHT
    EQUAL
    UNEQUAL
    LESS
    LESS_OR_EQUAL
    GREATER
    GREATER_OR_EQUAL
    AND
    OR
    NOT
    INVERT
    NEGATE
    # In the order of the types of variables.
    AS_INT8
    AS_UINT8
    AS_INT16
    AS_UINT16
    AS_INT32
    AS_UINT32

# Of a variable that is smaller than 64 bits; 0: it is not.
cdef enum Type:
    INT64
    INT8
    UINT8
    INT16
    UINT16
    INT32
    UINT32

# One word of an expression: `value` is a number, or the place of a variable or of a register; an operator has none.
cdef struct Term:
    int32_t kind
    int64_t value


cdef inline int64_t address_of(int64_t place) noexcept nogil:
    """The same in every execution."""
    return (<int64_t>1 << 32) + ADDRESS_STEP * place


cdef int64_t evaluate(Term *terms, int n, void **object, int64_t *registers, bint *bad) noexcept nogil


cdef inline int64_t wrapped(int64_t value, int type) noexcept nogil:
    """What a variable of a type holds once `value` was stored to it."""
    if type == INT64:
        return value
    if type == INT32:
        return <int32_t>value
    return wrapped_small(value, type)


cdef int64_t wrapped_small(int64_t value, int type) noexcept nogil
