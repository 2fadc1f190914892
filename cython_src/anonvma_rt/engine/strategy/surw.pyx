"""SURW, the selectively uniform random walk: every order of the *interesting* operations is equally likely.

Source: Zhao, Wolff, Mathur, Roychoudhury, "Selectively Uniform Concurrency Testing" (ASPLOS 2025). The task that makes
the next interesting operation is drawn by how many of them each task still has; until it has made it, the others are
held back where they stand at theirs, and go on freely elsewhere. What is interesting the subject says (mark). So the
length of an execution is no matter: a race of three operations is as likely among a million points as among ten.

Between two interesting operations a task is not interrupted, which on OS threads is what costs: who goes first is
drawn.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.base.operation cimport MAX_TASKS, NEVER
from anonvma_rt.engine.base.tasks cimport (
    TaskSet, add, anybody, beyond, clear, copy, drop, has, pop, take_away, unite,
)
from anonvma_rt.engine.run.strategy cimport Strategy
from anonvma_rt.engine.run.task cimport Execution
from anonvma_rt.engine.strategy.base cimport any_of, draw_by_weight, keep_counts, left, steps_of


cdef class Surw(Strategy):
    """`surw`: the counts come from the explorer's profile; where nothing is interesting, each step is, as in `urw`."""

    cdef uint64_t steps[MAX_TASKS]
    cdef uint64_t marks[MAX_TASKS]
    cdef bint selective
    # Who makes the next interesting operation, and how many it had announced when it was drawn; -1 for nobody yet.
    cdef int intended
    cdef uint64_t announced

    def __init__(self):
        self.sees_marks = True

    def profiled(self, steps, task_steps=(), task_marks=()):
        keep_counts(self.steps, task_steps)
        keep_counts(self.marks, task_marks)
        self.selective = any(task_marks)

    cdef void begin(self, Execution *x) noexcept nogil:
        self.intended = -1

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        return pick_one(self, x, hold, 1)

    cdef int pick_many(self, Execution *x, uint64_t *hold) noexcept nogil:
        return pick_one(self, x, hold, x.words)

    def clone(self):
        return Surw()


cdef inline int pick_one(Surw self, Execution *x, uint64_t *hold, int words) noexcept nogil:
    cdef TaskSet held_back
    cdef TaskSet others
    cdef int i
    if not self.selective:
        return draw(self, x, x.enabled, words)
    clear(held_back, words)
    copy(others, x.enabled, words)
    while anybody(others, words):
        i = pop(others, words)
        if x.task[i].interesting:
            add(held_back, i, words)
    if self.intended < 0 or has(x.done, self.intended, words) or made(x, self.intended) != self.announced:
        copy(others, x.enabled, words)
        unite(others, x.blocked, words)
        intend(self, x, others, words)
    if not beyond(x.enabled, held_back, words) and not has(held_back, self.intended, words):
        # The intended one waits for somebody who is held back.
        intend(self, x, x.enabled, words)
    drop(held_back, self.intended, words)
    # To its next interesting operation, where this is asked again; made, that one needs a new intention.
    copy(others, x.enabled, words)
    take_away(others, held_back, words)
    i = any_of(x, others, words)
    hold[0] = 1 if x.task[i].interesting else NEVER
    return i


cdef inline uint64_t made(Execution *x, int task) noexcept nogil:
    return x.task[task].marks - x.task[task].interesting


cdef inline void intend(Surw self, Execution *x, const uint64_t *tasks, int words) noexcept nogil:
    self.intended = draw(self, x, tasks, words)
    self.announced = made(x, self.intended)


cdef inline int draw(Surw self, Execution *x, const uint64_t *tasks, int words) noexcept nogil:
    """One of `tasks` by what it has left. One that has had all it was expected to have counts where it stands at one
    more."""
    cdef uint64_t weight[MAX_TASKS]
    cdef uint64_t total = 0
    cdef TaskSet rest
    cdef int i
    copy(rest, tasks, words)
    while anybody(rest, words):
        i = pop(rest, words)
        if not self.selective:
            weight[i] = left(self.steps[i], steps_of(x, i))
        elif x.task[i].interesting or made(x, i) < self.marks[i]:
            weight[i] = left(self.marks[i], made(x, i))
        else:
            weight[i] = 0
        total += weight[i]
    return draw_by_weight(x, tasks, weight, words) if total else any_of(x, tasks, words)
