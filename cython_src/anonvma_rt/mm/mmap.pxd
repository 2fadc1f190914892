"""The vmas of an mm: find, merge, adjust, split, copy, unmap (mm/mmap.c).

mmap_sem is held for writing by everything here but find_vma. A walker may read vm_start, vm_end and vm_pgoff at any
time under nothing but the root's mutex, which vma_adjust takes in some cases only.
"""

from libc.stdint cimport int64_t, uint64_t

from anonvma_rt.engine.task cimport Task
from anonvma_rt.mm.types cimport mm_struct, vm_area_struct

cdef enum:
    TASK_SIZE_SHIFT = 39

cdef vm_area_struct *find_vma(Task *t, mm_struct *mm, uint64_t address) noexcept nogil
cdef vm_area_struct *copy_vma(Task *t, vm_area_struct **vma, uint64_t address, uint64_t length,
                              uint64_t pgoff) noexcept nogil
cdef void vma_adjust(Task *t, vm_area_struct *vma, uint64_t start, uint64_t end, uint64_t pgoff,
                     vm_area_struct *insert) noexcept nogil
cdef int do_munmap(Task *t, mm_struct *mm, uint64_t start, uint64_t length) noexcept nogil
cdef int64_t do_mmap(Task *t, mm_struct *mm, int64_t address, uint64_t length) noexcept nogil
cdef int64_t get_unmapped_area(mm_struct *mm, uint64_t length) noexcept nogil


cdef inline uint64_t vma_pages(vm_area_struct *vma) noexcept nogil:
    return (vma.vm_end - vma.vm_start) >> 12


cdef inline bint vmas_may_share_anon_vma(vm_area_struct *a, vm_area_struct *b) noexcept nogil:
    """anon_vma_compatible: a touches b from below and their pages have consecutive indexes."""
    return a.vm_end == b.vm_start and b.vm_pgoff == a.vm_pgoff + vma_pages(a)
