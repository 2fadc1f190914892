"""Reclaim of a page (mm/vmscan.c, with the half of try_to_unmap_one that leaves swap entries)."""

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport page

cdef int reclaim_page(Task *t, page *p) noexcept nogil
