"""Strategy: the one interface through which an execution asks who makes the next step."""

from libc.stdint cimport uint32_t, uint64_t

from anonvma_rt.engine.os cimport rt_lowest
from anonvma_rt.engine.task cimport Execution

cdef class Strategy:
    cdef readonly str name
    # Whether it wants to be asked even where only one task is enabled.
    cdef readonly bint sees_forced
    cdef void begin(self, Execution *x) noexcept nogil
    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil
    cdef void attach(self, Execution *x)


cdef inline int nth_enabled(uint64_t enabled, uint32_t n) noexcept nogil:
    """The n-th enabled task, counted from 0 in the order of ids."""
    while n:
        enabled &= enabled - 1
        n -= 1
    return rt_lowest(enabled)
