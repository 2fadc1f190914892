"""What a search knows of stores that are seen late, in a model with buffers (engine/memory/buffers).

It belongs to the search, like the rest of its stack.
"""

from libc.stdint cimport int32_t, uint32_t, uint64_t

from anonvma_rt.engine.run.task cimport Execution
from anonvma_rt.engine.search.stack cimport Link, Pending, Search

cdef void note_origins(Search *s, Execution *x, int32_t at) noexcept nogil
cdef void join_buffers(Search *s, int32_t at, int task, Pending p, uint32_t *clock) noexcept nogil
cdef int32_t saw_store(Search *s, int32_t flush, int32_t before) noexcept nogil
cdef uint64_t late_chain(Search *s, Link *link, int32_t at) noexcept nogil


cdef inline bint is_flush(Search *s, int32_t at) noexcept nogil:
    return s.step[at].task >= s.bodies


cdef inline int owner_at(Search *s, int32_t flush) noexcept nogil:
    """The body whose store step `flush` makes visible."""
    return (s.step[flush].task - s.bodies) // s.each
