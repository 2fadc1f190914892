"""The decision at a point, the end of an execution by a violation, and the lock-order checker (see task.pxd)."""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from anonvma_rt.engine.base.arena cimport arena_free, arena_offset, arena_size
from anonvma_rt.engine.base.operation cimport NEVER, OP_AWAIT, OP_LOAD, Event, lock_word
from anonvma_rt.engine.base.os cimport rt_load, rt_store, rt_unlikely, rt_wait
from anonvma_rt.engine.base.tasks cimport (
    TaskSet, add, anybody, clear, copy, drop, equal, has, is_alone, keep, lowest, meet, only, pop, take_away, unite,
)
from anonvma_rt.engine.order.classes cimport BY_ALL, BY_NONE, observe
from anonvma_rt.engine.order.relation cimport awaits, can_go_on, waits, would_fail
from anonvma_rt.engine.run.journal cimport journal_take, trace_event, trace_segment

cdef enum:
    # ^C and a stop token are looked at this often within one execution, in steps.
    POLL = 16384


cdef bint must_wait(Task *t) noexcept nogil:
    if t.spinning and goes_round(t) and (t.x.strategy.cuts_spins or not t.news >> t.first):
        return True
    if rt_unlikely(t.x.memory.model):
        return t.x.memory.waits(t)
    return not can_go_on(t.op, t.object, t.test, t.want)


cdef bint fails(Task *t) noexcept nogil:
    """Whether what t announces is what the relation of operations calls failed, as things are."""
    cdef int64_t value
    if rt_unlikely(t.x.memory.model) and (t.op == OP_LOAD or t.op == OP_AWAIT):
        return t.x.memory.forwards(t, <int64_t *>t.object, &value)
    return would_fail(t.op, t.object)


cdef bint goes_round(Task *t) noexcept nogil:
    """Whether what t announces begins another round like that which it has ended; then `first` says where that one
    began. Where an object was looked at more than once it may be unknown, and the next round will tell."""
    cdef int i
    if t.first == ROUND_UNKNOWN:
        t.first = ROUND_OTHER
        for i in range(1 if t.whole else t.n_looks):
            if t.looks[i] == t.object:
                if t.first >= 0:
                    t.first = ROUND_OTHER
                    break
                t.first = i
    return t.first >= 0


cdef void park(Task *t, int change) noexcept nogil:
    """Lets locks and words know that a task waits at them, so that only they pay for a recheck."""
    cdef lock_word *lock = <lock_word *>t.object
    if awaits(t.op):
        t.x.awaiting += change
    elif waits(t.op):
        lock.waiters += change


cdef void reschedule(Task *t) noexcept nogil:
    """The slow path of point(): decides who makes step x.steps, and returns when t is to make its own."""
    cdef Execution *x = t.x
    cdef int chosen
    if x.parallel:
        x.carrier.pass_by(t)
        return
    if x.steps > x.limits.alarm:
        look_around(t)
    if x.subject.marks != NULL and marking(t) and x.subject.marks(x.subject.self, t):
        mark(t)
    if must_wait(t):
        drop(x.enabled, t.id, x.words)
        add(x.blocked, t.id, x.words)
    chosen = decide(x)
    if chosen < 0:
        if x.halt or anybody(x.enabled, x.words):
            halt(t, x.halt if x.halt else HALT_DIVERGED)
        stuck(x, t.id)
        x.carrier.unwind(t)
    if chosen != t.id:
        park(t, 1)
        x.carrier.switch_to(x, t.id, chosen)
        if x.halt:
            x.carrier.unwind(t)
        park(t, -1)
    t.interesting = False
    if t.lapsed:
        # It gives up, and leaves what it waited for as it is.
        t.op = OP_LOAD
    if x.rounds.granted != NULL:
        x.rounds.granted(t)
    if x.watched:
        watch(t)


cdef inline int observe_step(Task *t) noexcept nogil:
    if t.x.memory.model:
        return t.x.memory.observe(t, fails(t))
    return observe(t.x.observer, t.id, t.op, would_fail(t.op, t.object), t.object)


