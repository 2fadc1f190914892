"""Who uses a page, as reclaim asks (page_referenced of mm/rmap.c): without the page lock, and a miss does no harm."""

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport page

cdef int page_referenced(Task *t, page *p) noexcept nogil
