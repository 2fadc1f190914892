"""Follow: a recorded schedule for a subject that is not quite the recorded one.

Another algorithm under the same schedule makes other steps, so it is followed as far as it goes: a segment counts the
steps of its task, a task that cannot go on waits while the next one of the schedule does, and what one that has ended
would still have made is left out. Where replay must be exact or fail, this one never fails.
"""

from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc

from anonvma_rt.engine.base.os cimport rt_lowest
from anonvma_rt.engine.strategy.base cimport Strategy
from anonvma_rt.engine.base.operation cimport MAX_TASKS
from anonvma_rt.engine.run.task cimport Execution, Segment


cdef class Follow(Strategy):
    """`follow`: segments is a sequence of (task, steps). Past its end the running task goes on until it blocks."""

    cdef Segment *segments
    cdef uint64_t *left
    cdef uint64_t n
    cdef uint64_t at

    def __init__(self, segments=()):
        cdef uint64_t i
        self.sees_forced = True
        segments = [(task, steps) for task, steps in segments if 0 <= task < MAX_TASKS]
        self.segments = <Segment *>malloc((len(segments) + 1) * sizeof(Segment))
        self.left = <uint64_t *>malloc((len(segments) + 1) * sizeof(uint64_t))
        if self.segments == NULL or self.left == NULL:
            raise MemoryError()
        self.n = len(segments)
        for i in range(self.n):
            self.segments[i].task, self.segments[i].steps = segments[i]

    def __dealloc__(self):
        free(self.segments)
        free(self.left)

    cdef void begin(self, Execution *x) noexcept nogil:
        cdef uint64_t i
        self.at = 0
        for i in range(self.n):
            self.left[i] = self.segments[i].steps

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        cdef uint64_t i
        while self.at < self.n and (self.left[self.at] == 0 or x.done >> self.segments[self.at].task & 1):
            self.at += 1
        for i in range(self.at, self.n):
            if self.left[i] and x.enabled >> self.segments[i].task & 1:
                self.left[i] -= 1
                return <int>self.segments[i].task
        if x.current >= 0 and x.enabled >> x.current & 1:
            return x.current
        return rt_lowest(x.enabled)

    def clone(self):
        return Follow([(self.segments[i].task, self.segments[i].steps) for i in range(self.n)])
