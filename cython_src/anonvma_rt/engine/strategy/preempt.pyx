"""Preemption bounding, randomised: tasks run until they block or end, but for few preemptions at random steps.

Source: Musuvathi, Qadeer, "Iterative Context Bounding for Systematic Testing of Multithreaded Programs" (PLDI 2007):
most bugs need two preemptions or fewer. Here the steps of the preemptions are drawn, and so is who runs next, after a
preemption and wherever a task blocks or ends.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.base.os cimport rt_count
from anonvma_rt.engine.base.rng cimport rng_below, rng_below64
from anonvma_rt.engine.strategy.base cimport Strategy, next_of, nth_enabled
from anonvma_rt.engine.run.task cimport Execution

cdef enum:
    MAX_PREEMPTIONS = 32


cdef class Preempt(Strategy):
    """`preempt`: parameter bound (default 2), 0 to 32; the number of steps comes from the explorer's profile."""

    cdef int bound
    cdef uint64_t k
    cdef uint64_t at[MAX_PREEMPTIONS]

    def __init__(self, bound=2):
        if not 0 <= bound <= MAX_PREEMPTIONS:
            raise ValueError(f"strategy preempt: bound must be from 0 to {MAX_PREEMPTIONS}, not {bound}")
        self.bound = bound
        self.k = 1

    def profiled(self, steps, task_steps=(), task_marks=()):
        self.k = max(1, steps)

    cdef void begin(self, Execution *x) noexcept nogil:
        cdef int i
        for i in range(self.bound):
            self.at[i] = 1 + rng_below64(&x.rng, self.k)

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        cdef uint64_t among = x.enabled
        cdef uint64_t running = <uint64_t>1 << x.current if x.current >= 0 else 0
        if among & running:
            among = running
            if next_of(self.at, self.bound, x.steps) == x.steps and x.enabled != running:
                among = x.enabled & ~running
        hold[0] = next_of(self.at, self.bound, x.steps + 1) - x.steps
        return nth_enabled(among, rng_below(&x.rng, rt_count(among)))

    def clone(self):
        return Preempt(self.bound)

    def parameters(self):
        return {"bound": self.bound}
