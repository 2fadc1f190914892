"""Few: every execution that has at most so many switches and so many preemptions, one after the other.

A switch is a preemption where the task could have gone on. Source: Musuvathi and Qadeer, "Iterative Context Bounding
for Systematic Testing of Multithreaded Programs" (PLDI 2007): bugs need few preemptions, and there are only
polynomially many executions with few.

A task is preempted only where it is about to do what another task's operation depends on: a preemption anywhere else may
as well come later, and the execution is equivalent (relation.pxd). Which objects these are is learned on the way; where
more were learned, the search begins anew, until it ends with what it began with. It is depth first, and its state are
the choices of the current execution and what was learned.
"""

from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy

from anonvma_rt.engine.base.os cimport rt_lowest
from anonvma_rt.engine.order.relation cimport reads, shares
from anonvma_rt.engine.strategy.base cimport Strategy
from anonvma_rt.engine.base.operation cimport OP_WAIT
from anonvma_rt.engine.run.task cimport HALT_NO_MEMORY, HALT_PRUNED, HALT_STOPPED, Execution

cdef enum:
    # So many executions of the past are remembered.
    REMEMBERED = 1024

# The choice before one step, what the task that ran was about to do, and how many switches and preemptions there were up
# to it, itself included.
cdef struct Choice:
    uint64_t enabled
    void *object
    int32_t op
    int32_t task
    uint32_t switches
    uint32_t preemptions

# A segment by its first step, counted from 0.
cdef struct Turn:
    uint64_t begin
    uint64_t task


# Which tasks have looked at an object and which have changed it.
cdef struct Use:
    void *object
    uint64_t readers
    uint64_t writers


cdef inline bint only_looks(int op) noexcept nogil:
    return reads(op) or shares(op, False) or op == OP_WAIT


