"""The rights to read and to write a range, given and taken (mm/mprotect.c)."""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport mm_struct

cdef int do_mprotect(Task *t, mm_struct *mm, uint64_t start, uint64_t length, uint64_t rights) noexcept nogil
