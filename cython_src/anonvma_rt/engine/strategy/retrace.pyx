"""Retrace: a schedule step by step, as it was seen at large, that knows where the execution becomes another one.

A recorded storm says who made each step, and by a mark what operation it announced. Where a task is not about to do what
the record says, the record's order was not quite the order of events, and `at` is the place.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint8_t, uint16_t, uint64_t

from anonvma_rt.engine.base.os cimport rt_lowest
from anonvma_rt.engine.parallel.runner cimport OP_BITS, step_mark
from anonvma_rt.engine.strategy.base cimport Strategy
from anonvma_rt.engine.run.task cimport Execution, Task


cdef inline bint agrees(uint64_t recorded, uint64_t mark) noexcept nogil:
    """An object of which the record says nothing may be any: what a task allocated for itself at large comes from
    elsewhere in a replay."""
    return recorded == mark or (recorded >> OP_BITS == 0 and recorded == mark & ((1 << OP_BITS) - 1))


cdef class Retrace(Strategy):
    """`retrace`: tasks has a byte per step, marks two (step_mark of engine/runner). Past the end the running task goes on until it blocks.

    After an execution `at` is the number of steps that were as recorded, and `lost` whether another one came then.
    """

    cdef bytes tasks
    cdef bytes marks
    cdef const uint8_t *task
    cdef const uint16_t *mark
    cdef uint64_t n
    cdef readonly uint64_t at
    cdef readonly bint lost

    def __init__(self, bytes tasks not None, bytes marks not None):
        if 2 * len(tasks) != len(marks):
            raise ValueError(f"{len(tasks)} tasks for {len(marks)} bytes of marks")
        self.sees_forced = True
        self.tasks = tasks
        self.marks = marks
        self.task = self.tasks
        self.mark = <const uint16_t *>PyBytes_AS_STRING(marks)
        self.n = len(tasks)

    cdef void begin(self, Execution *x) noexcept nogil:
        self.at = 0
        self.lost = False

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        cdef int task
        cdef Task *t
        if self.at == self.n:
            hold[0] = 0xFFFFFFFFFFFFFFFFULL
            return x.current if x.current >= 0 and x.enabled >> x.current & 1 else rt_lowest(x.enabled)
        task = self.task[self.at]
        t = &x.task[task]
        if task >= x.tasks or not x.enabled >> task & 1 or not agrees(self.mark[self.at], step_mark(x, t.op, t.object)):
            self.lost = True
            return -1
        self.at += 1
        return task

    def clone(self):
        return Retrace(self.tasks, self.marks)
