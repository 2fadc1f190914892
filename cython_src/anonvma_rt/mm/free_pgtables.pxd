"""The end of page tables that no vma covers any more (free_pgtables of mm/memory.c)."""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport mm_struct, page_table

cdef void free_met(Task *t, page_table *table) noexcept nogil
cdef void free_pgtables(Task *t, mm_struct *mm, uint64_t start, uint64_t end, uint64_t floor,
                        uint64_t ceiling, bint met) noexcept nogil
