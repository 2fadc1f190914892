"""Probe: how many classes of interleavings there are, estimated before they are visited.

Source: Knuth, "Estimating the efficiency of backtrack programs" (1975), on the tree that is searched with sleep sets and
without source sets: each class is one leaf of it, so the mean over random descents of the product of the numbers of
branches, or 0 where a descent ends asleep, is the number of classes. Where a task is about to do what nobody else will
depend on there is no need to branch, and branching would only send descents to sleep: what each task does to which
object is learned from a few random executions first.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset

from anonvma_rt.engine.base.os cimport rt_count, rt_lowest
from anonvma_rt.engine.order.relation cimport dependent, tries, would_fail
from anonvma_rt.engine.base.rng cimport rng_below
from anonvma_rt.engine.search.search cimport Search, search_close, search_number, search_open
from anonvma_rt.engine.strategy.base cimport Strategy, nth_enabled
from anonvma_rt.engine.base.operation cimport MAX_TASKS, OP_READ_UNLOCK, OP_START, OP_UNLOCK
from anonvma_rt.engine.run.task cimport HALT_NO_MEMORY, HALT_NONE, HALT_PRUNED, HALT_VIOLATION, Execution

# What a task did to an object in this execution, and the most that it did in one execution so far.
cdef struct Use:
    uint32_t made
    uint32_t most


@cython.final
cdef class Probe(Strategy):
    """`probe`: one descent per execution; `weights` has what each said, 0 for one that ended asleep.

    warm: so many random executions go first, and say nothing.
    """

    cdef Search objects
    cdef Use *use
    # Per object: whether it was ever tried.
    cdef uint8_t *tried
    cdef uint32_t use_room
    cdef int tasks
    cdef int warm
    cdef uint64_t sleep
    cdef double weight
    # Of each task, as it was before the step that was chosen last: what it announced, and whether that is a try that fails.
    cdef uint32_t object[MAX_TASKS]
    cdef bint failed[MAX_TASKS]
    cdef int op
    cdef double *said
    cdef size_t n
    cdef size_t room

    def __cinit__(self, *args, **kwargs):
        search_open(&self.objects)

    def __init__(self, warm=32):
        self.sees_forced = True
        self.warm = warm

    def __dealloc__(self):
        search_close(&self.objects)
        free(self.use)
        free(self.tried)
        free(self.said)

    def clone(self):
        return Probe(self.warm)

    @property
    def weights(self):
        return [self.said[i] for i in range(self.n)]

    cdef void attach(self, Execution *x):
        Strategy.attach(self, x)
        x.finished = <void (*)(void *, Execution *) noexcept nogil>finished
        self.tasks = x.tasks

    cdef void begin(self, Execution *x) noexcept nogil:
        cdef size_t i
        self.sleep = 0
        self.weight = 1
        for i in range(<size_t>self.use_room * self.tasks):
            self.use[i].made = 0

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        cdef uint64_t awake
        cdef int chosen
        if x.current >= 0:
            self.wake(x)
        if not self.look(x):
            x.halt = HALT_NO_MEMORY
            return -1
        awake = x.enabled & ~self.sleep
        if awake == 0:
            x.halt = HALT_PRUNED
            return -1
        chosen = self.alone(x, awake) if self.warm == 0 else -1
        if chosen < 0:
            chosen = nth_enabled(awake, rng_below(&x.rng, rt_count(awake)))
            if self.warm == 0:
                self.weight *= rt_count(awake)
                # The branches to the left were explored before this one.
                self.sleep |= awake & ((<uint64_t>1 << chosen) - 1)
        self.op = x.task[chosen].op
        self.made(chosen)
        return chosen

    cdef bint look(self, Execution *x) noexcept nogil:
        """What everybody is about to do. False: no memory."""
        cdef int i
        for i in range(x.tasks):
            self.object[i] = search_number(&self.objects, x.task[i].object)
            self.failed[i] = tries(x.task[i].op) and would_fail(x.task[i].op, x.task[i].object)
        return self.objects.key_room <= self.use_room or self.grow()

    cdef bint grow(self) noexcept nogil:
        cdef uint32_t room = self.objects.key_room
        cdef size_t old = <size_t>self.use_room * self.tasks
        cdef Use *use = <Use *>realloc(self.use, <size_t>room * self.tasks * sizeof(Use))
        cdef uint8_t *tried = <uint8_t *>realloc(self.tried, room)
        if use != NULL:
            self.use = use
        if tried != NULL:
            self.tried = tried
        if use == NULL or tried == NULL:
            return False
        memset(use + old, 0, (<size_t>room * self.tasks - old) * sizeof(Use))
        memset(tried + self.use_room, 0, room - self.use_room)
        self.use_room = room
        return True

    cdef void made(self, int task) noexcept nogil:
        cdef Use *use = &self.use[<size_t>self.object[task] * self.tasks + task]
        use.made += 1
        if use.made > use.most:
            use.most = use.made
        if tries(self.op):
            self.tried[self.object[task]] = True

    cdef int alone(self, Execution *x, uint64_t awake) noexcept nogil:
        """A task that is about to do what nobody will depend on, by all that was seen; -1: none."""
        cdef uint64_t rest = awake
        cdef int i
        while rest:
            i = rt_lowest(rest)
            rest &= rest - 1
            # Whoever waits for a release cannot come before it.
            if x.task[i].op == OP_UNLOCK or x.task[i].op == OP_READ_UNLOCK:
                if not self.tried[self.object[i]]:
                    return i
            if x.task[i].op == OP_START or not self.wanted(x, i):
                return i
        return -1

    cdef bint wanted(self, Execution *x, int task) noexcept nogil:
        """Whether another task will still do something to the object of `task`."""
        cdef Use *use = &self.use[<size_t>self.object[task] * self.tasks]
        cdef int i
        for i in range(self.tasks):
            if i != task and not x.done >> i & 1 and use[i].most > use[i].made:
                return True
        return False

    cdef void wake(self, Execution *x) noexcept nogil:
        """Whoever depends on the step that was made sleeps no longer."""
        cdef uint64_t rest = self.sleep
        cdef int i
        while rest:
            i = rt_lowest(rest)
            rest &= rest - 1
            if self.object[i] == self.object[x.current] and dependent(
                x.task[i].op, self.failed[i], self.op, self.failed[x.current]
            ):
                self.sleep &= ~(<uint64_t>1 << i)


cdef void finished(Probe self, Execution *x) noexcept nogil:
    cdef double *larger
    if x.halt != HALT_NONE and x.halt != HALT_VIOLATION and x.halt != HALT_PRUNED:
        return
    if self.warm:
        self.warm -= 1
        return
    if self.n == self.room:
        larger = <double *>realloc(self.said, (2 * self.room + 64) * sizeof(double))
        if larger == NULL:
            x.halt = HALT_NO_MEMORY
            return
        self.said = larger
        self.room = 2 * self.room + 64
    self.said[self.n] = self.weight if x.halt != HALT_PRUNED else 0
    self.n += 1
