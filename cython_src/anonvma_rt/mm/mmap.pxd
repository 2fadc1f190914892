"""The vmas of an mm: find, copy, unmap, map (mm/mmap.c); vma.pxd has what happens to a single one.

mmap_sem is held for writing by everything here, to its end but for a munmap that downgrades.
"""

from libc.stdint cimport int64_t, uint64_t

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport mm_struct, vm_area_struct

cdef enum:
    TASK_SIZE_SHIFT = 39

cdef vm_area_struct *copy_vma(Task *t, vm_area_struct **vma, uint64_t address, uint64_t length, uint64_t pgoff,
                              bint *need_rmap_locks) noexcept nogil
cdef bint order_destination(Task *t, vm_area_struct *source, vm_area_struct *destination, int arrival) noexcept nogil
cdef void unmap_region(Task *t, vm_area_struct *detached, uint64_t floor, uint64_t ceiling,
                       bint met) noexcept nogil
cdef int do_munmap(Task *t, mm_struct *mm, uint64_t start, uint64_t length, bint downgrade) noexcept nogil
cdef int64_t do_mmap(Task *t, mm_struct *mm, int64_t address, uint64_t length, uint64_t flags) noexcept nogil
cdef int64_t do_brk(Task *t, mm_struct *mm, uint64_t address, uint64_t length, uint64_t flags) noexcept nogil
cdef vm_area_struct *lock_mm_and_find_vma(Task *t, mm_struct *mm, uint64_t address) noexcept nogil
cdef int64_t get_unmapped_area(Task *t, mm_struct *mm, uint64_t length) noexcept nogil
