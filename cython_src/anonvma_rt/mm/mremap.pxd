"""Moving ptes from one vma to another (mm/mremap.c)."""

from libc.stdint cimport int64_t, uint64_t

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport vm_area_struct

cdef uint64_t move_page_tables(Task *t, vm_area_struct *vma, uint64_t old_address, vm_area_struct *new_vma,
                               uint64_t new_address, uint64_t length, bint rmap_locks) noexcept nogil
cdef int64_t move_vma(Task *t, vm_area_struct *vma, uint64_t old_address, uint64_t old_length, uint64_t new_length,
                      uint64_t new_address, bint dontunmap) noexcept nogil
