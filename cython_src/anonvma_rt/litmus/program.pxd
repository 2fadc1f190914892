"""Program: a subject of a few threads that lock, load and store; see program.pyx."""

from libc.stdint cimport int32_t, int64_t, uint32_t

from anonvma_rt.engine.run.explorer cimport Explorer
from anonvma_rt.engine.base.klist cimport list_head
from anonvma_rt.engine.run.subject cimport Subject
from anonvma_rt.engine.run.task cimport Task

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

# One word of a forbidden outcome, in reverse Polish notation: `value` is a number, or the place of a variable or of a
# register; an operator has none.
cdef struct Term:
    int32_t kind
    int64_t value

# What `free`, `use` and `unlink` act on: a member of the one list of the program.
cdef struct item:
    list_head link

# The first object of the arena: the head of that list, where everything else is, and all registers in one row.
cdef struct world:
    list_head items
    # Where threads run at once: held while one of them frees, makes or unlinks something, which is one step.
    uint32_t surgery
    void **object
    int64_t *registers

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
    cdef bint holds(self, world *w, int outcome) noexcept nogil
    cdef void run(self, Task *t, int section) noexcept nogil
    cdef world *state(self, Explorer explorer) except NULL
