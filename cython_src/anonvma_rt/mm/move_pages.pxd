"""The system call move_pages: several pages, one by one or as one batch (the other half of mm/migrate.c)."""

from libc.stdint cimport int32_t, uint64_t

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport mm_struct

cdef int move_pages(Task *t, mm_struct *mm, uint64_t address, uint64_t pages, int32_t *status) noexcept nogil
