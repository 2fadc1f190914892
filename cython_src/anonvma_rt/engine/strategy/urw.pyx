"""URW, the uniform random walk over interleavings: a task is as likely as the steps it still has to make.

Source: Zhao, Wolff, Mathur, Roychoudhury, "Selectively Uniform Concurrency Testing" (ASPLOS 2025), of which this is
the first half. Where tasks never wait for each other and the counts are right, every interleaving is equally likely; a
walk that tosses a fair coin at each point prefers those in which the short tasks end early.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.base.operation cimport MAX_TASKS
from anonvma_rt.engine.base.tasks cimport TaskSet, anybody, copy, pop
from anonvma_rt.engine.run.strategy cimport Strategy
from anonvma_rt.engine.run.task cimport Execution
from anonvma_rt.engine.strategy.base cimport draw_by_weight, keep_counts, left, steps_of


cdef class Urw(Strategy):
    """`urw`: how many steps each task makes comes from the explorer's profile."""

    cdef uint64_t expected[MAX_TASKS]

    def profiled(self, steps, task_steps=(), task_marks=()):
        keep_counts(self.expected, task_steps)

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        return pick_one(self, x, 1)

    cdef int pick_many(self, Execution *x, uint64_t *hold) noexcept nogil:
        return pick_one(self, x, x.words)

    def clone(self):
        return Urw()


cdef inline int pick_one(Urw self, Execution *x, int words) noexcept nogil:
    cdef uint64_t weight[MAX_TASKS]
    cdef TaskSet rest
    cdef int i
    copy(rest, x.enabled, words)
    while anybody(rest, words):
        i = pop(rest, words)
        weight[i] = left(self.expected[i], steps_of(x, i))
    return draw_by_weight(x, x.enabled, weight, words)
