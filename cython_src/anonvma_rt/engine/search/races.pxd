"""What the relation of operations (order/relation.pxd) says of the steps on the stack of a search.

Which step happens before which, which two are in a race, whom a race asks to be explored, and who sleeps.
"""

from libc.stdint cimport int32_t, uint32_t, uint64_t

from anonvma_rt.engine.search.stack cimport Pending, Search

cdef void sleep_set(Search *s, int32_t at) noexcept nogil
cdef void join_object(Search *s, int32_t at) noexcept nogil
cdef void reverse_races(Search *s, int task, Pending p, uint32_t *clock) noexcept nogil
cdef void reverse_with_all(Search *s, int32_t at) noexcept nogil
cdef void explore_too(Search *s, int32_t at, const uint64_t *tasks) noexcept nogil
