"""One huge pmd becomes a table of small entries, and the page stays as it is (__split_huge_pmd of 4.5).

Only this mm's page_table_lock is needed, and from 5.8 to 5.18 the page lock.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport mm_struct, page, pmd_t, vm_area_struct

cdef void split_one_huge_pmd(Task *t, vm_area_struct *vma, pmd_t *pmd, uint64_t address, page *wanted,
                             bint freeze) noexcept nogil
cdef void split_huge_zero_page_pmd(Task *t, vm_area_struct *vma, pmd_t *pmd, uint64_t address) noexcept nogil
cdef bint lock_page_of_pmd(Task *t, mm_struct *mm, pmd_t *pmd, pmd_t value, page *head) noexcept nogil
