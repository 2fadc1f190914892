"""Splits of huge pages and pmds (mm/huge_memory.c): up to 4.4 a page is split everywhere, with all its pmds.

That holds the root's lock from its first walk to its last: a splitting pmd is waited
for there. That of 4.5 is in split_huge_page_to_list.
"""

from libc.stdint cimport int64_t, uint64_t

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport anon_vma, mm_struct, page, pmd_t, vm_area_struct

cdef void wait_split_huge_page(Task *t, anon_vma *av) noexcept nogil
cdef bint split_huge_page(Task *t, page *p) noexcept nogil
cdef void split_huge_page_pmd(Task *t, vm_area_struct *vma, pmd_t *pmd, uint64_t address) noexcept nogil
cdef void split_huge_pmd(Task *t, vm_area_struct *vma, pmd_t *pmd, uint64_t address) noexcept nogil
cdef void vma_adjust_trans_huge(Task *t, vm_area_struct *vma, uint64_t start, uint64_t end, vm_area_struct *next,
                                int64_t shift) noexcept nogil
