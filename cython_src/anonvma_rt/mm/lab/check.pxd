"""What must hold when every task has ended (the invariants of the reverse map)."""

from libc.stdint cimport int64_t

from anonvma_rt.engine.run.task cimport Execution
from anonvma_rt.mm.mm_types cimport kernel

cdef void check_world(Execution *x) noexcept nogil
cdef void report(Execution *x, kernel *k, int kind, int64_t a, int64_t b, int64_t c) noexcept nogil
