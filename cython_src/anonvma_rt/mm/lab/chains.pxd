"""The lists of vmas and anon_vmas when every task has ended (I1 to I3), and how a broken rule is reported."""

from libc.stdint cimport int64_t

from anonvma_rt.engine.run.task cimport Execution
from anonvma_rt.mm.mm_types cimport anon_vma, kernel, mm_struct, vm_area_struct

# Which part of a rule was broken, in Finding.c of list-corruption and unreachable-pte.
cdef enum:
    I1_CHAIN = 1
    I1_ROOT = 2
    I2_ORDER = 3
    I3_SETS = 4
    I4_NOT_LISTED = 5
    I5_INDEX = 6
    I9_DANGLING = 7
    NO_VMA = 8
    NOT_A_PTE = 9
    TREE_ORDER = 10
    LINKED_TWICE = 11

cdef void report(Execution *x, kernel *k, int kind, int64_t a, int64_t b, int64_t c) noexcept nogil
cdef bint listed(vm_area_struct *vma, anon_vma *av) noexcept nogil
cdef void check_chains(Execution *x, kernel *k, mm_struct *mm) noexcept nogil
cdef void check_trees(Execution *x, kernel *k, mm_struct *mm) noexcept nogil
