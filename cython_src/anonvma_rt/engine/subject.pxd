"""Subject: what the engine asks of the code under test."""

from anonvma_rt.engine.task cimport Execution, Task

cdef class Subject:
    cdef readonly int tasks
    cdef int build(self, Task *t) noexcept nogil
    cdef void body(self, Task *t) noexcept nogil
    cdef void check(self, Execution *x) noexcept nogil
    cdef void attach(self, Execution *x)
