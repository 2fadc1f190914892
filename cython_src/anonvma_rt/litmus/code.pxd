"""A program as it is compiled: rows of numbers that are never written again, so that several explorers share them."""

from libc.stdint cimport int32_t, int64_t

from anonvma_rt.litmus.expression cimport Term

# A value: a number, or what register `reg` (a place in the row of all registers) holds; -1 for a number.
cdef struct Operand:
    int64_t number
    int32_t reg

cdef struct Instruction:
    int32_t verb
    # What the verb acts on: WORD, LOCK_WORD, ITEM, DOMAIN; 0: nothing.
    int32_t kind
    # Whether it is an interesting one (`!lock`).
    bint marked
    # The place of the name; -1 where there is none, or register `pointer` has the address.
    int32_t object
    int32_t pointer
    # The register that takes the result; -1 where there is none.
    int32_t result
    # Where a jump leads, counted from the first instruction of the thread; of a `let` its first term, and a.number is
    # how many there are.
    int32_t at
    Operand a
    Operand b

cdef struct Code:
    Instruction *instruction
    # Instructions begin[i] to begin[i + 1] are those of thread i; setup follows the last thread.
    int *begin
    # Of all `let`.
    Term *terms
    # Of each name its kind, and for a variable its type.
    int32_t *kind
    int32_t *type
    int n_objects
    int n_registers
    # Whether there are plain accesses, so that data races are looked for.
    bint plain
