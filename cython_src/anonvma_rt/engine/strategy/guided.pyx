"""Guided: executions are changed a little from those that showed something new, as a fuzzer changes its inputs.

What it looks at are pairs: a step, and the change of the same object that came before it, each named by its task and
by how many steps the task had made. An execution in which a pair is met for the first time is kept as the few orders
that it was asked for ("this step right after that change", or "before any"), and later ones ask for those and one more,
or one less. A task is held back where an order says so, and whoever is left is drawn as by `pos`. Source: Wolff, Shi,
Duck, Mathur, Roychoudhury, "Greybox Fuzzing for Concurrency Testing" (ASPLOS 2024), whose abstract schedules these are.

What was seen is forgotten after every EPOCH executions, counted by index from 0. So an execution depends on its seed,
its index, and those of its epoch that come before it: these are made again, uncounted, wherever somebody begins in the
middle (catch_up). Any cut of a hunt makes the same executions so, and a recorded schedule needs none of this.
"""

from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from anonvma_rt.engine.base.grow cimport grow
from anonvma_rt.engine.base.operation cimport OP_START
from anonvma_rt.engine.base.rng cimport mix64, rng_below
from anonvma_rt.engine.base.table cimport Table, table_add, table_clear, table_close, table_open
from anonvma_rt.engine.base.tasks cimport TaskSet, anybody, copy, drop, has, pop
from anonvma_rt.engine.order.relation cimport CHANGES, group_of, would_fail
from anonvma_rt.engine.run.strategy cimport Strategy
from anonvma_rt.engine.run.task cimport (
    HALT_EXIT, HALT_NONE, HALT_NO_MEMORY, HALT_PRUNED, HALT_VIOLATION, Execution,
)
from anonvma_rt.engine.strategy.base cimport steps_of
from anonvma_rt.engine.strategy.pos cimport Pos, pos_begin, pos_draw, pos_highest, pos_made

cdef enum:
    EPOCH = 256
    # Orders that one execution is asked for, and executions whose orders are kept.
    MOST_ORDERS = 6
    KEPT = 64
    # Steps of the last execution from which orders are drawn, and how often a draw is tried.
    LOGGED = 4096
    TRIES = 8
    # Pairs that were seen, as bits.
    SEEN_WORDS = 1024
    # Instead of a task: no change was before.
    NOBODY = -1
    # Decisions in which an order may hold somebody back, beside the steps of an execution.
    LEAST_PATIENCE = 256

cdef struct Step:
    int32_t task
    # Whether it changes the object.
    bint changes
    uint64_t made
    void *object

# `late` is to come right after `early`, which is a change of its object, or before any change where nobody is early.
cdef struct Order:
    int32_t late
    int32_t early
    uint64_t late_made
    uint64_t early_made

cdef struct Orders:
    int32_t n
    Order order[MOST_ORDERS]

cdef struct Log:
    Step step[LOGGED]
    uint32_t n
    # Every so-manieth step is kept.
    uint64_t stride


