"""Starvation: one task at a time gets no step at all, for windows whose lengths are uniform on a log scale.

Source: the chaos mode of rr (O'Callahan, "Introducing rr Chaos Mode", 2016): how long a task has to be kept away for a
bug to show is not known, so every order of magnitude is tried equally often.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.base.rng cimport rng_below, rng_below64
from anonvma_rt.engine.base.tasks cimport TaskSet, copy, drop, has, is_alone, only
from anonvma_rt.engine.run.strategy cimport Strategy
from anonvma_rt.engine.run.task cimport Execution
from anonvma_rt.engine.strategy.base cimport any_of


cdef class Starve(Strategy):
    """`starve`: windows have from 1 to about as many steps as an execution, by the explorer's profile."""

    # The number of powers of two up to the number of steps: as many magnitudes has a window.
    cdef int magnitudes
    # The last step of the window, and whom it starves.
    cdef uint64_t end
    cdef int victim

    def __init__(self):
        self.magnitudes = 1

    def profiled(self, steps, task_steps=(), task_marks=()):
        self.magnitudes = min(max(1, int(steps).bit_length()), 63)

    cdef void begin(self, Execution *x) noexcept nogil:
        self.end = 0

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        return pick_one(self, x, hold, 1)

    cdef int pick_many(self, Execution *x, uint64_t *hold) noexcept nogil:
        return pick_one(self, x, hold, x.words)

    def clone(self):
        return Starve()


cdef inline int pick_one(Starve self, Execution *x, uint64_t *hold, int words) noexcept nogil:
    cdef TaskSet among
    cdef uint64_t length
    if x.steps > self.end:
        self.victim = any_of(x, x.enabled, words)
        length = <uint64_t>1 << rng_below(&x.rng, self.magnitudes)
        self.end = x.steps + length + rng_below64(&x.rng, length) - 1
    copy(among, x.enabled, words)
    if not is_alone(among, words):
        drop(among, self.victim, words)
    if x.current >= 0 and has(among, x.current, words):
        only(among, x.current, words)
    hold[0] = self.end - x.steps + 1
    return any_of(x, among, words)
