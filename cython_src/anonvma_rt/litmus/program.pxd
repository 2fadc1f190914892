"""Program: a subject of a few threads that lock, load and store; see program.pyx."""

from libc.stdint cimport int32_t, int64_t

from anonvma_rt.engine.run.explorer cimport Explorer
from anonvma_rt.engine.run.subject cimport Subject
from anonvma_rt.litmus.code cimport Code
from anonvma_rt.litmus.expression cimport Term
from anonvma_rt.litmus.world cimport world

cdef class Program(Subject):
    # Compiled once and never written again: one Program serves several explorers at a time.
    cdef Code code
    # Of all forbidden outcomes.
    cdef Term *terms
    # Terms outcome[i] to outcome[i + 1] are those of forbidden outcome i.
    cdef int *outcome
    cdef int n_outcomes
    cdef int32_t *lock_class
    # What a variable holds at the beginning.
    cdef int64_t *initial
    cdef int *before
    cdef int *after
    cdef int n_order
    cdef readonly tuple names
    cdef readonly tuple registers
    cdef int keep_code(self, sections, terms) except -1
    cdef int keep_variables(self, kinds, types, initial) except -1
    cdef int keep_locks(self, kinds, classes, order) except -1
    cdef int keep_forbidden(self, kinds, outcomes) except -1
    cdef world *state(self, Explorer explorer) except NULL