cdef class Guided(Pos):
    """`guided`: its pairs and orders need every step, so each one is a decision. For one explorer at a time."""

    # The execution that it is ready for, by an Execution with this seed.
    cdef uint64_t next
    cdef void *of
    cdef uint64_t seed
    cdef bint lost
    cdef uint64_t patience
    # Of this epoch: the pairs, and what is kept of executions that had new ones; `kept` counts all that were.
    cdef uint64_t seen[SEEN_WORDS]
    cdef Orders corpus[KEPT]
    cdef uint64_t kept
    # The last execution and this one, in turn.
    cdef Log *log
    cdef int now
    # This execution: what it is asked for, how long that has held somebody back, which object was changed for it, how
    # many pairs are new; and of each object the last change.
    cdef Orders asked
    cdef uint64_t held[MOST_ORDERS]
    cdef void *changed[MOST_ORDERS]
    cdef uint64_t fresh
    cdef Table objects
    cdef Step *last
    cdef uint64_t last_room

    def __cinit__(self, *args, **kwargs):
        table_open(&self.objects)
        self.log = <Log *>calloc(2, sizeof(Log))
        if self.log == NULL:
            raise MemoryError("no memory for the steps of two executions")

    def __init__(self):
        self.sees_forced = True
        self.patience = LEAST_PATIENCE

    def __dealloc__(self):
        table_close(&self.objects)
        free(self.log)
        free(self.last)

    def clone(self):
        return Guided()

    def profiled(self, steps, task_steps=(), task_marks=()):
        self.patience = LEAST_PATIENCE + steps

    @property
    def failure(self):
        if self.lost:
            return RuntimeError("it learns from one execution to the next, so it can have no turns and be no member")
        return None

    @property
    def epoch(self):
        return EPOCH

    def fitting(self, first, size):
        """Up to the end of an epoch, so that others begin with a whole one."""
        return max(first // EPOCH + 1, (first + size) // EPOCH) * EPOCH - first

    def catch_up(self, explorer, first):
        """Those of its epoch before `first`; of the ones that this object made last, none again."""
        epoch = first - first % EPOCH
        while first != epoch and self.next != first:
            at = self.next if epoch < self.next < first else epoch
            block = explorer.run_with(self, at, first - at)
            if (block.halt is not None and block.halt != "stuck") or self.next <= at:
                return

    cdef void attach(self, Execution *x):
        Strategy.attach(self, x)
        x.strategy.finished = <void (*)(void *, Execution *) noexcept nogil>finished
        if self.of != <void *>x or self.seed != x.seed:
            self.of = <void *>x
            self.seed = x.seed
            self.next = 0

    cdef void begin(self, Execution *x) noexcept nogil:
        self.lost = x.index % EPOCH != 0 and x.index != self.next
        if x.index % EPOCH == 0:
            memset(self.seen, 0, sizeof(self.seen))
            self.kept = 0
            self.log[1 - self.now].n = 0
        self.log[self.now].n = 0
        self.log[self.now].stride = 1
        self.fresh = 0
        table_clear(&self.objects)
        memset(self.held, 0, sizeof(self.held))
        memset(self.changed, 0, sizeof(self.changed))
        pos_begin(self, x)
        ask(self, x)

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        return pick_one(self, x, 1)

    cdef int pick_many(self, Execution *x, uint64_t *hold) noexcept nogil:
        return pick_one(self, x, x.words)


cdef void finished(Guided self, Execution *x) noexcept nogil:
    """What came to an end is learned from; whatever did not is made again."""
    if x.halt not in (HALT_NONE, HALT_VIOLATION, HALT_EXIT, HALT_PRUNED):
        return
    if self.fresh:
        self.corpus[self.kept % KEPT] = self.asked
        self.kept += 1
    self.now = 1 - self.now
    self.next = x.index + 1


# ---- What an execution is asked for ----------------------------------------------------------------------------------


cdef void ask(Guided self, Execution *x) noexcept nogil:
    """Nothing, one order, or those of an execution that was kept, with one more, another or one less."""
    cdef Orders *asked = &self.asked
    cdef uint32_t draw = rng_below(&x.rng, 8)
    cdef uint32_t change
    asked.n = 0
    if draw < 2:
        return
    if draw >= 4 and self.kept:
        asked[0] = self.corpus[rng_below(&x.rng, <uint32_t>min(self.kept, <uint64_t>KEPT))]
        change = rng_below(&x.rng, 4)
        if asked.n and (change < 2 or asked.n == MOST_ORDERS):
            asked.n -= 1
            asked.order[rng_below(&x.rng, asked.n + 1)] = asked.order[asked.n]
        if change == 0:
            return
    if draw_order(&self.log[1 - self.now], x, &asked.order[asked.n]):
        asked.n += 1


cdef bint draw_order(Log *log, Execution *x, Order *order) noexcept nogil:
    """A step of the last execution, and a change of its object by another task or none at all. False: there is none, or
    chance met none."""
    cdef Step *late
    cdef uint32_t n
    cdef uint32_t i
    cdef int _
    if log.n == 0:
        return False
    for _ in range(TRIES):
        late = &log.step[rng_below(&x.rng, log.n)]
        n = 0
        for i in range(log.n):
            n += is_early(&log.step[i], late)
        if n == 0:
            continue
        order.late = late.task
        order.late_made = late.made
        order.early = NOBODY
        order.early_made = 0
        n = rng_below(&x.rng, n + 1)
        for i in range(log.n):
            if is_early(&log.step[i], late):
                if n == 0:
                    order.early = log.step[i].task
                    order.early_made = log.step[i].made
                    return True
                n -= 1
        return True
    return False


cdef inline bint is_early(Step *step, Step *late) noexcept nogil:
    return step.changes and step.object == late.object and step.task != late.task


# ---- Decisions -------------------------------------------------------------------------------------------------------


cdef inline int pick_one(Guided self, Execution *x, int words) noexcept nogil:
    cdef TaskSet left
    cdef int chosen = NOBODY
    if self.lost:
        return -1
    pos_draw(self, x)
    if self.asked.n:
        copy(left, x.enabled, words)
        chosen = follow(self, x, left, words)
        if chosen < 0 and anybody(left, words):
            chosen = pos_highest(self, left, words)
    if chosen < 0:
        chosen = pos_highest(self, x.enabled, words)
    if note(self, x, chosen) < 0:
        x.halt = HALT_NO_MEMORY
        return -1
    pos_made(self, x, chosen)
    return chosen


cdef int follow(Guided self, Execution *x, uint64_t *left, int words) noexcept nogil:
    """Takes out of `left` whoever an order holds back; the task whose turn an order says it is, or NOBODY."""
    cdef Order *order
    cdef TaskSet rest
    cdef void *object
    cdef uint64_t made
    cdef int next_one = NOBODY
    cdef int i
    cdef int j
    for i in range(self.asked.n):
        order = &self.asked.order[i]
        if order.late >= x.tasks or has(x.done, order.late, words) or self.held[i] > self.patience:
            continue
        made = steps_of(x, order.late)
        if made > order.late_made:
            continue
        if order.early >= 0 and self.changed[i] == NULL:
            # Not until the other one has made its change.
            if made == order.late_made and not has(x.done, order.early, words):
                drop(left, order.late, words)
                self.held[i] += 1
            continue
        if made == order.late_made or order.early < 0:
            if next_one < 0 and has(left, order.late, words):
                next_one = order.late
                self.held[i] += 1
        object = x.task[order.late].object if made == order.late_made else self.changed[i]
        if object == NULL:
            continue
        copy(rest, left, words)
        while anybody(rest, words):
            j = pop(rest, words)
            if j != order.late and x.task[j].object == object and group_of(x.task[j].op, False) == CHANGES:
                drop(left, j, words)
                self.held[i] += 1
    return next_one if next_one >= 0 and has(left, next_one, words) else NOBODY


cdef int note(Guided self, Execution *x, int task) noexcept nogil:
    """The step that a task is about to make: what it pairs with, and what it is to others. -1: no memory."""
    cdef int op = x.task[task].op
    cdef void *object = x.task[task].object
    cdef uint64_t made = steps_of(x, task)
    cdef uint32_t known = self.objects.used
    cdef uint32_t number
    cdef uint64_t pair
    cdef bint changes
    cdef int i
    if op == OP_START or object == NULL:
        return 0
    number = table_add(&self.objects, <uint64_t>object)
    if number == 0 or grow(<void **>&self.last, &self.last_room, number + 1, sizeof(Step)) < 0:
        return -1
    if number > known:
        self.last[number].task = NOBODY
        self.last[number].made = 0
    pair = mix64((<uint64_t>(self.last[number].task + 1) << 40) + rough(self.last[number].made))
    pair = mix64(pair + (<uint64_t>(task + 1) << 40) + rough(made)) % (SEEN_WORDS * 64)
    if not self.seen[pair >> 6] >> (pair & 63) & 1:
        self.seen[pair >> 6] |= <uint64_t>1 << (pair & 63)
        self.fresh += 1
    changes = group_of(op, would_fail(op, object)) == CHANGES
    log_step(&self.log[self.now], x, Step(task, changes, made, object))
    if changes:
        self.last[number].task = task
        self.last[number].made = made
        for i in range(self.asked.n):
            if self.asked.order[i].early == task and self.asked.order[i].early_made == made:
                self.changed[i] = object
    return 0


cdef inline uint64_t rough(uint64_t made) noexcept nogil:
    """The number itself where it is small, and else its four highest bits."""
    cdef int shift = 0
    while made >> shift >= 64:
        shift += 1
    return (made >> shift >> 2 << 2 if shift else made) + (<uint64_t>shift << 8)


cdef inline void log_step(Log *log, Execution *x, Step step) noexcept nogil:
    cdef uint32_t i
    if x.steps % log.stride:
        return
    if log.n == LOGGED:
        for i in range(LOGGED // 2):
            log.step[i] = log.step[2 * i]
        log.n = LOGGED // 2
        log.stride *= 2
    log.step[log.n] = step
    log.n += 1