cdef class Few(Strategy):
    """`few`: not for hunting; hand it to an explorer with index after index until it is exhausted.

    limited: executions were left out because of the bound on preemptions, and not only because of that on switches.
    """

    cdef readonly uint32_t switches
    cdef readonly uint32_t preemptions
    cdef readonly bint exhausted
    cdef readonly bint limited
    cdef Choice *choice
    cdef uint64_t room
    # Choices of this execution so far; the first `prefix` were made before it began.
    cdef uint64_t n
    cdef uint64_t prefix
    cdef bint begun
    # A hash table of `uses` objects, and whether it tells of more conflicts than when the search began.
    cdef Use *use
    cdef uint64_t use_room
    cdef uint64_t uses
    cdef bint learned
    cdef Turn *turn
    # Of the last executions, by index: their turns, how many these are, and the number of steps.
    cdef Turn *past
    cdef uint32_t past_turns[REMEMBERED]
    cdef uint64_t past_steps[REMEMBERED]

    def __init__(self, uint32_t switches, preemptions=None):
        if switches >= 1 << 16:
            raise ValueError(f"strategy few: at most 65535 switches, not {switches}")
        self.sees_forced = True
        self.switches = switches
        self.preemptions = switches if preemptions is None else min(preemptions, switches)
        self.turn = <Turn *>malloc((switches + 1) * sizeof(Turn))
        self.past = <Turn *>malloc(REMEMBERED * (switches + 1) * sizeof(Turn))
        self.use_room = 1024
        self.use = <Use *>calloc(self.use_room, sizeof(Use))
        if self.turn == NULL or self.past == NULL or self.use == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self.choice)
        free(self.turn)
        free(self.past)
        free(self.use)

    def clone(self):
        return Few(self.switches, self.preemptions)

    def segments(self, uint64_t index):
        """The schedule of execution `index`, one of the last 1024: (task, steps) one after the other. None where it was
        given up."""
        cdef uint64_t slot = index % REMEMBERED
        cdef Turn *turns = &self.past[slot * (self.switches + 1)]
        if self.past_turns[slot] == 0:
            return None
        begins = [turns[i].begin for i in range(self.past_turns[slot])] + [self.past_steps[slot]]
        return [(turns[i].task, begins[i + 1] - begins[i]) for i in range(self.past_turns[slot])]

    cdef void attach(self, Execution *x):
        Strategy.attach(self, x)
        x.finished = <void (*)(void *, Execution *) noexcept nogil>call_finished

    cdef void begin(self, Execution *x) noexcept nogil:
        if self.begun:
            self.prefix = self.rewind()
            self.exhausted = self.prefix == 0 and not self.learned
        if self.prefix == 0:
            self.learned = False
            self.limited = self.limited and self.exhausted
        self.begun = True
        self.n = 0

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        cdef uint64_t at = x.steps - 1
        cdef uint64_t end = at
        if self.exhausted:
            x.halt = HALT_STOPPED
            return -1
        if at >= self.prefix:
            return self.extend(x, at)
        if at == self.prefix - 1 and not self.learn(x, self.choice[at].task):
            x.halt = HALT_NO_MEMORY
            return -1
        while end < self.prefix and self.choice[end].task == self.choice[at].task:
            end += 1
        hold[0] = end - at
        self.n = end
        return self.choice[at].task

    cdef int extend(self, Execution *x, uint64_t at) noexcept nogil:
        """A choice that is new: the running task if it can go on, else the lowest id, which may be one switch too many."""
        cdef int task = x.current if x.current >= 0 and x.enabled >> x.current & 1 else rt_lowest(x.enabled)
        if (at >= self.room and not self.grow()) or not self.learn(x, task):
            x.halt = HALT_NO_MEMORY
            return -1
        self.n = at
        if at > 0 and task != x.current and self.choice[at - 1].switches == self.switches:
            x.halt = HALT_PRUNED
            return -1
        self.choice[at].enabled = x.enabled
        if at > 0:
            self.choice[at].op = x.task[x.current].op
            self.choice[at].object = x.task[x.current].object
        self.choose(at, task)
        self.n = at + 1
        return task

    cdef void choose(self, uint64_t at, int task) noexcept nogil:
        """Makes `task` the choice at `at`, whatever it was before."""
        cdef Choice *c = &self.choice[at]
        cdef int before = self.choice[at - 1].task if at > 0 else -1
        c.task = task
        c.switches = self.choice[at - 1].switches if at > 0 else 0
        c.preemptions = self.choice[at - 1].preemptions if at > 0 else 0
        if task == before:
            return
        if before >= 0:
            c.switches += 1
            c.preemptions += c.enabled >> before & 1
        self.turn[c.switches].begin = at
        self.turn[c.switches].task = <uint64_t>task

    cdef uint64_t rewind(self) noexcept nogil:
        """Changes the last choice that has an alternative within the bounds. The number of choices that are now made; 0
        where nothing is left."""
        cdef uint64_t at = self.n
        cdef uint64_t others
        cdef int before
        while at > 0:
            at -= 1
            others = self.choice[at].enabled
            before = self.choice[at - 1].task if at > 0 else -1
            if before >= 0:
                others &= ~(<uint64_t>1 << before)
            if self.choice[at].task != before:
                others &= ~((<uint64_t>2 << self.choice[at].task) - 1)
            if others == 0 or (before >= 0 and self.choice[at - 1].switches == self.switches):
                continue
            if before >= 0 and self.choice[at].enabled >> before & 1:
                if not self.conflicts(before, self.choice[at].op, self.choice[at].object):
                    continue
                if self.choice[at - 1].preemptions == self.preemptions:
                    self.limited = True
                    continue
            self.choose(at, rt_lowest(others))
            return at + 1
        return 0

    cdef Use *find(self, void *object) noexcept nogil:
        """Where an object is in the table, or belongs."""
        cdef uint64_t slot = (<uint64_t>object * 0x9E3779B97F4A7C15ULL) >> 32 & (self.use_room - 1)
        while self.use[slot].object != NULL and self.use[slot].object != object:
            slot = (slot + 1) & (self.use_room - 1)
        return &self.use[slot]

    cdef bint conflicts(self, int task, int op, void *object) noexcept nogil:
        """Whether an operation depends on what other tasks do, as far as is known."""
        cdef Use *use = self.find(object)
        cdef uint64_t others = use.writers if only_looks(op) else use.writers | use.readers
        return object != NULL and others & ~(<uint64_t>1 << task) != 0

    cdef bint learn(self, Execution *x, int task) noexcept nogil:
        """What `task` is about to do will have been done. False where there is no memory."""
        cdef uint64_t bit = <uint64_t>1 << task
        cdef int op = x.task[task].op
        cdef Use *use
        cdef uint64_t before
        if x.task[task].object == NULL:
            return True
        if 2 * self.uses >= self.use_room and not self.rehash():
            return False
        use = self.find(x.task[task].object)
        if use.object == NULL:
            use.object = x.task[task].object
            self.uses += 1
        before = use.readers & bit if only_looks(op) else use.writers & bit
        if before:
            return True
        if only_looks(op):
            use.readers |= bit
            self.learned = self.learned or use.writers & ~bit != 0
        else:
            use.writers |= bit
            self.learned = self.learned or (use.readers | use.writers) & ~bit != 0
        return True

    cdef bint rehash(self) noexcept nogil:
        """Twice the room."""
        cdef Use *old = self.use
        cdef uint64_t room = self.use_room
        cdef uint64_t i
        self.use = <Use *>calloc(2 * room, sizeof(Use))
        if self.use == NULL:
            self.use = old
            return False
        self.use_room = 2 * room
        for i in range(room):
            if old[i].object != NULL:
                self.find(old[i].object)[0] = old[i]
        free(old)
        return True

    cdef void finished(self, Execution *x) noexcept nogil:
        cdef uint64_t slot = x.index % REMEMBERED
        cdef uint32_t turns = self.choice[self.n - 1].switches + 1 if x.halt != HALT_PRUNED else 0
        self.past_turns[slot] = turns
        self.past_steps[slot] = x.steps
        memcpy(&self.past[slot * (self.switches + 1)], self.turn, turns * sizeof(Turn))

    cdef bint grow(self) noexcept nogil:
        cdef uint64_t room = 2 * self.room + 1024
        cdef void *choice = realloc(self.choice, room * sizeof(Choice))
        if choice == NULL:
            return False
        self.choice = <Choice *>choice
        self.room = room
        return True


cdef void call_finished(Few strategy, Execution *x) noexcept nogil:
    strategy.finished(x)
