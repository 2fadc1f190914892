"""What strategies have in common (see base.pxd)."""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.base.operation cimport MAX_TASKS
from anonvma_rt.engine.base.rng cimport rng_below64
from anonvma_rt.engine.run.task cimport Execution


cdef class Changes(Strategy):
    """Draws beforehand at which steps something changes: `n` of as many as the explorer's profile found."""

    def __cinit__(self, *args, **kwargs):
        self.k = 1

    def profiled(self, steps, task_steps=(), task_marks=()):
        self.k = max(1, steps)

    cdef void draw_changes(self, Execution *x) noexcept nogil:
        cdef int i
        for i in range(self.n):
            self.at[i] = 1 + rng_below64(&x.rng, self.k)


cdef int keep_counts(uint64_t *counts, object values) except -1:
    """Keeps a number per task; 0 for the tasks of which nothing was said."""
    for i in range(MAX_TASKS):
        counts[i] = values[i] if i < len(values) else 0
    return 0
