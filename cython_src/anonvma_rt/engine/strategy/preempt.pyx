"""Preemption bounding, randomised: tasks run until they block or end, but for few preemptions at random steps.

Source: Musuvathi, Qadeer, "Iterative Context Bounding for Systematic Testing of Multithreaded Programs" (PLDI 2007):
most bugs need two preemptions or fewer. Here the steps of the preemptions are drawn, and so is who runs next, after a
preemption and wherever a task blocks or ends.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.base.tasks cimport TaskSet, copy, drop, has, is_alone, only
from anonvma_rt.engine.run.task cimport Execution
from anonvma_rt.engine.strategy.base cimport MAX_CHANGES, Changes, any_of, next_of


cdef class Preempt(Changes):
    """`preempt`: parameter bound (default 2), 0 to 32; the number of steps comes from the explorer's profile."""

    def __init__(self, bound=2):
        if not 0 <= bound <= MAX_CHANGES:
            raise ValueError(f"strategy preempt: bound must be from 0 to {MAX_CHANGES}, not {bound}")
        self.n = bound

    cdef void begin(self, Execution *x) noexcept nogil:
        self.draw_changes(x)

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        return pick_one(self, x, hold, 1)

    cdef int pick_many(self, Execution *x, uint64_t *hold) noexcept nogil:
        return pick_one(self, x, hold, x.words)

    def clone(self):
        return Preempt(self.n)

    def parameters(self):
        return {"bound": self.n}


cdef inline int pick_one(Preempt self, Execution *x, uint64_t *hold, int words) noexcept nogil:
    cdef TaskSet among
    copy(among, x.enabled, words)
    if x.current >= 0 and has(among, x.current, words):
        if next_of(self.at, self.n, x.steps) == x.steps and not is_alone(among, words):
            drop(among, x.current, words)
        else:
            only(among, x.current, words)
    hold[0] = next_of(self.at, self.n, x.steps + 1) - x.steps
    return any_of(x, among, words)
