"""Program: a subject of a few threads that lock, load and store; see program.pyx."""

from libc.stdint cimport int32_t, int64_t

from anonvma_rt.engine.run.explorer cimport Explorer
from anonvma_rt.engine.run.subject cimport Subject
from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.litmus.outcome cimport Term
from anonvma_rt.litmus.world cimport world

# A value: a number, or what register `reg` (a place in the row of all registers) holds; -1 for a number.
cdef struct Operand:
    int64_t number
    int32_t reg

cdef struct Instruction:
    int32_t verb
    # Whether it is an interesting one (`!lock`).
    bint marked
    int32_t object
    # The register that takes the result; -1 where there is none.
    int32_t result
    Operand a
    Operand b

cdef class Program(Subject):
    # Compiled once and never written again: one Program serves several explorers at a time.
    cdef Instruction *code
    # Instructions begin[i] to begin[i + 1] are those of thread i; setup follows the last thread.
    cdef int *begin
    cdef Term *terms
    # Terms outcome[i] to outcome[i + 1] are those of forbidden outcome i.
    cdef int *outcome
    cdef int n_outcomes
    cdef int n_objects
    cdef int n_registers
    cdef int32_t *kind
    cdef int32_t *lock_class
    cdef int *before
    cdef int *after
    cdef int n_order
    cdef readonly tuple names
    cdef readonly tuple registers
    cdef int keep_code(self, sections) except -1
    cdef int keep_locks(self, kinds, classes, order) except -1
    cdef int keep_forbidden(self, kinds, outcomes) except -1
    cdef void run(self, Task *t, int section) noexcept nogil
    cdef world *state(self, Explorer explorer) except NULL