cdef void watch(Task *t) noexcept nogil:
    """The operation that t announced was granted, and t makes it now."""
    if t.x.tracing:
        record(t.x, t.id, t.op, 0, <int64_t>arena_offset(&t.x.arena, t.object), 0, 0)
    if t.x.observer != NULL and observe_step(t) < 0:
        t.x.halt = HALT_NO_MEMORY
    if t.x.audit.self != NULL and t.x.audit.step(t.x.audit.self, t.id, t.op, t.object) < 0:
        t.x.halt = HALT_NO_MEMORY


cdef void look_around(Task *t) noexcept nogil:
    """What is seldom due at a point: the end of an execution for a reason that is not its own."""
    cdef Execution *x = t.x
    if x.limits.stop != NULL and rt_load(x.limits.stop):
        halt(t, HALT_STOPPED)
    if x.steps > x.limits.bound:
        violate(t, VIOLATION_LIVELOCK, <int64_t>x.limits.bound, 0, 0)
    if x.steps > x.limits.stop_at:
        hold_here(x)
        halt(t, HALT_UNTIL)
    set_alarm(x)


cdef void set_alarm(Execution *x) noexcept nogil:
    x.limits.alarm = x.steps + POLL
    if x.limits.alarm > x.limits.bound:
        x.limits.alarm = x.limits.bound
    if x.limits.alarm > x.limits.stop_at:
        x.limits.alarm = x.limits.stop_at


cdef void hold_here(Execution *x) noexcept nogil:
    """Waits, where that was asked for, until whoever looks at the stopped execution lets it end."""
    if rt_load(&x.hold) != HOLD_WANTED:
        return
    rt_store(&x.hold, HOLD_HERE)
    while rt_load(&x.hold) == HOLD_HERE:
        rt_wait(&x.hold, HOLD_HERE, -1)


cdef void stuck(Execution *x, int task) noexcept nogil:
    """Nobody is enabled: a deadlock, or a livelock of whoever spins."""
    cdef TaskSet waiting
    if meet(x.rounds.spinning, x.blocked, x.words):
        stuck_in_rounds(x)
        return
    copy(waiting, x.blocked, x.words)
    take_away(waiting, x.outside, x.words)
    found(x, x.subject.stuck(x.subject.self, x), task, <int64_t>waiting[0], 0, 0)
    end_with(x, waiting)


cdef void end_with(Execution *x, const uint64_t *tasks) noexcept nogil:
    """What was just found ends the execution: the rest of a set of tasks whose first 64 are among its numbers."""
    memcpy(x.finding.further, tasks + 1, (x.words - 1) * sizeof(uint64_t))
    x.halt = HALT_VIOLATION


cdef void stuck_in_rounds(Execution *x) noexcept nogil:
    """The same, and somebody spins: a livelock, unless what it looked at has changed since. Then it could have gone on,
    and where the strategy did not let it, it does so in another execution."""
    cdef TaskSet spinning
    cdef int i
    copy(spinning, x.rounds.spinning, x.words)
    keep(spinning, x.blocked, x.words)
    for i in range(x.tasks):
        if has(spinning, i, x.words) and x.task[i].news >> x.task[i].first:
            x.halt = HALT_PRUNED
            return
    found(x, VIOLATION_LIVELOCK, lowest(spinning, x.words), <int64_t>x.steps, <int64_t>spinning[0], 0)
    end_with(x, spinning)


cdef int decide(Execution *x) noexcept nogil:
    """Whose body goes on, behind any number of steps that flush a buffer, which are made here: -1 where nobody can or
    the strategy chose one that is not enabled."""
    cdef int chosen = decide_step(x)
    while chosen >= x.bodies:
        x.memory.flush(x, chosen)
        if x.halt:
            return -1
        x.steps += 1
        if x.steps > x.limits.stop_at:
            hold_here(x)
            x.halt = HALT_UNTIL
            return -1
        chosen = decide_step(x)
    return chosen


cdef int decide_step(Execution *x) noexcept nogil:
    return decide_apart(x) if rt_unlikely(x.words > 1) else decide_among(x, 1)


