"""Dpor: every class of equivalent interleavings once, as a strategy; see dpor.pyx."""

from libc.stdint cimport int32_t, int64_t, uint64_t

from anonvma_rt.engine.search.stack cimport Link, Search
from anonvma_rt.engine.run.strategy cimport Strategy
from anonvma_rt.engine.run.task cimport Execution, Segment

cdef class Dpor(Strategy):
    cdef Search s
    # Of the first `prefix` steps so many are on the stack; the others were loaded and are to be placed again.
    cdef int32_t loaded
    cdef readonly bint exhausted
    cdef bint until_found
    cdef readonly bint ended
    # The schedule of the first violation that was met, and its kind.
    cdef Segment *found
    cdef int32_t n_found
    cdef readonly int64_t found_kind
    # Of the first `hashed` steps, what is known of their classes; it stays while steps behind them are taken back.
    cdef Link *link
    cdef uint64_t link_room
    cdef int32_t hashed
    # The classes of violating executions since they were last asked for.
    cdef uint64_t *ending
    cdef uint64_t n_endings
    cdef uint64_t endings_room
    # And of those that a task ended for all.
    cdef uint64_t *exit
    cdef uint64_t n_exits
    cdef uint64_t exits_room
    cdef void keep_found(self, Execution *x) noexcept nogil
    cdef int keep_ending(self, Execution *x) noexcept nogil
    cdef int hash_steps(self) noexcept nogil
    cdef uint64_t ending_class(self, int by) noexcept nogil
    cdef int reverse_waiting(self, Execution *x) noexcept nogil
    cdef int32_t backtrack(self) noexcept nogil
    cdef int placed_again(self, Execution *x, int32_t at) noexcept nogil
