"""Kinds of operations that can be named as interesting ones, and which of them a task is about to make.

The code of the kernel knows nothing of this: an operation is known by what its point announces, that is by the class
of the lock or by the member of the structure that an address lies in. Nobody asks unless names were given.
"""

from libc.stdint cimport uint32_t

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.lab.objects cimport object_index

# A set of kinds. For what is in memory the bit after a kind's own stands for changes, its own for reads.
cdef enum Kinds:
    WATCH_MIGRATING_PTL = 1 << 0
    WATCH_PTL = 1 << 1
    WATCH_ROOT_LOCK = 1 << 2
    WATCH_MMAP_SEM = 1 << 3
    WATCH_VMA_LOCK = 1 << 4
    WATCH_PAGE_LOCK = 1 << 5
    WATCH_PTE = 1 << 6
    WATCH_PMD = 1 << 8
    WATCH_LIST = 1 << 10
    WATCH_VMA = 1 << 12
    WATCH_ANON_VMA = 1 << 14
    WATCH_REFCOUNT = 1 << 16
    WATCH_MAPCOUNT = 1 << 18

cdef uint32_t read_kinds(object names) except? 0
cdef bint is_interesting(Task *t, uint32_t kinds, object_index *index) noexcept nogil
