"""Races of a compiled program: two accesses to the same bytes, one of them a write, that no synchronisation orders.

A vector clock per task advances by what programs synchronise with, and by nothing else: locks, the begin and the end of
threads, condition variables, semaphores, barriers, atomics. For every 8 bytes of globals, heap and stacks there is a
list of accesses, and a new one is compared with all of them. An access that was announced (an atomic, a volatile, one
at a place that is a point) races with no other that was announced on the same object: the relation of operations orders
the two. Source: FastTrack (Flanagan and Freund, PLDI 2009); here an access is forgotten only when another one stands
for it, so that both places are known.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from anonvma_rt.engine.base.operation cimport MAX_TASKS
from anonvma_rt.engine.base.table cimport Table

cdef enum:
    # Of a stack, below where the body of its task began: what is looked at.
    STACK_LOOKED_AT = 1 << 20
    # What an access was announced on, beside 1 to 8 (a byte of the same word): what began before the word, and the one
    # object of all points.
    BEGAN_BEFORE = 9
    ONE_OBJECT = 15

# place: how far before the globals the call returns to; 0: not known. object: 0 where it was not announced.
cdef struct Access:
    uint32_t place
    uint32_t step
    uint32_t epoch
    uint32_t next
    uint8_t task
    uint8_t bytes
    uint8_t object
    bint writes

# Of every word of 8 bytes, by number: the first access of its list (0: none), and which words have a list.
cdef struct Words:
    uint32_t *first
    uint64_t room
    uint64_t *touched
    uint64_t touched_room
    uint64_t n_touched

# What there is to say of a race: what came before, which byte (of the globals and the heap; or below the body of task
# `stack` - 1), and whether more than one word was touched.
cdef struct Race:
    Access before
    int64_t byte
    int stack
    bint wide

cdef struct Races:
    int tasks
    char *base
    # Of each task: its clock, a row of `tasks` numbers, and where its body began on the stack (0: not yet).
    uint32_t clock[MAX_TASKS * MAX_TASKS]
    uint64_t top[MAX_TASKS]
    # The objects by address, and two rows of each: what was given back by all, and by those who shared.
    Table objects
    uint32_t *rows
    uint64_t rows_room
    Words memory
    Words stacks
    Access *access
    uint64_t access_room
    uint32_t n_access

cdef int races_open(Races *r, char *base) except -1
cdef void races_close(Races *r) noexcept nogil
cdef void races_begin(Races *r, int tasks) noexcept nogil
cdef int races_join(Races *r, int task, void *object, bint all) noexcept nogil
cdef int races_give(Races *r, int task, void *object, bint shared, bint replaces) noexcept nogil
cdef int races_touch(Races *r, void *p, uint64_t size, uint64_t used, Access *now, void *object,
                     Race *race) noexcept nogil
cdef bint races_freed(Races *r, void *p, uint64_t size, const Access *now, Race *race) noexcept nogil
