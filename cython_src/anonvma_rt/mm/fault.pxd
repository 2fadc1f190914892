"""Accesses of a user: from the instruction to handle_mm_fault() and back (arch/x86/mm/fault.c).

mmap_sem is held for reading meanwhile, or the vma's own lock. A CPU that keeps a translation needs neither.
"""

from libc.stdint cimport int64_t

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport mm_struct

cdef enum:
    # With EFAULT in a result: the page is mapped, and must not be written to. user_errno() takes it off again.
    READ_ONLY = 1 << 12
    # Or it must not be accessed at all.
    NO_ACCESS = 1 << 13

cdef int64_t access_range(Task *t, mm_struct *mm, int64_t start, int64_t pages, bint write, int64_t tag) noexcept nogil
cdef int compare(Task *t, mm_struct *mm, int64_t a, int64_t b, int64_t pages) noexcept nogil
