"""What strategies have in common: drawing, counting, and the task that goes on."""

from libc.stdint cimport uint32_t, uint64_t

from anonvma_rt.engine.base.operation cimport NEVER
from anonvma_rt.engine.base.rng cimport rng_below, rng_below64
from anonvma_rt.engine.base.tasks cimport TASK_WORDS, TaskSet, anybody, copy, following, has, how_many, lowest, nth, pop
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


cdef inline int nth_enabled(Execution *x, uint32_t n) noexcept nogil:
    """The n-th enabled task, counted from 0 in the order of ids; there are so many."""
    return nth(x.enabled, n, x.words)


cdef inline bint is_enabled(Execution *x, int task) noexcept nogil:
    """Whether a task can make the next step."""
    return has(x.enabled, task, TASK_WORDS)


cdef inline int count_enabled(Execution *x) noexcept nogil:
    """How many tasks can make the next step."""
    return how_many(x.enabled, x.words)


cdef inline int next_enabled(Execution *x, int first) noexcept nogil:
    """The lowest enabled task from `first` on; -1: none."""
    return following(x.enabled, first, x.words)


cdef inline int any_of(Execution *x, const uint64_t *tasks, int words) noexcept nogil:
    """One of `tasks`, each as likely as the others."""
    return nth(tasks, rng_below(&x.rng, how_many(tasks, words)), words)


cdef inline int go_on(Execution *x, int words) noexcept nogil:
    """The running task until it blocks, then the lowest enabled id."""
    return x.current if x.current >= 0 and has(x.enabled, x.current, words) else lowest(x.enabled, words)


cdef inline uint64_t steps_of(Execution *x, int task) noexcept nogil:
    """The steps that a task has made in this execution."""
    return x.task[task].made + (x.steps - x.segment if task == x.current else 0)


cdef inline uint64_t left(uint64_t expected, uint64_t made) noexcept nogil:
    """What is still to come of an expected number: at least 1 where a task goes on longer than its profile."""
    return expected - made if expected > made else 1


cdef inline int draw_by_weight(Execution *x, const uint64_t *tasks, uint64_t *weight, int words) noexcept nogil:
    """One of `tasks`, each as likely as its weight says. The sum of the weights is at least 1 and fits 64 bits."""
    cdef TaskSet rest
    cdef uint64_t total = 0
    cdef int i
    copy(rest, tasks, words)
    while anybody(rest, words):
        total += weight[pop(rest, words)]
    total = rng_below64(&x.rng, total)
    copy(rest, tasks, words)
    while True:
        i = pop(rest, words)
        if total < weight[i]:
            return i
        total -= weight[i]


cdef inline uint64_t next_of(uint64_t *steps, int n, uint64_t now) noexcept nogil:
    """The smallest of n numbers of steps that is `now` or later; NEVER where there is none."""
    cdef uint64_t nearest = NEVER
    cdef int i
    for i in range(n):
        if now <= steps[i] < nearest:
            nearest = steps[i]
    return nearest
