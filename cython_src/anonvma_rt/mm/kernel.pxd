"""Kernel: the simulated kernel as a subject of the engine."""

from libc.stdint cimport int32_t, int64_t

from anonvma_rt.engine.subject cimport Subject
from anonvma_rt.engine.task cimport Execution, Task
from anonvma_rt.mm.types cimport algorithm

cdef enum:
    MAX_ARGS = 6

cdef struct Step:
    int32_t verb
    int32_t mm
    int32_t expected
    int64_t args[MAX_ARGS]

cdef class Kernel(Subject):
    cdef algorithm algorithm
    cdef readonly int processes
    cdef Step *steps
    # Steps begin[i] to begin[i + 1] are those of: setup, each thread, after.
    cdef int *begin
    cdef int refused_errno
    cdef void (*after)(Task *t, void *subject) noexcept nogil
    cdef int run(self, Task *t, int i) noexcept nogil
    cdef bint run_steps(self, Task *t, int section) noexcept nogil
