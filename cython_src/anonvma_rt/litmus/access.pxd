"""What the steps of a program do to variables: words with types and addresses, read and written by the engine.

Operations that read and write a variable in one step are one function here, because what they write depends on the type
of the variable.
"""

from libc.stdint cimport int64_t

from anonvma_rt.engine.base.operation cimport OP_ATOMIC
from anonvma_rt.engine.base.os cimport rt_exchange_in_order, rt_load_in_order
from anonvma_rt.engine.run.task cimport VIOLATION_SUBJECT, Task, point, recheck
from anonvma_rt.litmus.assemble cimport (
    ADD, ADD_UNLESS, CAS, COMPARE_EXCHANGE, EXCHANGE, FETCH_ADD, FETCH_AND, FETCH_OR, FETCH_XOR,
)
from anonvma_rt.litmus.code cimport Code, Instruction
from anonvma_rt.litmus.expression cimport ADDRESS_STEP, address_of, wrapped
from anonvma_rt.litmus.world cimport world

# What a program does wrong, beside a forbidden outcome.
cdef enum:
    VIOLATION_DATA_RACE = VIOLATION_SUBJECT + 1
    VIOLATION_BAD_POINTER
    VIOLATION_BAD_VALUE
    VIOLATION_LOOP_BOUND

cdef int place_of(Task *t, Code *code, int64_t address) noexcept nogil
cdef void stand_at(Task *t, world *w, Code *code, Instruction *s) noexcept nogil
cdef void must_not_race(Task *t, world *w, Code *code, Instruction *s, int64_t *word) noexcept nogil


cdef inline int64_t changed(int verb, int64_t before, int64_t a, int64_t b) noexcept nogil:
    """What the variable holds behind it."""
    if verb == ADD or verb == FETCH_ADD:
        return <int64_t>(<unsigned long long>before + <unsigned long long>a)
    if verb == CAS or verb == COMPARE_EXCHANGE:
        return b if before == a else before
    if verb == EXCHANGE:
        return a
    if verb == FETCH_AND:
        return before & a
    if verb == FETCH_OR:
        return before | a
    if verb == FETCH_XOR:
        return before ^ a
    return <int64_t>(<unsigned long long>before + <unsigned long long>a) if before != b else before


cdef inline bint leaves(int verb, int64_t before, int64_t a, int64_t b) noexcept nogil:
    """Whether it only looks, as things are."""
    if verb == CAS or verb == COMPARE_EXCHANGE:
        return before != a
    return verb == ADD_UNLESS and before == b


cdef inline int64_t update(Task *t, int64_t *word, int type, Instruction *s, int64_t a, int64_t b) noexcept nogil:
    """Reads and writes in one step; returns the value before."""
    cdef int64_t before
    point(t, OP_ATOMIC, word)
    before = rt_load_in_order(word)
    t.missed = leaves(s.verb, before, a, b)
    if t.x.parallel:
        while not t.missed and not rt_exchange_in_order(word, before, wrapped(changed(s.verb, before, a, b), type)):
            before = rt_load_in_order(word)
            t.missed = leaves(s.verb, before, a, b)
        return before
    if not t.missed:
        word[0] = wrapped(changed(s.verb, before, a, b), type)
        if t.x.awaiting:
            recheck(t.x, word)
    return before
