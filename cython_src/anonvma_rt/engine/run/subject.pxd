"""Subject: what the engine asks of the code under test; and Memory, which says how the stores of its tasks get seen."""

from libc.stdint cimport int64_t

from anonvma_rt.engine.base.arena cimport Arena
from anonvma_rt.engine.run.task cimport Execution, Task

# Who judges what the operations under test returned (engine/calls): asked behind build() and behind check(). `self` is
# NULL where nobody does; whoever it belongs to is kept alive by the subject.
cdef struct JudgeCalls:
    void *self
    int (*built)(void *self, Execution *x) noexcept nogil
    void (*check)(void *self, Execution *x, int task) noexcept nogil

cdef class Subject:
    cdef readonly int tasks
    cdef JudgeCalls judging
    cdef readonly object judge
    # Whether marks() is to be asked at every point, where somebody wants to know of interesting operations.
    cdef bint sees_points
    cdef int place(self, Arena *arena) except -1
    cdef int build(self, Task *t) noexcept nogil
    cdef void body(self, Task *t) noexcept nogil
    cdef void check(self, Execution *x) noexcept nogil
    cdef bint marks(self, Task *t) noexcept nogil
    cdef int stuck(self, Execution *x) noexcept nogil
    cdef void attach(self, Execution *x)

# A memory model other than SC, for one explorer (engine/memory/buffers).
cdef class Memory:
    cdef int attach(self, Execution *x) except -1

cdef dict count_by_name(Subject subject, int64_t *counters)
cdef tuple found_numbers(Execution *x)
