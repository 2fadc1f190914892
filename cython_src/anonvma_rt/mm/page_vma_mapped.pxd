"""Whether an address of a vma really shows a page (mm/page_vma_mapped.c, in mm/rmap.c and mm/huge_memory.c before it).

A walk over the reverse map computes addresses; what is there decides the entry, under its own lock.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.run.sync cimport spinlock_t
from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport page, page_table, pmd_t, pte_t, vm_area_struct

cdef page_table *walked_table(Task *t, vm_area_struct *vma, uint64_t address) noexcept nogil
cdef pte_t *page_check_address(Task *t, page *p, vm_area_struct *vma, uint64_t address,
                               spinlock_t **ptl) noexcept nogil
cdef pmd_t *page_check_address_pmd(Task *t, page *head, vm_area_struct *vma, uint64_t address,
                                   bint splitting) noexcept nogil
cdef bint huge_page_referenced(Task *t, page *head, vm_area_struct *vma, uint64_t address) noexcept nogil
