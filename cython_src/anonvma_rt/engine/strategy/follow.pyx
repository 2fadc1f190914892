"""Follow: a schedule step by step, as it was seen at large, that knows where the execution becomes another one.

A recorded storm says who made each step and what kind of operation it announced. Where a task is not about to do what
the record says, the record's order was not quite the order of events, and `at` is the place.
"""

from libc.stdint cimport uint8_t, uint64_t

from anonvma_rt.engine.os cimport rt_lowest
from anonvma_rt.engine.strategy.base cimport Strategy
from anonvma_rt.engine.task cimport Execution


cdef class Follow(Strategy):
    """`follow`: tasks and ops have a byte per step. Past the end the running task goes on until it blocks.

    After an execution `at` is the number of steps that were as recorded, and `lost` whether another one came then.
    """

    cdef bytes tasks
    cdef bytes ops
    cdef const uint8_t *task
    cdef const uint8_t *op
    cdef uint64_t n
    cdef readonly uint64_t at
    cdef readonly bint lost

    def __init__(self, bytes tasks not None, bytes ops not None):
        if len(tasks) != len(ops):
            raise ValueError(f"{len(tasks)} tasks for {len(ops)} operations")
        self.sees_forced = True
        self.tasks = tasks
        self.ops = ops
        self.task = self.tasks
        self.op = self.ops
        self.n = len(tasks)

    cdef void begin(self, Execution *x) noexcept nogil:
        self.at = 0
        self.lost = False

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        cdef int task
        if self.at == self.n:
            hold[0] = 0xFFFFFFFFFFFFFFFFULL
            return x.current if x.current >= 0 and x.enabled >> x.current & 1 else rt_lowest(x.enabled)
        task = self.task[self.at]
        if task >= x.tasks or not x.enabled >> task & 1 or x.task[task].op != self.op[self.at]:
            self.lost = True
            return -1
        self.at += 1
        return task

    def clone(self):
        return Follow(self.tasks, self.ops)
