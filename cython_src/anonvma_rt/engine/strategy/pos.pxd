"""Pos: priorities of pending operations, also for a strategy that has more to say than they."""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.base.operation cimport MAX_TASKS
from anonvma_rt.engine.run.strategy cimport Strategy
from anonvma_rt.engine.run.task cimport Execution

cdef class Pos(Strategy):
    cdef uint64_t priority[MAX_TASKS]
    # The operation that was made last, of what, and whether it was a try that failed.
    cdef int op
    cdef void *object
    cdef bint failed


cdef void pos_begin(Pos self, Execution *x) noexcept nogil
cdef void pos_draw(Pos self, Execution *x) noexcept nogil
cdef int pos_highest(Pos self, const uint64_t *tasks, int words) noexcept nogil
cdef void pos_made(Pos self, Execution *x, int task) noexcept nogil
