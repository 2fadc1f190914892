"""Drawn: a schedule as a list of preferences that any subject can follow, for whoever draws and shrinks such lists.

A recorded schedule names tasks, and is no schedule any more when something is taken out of it. A preference says which
of the tasks that happen to be enabled: every list of numbers is a schedule, and so is every part of one.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from anonvma_rt.engine.base.os cimport rt_count, rt_lowest
from anonvma_rt.engine.strategy.base cimport Strategy, nth_enabled
from anonvma_rt.engine.run.task cimport Execution

cdef struct Preference:
    uint32_t which
    uint64_t steps


cdef class Drawn(Strategy):
    """`drawn`: preferences is a sequence of (which, steps): the which-th of the enabled tasks, counted around, makes so
    many steps, fewer if the enabled tasks change. After the last the running task goes on, or the lowest enabled one."""

    cdef Preference *preference
    cdef uint64_t n
    cdef uint64_t at

    def __init__(self, preferences=()):
        cdef uint64_t i
        preferences = list(preferences)
        free(self.preference)
        self.preference = <Preference *>malloc((len(preferences) + 1) * sizeof(Preference))
        if self.preference == NULL:
            raise MemoryError()
        self.n = len(preferences)
        for i in range(self.n):
            self.preference[i].which, self.preference[i].steps = preferences[i]

    def __dealloc__(self):
        free(self.preference)

    cdef void begin(self, Execution *x) noexcept nogil:
        self.at = 0

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        cdef Preference *p
        if self.at < self.n:
            p = &self.preference[self.at]
            self.at += 1
            hold[0] = p.steps if p.steps else 1
            return nth_enabled(x.enabled, p.which % <uint32_t>rt_count(x.enabled))
        hold[0] = 0xFFFFFFFFFFFFFFFFULL
        if x.current >= 0 and x.enabled >> x.current & 1:
            return x.current
        return rt_lowest(x.enabled)

    def clone(self):
        return Drawn([(self.preference[i].which, self.preference[i].steps) for i in range(self.n)])