cdef int decide_of_many(Execution *x) noexcept nogil:
    return decide_among(x, x.words)


# By a pointer, or the compiler would make one code of both.
cdef int (*decide_apart)(Execution *x) noexcept nogil
decide_apart = decide_of_many


cdef inline int decide_among(Execution *x, int words) noexcept nogil:
    cdef uint64_t hold = 1
    cdef bint late = False
    cdef int chosen
    if x.rounds.tell != NULL:
        x.rounds.tell(x)
    if x.watched and x.journal.every and journal_take(&x.journal, &x.arena, x.steps, False) < 0:
        x.halt = HALT_NO_MEMORY
        return -1
    if not anybody(x.enabled, words):
        late = time_passes(x)
        if not late:
            return -1
    if x.current >= 0 and x.steps <= x.lease and has(x.enabled, x.current, words):
        chosen = x.current
    elif is_alone(x.enabled, words) and not x.strategy.sees_forced:
        chosen = lowest(x.enabled, words)
        x.lease = NEVER
    else:
        x.asking = True
        chosen = x.strategy.pick(x.strategy.self, x, &hold)
        x.asking = False
        if chosen < 0 or chosen >= x.tasks or not has(x.enabled, chosen, words):
            return -1
        x.lease = x.steps + hold - 1
        if x.lease < x.steps:
            x.lease = NEVER
    if late:
        only(x.enabled, chosen, words)
        drop(x.blocked, chosen, words)
        x.task[chosen].lapsed = True
        x.task[chosen].lapses += 1
    if chosen != x.current:
        if x.current >= 0:
            close_segment(x, x.steps)
            x.switches += 1
        x.current = chosen
        x.segment = x.steps
    x.until = x.lease if x.lease < x.limits.alarm else x.limits.alarm
    if x.watched or x.memory.model or x.rounds.tell != NULL or (
        x.subject.marks != NULL and (x.strategy.sees_marks or x.profiling)
    ):
        x.until = 0
    return chosen


cdef bint time_passes(Execution *x) noexcept nogil:
    """Nobody can go on: whether somebody waits for some time at most. Who gave up least often is enabled: all have a
    turn. A search of every class prunes that: it was a choice not to be late earlier (programs/timed)."""
    cdef uint64_t fewest = NEVER
    cdef int i
    for i in range(x.tasks):
        if x.task[i].timed and has(x.blocked, i, x.words) and not has(x.outside, i, x.words):
            if x.task[i].lapses < fewest:
                only(x.enabled, i, x.words)
                fewest = x.task[i].lapses
            elif x.task[i].lapses == fewest:
                add(x.enabled, i, x.words)
    if fewest < NEVER and x.strategy.cuts_spins:
        x.halt = HALT_PRUNED
        clear(x.enabled, x.words)
        return False
    # Such executions are none that a search makes: they have no class.
    x.rounds.fruitless |= fewest < NEVER
    x.lease = 0 if fewest < NEVER and not x.strategy.keeps_lease else x.lease
    return fewest < NEVER


cdef void close_segment(Execution *x, uint64_t at) noexcept nogil:
    """The schedule is a list of segments (task, steps); this ends the open one before step `at`."""
    cdef uint64_t steps = at - x.segment
    cdef uint64_t task = <uint64_t>x.current
    # What of its id has no place below the steps is where no number of steps comes.
    cdef uint64_t segment = (steps << 6) + task + (task >> 6 << 62)
    x.digest = (x.digest ^ segment) * 0x9FB21C651E98DF25ULL
    x.digest ^= x.digest >> 32
    x.task[task].made += steps
    if x.tracing and not trace_segment(&x.trace, task, steps):
        x.halt = HALT_NO_MEMORY


cdef void record(Execution *x, int task, int op, int64_t code, int64_t a, int64_t b, int64_t c) noexcept nogil:
    cdef Event event = Event(step=x.steps, task=task, op=op, code=code, a=a, b=b, c=c)
    if not trace_event(&x.trace, &event):
        x.halt = HALT_NO_MEMORY


