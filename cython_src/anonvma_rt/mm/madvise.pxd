"""madvise(MADV_DONTNEED): the pages of a range go, and its vmas stay; MADV_FREE: they may go, as long as nobody writes
to them (mm/madvise.c)."""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport mm_struct

cdef int madvise(Task *t, mm_struct *mm, uint64_t start, uint64_t length, bint lazily) noexcept nogil
