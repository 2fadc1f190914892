"""The carrier `parallel`: every task on an OS thread of its own, all at the same time.

Threads meet at a barrier at which they spin, run their bodies, and the last one to end checks the execution, restores
the snapshot and lets everybody go again. Each works on a private Execution (a Runner's), so the one text of point(), of
violations and of the subject serves all carriers, and nothing is shared on the way but what the subject shares.
"""

from libc.stdint cimport uint32_t, uint64_t

from anonvma_rt.engine.parallel.runner cimport Storm
from anonvma_rt.engine.run.task cimport Execution

cdef int storm_open(Storm *s, Execution *x, object cpus, uint32_t *bell) except -1
cdef int storm_begin(Storm *s, uint64_t first, uint64_t count, int most_kept) except -1
cdef void storm_go(Storm *s, uint64_t nanoseconds) noexcept nogil
cdef bint storm_idle(Storm *s) noexcept nogil
cdef void storm_ask(Storm *s) noexcept nogil
cdef void storm_close(Storm *s) noexcept nogil
