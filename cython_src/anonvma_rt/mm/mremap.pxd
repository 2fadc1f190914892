"""Moving ptes from one vma to another (mm/mremap.c)."""

from libc.stdint cimport int64_t, uint64_t

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport vm_area_struct

# A move of entries: from old_addr, up to old_end, of one vma to new_addr of another. The addresses are those of the
# next entry; need_rmap_locks: entries move under the root's lock.
cdef struct pagetable_move_control:
    vm_area_struct *old
    vm_area_struct *new
    uint64_t old_addr
    uint64_t old_end
    uint64_t new_addr
    bint need_rmap_locks

cdef uint64_t move_page_tables(Task *t, pagetable_move_control *pmc) noexcept nogil
cdef int64_t move_vma(Task *t, vm_area_struct *vma, uint64_t old_address, uint64_t old_length, uint64_t new_length,
                      uint64_t new_address, bint dontunmap) noexcept nogil
