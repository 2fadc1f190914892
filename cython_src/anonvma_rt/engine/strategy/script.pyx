"""Script: follows a list of (task, steps), exactly or as far as it goes.

Three policies say what the list means: what its numbers count, what becomes of an entry whose task cannot go on, and
who makes the steps after the last entry. Each function below makes a Script for one use; a whole Script belongs to the
task that runs, as every strategy does.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from anonvma_rt.engine.base.operation cimport MAX_TASKS, NEVER
from anonvma_rt.engine.base.tasks cimport has
from anonvma_rt.engine.order.signature cimport same_step, step_signature
from anonvma_rt.engine.run.strategy cimport Strategy
from anonvma_rt.engine.run.task cimport Execution, Task
from anonvma_rt.engine.strategy.base cimport count_enabled, go_on, is_enabled, next_enabled, nth_enabled, steps_of

# What an entry counts: steps in a row; up to which of its own steps its task goes; steps in a row of the task that is
# the n-th of those enabled, counted around.
cdef enum Count:
    SEGMENT
    OWN
    RANK

# What becomes of an entry whose task cannot go on: the execution is given up, the entry waits while later ones have
# their turn, or it is left out.
cdef enum Misfit:
    DIVERGE
    DEFER
    SKIP

# After the last entry: the running task goes on until it blocks, then the lowest enabled id; or the tasks take turns.
cdef enum Tail:
    ON
    TURNS

cdef enum:
    # Steps of a turn.
    TURN = 16

cdef struct Entry:
    uint64_t task
    uint64_t steps
    # Where entries may wait: the steps that it has not had yet.
    uint64_t left


cdef class Script(Strategy):
    """Made by the functions of this module. signatures: two bytes per entry, what its task must be about to do
    (order/signature); the entries are single steps then.

    After an execution `at` is the number of entries that were followed, and `lost` whether it could not go on with one.
    """

    cdef tuple steps
    cdef bytes signatures
    cdef const uint16_t *signature
    cdef Entry *entry
    cdef uint64_t n
    cdef int count
    cdef int misfit
    cdef int tail
    # The last step of the entry that is being followed, where leaving it early is divergence.
    cdef uint64_t granted
    cdef readonly uint64_t at
    cdef readonly bint lost

    def __init__(self, steps, int count, int misfit, int tail, bytes signatures=None):
        cdef uint64_t i
        self.steps = tuple(steps)
        self.count = count
        self.misfit = misfit
        self.tail = tail
        self.signatures = signatures
        self.signature = <const uint16_t *>PyBytes_AS_STRING(signatures) if signatures is not None else NULL
        self.sees_forced = count == SEGMENT
        self.keeps_lease = misfit == DIVERGE
        free(self.entry)
        self.entry = <Entry *>malloc((len(self.steps) + 1) * sizeof(Entry))
        if self.entry == NULL:
            raise MemoryError(f"no memory for a list of {len(self.steps)} entries")
        self.n = len(self.steps)
        for i in range(self.n):
            self.entry[i].task, self.entry[i].steps = self.steps[i]

    def __dealloc__(self):
        free(self.entry)

    def clone(self):
        return Script(self.steps, self.count, self.misfit, self.tail, self.signatures)

    cdef void begin(self, Execution *x) noexcept nogil:
        cdef uint64_t i
        self.at = 0
        self.granted = 0
        self.lost = False
        if self.misfit == DEFER:
            for i in range(self.n):
                self.entry[i].left = self.entry[i].steps

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        cdef uint64_t i
        cdef uint64_t wanted
        cdef int task
        if x.steps <= self.granted:
            # Asked early: the task has not made all the steps of its entry, and cannot.
            self.lost = True
            return -1
        for i in range(self.at, self.n):
            wanted = self.wanted(x, i)
            task = self.fitting(x, i) if wanted else -1
            if task >= 0:
                hold[0] = self.grant(x, i, wanted)
                return task
            if wanted and self.misfit == DIVERGE:
                self.lost = True
                return -1
            if i == self.at and (wanted == 0 or self.misfit == SKIP or self.is_done(x, i)):
                self.at += 1
        return self.after(x, hold)

    cdef uint64_t wanted(self, Execution *x, uint64_t i) noexcept nogil:
        """The steps that entry i still asks for."""
        cdef Entry *entry = &self.entry[i]
        cdef uint64_t made
        if self.misfit == DEFER:
            return entry.left
        if self.count == OWN:
            made = steps_of(x, <int>entry.task) if entry.task < <uint64_t>x.tasks else entry.steps
            return entry.steps - made if made < entry.steps else 0
        # Every rank is somebody's, so that no entry is empty.
        return 1 if self.count == RANK and entry.steps == 0 else entry.steps

    cdef bint is_done(self, Execution *x, uint64_t i) noexcept nogil:
        """Whether the task that entry i names has ended."""
        return self.entry[i].task < <uint64_t>x.tasks and has(x.done, <int>self.entry[i].task, x.words)

    cdef int fitting(self, Execution *x, uint64_t i) noexcept nogil:
        """The task that entry i means, -1 where it cannot go on or is about to do something else."""
        cdef uint64_t number = self.entry[i].task
        cdef Task *t
        if self.count == RANK:
            return nth_enabled(x, <uint32_t>(number % <uint64_t>count_enabled(x)))
        if number >= <uint64_t>x.tasks or not is_enabled(x, <int>number):
            return -1
        t = &x.task[number]
        if self.signature != NULL and not same_step(self.signature[i], step_signature(&x.arena, t.op, t.object)):
            return -1
        return <int>number

    cdef uint64_t grant(self, Execution *x, uint64_t i, uint64_t steps) noexcept nogil:
        """Entry i has its turn: for how many steps before the next question."""
        if self.misfit == DEFER:
            self.entry[i].left -= 1
            return 1
        if self.count != OWN:
            self.at += 1
        if self.misfit == DIVERGE:
            self.granted = x.steps + steps - 1 if steps <= NEVER - x.steps else NEVER
        return steps

    cdef int after(self, Execution *x, uint64_t *hold) noexcept nogil:
        """Who goes on when there is nothing more to follow."""
        cdef int later
        if self.tail == TURNS and x.current >= 0:
            hold[0] = TURN
            later = next_enabled(x, x.current + 1)
            return later if later >= 0 else next_enabled(x, 0)
        if self.misfit != DEFER:
            hold[0] = NEVER
        return go_on(x, x.words)


def replay(segments=()):
    """A recorded schedule, exactly; where the subject cannot follow it the execution has diverged. Empty: the
    sequential schedule, which also serves as the profile of an execution."""
    return Script(segments, SEGMENT, DIVERGE, ON)


def follow(segments=()):
    """A recorded schedule for a subject that is not quite the recorded one, such as another algorithm: as far as it
    goes, and never divergent. What a task that has ended would still have made is left out."""
    return Script([(task, steps) for task, steps in segments if 0 <= task < MAX_TASKS], SEGMENT, DEFER, ON)


def cuts(cuts=(), fair=False):
    """A schedule that need not fit, as a shrinker makes them: (task, up to which of its own steps).

    Counted from the task's beginning a list stays sensible where an entry is taken out: the task is then behind by what
    it missed, and its next entry makes up for it. fair: afterwards the tasks take turns, so that nobody waits for what
    a starved one would do.
    """
    return Script(cuts, OWN, SKIP, TURNS if fair else ON)


def drawn(preferences=()):
    """Preferences (which of the enabled tasks, steps), fewer steps if the enabled tasks change: every list of numbers
    is a schedule, and so is every part of one, for whoever draws and shrinks such lists."""
    return Script(preferences, RANK, SKIP, ON)


def retrace(bytes tasks not None, bytes signatures not None):
    """A schedule step by step as it was seen at large, a byte per step. `lost` says that the execution became another
    one: then the log's order was not quite the order of events, and `at` is the place."""
    if 2 * len(tasks) != len(signatures):
        raise ValueError(f"{len(tasks)} tasks for {len(signatures)} bytes of signatures")
    return Script([(task, 1) for task in tasks], SEGMENT, DIVERGE, ON, signatures)
