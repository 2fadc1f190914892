"""Cuts: follows a schedule that need not fit, as a shrinker makes them: what cannot be followed is skipped.

A cut says up to which of its own steps a task goes before another one has its turn. Counted like this, from the task's
beginning, a list of cuts stays sensible where one is taken out: the task is then behind by what it missed, and its next
cut makes up for it.
"""

from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc

from anonvma_rt.engine.base.os cimport rt_lowest
from anonvma_rt.engine.strategy.base cimport Strategy, steps_of
from anonvma_rt.engine.base.operation cimport MAX_TASKS
from anonvma_rt.engine.run.task cimport Execution, Segment

cdef enum:
    TURN = 16

cdef uint64_t NEVER = 0xFFFFFFFFFFFFFFFFULL


cdef class Cuts(Strategy):
    """`cuts`: (task, number of its steps) one after the other. A task that is blocked, has ended or is there already
    is passed over.

    Past the end the running task goes on until it blocks, then the lowest enabled id, as in `replay`; with `fair` the
    tasks take turns of 16 steps instead, so that nobody waits for what a starved one would do.
    """

    cdef Segment *cuts
    cdef uint64_t n
    cdef uint64_t at
    cdef readonly bint fair

    def __init__(self, cuts=(), fair=False):
        cdef uint64_t i
        cuts = list(cuts)
        self.cuts = <Segment *>malloc((len(cuts) + 1) * sizeof(Segment))
        if self.cuts == NULL:
            raise MemoryError()
        self.n = len(cuts)
        self.fair = fair
        for i in range(self.n):
            self.cuts[i].task, self.cuts[i].steps = cuts[i]

    def __dealloc__(self):
        free(self.cuts)

    cdef void begin(self, Execution *x) noexcept nogil:
        self.at = 0

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        cdef Segment *cut
        cdef uint64_t made
        cdef uint64_t later
        while self.at < self.n:
            cut = &self.cuts[self.at]
            if cut.task < MAX_TASKS and x.enabled >> cut.task & 1:
                made = steps_of(x, <int>cut.task)
                if made < cut.steps:
                    hold[0] = cut.steps - made
                    return <int>cut.task
            self.at += 1
        if self.fair and x.current >= 0:
            hold[0] = TURN
            later = x.enabled & ~((<uint64_t>2 << x.current) - 1)
            return rt_lowest(later if later else x.enabled)
        hold[0] = NEVER
        if x.current >= 0 and x.enabled >> x.current & 1:
            return x.current
        return rt_lowest(x.enabled)

    def clone(self):
        return Cuts([(self.cuts[i].task, self.cuts[i].steps) for i in range(self.n)], self.fair)
