"""Walks over the page tables of a range, as munmap, mprotect and fork make them (mm/pagewalk.c).

mmap_sem is held, or nobody else uses the mm; each table is looked at under its own lock, which the walk's caller takes.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport mm_walk

cdef int walk_page_range(Task *t, mm_walk *walk, uint64_t address, uint64_t end) noexcept nogil