cdef void recheck(Execution *x, void *object) noexcept nogil:
    """A lock or word changed: whoever is parked at it may now go on, or no longer. A change asks for a decision."""
    if rt_unlikely(x.words > 1):
        recheck_apart(x, object)
    else:
        recheck_among(x, object, 1)


cdef void recheck_many(Execution *x, void *object) noexcept nogil:
    recheck_among(x, object, x.words)


cdef void (*recheck_apart)(Execution *x, void *object) noexcept nogil
recheck_apart = recheck_many


cdef inline void recheck_among(Execution *x, void *object, int words) noexcept nogil:
    cdef TaskSet before, parked
    cdef int i
    copy(before, x.enabled, words)
    copy(parked, before, words)
    unite(parked, x.blocked, words)
    drop(parked, x.current, words)
    while anybody(parked, words):
        i = pop(parked, words)
        if x.task[i].object == object:
            if must_wait(&x.task[i]):
                drop(x.enabled, i, words)
                add(x.blocked, i, words)
            else:
                add(x.enabled, i, words)
                drop(x.blocked, i, words)
    if not equal(before, x.enabled, words) and not x.strategy.keeps_lease:
        x.lease = 0
        x.until = 0


cdef void free_object(Task *t, void *object) noexcept nogil:
    """Frees an object of the arena. Whoever waits at a lock in it goes on, to find out."""
    cdef Execution *x = t.x
    cdef uint64_t end = <uint64_t>object + arena_size(object)
    cdef TaskSet parked
    cdef int i
    arena_free(&x.arena, object)
    if x.parallel:
        return
    copy(parked, x.blocked, x.words)
    while anybody(parked, x.words):
        i = pop(parked, x.words)
        if <uint64_t>object <= <uint64_t>x.task[i].object < end:
            recheck(x, x.task[i].object)


cdef void found(Execution *x, int kind, int task, int64_t a, int64_t b, int64_t c) noexcept nogil:
    """Notes a violation; the first one of an execution is its verdict."""
    if x.finding.kind != VIOLATION_NONE:
        return
    x.finding.kind = kind
    x.finding.task = task
    x.finding.step = x.steps
    x.finding.a = a
    x.finding.b = b
    x.finding.c = c


cdef void violate(Task *t, int kind, int64_t a, int64_t b, int64_t c) noexcept nogil:
    """Ends the execution with a violation found by t. Does not return."""
    found(t.x, kind, t.id, a, b, c)
    halt(t, HALT_VIOLATION)


cdef int cut_by(Execution *x) noexcept nogil:
    """The task whose step ended the execution, with a violation or for all. BY_NONE where the execution came to its
    end, or none of its steps did that: in a deadlock nobody goes on, and a livelock is cut at some step. BY_ALL where
    what several tasks did without saying so does not fit together."""
    if x.halt == HALT_VIOLATION and x.finding.kind == VIOLATION_LOCK_ORDER:
        return BY_ALL
    if x.halt == HALT_EXIT:
        return x.finding.task
    if x.halt != HALT_VIOLATION or x.finding.kind in (VIOLATION_DEADLOCK, VIOLATION_LOST_WAKEUP, VIOLATION_LIVELOCK):
        return BY_NONE
    return x.finding.task


cdef void halt(Task *t, int reason) noexcept nogil:
    """Ends the execution: every task leaves its body at its point. Does not return."""
    t.x.halt = reason
    t.x.carrier.unwind(t)


cdef void wait_outside(Task *t) noexcept nogil:
    """t has not begun, or has come to its end and may begin again: it waits at its gate."""
    t.op = t.gate.op
    t.object = t.gate.word
    t.test = t.gate.test
    t.want = t.gate.want
    t.started = False
    add(t.x.outside, t.id, t.x.words)
    t.x.awaiting += 1
    if must_wait(t):
        drop(t.x.enabled, t.id, t.x.words)
        add(t.x.blocked, t.id, t.x.words)
    else:
        add(t.x.enabled, t.id, t.x.words)
