"""A forbidden outcome: a condition over variables and registers, in reverse Polish notation."""

from libc.stdint cimport int32_t, int64_t

cdef enum:
    # Values that it may have to remember at a time.
    MAX_STACK = 64

# What a term of a forbidden outcome does with the stack.
cdef enum TermKind:
    NUMBER
    VARIABLE
    REGISTER
    PLUS
    MINUS
    EQUAL
    UNEQUAL
    LESS
    LESS_OR_EQUAL
    AND
    OR

# One word of a forbidden outcome, in reverse Polish notation: `value` is a number, or the place of a variable or of a
# register; an operator has none.
cdef struct Term:
    int32_t kind
    int64_t value

cdef bint holds(Term *terms, int n, void **object, int64_t *registers) noexcept nogil
