"""Preemption bounding, randomised: tasks run until they block or end, but for few preemptions at random steps.

Source: Musuvathi, Qadeer, "Iterative Context Bounding for Systematic Testing of Multithreaded Programs" (PLDI 2007):
most bugs need two preemptions or fewer. Here the steps of the preemptions are drawn, and so is who runs next, after a
preemption and wherever a task blocks or ends.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.base.os cimport rt_count
from anonvma_rt.engine.base.rng cimport rng_below
from anonvma_rt.engine.run.task cimport Execution
from anonvma_rt.engine.strategy.base cimport MAX_CHANGES, Changes, next_of, nth_enabled


cdef class Preempt(Changes):
    """`preempt`: parameter bound (default 2), 0 to 32; the number of steps comes from the explorer's profile."""

    def __init__(self, bound=2):
        if not 0 <= bound <= MAX_CHANGES:
            raise ValueError(f"strategy preempt: bound must be from 0 to {MAX_CHANGES}, not {bound}")
        self.n = bound

    cdef void begin(self, Execution *x) noexcept nogil:
        self.draw_changes(x)

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        cdef uint64_t among = x.enabled
        cdef uint64_t running = <uint64_t>1 << x.current if x.current >= 0 else 0
        if among & running:
            among = running
            if next_of(self.at, self.n, x.steps) == x.steps and x.enabled != running:
                among = x.enabled & ~running
        hold[0] = next_of(self.at, self.n, x.steps + 1) - x.steps
        return nth_enabled(among, rng_below(&x.rng, rt_count(among)))

    def clone(self):
        return Preempt(self.n)

    def parameters(self):
        return {"bound": self.n}
