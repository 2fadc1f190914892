"""POS, partial order sampling: each pending operation has a random priority, and the highest one goes first.

Source: Yuan, Yang, Gu, "Partial Order Aware Concurrency Sampling" (CAV 2018). A priority belongs to an operation and
not to a task: the next operation of a task gets its own, and whatever races with the operation just made is drawn
again. Orders of operations that have nothing to do with each other so take no share of the probability.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.os cimport rt_lowest
from anonvma_rt.engine.rng cimport rng_next
from anonvma_rt.engine.strategy.base cimport Strategy
from anonvma_rt.engine.task cimport (
    MAX_TASKS,
    OP_AWAIT,
    OP_LOAD,
    OP_READ_LOCK,
    OP_READ_UNLOCK,
    OP_START,
    OP_WAIT,
    Execution,
)


cdef class Pos(Strategy):
    """`pos`: it has to see every operation, so each step is a decision."""

    cdef uint64_t priority[MAX_TASKS]
    # The operation that was made last, and of what.
    cdef int op
    cdef void *object

    def __init__(self):
        self.sees_forced = True

    cdef void begin(self, Execution *x) noexcept nogil:
        cdef int i
        self.op = OP_START
        self.object = NULL
        for i in range(x.tasks):
            self.priority[i] = rng_next(&x.rng)

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        cdef uint64_t rest = x.enabled | x.blocked
        cdef int best = rt_lowest(x.enabled)
        cdef int i
        while rest:
            i = rt_lowest(rest)
            rest &= rest - 1
            if i == x.current or race(self.op, self.object, x.task[i].op, x.task[i].object):
                self.priority[i] = rng_next(&x.rng)
        rest = x.enabled
        while rest:
            i = rt_lowest(rest)
            rest &= rest - 1
            if self.priority[i] > self.priority[best]:
                best = i
        self.op = x.task[best].op
        self.object = x.task[best].object
        return best

    def clone(self):
        return Pos()


cdef bint only_reads(int op) noexcept nogil:
    return op == OP_LOAD or op == OP_READ_LOCK or op == OP_READ_UNLOCK or op == OP_WAIT or op == OP_AWAIT


cdef bint race(int op, void *object, int other, void *of) noexcept nogil:
    """Whether two operations have an object in common that one of them changes."""
    return object != NULL and object == of and not (only_reads(op) and only_reads(other))
