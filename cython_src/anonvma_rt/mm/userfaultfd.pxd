"""UFFDIO_MOVE: pages change their place, and perhaps their fork tree (mm/userfaultfd.c, Linux 6.8)."""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport mm_struct

cdef int move_uffd_pages(Task *t, mm_struct *mm, uint64_t source, uint64_t to, uint64_t pages) noexcept nogil
