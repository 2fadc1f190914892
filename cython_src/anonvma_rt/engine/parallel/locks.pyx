"""Real locks, and waits that can be left (see locks.pxd)."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from anonvma_rt.engine.base.operation cimport (
    MAX_TASKS, OP_DOWNGRADE, OP_LOCK, OP_READ_LOCK, OP_READ_TRYLOCK, OP_READ_UNLOCK, OP_WAIT, lock_word,
)
from anonvma_rt.engine.base.os cimport (
    rt_exchange, rt_load, rt_load64, rt_pause, rt_peek, rt_store, rt_store64, rt_subtract, rt_swap, rt_wait,
    rt_wake_all, rt_yield,
)
from anonvma_rt.engine.parallel.chaos cimport chaos_after_lock, chaos_at_point
from anonvma_rt.engine.parallel.log cimport breathe, drop_stripe, look_around, take_stripe, take_ticket, write_ticket
from anonvma_rt.engine.parallel.runner cimport SPINS, UNSEEN_POINTS, Runner, Storm, runner_of
from anonvma_rt.engine.order.relation cimport awaits, passes
from anonvma_rt.engine.run.sync cimport check_lock_order, share, unshare
from anonvma_rt.engine.run.task cimport (
    MAX_CLASSES, VIOLATION_BAD_UNLOCK, VIOLATION_DEADLOCK, VIOLATION_LIVELOCK, VIOLATION_USE_AFTER_FREE, Execution,
    Task, hold, unhold, violate,
)

cdef enum:
    # A new reader lets a waiting writer go first for so many looks, and no longer: for ever could be a deadlock.
    COURTESY = 64
    # A sleeping task looks around this often, in nanoseconds.
    NAP = 2000000
    # Looks between two questions whether anybody can go on at all.
    ASK_EVERY = 32


# ---- points ----------------------------------------------------------------------------------------------------------


cdef void rest(Task *t) noexcept nogil:
    """What comes before an operation: the end of the step before, delays, and the number of the next point that needs
    to come here."""
    cdef Runner *r = runner_of(t)
    cdef Execution *x = t.x
    cdef uint64_t next = x.steps + UNSEEN_POINTS
    drop_stripe(r)
    look_around(t)
    if x.steps > x.limits.bound:
        violate(t, VIOLATION_LIVELOCK, <int64_t>x.limits.bound, 0, 0)
    chaos_at_point(r)
    if r.storm.recording:
        x.until = 0
        return
    if next > r.next_delay:
        next = r.next_delay
    if next > r.next_window:
        next = r.next_window
    x.until = next - 1


cdef void come_to(Task *t, int op, void *object) noexcept nogil:
    """point() without its ticket, for whoever takes it a little later."""
    t.op = op
    t.object = object
    t.x.steps += 1
    if t.x.steps > t.x.until:
        rest(t)


cdef void pass_by(Task *t) noexcept nogil:
    """The slow path of point(): an operation on a word, or a wait that takes nothing."""
    rest(t)
    if t.op != OP_WAIT and not awaits(t.op):
        take_ticket(t, t.object)
        return
    while True:
        take_stripe(t, t.object)
        if not must_wait(t, t.op, t.object, t.test, t.want):
            break
        drop_stripe(runner_of(t))
        wait_at(t, t.op, t.object, True)
    if t.op == OP_WAIT:
        # Poison looks free to must_wait.
        class_of(t, <lock_word *>t.object, 0)
    if runner_of(t).storm.recording:
        write_ticket(runner_of(t))


# ---- waiting ---------------------------------------------------------------------------------------------------------


cdef bint must_wait(Task *t, int op, void *object, int test, int64_t want) noexcept nogil:
    """Whether an operation cannot go on as things are."""
    cdef lock_word w
    if awaits(op):
        return not passes(<int64_t>rt_load64(<uint64_t *>object), test, want)
    w.word = rt_load(&(<lock_word *>object).word)
    # The poison of a freed lock is for whoever waits to see.
    if w.cls >= MAX_CLASSES:
        return False
    return w.owner != 0 or (op != OP_READ_LOCK and w.readers != 0)


cdef bint all_stuck(Storm *s) noexcept nogil:
    """Whether nobody can ever go on: every task that has not ended waits, and what it waits for is held.

    Exact and without a clock: a task says that it waits before it looks, and that it does not before it takes anything.
    So where all said so throughout, nobody changed a thing meanwhile.
    """
    cdef uint32_t seen[MAX_TASKS]
    cdef Runner *r
    cdef int i
    for i in range(s.n):
        r = &s.runner[i]
        seen[i] = rt_load(&r.waiting)
        if not rt_load(&r.ended) and not seen[i] & 1:
            return False
    for i in range(s.n):
        r = &s.runner[i]
        if rt_load(&r.ended):
            continue
        if not must_wait(NULL, <int>rt_load(<uint32_t *>&r.wanted), <void *>rt_load64(&r.at),
                         <int>rt_load(<uint32_t *>&r.test), <int64_t>rt_load64(<uint64_t *>&r.want)):
            return False
    for i in range(s.n):
        r = &s.runner[i]
        if rt_load(&r.waiting) != seen[i]:
            return False
    return True


cdef void change_waiters(lock_word *lock, int change) noexcept nogil:
    """Says on the word that somebody sleeps at it, or is a writer who waits for readers."""
    cdef lock_word w
    cdef lock_word to
    while True:
        w.word = rt_peek(&lock.word)
        if w.cls >= MAX_CLASSES:
            return
        to.word = w.word
        to.waiters += change
        if rt_swap(&lock.word, w.word, to.word):
            return


cdef void wait_at(Task *t, int op, void *object, bint sleeps) noexcept nogil:
    """Returns when the operation may be possible. A sleeper is woken by whoever releases the lock."""
    cdef Runner *r = runner_of(t)
    cdef lock_word *lock = <lock_word *>object
    cdef uint32_t looks = 0
    cdef uint32_t seen
    cdef bint counted = False
    while looks < SPINS:
        if not must_wait(t, op, object, t.test, t.want):
            return
        rt_pause()
        looks += 1
    rt_store(<uint32_t *>&r.wanted, <uint32_t>op)
    rt_store(<uint32_t *>&r.test, <uint32_t>t.test)
    rt_store64(<uint64_t *>&r.want, <uint64_t>t.want)
    rt_store64(&r.at, <uint64_t>object)
    rt_store(&r.waiting, r.waiting + 1)
    while must_wait(t, op, object, t.test, t.want):
        if rt_peek(&r.storm.leave):
            rt_store(&r.waiting, r.waiting + 1)
        look_around(t)
        looks += 1
        if looks % ASK_EVERY == 0 and all_stuck(r.storm):
            violate(t, VIOLATION_DEADLOCK, <int64_t>(<uint64_t>object - <uint64_t>t.x.arena.base), 0, 0)
        if not sleeps or awaits(op) or looks < SPINS + ASK_EVERY:
            rt_yield()
            continue
        if not counted:
            counted = True
            change_waiters(lock, 1)
        seen = rt_load(&lock.word)
        if must_wait(t, op, object, t.test, t.want):
            rt_wait(&lock.word, seen, NAP)
    if counted:
        change_waiters(lock, -1)
    rt_store(&r.waiting, r.waiting + 1)


# ---- locks -----------------------------------------------------------------------------------------------------------


cdef int64_t name(Task *t, void *object) noexcept nogil:
    return <int64_t>(<uint64_t>object - <uint64_t>t.x.arena.base)


cdef int class_of(Task *t, lock_word *lock, int subclass) noexcept nogil:
    """Its lock class; a violation where it was freed."""
    cdef lock_word w
    w.word = rt_peek(&lock.word)
    if w.cls >= MAX_CLASSES:
        violate(t, VIOLATION_USE_AFTER_FREE, 0, name(t, lock), 0)
    return w.cls + subclass if w.cls else 0


cdef bint take(Task *t, lock_word *lock, int op) noexcept nogil:
    """One try; whether the lock was taken."""
    cdef lock_word w
    cdef lock_word to
    cdef bint shares = op == OP_READ_LOCK or op == OP_READ_TRYLOCK
    while True:
        w.word = rt_peek(&lock.word)
        if w.cls >= MAX_CLASSES or w.owner or (w.readers and not shares):
            return False
        to.word = w.word
        if shares:
            to.readers += 1
        else:
            to.owner = t.id + 1
        if rt_swap(&lock.word, w.word, to.word):
            return True


cdef void be_polite(Task *t, lock_word *lock) noexcept nogil:
    """A new reader waits a little behind a writer that waits for the readers before it."""
    cdef lock_word w
    cdef int _look
    for _look in range(COURTESY):
        w.word = rt_peek(&lock.word)
        if w.waiters == 0 or w.owner:
            return
        rt_yield()


cdef void acquire_at_once(Task *t, lock_word *lock, int op, int subclass, bint sleeps) noexcept nogil:
    cdef Runner *r = runner_of(t)
    cdef lock_word w
    cdef int cls = class_of(t, lock, subclass)
    if cls and t.held & ~t.x.order.allowed[cls]:
        check_lock_order(t, cls)
    come_to(t, op, lock)
    w.word = rt_peek(&lock.word)
    if op == OP_READ_LOCK and w.waiters:
        be_polite(t, lock)
    while True:
        take_stripe(t, lock)
        if take(t, lock, op):
            break
        drop_stripe(r)
        class_of(t, lock, 0)
        wait_at(t, op, lock, sleeps)
    if r.storm.recording:
        write_ticket(r)
    if op == OP_READ_LOCK:
        share(t, lock)
    if cls:
        hold(t, cls)
    if r.to_stall:
        drop_stripe(r)
        chaos_after_lock(r, cls)


cdef bint try_at_once(Task *t, lock_word *lock, int op) noexcept nogil:
    cdef Runner *r = runner_of(t)
    cdef int cls
    cdef bint taken
    come_to(t, op, lock)
    cls = class_of(t, lock, 0)
    take_stripe(t, lock)
    taken = take(t, lock, op)
    if r.storm.recording:
        write_ticket(r)
    if taken:
        if op == OP_READ_TRYLOCK:
            share(t, lock)
        if cls:
            hold(t, cls)
        if r.to_stall:
            drop_stripe(r)
            chaos_after_lock(r, cls)
    return taken


cdef void release_at_once(Task *t, lock_word *lock, int op, int subclass) noexcept nogil:
    cdef Runner *r = runner_of(t)
    cdef lock_word w
    cdef lock_word one
    cdef lock_word kept
    cdef int cls
    come_to(t, op, lock)
    cls = class_of(t, lock, subclass)
    take_stripe(t, lock)
    if r.storm.recording:
        write_ticket(r)
    w.word = rt_peek(&lock.word)
    if (w.owner != t.id + 1 if op != OP_READ_UNLOCK else not unshare(t, lock)) or (cls and t.held_count[cls] == 0):
        violate(t, VIOLATION_BAD_UNLOCK, cls, w.owner, name(t, lock))
    one.word = 0
    kept.word = 0
    if op == OP_READ_UNLOCK:
        one.readers = 1
    else:
        one.owner = t.id + 1
    if op == OP_DOWNGRADE:
        share(t, lock)
        kept.readers = 1
    elif cls:
        unhold(t, cls)
    # One subtraction changes both bytes: of a lock that is held for writing nobody has a share.
    w.word = rt_subtract(&lock.word, one.word - kept.word)
    if w.waiters:
        rt_wake_all(&lock.word)


cdef void quiet_lock(Task *t, lock_word *lock) noexcept nogil:
    """Takes a lock without a point, a ticket or a lock class: for what hardware makes one step of."""
    while not take(t, lock, OP_LOCK):
        class_of(t, lock, 0)
        wait_at(t, OP_LOCK, lock, False)


cdef void pin_step(Task *t, void *object, lock_word *lock) noexcept nogil:
    """The step in progress, which has only looked at `object`, happens now instead, with `lock` held quietly."""
    cdef Runner *r = runner_of(t)
    drop_stripe(r)
    quiet_lock(t, lock)
    if r.storm.recording:
        r.n_tickets -= 1
        take_ticket(t, object)


cdef void quiet_unlock(Task *t, lock_word *lock) noexcept nogil:
    cdef lock_word one
    one.word = 0
    one.owner = t.id + 1
    one.word = rt_subtract(&lock.word, one.word)
    if one.waiters:
        rt_wake_all(&lock.word)


cdef void guard(Task *t, uint32_t *word) noexcept nogil:
    """Keeps other tasks out of a few instructions that are one step; no point may lie between guard and unguard."""
    cdef uint32_t looks = 0
    while rt_peek(word) or rt_exchange(word, 1):
        looks += 1
        breathe(t, looks)


cdef void unguard(uint32_t *word) noexcept nogil:
    rt_store(word, 0)
