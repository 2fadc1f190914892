"""Page frames: mem_map, allocation, reference counts, and who is off the LRU (mm/page_alloc.c, mm/swap.c, mm/vmscan.c).

A frame is never used twice within an execution, so a number means one page for ever. References are atomic counters.
Where tasks run at once each takes frames a chunk at a time, so that an allocation touches nothing shared.
"""

from libc.stdint cimport int32_t

from anonvma_rt.engine.base.operation cimport OP_ATOMIC
from anonvma_rt.engine.run.sync cimport add_return
from anonvma_rt.engine.run.task cimport Task, point
from anonvma_rt.mm.mm_types cimport compound_head, page

cdef void have_frames(Task *t) noexcept nogil
cdef page *alloc_page(Task *t) noexcept nogil
cdef page *alloc_folio(Task *t, int order) noexcept nogil
cdef page *alloc_hugepage(Task *t) noexcept nogil
cdef bint get_page_unless_zero(Task *t, page *p) noexcept nogil
cdef page *alloc_isolated_page(Task *t) noexcept nogil
cdef page *alloc_isolated_folio(Task *t, int order) noexcept nogil
cdef int isolate_lru_page(Task *t, page *p) noexcept nogil
cdef void putback_lru_page(Task *t, page *p) noexcept nogil
cdef void drop(Task *t, page *p, int32_t what) noexcept nogil
cdef void put_page(Task *t, page *p) noexcept nogil


cdef inline void get_page(Task *t, page *p) noexcept nogil:
    p = compound_head(t, p)
    point(t, OP_ATOMIC, &p.count)
    add_return(t, &p.count, 1)
