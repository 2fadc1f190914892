"""POS, partial order sampling: each pending operation has a random priority, and the highest one goes first.

Source: Yuan, Yang, Gu, "Partial Order Aware Concurrency Sampling" (CAV 2018). A priority belongs to an operation and
not to a task: the next operation of a task gets its own, and whatever races with the operation just made is drawn
again. Orders of operations that have nothing to do with each other so take no share of the probability.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.base.operation cimport OP_START
from anonvma_rt.engine.base.rng cimport rng_next
from anonvma_rt.engine.base.tasks cimport TaskSet, anybody, copy, pop, unite
from anonvma_rt.engine.order.relation cimport dependent, would_fail
from anonvma_rt.engine.run.strategy cimport Strategy
from anonvma_rt.engine.run.task cimport Execution, Task


cdef class Pos(Strategy):
    """`pos`: it has to see every operation, so each step is a decision."""

    def __init__(self):
        self.sees_forced = True

    cdef void begin(self, Execution *x) noexcept nogil:
        pos_begin(self, x)

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        return pick_one(self, x, 1)

    cdef int pick_many(self, Execution *x, uint64_t *hold) noexcept nogil:
        return pick_one(self, x, x.words)

    def clone(self):
        return Pos()


cdef inline int pick_one(Pos self, Execution *x, int words) noexcept nogil:
    cdef int best
    draw_among(self, x, words)
    best = highest_of(self, x.enabled, words)
    pos_made(self, x, best)
    return best


cdef void pos_begin(Pos self, Execution *x) noexcept nogil:
    cdef int i
    self.op = OP_START
    self.object = NULL
    for i in range(x.tasks):
        self.priority[i] = rng_next(&x.rng)


cdef void pos_draw(Pos self, Execution *x) noexcept nogil:
    """Before a decision: new priorities for whoever has a new operation, or one that raced with what was made."""
    draw_among(self, x, x.words)


cdef int pos_highest(Pos self, const uint64_t *tasks, int words) noexcept nogil:
    """The one of `tasks` that has the highest priority; there is one at least."""
    return highest_of(self, tasks, words)


cdef void pos_made(Pos self, Execution *x, int task) noexcept nogil:
    """After a decision: this task makes its operation."""
    self.op = x.task[task].op
    self.object = x.task[task].object
    self.failed = would_fail(self.op, self.object)


cdef inline void draw_among(Pos self, Execution *x, int words) noexcept nogil:
    cdef TaskSet rest
    cdef int i
    copy(rest, x.enabled, words)
    unite(rest, x.blocked, words)
    while anybody(rest, words):
        i = pop(rest, words)
        if i == x.current or races_with(self, &x.task[i]):
            self.priority[i] = rng_next(&x.rng)


cdef inline int highest_of(Pos self, const uint64_t *tasks, int words) noexcept nogil:
    cdef TaskSet rest
    cdef int best
    cdef int i
    copy(rest, tasks, words)
    best = pop(rest, words)
    while anybody(rest, words):
        i = pop(rest, words)
        if self.priority[i] > self.priority[best]:
            best = i
    return best


cdef inline bint races_with(Pos self, Task *t) noexcept nogil:
    """Whether the order of the operation just made and of the one that t is about to make can matter."""
    if t.object == NULL or t.object != self.object:
        return False
    return dependent(self.op, self.failed, t.op, would_fail(t.op, t.object))
