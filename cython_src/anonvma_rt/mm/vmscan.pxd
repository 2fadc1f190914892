"""Reclaim of a page (mm/vmscan.c, with the half of try_to_unmap_one that leaves swap entries)."""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport page, vm_area_struct

cdef int reclaim_page(Task *t, page *p) noexcept nogil
cdef bint unmap_to_swap(Task *t, page *p, vm_area_struct *vma, uint64_t address) noexcept nogil
