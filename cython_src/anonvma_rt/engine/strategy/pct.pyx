"""PCT: random priorities, and depth - 1 random steps at which the running task falls below all others.

Source: Burckhardt, Kothari, Musuvathi, Nagarakatte, "A Randomized Scheduler with Probabilistic Guarantees of Finding
Bugs" (ASPLOS 2010). With n tasks and k steps an execution finds a bug of depth d with probability at least
1/(n k^(d-1)).
"""

from libc.stdint cimport int32_t, uint64_t

from anonvma_rt.engine.base.operation cimport MAX_TASKS
from anonvma_rt.engine.base.rng cimport rng_below
from anonvma_rt.engine.base.tasks cimport TaskSet, anybody, copy, pop
from anonvma_rt.engine.run.task cimport Execution
from anonvma_rt.engine.strategy.base cimport MAX_CHANGES, Changes, next_of


cdef class Pct(Changes):
    """`pct`: parameter depth (default 3), 1 to 32; k, the number of steps, comes from the explorer's profile."""

    cdef int depth
    cdef int32_t priority[MAX_TASKS]

    def __init__(self, depth=3):
        if not 1 <= depth <= MAX_CHANGES:
            raise ValueError(f"strategy pct: depth must be from 1 to {MAX_CHANGES}, not {depth}")
        self.depth = depth
        self.n = depth - 1
        self.sees_forced = True

    cdef void begin(self, Execution *x) noexcept nogil:
        cdef int i
        cdef int j
        # A random permutation of depth, depth + 1, ...: all above what a change point gives.
        for i in range(x.tasks):
            j = rng_below(&x.rng, i + 1)
            self.priority[i] = self.priority[j]
            self.priority[j] = self.depth + i
        self.draw_changes(x)

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        return pick_one(self, x, hold, 1)

    cdef int pick_many(self, Execution *x, uint64_t *hold) noexcept nogil:
        return pick_one(self, x, hold, x.words)

    def clone(self):
        return Pct(self.depth)

    def parameters(self):
        return {"depth": self.depth}

    def guarantee(self, tasks):
        """The theorem of the paper, of bugs that show themselves within the first k steps."""
        return {
            "probability": 1 / (tasks * int(self.k) ** (self.depth - 1)),
            "tasks": tasks,
            "steps": self.k,
            "depth": self.depth,
        }


cdef inline int pick_one(Pct self, Execution *x, uint64_t *hold, int words) noexcept nogil:
    cdef int best = -1
    cdef int i
    cdef int changed
    while True:
        best = highest(x, self.priority, words)
        changed = -1
        for i in range(self.n):
            if self.at[i] == x.steps:
                changed = i
        if changed < 0:
            break
        # The task that is about to make this step falls, and another takes it.
        self.priority[best] = changed
        self.at[changed] = 0
    hold[0] = next_of(self.at, self.n, x.steps + 1) - x.steps
    return best


cdef inline int highest(Execution *x, const int32_t *priority, int words) noexcept nogil:
    cdef TaskSet rest
    cdef int best
    cdef int i
    copy(rest, x.enabled, words)
    best = pop(rest, words)
    while anybody(rest, words):
        i = pop(rest, words)
        if priority[i] > priority[best]:
            best = i
    return best
