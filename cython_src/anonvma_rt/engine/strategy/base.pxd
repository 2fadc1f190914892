"""What strategies have in common: drawing, counting, and the task that goes on."""

from libc.stdint cimport uint32_t, uint64_t

from anonvma_rt.engine.base.operation cimport NEVER
from anonvma_rt.engine.base.os cimport rt_lowest
from anonvma_rt.engine.base.rng cimport rng_below64
from anonvma_rt.engine.run.strategy cimport Strategy
from anonvma_rt.engine.run.task cimport Execution

cdef enum:
    MAX_CHANGES = 32

cdef class Changes(Strategy):
    # The steps at which something changes, drawn anew for each execution, and how many steps it is thought to have.
    cdef uint64_t at[MAX_CHANGES]
    cdef uint64_t k
    cdef int n
    cdef void draw_changes(self, Execution *x) noexcept nogil


cdef int keep_counts(uint64_t *counts, object values) except -1


cdef inline int nth_enabled(uint64_t enabled, uint32_t n) noexcept nogil:
    """The n-th enabled task, counted from 0 in the order of ids."""
    while n:
        enabled &= enabled - 1
        n -= 1
    return rt_lowest(enabled)


cdef inline int go_on(Execution *x) noexcept nogil:
    """The running task until it blocks, then the lowest enabled id."""
    return x.current if x.current >= 0 and x.enabled >> x.current & 1 else rt_lowest(x.enabled)


cdef inline uint64_t steps_of(Execution *x, int task) noexcept nogil:
    """The steps that a task has made in this execution."""
    return x.task[task].made + (x.steps - x.segment if task == x.current else 0)


cdef inline uint64_t left(uint64_t expected, uint64_t made) noexcept nogil:
    """What is still to come of an expected number: at least 1 where a task goes on longer than its profile."""
    return expected - made if expected > made else 1


cdef inline int draw_by_weight(Execution *x, uint64_t tasks, uint64_t *weight) noexcept nogil:
    """One of `tasks`, each as likely as its weight says. The sum of the weights is at least 1 and fits 64 bits."""
    cdef uint64_t total = 0
    cdef uint64_t rest = tasks
    cdef int i
    while rest:
        total += weight[rt_lowest(rest)]
        rest &= rest - 1
    total = rng_below64(&x.rng, total)
    while True:
        i = rt_lowest(tasks)
        if total < weight[i]:
            return i
        total -= weight[i]
        tasks &= tasks - 1


cdef inline uint64_t next_of(uint64_t *steps, int n, uint64_t now) noexcept nogil:
    """The smallest of n numbers of steps that is `now` or later; NEVER where there is none."""
    cdef uint64_t nearest = NEVER
    cdef int i
    for i in range(n):
        if now <= steps[i] < nearest:
            nearest = steps[i]
    return nearest
