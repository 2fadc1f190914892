"""Strategy: the one interface through which an execution asks who makes the next step."""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.run.task cimport Execution

cdef class Strategy:
    cdef readonly str name
    # Whether it wants to be asked even where only one task is enabled.
    cdef readonly bint sees_forced
    # Whether it wants to be asked wherever a task announces an interesting operation (mark), whatever its lease.
    cdef readonly bint sees_marks
    # Whether it runs Python, which only a thread's own stack can bear (strategy/python).
    cdef readonly bint needs_gil
    # Whether its lease is good even if the set of enabled tasks changes, unless the running one has to wait.
    cdef readonly bint keeps_lease
    cdef void begin(self, Execution *x) noexcept nogil
    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil
    cdef int pick_many(self, Execution *x, uint64_t *hold) noexcept nogil
    cdef void attach(self, Execution *x)


cdef void call_begin(Strategy strategy, Execution *x) noexcept nogil
cdef int call_pick(Strategy strategy, Execution *x, uint64_t *hold) noexcept nogil
cdef int call_pick_many(Strategy strategy, Execution *x, uint64_t *hold) noexcept nogil
