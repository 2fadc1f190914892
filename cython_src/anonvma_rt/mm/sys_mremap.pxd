"""The system call mremap, as it was in 3.2 and as it is since 6.17."""

from libc.stdint cimport int64_t, uint64_t

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport mm_struct

cdef int64_t do_mremap(Task *t, mm_struct *mm, uint64_t address, uint64_t old_length, uint64_t new_length, int64_t to,
                       bint maymove, bint dontunmap) noexcept nogil
