"""Copies of an address space, and its end (dup_mmap of kernel/fork.c, copy_page_range of mm/memory.c, exit_mmap)."""

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport kernel, mm_struct

cdef mm_struct *mm_alloc(Task *t, kernel *k) noexcept nogil
cdef int dup_mmap(Task *t, mm_struct *mm, mm_struct *parent) noexcept nogil
cdef void exit_mmap(Task *t, mm_struct *mm) noexcept nogil
