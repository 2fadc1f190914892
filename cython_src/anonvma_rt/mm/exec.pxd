"""The move of a new program's stack to its place (fs/exec.c)."""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport mm_struct

cdef int setup_arg_pages(Task *t, mm_struct *mm, uint64_t address, uint64_t shift) noexcept nogil
