"""How an exhaustive search goes on from a state, and back."""

from libc.stdint cimport int32_t

from anonvma_rt.engine.run.task cimport Execution
from anonvma_rt.engine.search.stack cimport Search

cdef int search_state(Search *s, Execution *x, int32_t at) noexcept nogil
cdef int search_step(Search *s, Execution *x, int32_t at) noexcept nogil
cdef void search_place(Search *s, int32_t at, int task) noexcept nogil
cdef void search_pop(Search *s, int32_t at) noexcept nogil
cdef int search_waiting(Search *s, Execution *x, int task) noexcept nogil
