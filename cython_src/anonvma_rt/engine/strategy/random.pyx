"""The uniform random walk: at each point, every enabled task is equally likely to make the next step."""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.base.os cimport rt_count
from anonvma_rt.engine.base.rng cimport rng_below
from anonvma_rt.engine.run.strategy cimport Strategy
from anonvma_rt.engine.run.task cimport Execution
from anonvma_rt.engine.strategy.base cimport nth_enabled


cdef class Random(Strategy):
    """`random`: the yardstick; it switches at every other point and seldom finds what lies deep."""

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        return nth_enabled(x.enabled, rng_below(&x.rng, rt_count(x.enabled)))

    def clone(self):
        return Random()
