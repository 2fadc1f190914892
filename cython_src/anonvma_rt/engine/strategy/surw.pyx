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
from anonvma_rt.engine.base.os cimport rt_count, rt_lowest
from anonvma_rt.engine.base.rng cimport rng_below
from anonvma_rt.engine.run.strategy cimport Strategy
from anonvma_rt.engine.run.task cimport Execution
from anonvma_rt.engine.strategy.base cimport draw_by_weight, keep_counts, left, nth_enabled, steps_of


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
        cdef uint64_t held_back = 0
        cdef uint64_t rest = x.enabled
        cdef int i
        if not self.selective:
            return self.draw(x, x.enabled)
        while rest:
            i = rt_lowest(rest)
            rest &= rest - 1
            if x.task[i].interesting:
                held_back |= <uint64_t>1 << i
        if self.intended < 0 or x.done >> self.intended & 1 or self.made(x, self.intended) != self.announced:
            self.intend(x, x.enabled | x.blocked)
        if held_back == x.enabled and not held_back >> self.intended & 1:
            # The intended one waits for somebody who is held back.
            self.intend(x, x.enabled)
        held_back &= ~(<uint64_t>1 << self.intended)
        # To its next interesting operation, where this is asked again; made, that one needs a new intention.
        rest = x.enabled & ~held_back
        i = nth_enabled(rest, rng_below(&x.rng, rt_count(rest)))
        hold[0] = 1 if x.task[i].interesting else NEVER
        return i

    cdef uint64_t made(self, Execution *x, int task) noexcept nogil:
        return x.task[task].marks - x.task[task].interesting

    cdef void intend(self, Execution *x, uint64_t tasks) noexcept nogil:
        self.intended = self.draw(x, tasks)
        self.announced = self.made(x, self.intended)

    cdef int draw(self, Execution *x, uint64_t tasks) noexcept nogil:
        """One of `tasks` by what it has left. One that has had all it was expected to have counts where it stands at
        one more."""
        cdef uint64_t weight[MAX_TASKS]
        cdef uint64_t total = 0
        cdef uint64_t rest = tasks
        cdef int i
        while rest:
            i = rt_lowest(rest)
            rest &= rest - 1
            if not self.selective:
                weight[i] = left(self.steps[i], steps_of(x, i))
            elif x.task[i].interesting or self.made(x, i) < self.marks[i]:
                weight[i] = left(self.marks[i], self.made(x, i))
            else:
                weight[i] = 0
            total += weight[i]
        return draw_by_weight(x, tasks, weight) if total else nth_enabled(tasks, rng_below(&x.rng, rt_count(tasks)))

    def clone(self):
        return Surw()
