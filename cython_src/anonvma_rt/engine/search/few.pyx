"""Few: every execution that has at most so many switches and so many preemptions, one after the other.

A switch is a preemption where the task could have gone on. Source: Musuvathi and Qadeer, "Iterative Context Bounding
for Systematic Testing of Multithreaded Programs" (PLDI 2007): bugs need few preemptions, and there are only
polynomially many executions with few.

A task is preempted only where it is about to do what another task's operation depends on: a preemption anywhere else
may as well come later, and the execution is equivalent (relation.pxd). Which objects these are is learned on the way;
where more were learned, the search begins anew, until it ends with what it began with. It is depth first, and its state
are the choices of the current execution and what was learned.
"""

cimport cython
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from anonvma_rt.engine.base.grow cimport grow, grow_filled
from anonvma_rt.engine.base.os cimport rt_unlikely
from anonvma_rt.engine.base.table cimport Table, table_add, table_close, table_get, table_open
from anonvma_rt.engine.base.tasks cimport TASK_WORDS, TaskSet, add, copy, following, has
from anonvma_rt.engine.order.relation cimport CHANGES, LOOKS, SHARES, group_of
from anonvma_rt.engine.strategy.base cimport go_on
from anonvma_rt.engine.run.task cimport HALT_NO_MEMORY, HALT_PRUNED, HALT_STOPPED, Execution, Task
from anonvma_rt.engine.run.strategy cimport Strategy

cdef enum:
    # So many executions of the past are remembered.
    REMEMBERED = 1024

# The choice before one step, what the task that ran was about to do, and how many switches and preemptions there were
# up to it, itself included.
cdef struct Choice:
    TaskSet enabled
    void *object
    int32_t op
    int32_t task
    uint32_t switches
    uint32_t preemptions

# A segment by its first step, counted from 0.
cdef struct Turn:
    uint64_t begin
    uint64_t task

# Which tasks have done what to an object, by group (relation.pxd).
cdef struct Use:
    uint64_t by[<int>CHANGES + 1][TASK_WORDS]

cdef struct Bounded:
    # Of a set of tasks.
    int words
    uint32_t switches
    uint32_t preemptions
    # Choices of this execution so far; the first `prefix` were made before it began.
    Choice *choice
    uint64_t room
    uint64_t n
    uint64_t prefix
    # The segments of these choices: as many as there are switches, and one.
    Turn *turn
    # Objects by address, their uses by number, and whether these tell of more conflicts than when the search began.
    Table objects
    Use *use
    uint64_t use_room
    bint learned
    # Whether a choice was left out because of the bound on preemptions only.
    bint limited


cdef inline bint conflicting(Use *use, int group, int task, int words) noexcept nogil:
    """Whether another task than `task` did what an operation of a group depends on."""
    cdef uint64_t tasks
    cdef int word
    for word in range(words):
        tasks = use.by[<int>CHANGES][word]
        if group != SHARES:
            tasks |= use.by[<int>SHARES][word]
        if group != LOOKS:
            tasks |= use.by[<int>LOOKS][word]
        if words == 1 or word == task >> 6:
            tasks &= ~(<uint64_t>1 << (task & 63))
        if tasks:
            return True
    return False


cdef inline bint conflicts(Bounded *s, int task, int op, void *object, int words) noexcept nogil:
    """Whether an operation depends on what other tasks do, as far as is known."""
    cdef uint32_t number = table_get(&s.objects, <uint64_t>object)
    return number != 0 and conflicting(&s.use[number], group_of(op, False), task, words)


cdef int learn(Bounded *s, Task *t) noexcept nogil:
    """What t is about to do will have been done. -1: no memory."""
    cdef int group = group_of(t.op, False)
    cdef uint32_t number
    cdef Use *use
    if t.object == NULL:
        return 0
    number = table_add(&s.objects, <uint64_t>t.object)
    if number == 0 or grow_filled(<void **>&s.use, &s.use_room, number + 1, sizeof(Use), 0) < 0:
        return -1
    use = &s.use[number]
    if not has(use.by[group], t.id, s.words):
        add(use.by[group], t.id, s.words)
        s.learned = s.learned or conflicting(use, group, t.id, s.words)
    return 0


cdef void choose(Bounded *s, uint64_t at, int task) noexcept nogil:
    """Makes `task` the choice at `at`, whatever it was before."""
    cdef Choice *c = &s.choice[at]
    cdef int before = s.choice[at - 1].task if at > 0 else -1
    c.task = task
    c.switches = s.choice[at - 1].switches if at > 0 else 0
    c.preemptions = s.choice[at - 1].preemptions if at > 0 else 0
    if task == before:
        return
    if before >= 0:
        c.switches += 1
        c.preemptions += has(c.enabled, before, s.words)
    s.turn[c.switches].begin = at
    s.turn[c.switches].task = <uint64_t>task


cdef int extend(Bounded *s, Execution *x, uint64_t at) noexcept nogil:
    """A choice that is new: the running task if it can go on, else the lowest id, which may be one switch too many."""
    cdef int task = go_on(x, s.words)
    if grow(<void **>&s.choice, &s.room, at + 1, sizeof(Choice)) < 0 or learn(s, &x.task[task]) < 0:
        x.halt = HALT_NO_MEMORY
        return -1
    s.n = at
    if at > 0 and task != x.current and s.choice[at - 1].switches == s.switches:
        x.halt = HALT_PRUNED
        return -1
    copy(s.choice[at].enabled, x.enabled, s.words)
    if at > 0:
        s.choice[at].op = x.task[x.current].op
        s.choice[at].object = x.task[x.current].object
    choose(s, at, task)
    s.n = at + 1
    return task


