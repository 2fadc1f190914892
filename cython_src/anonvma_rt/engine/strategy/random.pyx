"""The uniform random walk: at each point, every enabled task is equally likely to make the next step."""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.run.strategy cimport Strategy
from anonvma_rt.engine.run.task cimport Execution
from anonvma_rt.engine.strategy.base cimport any_of


cdef class Random(Strategy):
    """`random`: the yardstick; it switches at every other point and seldom finds what lies deep."""

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        return any_of(x, x.enabled, 1)

    cdef int pick_many(self, Execution *x, uint64_t *hold) noexcept nogil:
        return any_of(x, x.enabled, x.words)

    def clone(self):
        return Random()
