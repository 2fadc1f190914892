"""Probe: how many classes of interleavings there are, estimated before they are visited.

Source: Knuth, "Estimating the efficiency of backtrack programs" (1975), on the tree that is searched with sleep sets
and without source sets: each class is one leaf of it, so the mean over random descents of the product of the numbers of
branches, or 0 where a descent ends asleep, is the number of classes. Where a task is about to do what nobody else will
depend on there is no need to branch, and branching would only send descents to sleep: what each task does to which
object is learned from a few random executions first.
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free

from anonvma_rt.engine.base.grow cimport grow, grow_filled
from anonvma_rt.engine.base.operation cimport MAX_TASKS, OP_START
from anonvma_rt.engine.base.table cimport Table, table_add, table_clear, table_close, table_open
from anonvma_rt.engine.base.tasks cimport (
    TaskSet, add, anybody, clear, copy, drop, has, how_many, pop, take_away,
)
from anonvma_rt.engine.order.relation cimport dependent, gives_back, tries
from anonvma_rt.engine.run.task cimport (
    HALT_EXIT, HALT_NO_MEMORY, HALT_NONE, HALT_PRUNED, HALT_VIOLATION, Execution, fails,
)
from anonvma_rt.engine.run.strategy cimport Strategy
from anonvma_rt.engine.strategy.base cimport any_of

# What a task did to an object in this execution, the most that it did in one execution so far, and whether it ever
# tried.
cdef struct Use:
    uint32_t made
    uint32_t most
    bint tried


@cython.final
cdef class Probe(Strategy):
    """`probe`: one descent per execution; `weights` has what each said, 0 for one that ended asleep.

    warm: so many random executions go first, and say nothing.
    """

    # Objects by address; of each, by its number, a row with one Use for each task.
    cdef Table objects
    cdef Use *use
    cdef uint64_t use_room
    cdef int tasks
    cdef int warm
    cdef TaskSet sleep
    cdef double weight
    # Of each task, as it was before the step that was chosen last: what it announced, and whether that is a try that
    # fails.
    cdef uint32_t object[MAX_TASKS]
    cdef bint failed[MAX_TASKS]
    cdef int op
    cdef double *weight_of
    cdef uint64_t n
    cdef uint64_t room

    def __cinit__(self, *args, **kwargs):
        table_open(&self.objects)

    def __init__(self, warm=32):
        self.sees_forced = True
        self.warm = warm

    def __dealloc__(self):
        table_close(&self.objects)
        free(self.use)
        free(self.weight_of)

    def clone(self):
        return Probe(self.warm)

    @property
    def weights(self):
        return [self.weight_of[i] for i in range(self.n)]

    cdef void attach(self, Execution *x):
        Strategy.attach(self, x)
        x.strategy.finished = <void (*)(void *, Execution *) noexcept nogil>finished
        x.strategy.cuts_spins = True
        if self.tasks != x.tasks:
            table_clear(&self.objects)
            self.use_room = 0
            self.tasks = x.tasks

    cdef void begin(self, Execution *x) noexcept nogil:
        cdef uint64_t i
        clear(self.sleep, x.words)
        self.weight = 1
        for i in range(self.use_room):
            self.use[i].made = 0

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        return pick_one(self, x, 1)

    cdef int pick_many(self, Execution *x, uint64_t *hold) noexcept nogil:
        return pick_one(self, x, x.words)

    cdef int look(self, Execution *x) noexcept nogil:
        """What everybody is about to do. -1: no memory."""
        cdef int i
        for i in range(x.tasks):
            self.object[i] = table_add(&self.objects, <uint64_t>x.task[i].object)
            self.failed[i] = fails(&x.task[i])
            if self.object[i] == 0:
                return -1
        return grow_filled(
            <void **>&self.use, &self.use_room, <uint64_t>(self.objects.used + 1) * self.tasks, sizeof(Use), 0
        )

    cdef inline Use *uses(self, uint32_t object) noexcept nogil:
        return &self.use[<uint64_t>object * self.tasks]

    cdef void count(self, int task) noexcept nogil:
        """The task makes the step that it announced."""
        cdef Use *use = &self.uses(self.object[task])[task]
        use.made += 1
        if use.made > use.most:
            use.most = use.made
        use.tried = use.tried or tries(self.op)

    cdef bint tried(self, uint32_t object) noexcept nogil:
        """Whether any task ever tried to take a lock."""
        cdef int i
        for i in range(self.tasks):
            if self.uses(object)[i].tried:
                return True
        return False

    cdef bint wanted(self, Execution *x, int task) noexcept nogil:
        """Whether another task will still do something to the object of `task`."""
        cdef Use *use = self.uses(self.object[task])
        cdef int i
        for i in range(self.tasks):
            if i != task and not has(x.done, i, x.words) and use[i].most > use[i].made:
                return True
        return False


cdef inline int pick_one(Probe self, Execution *x, int words) noexcept nogil:
    cdef int chosen
    if x.current >= 0:
        wake(self, x, words)
    if self.look(x) < 0:
        x.halt = HALT_NO_MEMORY
        return -1
    chosen = choose(self, x, words)
    if chosen < 0:
        x.halt = HALT_PRUNED
        return -1
    self.op = x.task[chosen].op
    self.count(chosen)
    return chosen


cdef inline int choose(Probe self, Execution *x, int words) noexcept nogil:
    """Who goes on; -1: all that can sleep."""
    cdef TaskSet awake
    cdef int chosen
    cdef int i
    copy(awake, x.enabled, words)
    take_away(awake, self.sleep, words)
    if not anybody(awake, words):
        return -1
    chosen = alone(self, x, awake, words) if self.warm == 0 else -1
    if chosen >= 0:
        return chosen
    chosen = any_of(x, awake, words)
    if self.warm == 0:
        self.weight *= how_many(awake, words)
        # The branches to the left were explored before this one.
        i = pop(awake, words)
        while i < chosen:
            add(self.sleep, i, words)
            i = pop(awake, words)
    return chosen


cdef inline int alone(Probe self, Execution *x, const uint64_t *awake, int words) noexcept nogil:
    """A task that is about to do what nobody will depend on, by all that was seen; -1: none."""
    cdef TaskSet rest
    cdef int op
    cdef int i
    copy(rest, awake, words)
    while anybody(rest, words):
        i = pop(rest, words)
        op = x.task[i].op
        if op == OP_START or not self.wanted(x, i):
            return i
        # Whoever waits for a release cannot come before it.
        if gives_back(op) and not self.tried(self.object[i]):
            return i
    return -1


cdef inline void wake(Probe self, Execution *x, int words) noexcept nogil:
    """Whoever depends on the step that was made sleeps no longer."""
    cdef TaskSet rest
    cdef int i
    copy(rest, self.sleep, words)
    while anybody(rest, words):
        i = pop(rest, words)
        if self.object[i] == self.object[x.current] and dependent(
            x.task[i].op, self.failed[i], self.op, self.failed[x.current]
        ):
            drop(self.sleep, i, words)


cdef void finished(Probe self, Execution *x) noexcept nogil:
    if x.halt not in (HALT_NONE, HALT_VIOLATION, HALT_EXIT, HALT_PRUNED):
        return
    if self.warm:
        self.warm -= 1
        return
    if grow(<void **>&self.weight_of, &self.room, self.n + 1, sizeof(double)) < 0:
        x.halt = HALT_NO_MEMORY
        return
    self.weight_of[self.n] = self.weight if x.halt != HALT_PRUNED else 0
    self.n += 1