cdef int alternative_of_many(Bounded *s, uint64_t at) noexcept nogil:
    return alternative(s, at, s.words)


# By a pointer, or the compiler would make one code of both.
cdef int (*alternative_apart)(Bounded *s, uint64_t at) noexcept nogil
alternative_apart = alternative_of_many


cdef inline int alternative(Bounded *s, uint64_t at, int words) noexcept nogil:
    """Who may be chosen next at `at` after the choice that was made there: first the task that ran, then the others by
    id; -1: nobody."""
    cdef Choice *c = &s.choice[at]
    cdef Choice *previous
    cdef int other
    if at == 0:
        return following(c.enabled, c.task + 1, words)
    previous = c - 1
    other = following(c.enabled, 0 if c.task == previous.task else c.task + 1, words)
    if other == previous.task:
        other = following(c.enabled, other + 1, words)
    if other < 0 or previous.switches == s.switches:
        return -1
    if has(c.enabled, previous.task, words):
        if not conflicts(s, previous.task, c.op, c.object, words):
            return -1
        if previous.preemptions == s.preemptions:
            s.limited = True
            return -1
    return other


cdef uint64_t backtrack(Bounded *s) noexcept nogil:
    """Changes the last choice that has an alternative within the bounds. The number of choices that are now made; 0
    where nothing is left."""
    cdef uint64_t at = s.n
    cdef int other
    while at > 0:
        at -= 1
        other = alternative_apart(s, at) if rt_unlikely(s.words > 1) else alternative(s, at, 1)
        if other >= 0:
            choose(s, at, other)
            return at + 1
    return 0


@cython.final
cdef class Few(Strategy):
    """`few`: not for hunting; hand it to an explorer with index after index until it is exhausted.

    limited: executions were left out because of the bound on preemptions, and not only because of that on switches.
    """

    cdef Bounded s
    cdef bint begun
    cdef readonly bint exhausted
    # Of the last executions, by index: their turns, how many these are, and the number of steps.
    cdef Turn *past
    cdef uint32_t past_turns[REMEMBERED]
    cdef uint64_t past_steps[REMEMBERED]

    def __init__(self, uint32_t switches, preemptions=None):
        if switches >= 1 << 16:
            raise ValueError(f"strategy few: at most 65535 switches, not {switches}")
        self.sees_forced = True
        self.s.switches = switches
        self.s.preemptions = switches if preemptions is None else min(preemptions, switches)
        table_open(&self.s.objects)
        self.s.turn = <Turn *>malloc((switches + 1) * sizeof(Turn))
        self.past = <Turn *>malloc(REMEMBERED * (switches + 1) * sizeof(Turn))
        if self.s.turn == NULL or self.past == NULL:
            raise MemoryError()

    def __dealloc__(self):
        table_close(&self.s.objects)
        free(self.s.choice)
        free(self.s.turn)
        free(self.s.use)
        free(self.past)

    @property
    def switches(self):
        return self.s.switches

    @property
    def preemptions(self):
        return self.s.preemptions

    @property
    def limited(self):
        return self.s.limited

    def clone(self):
        return Few(self.s.switches, self.s.preemptions)

    def segments(self, uint64_t index):
        """The schedule of execution `index`, one of the last 1024: (task, steps) one after the other. None where it was
        given up."""
        cdef uint64_t slot = index % REMEMBERED
        cdef Turn *turns = &self.past[slot * (self.s.switches + 1)]
        if self.past_turns[slot] == 0:
            return None
        begins = [turns[i].begin for i in range(self.past_turns[slot])] + [self.past_steps[slot]]
        return [(turns[i].task, begins[i + 1] - begins[i]) for i in range(self.past_turns[slot])]

    cdef void attach(self, Execution *x):
        Strategy.attach(self, x)
        self.s.words = x.words
        x.strategy.finished = <void (*)(void *, Execution *) noexcept nogil>finished

    cdef void begin(self, Execution *x) noexcept nogil:
        cdef Bounded *s = &self.s
        if x.rounds.again:
            s.n = 0
            return
        if self.begun:
            s.prefix = backtrack(s)
            self.exhausted = s.prefix == 0 and not s.learned
        if s.prefix == 0:
            s.learned = False
            s.limited = s.limited and self.exhausted
        self.begun = True
        s.n = 0

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        cdef Bounded *s = &self.s
        cdef uint64_t at = x.steps - 1
        cdef uint64_t end = at
        if self.exhausted:
            x.halt = HALT_STOPPED
            return -1
        if at >= s.prefix:
            return extend(s, x, at)
        if at == s.prefix - 1 and learn(s, &x.task[s.choice[at].task]) < 0:
            x.halt = HALT_NO_MEMORY
            return -1
        while end < s.prefix and s.choice[end].task == s.choice[at].task:
            end += 1
        hold[0] = end - at
        s.n = end
        return s.choice[at].task


cdef void finished(Few self, Execution *x) noexcept nogil:
    """Keeps the schedule for segments()."""
    cdef Bounded *s = &self.s
    cdef uint64_t slot = x.index % REMEMBERED
    cdef uint32_t turns = s.choice[s.n - 1].switches + 1 if x.halt != HALT_PRUNED else 0
    self.past_turns[slot] = turns
    self.past_steps[slot] = x.steps
    memcpy(&self.past[slot * (s.switches + 1)], s.turn, turns * sizeof(Turn))
