"""From an address to its page (mm/gup.c)."""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport mm_struct, page, pte_t

cdef page *follow_page(Task *t, mm_struct *mm, uint64_t address, bint isolate, pte_t *seen) noexcept nogil
