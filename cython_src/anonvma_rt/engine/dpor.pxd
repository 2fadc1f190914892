"""Dpor: every class of equivalent interleavings once, as a strategy.

Two executions are equivalent if they order all pairs of dependent operations alike: operations on one object of which at
least one changes it, and acquisitions of one lock.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

from anonvma_rt.engine.strategy.base cimport Strategy
from anonvma_rt.engine.task cimport MAX_TASKS, Execution

# What a task was about to do in a state.
cdef struct Pending:
    uint32_t object
    int32_t op

# One event of the current execution, and the state before it.
cdef struct Event:
    int32_t task
    int32_t op
    uint32_t object
    # A trylock that failed.
    bint failed
    # The event before it on the same object, -1: none.
    int32_t before
    uint64_t enabled
    uint64_t sleep
    uint64_t explored
    uint64_t backtrack

cdef class Dpor(Strategy):
    cdef readonly bint exhausted
    # A lock is tried and shared, whose orders are not all told apart: nothing is proved.
    cdef readonly bint unsure
    cdef uint8_t *uses
    cdef int tasks
    # Events 0 to n - 1 are those of this execution so far; the first `prefix` are replayed.
    cdef Event *event
    cdef uint32_t *clock
    cdef Pending *pending
    cdef int32_t n
    cdef int32_t prefix
    cdef int32_t room
    # Per task: how many events of each task happen before its next one, as the event's number plus one.
    cdef uint32_t now[MAX_TASKS * MAX_TASKS]
    # Objects by address, numbered as they are met; and the last event on each.
    cdef void **key
    cdef uint32_t *number
    cdef uint32_t keys
    cdef uint32_t key_room
    cdef int32_t *last
    cdef void finished(self, Execution *x) noexcept nogil
    cdef uint32_t object_number(self, void *object) noexcept nogil
    cdef bint grow(self) noexcept nogil
    cdef void races(self, int task, int op, uint32_t object, bint failed, uint64_t enabled) noexcept nogil
    cdef void reverse(self, int32_t earlier, int task, int op, uint32_t object) noexcept nogil
    cdef int32_t rewind(self) noexcept nogil
    cdef int extend(self, Execution *x, int32_t at) noexcept nogil
    cdef void recall(self, int32_t at) noexcept nogil
    cdef uint64_t inherited(self, int32_t at) noexcept nogil
    cdef void place(self, int32_t at, int task, bint failed) noexcept nogil
    cdef void join(self, uint32_t *own, int op, uint32_t object, bint failed) noexcept nogil
    cdef bint lock_race(self, int op, int other, bint failed, bint other_failed) noexcept nogil
    cdef bint held(self, int32_t at, uint32_t object) noexcept nogil
    cdef bint rehash(self) noexcept nogil
    cdef bint follows(self, int32_t earlier, int task, int op, uint32_t object) noexcept nogil
    cdef void use(self, int op, uint32_t object) noexcept nogil
