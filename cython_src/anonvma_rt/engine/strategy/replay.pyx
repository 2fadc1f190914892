"""Replay: follows a recorded schedule, segment by segment.

Past its end, and from the start where it is empty, the running task goes on until it blocks, then the lowest enabled
id: the sequential schedule, which also serves as the profile of an execution.
"""

from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc

from anonvma_rt.engine.base.os cimport rt_lowest
from anonvma_rt.engine.strategy.base cimport Strategy
from anonvma_rt.engine.base.operation cimport MAX_TASKS
from anonvma_rt.engine.run.task cimport Execution, Segment


cdef class Replay(Strategy):
    """`replay`: segments is a sequence of (task, steps). A schedule that the subject cannot follow ends in divergence."""

    cdef Segment *segments
    cdef uint64_t n
    cdef uint64_t at
    cdef uint64_t left_from

    def __init__(self, segments=()):
        cdef uint64_t i
        self.sees_forced = True
        self.keeps_lease = True
        segments = list(segments)
        self.segments = <Segment *>malloc((len(segments) + 1) * sizeof(Segment))
        if self.segments == NULL:
            raise MemoryError()
        self.n = len(segments)
        for i in range(self.n):
            self.segments[i].task, self.segments[i].steps = segments[i]

    def __dealloc__(self):
        free(self.segments)

    cdef void begin(self, Execution *x) noexcept nogil:
        self.at = 0
        self.left_from = 1

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        cdef Segment *s
        cdef uint64_t made
        while self.at < self.n:
            s = &self.segments[self.at]
            made = x.steps - self.left_from
            if made < s.steps:
                hold[0] = s.steps - made
                # A number that is no task must not become one by losing its upper bits.
                return <int>s.task if s.task < MAX_TASKS else -1
            self.left_from += s.steps
            self.at += 1
        hold[0] = 0xFFFFFFFFFFFFFFFFULL
        if x.current >= 0 and x.enabled >> x.current & 1:
            return x.current
        return rt_lowest(x.enabled)

    def clone(self):
        return Replay([(self.segments[i].task, self.segments[i].steps) for i in range(self.n)])
