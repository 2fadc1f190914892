"""The sticky random walk: the running task keeps going with probability (n-1)/n, else another one is drawn.

It switches rarely, which on OS threads is what costs, and so finds more per second than the uniform walk.
"""

from libc.stdint cimport uint32_t, uint64_t

from anonvma_rt.engine.base.rng cimport rng_below
from anonvma_rt.engine.base.tasks cimport TaskSet, anybody, copy, drop, has, only
from anonvma_rt.engine.run.strategy cimport Strategy
from anonvma_rt.engine.run.task cimport Execution
from anonvma_rt.engine.strategy.base cimport any_of


cdef class Sticky(Strategy):
    """`sticky`: parameter n (default 8), the mean number of steps from one switch to the next; 2 to 1 000 000."""

    cdef uint32_t n

    def __init__(self, n=8):
        if not 2 <= n <= 1_000_000:
            raise ValueError(f"strategy sticky: n must be from 2 to 1000000, not {n}")
        self.n = n

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        return pick_one(self, x, hold, 1)

    cdef int pick_many(self, Execution *x, uint64_t *hold) noexcept nogil:
        return pick_one(self, x, hold, x.words)

    def clone(self):
        return Sticky(self.n)

    def parameters(self):
        return {"n": self.n}


cdef inline int pick_one(Sticky self, Execution *x, uint64_t *hold, int words) noexcept nogil:
    cdef TaskSet others
    copy(others, x.enabled, words)
    if x.current >= 0 and has(others, x.current, words):
        drop(others, x.current, words)
        # Asked before the lease ran out, because the enabled set changed: this point has a toss of its own.
        if not anybody(others, words) or (x.lease == 0 and rng_below(&x.rng, self.n) != 0):
            only(others, x.current, words)
    while rng_below(&x.rng, self.n) != 0:
        hold[0] += 1
    return any_of(x, others, words)
