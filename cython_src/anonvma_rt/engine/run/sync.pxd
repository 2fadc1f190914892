"""Locks of the subject: one API on every carrier, each taking the Task that acts.

On the deterministic carriers blocking is modelled: a lock word knows its owner, a task parked at an acquire is not
enabled while the lock is held, and every acquire and release is a point. Lock classes are checked at each acquire that
can block, before it blocks; class 0 is exempt. Reader locks exclude writers only; a waiting writer does not hold back
new readers, so every order of the two is explored. Where tasks run at once blocking is real: one branch leads to what
the carrier has installed. What a task reads without a lock that another may write meanwhile is read and written by
READ_ONCE and WRITE_ONCE, on every carrier, as in the kernel.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from anonvma_rt.engine.audit.access cimport rt_glance, rt_glance64
from anonvma_rt.engine.base.operation cimport (
    OP_DOWNGRADE, OP_LOAD, OP_LOCK, OP_READ_LOCK, OP_READ_TRYLOCK, OP_READ_UNLOCK, OP_STORE,
    OP_TAKE, OP_TRYLOCK, OP_UNLOCK, OP_WAIT, TEST_BITS, TEST_EQUAL, TEST_LESS, TEST_NOT_LESS, TEST_NO_BITS,
    TEST_UNEQUAL, lock_word,
)
from anonvma_rt.engine.base.os cimport (
    rt_add_in_order, rt_exchange_in_order, rt_fetch_add, rt_inc_not_zero, rt_load, rt_load_in_order, rt_store_in_order,
    rt_unlikely, rt_yield,
)
from anonvma_rt.engine.order.relation cimport passes
from anonvma_rt.engine.run.task cimport (
    MAX_CLASSES, VIOLATION_BAD_UNLOCK, VIOLATION_USE_AFTER_FREE, Execution, Task, hold, point, recheck, unhold, violate,
)

cdef void check_lock_order(Task *t, int cls) noexcept nogil
cdef void declare_lock_order(Execution *x, int before, int after) noexcept nogil
cdef void share_more(Task *t, lock_word *lock) noexcept nogil
cdef bint unshare_one(Task *t, lock_word *lock) noexcept nogil


ctypedef lock_word mutex_t
ctypedef lock_word spinlock_t
ctypedef lock_word rwsem_t


cdef inline void lock_init(lock_word *lock, int cls) noexcept nogil:
    lock.owner = 0
    lock.readers = 0
    lock.waiters = 0
    lock.cls = <uint8_t>cls


cdef inline bint lock_is_held(lock_word *lock) noexcept nogil:
    cdef lock_word w
    w.word = rt_load(&lock.word)
    return w.owner != 0 or w.readers != 0


cdef inline lock_word glance(lock_word *lock) noexcept nogil:
    """A lock's word before its point, where it says whether a decision is due, and nothing of what happens then."""
    cdef lock_word w
    w.word = rt_glance(&lock.word)
    return w


cdef inline int64_t lock_name(Task *t, lock_word *lock) noexcept nogil:
    return <int64_t>(<uint64_t>lock - <uint64_t>t.x.arena.base)


cdef inline void must_not_be_freed(Task *t, lock_word *lock) noexcept nogil:
    """At the point of an operation on a lock: poison would pass for a lock that is held. Where tasks run at once this
    is the affair of engine/parallel/locks."""
    if lock.cls >= MAX_CLASSES:
        violate(t, VIOLATION_USE_AFTER_FREE, 0, lock_name(t, lock), 0)


cdef inline void share(Task *t, lock_word *lock) noexcept nogil:
    """t has come to share a lock once more."""
    if t.shares:
        share_more(t, lock)
        return
    t.shares = 1
    t.shared[0].lock = lock
    t.shared[0].times = 1


cdef inline bint unshare(Task *t, lock_word *lock) noexcept nogil:
    """t gives one of its shares of a lock back: whether it had one."""
    if t.shares != 1 or t.shared[0].lock != lock or t.shared[0].times != 1:
        return unshare_one(t, lock)
    t.shares = 0
    return True


cdef inline void take_lock(Task *t, lock_word *lock, int op, int cls) noexcept nogil:
    """Behind the point of an acquisition: t has the lock from now on. cls: 0 for none."""
    must_not_be_freed(t, lock)
    if op == OP_LOCK:
        lock.owner = <uint8_t>(t.id + 1)
    else:
        share(t, lock)
        lock.readers += 1
    if cls:
        hold(t, cls)
    if lock.waiters:
        recheck(t.x, lock)


cdef inline void acquire(Task *t, lock_word *lock, int op, int subclass, bint sleeps) noexcept nogil:
    cdef lock_word seen
    cdef int cls
    if rt_unlikely(t.x.parallel):
        t.x.carrier.acquire(t, lock, op, subclass, sleeps)
        return
    seen = glance(lock)
    cls = seen.cls + subclass if seen.cls else 0
    # A class that cannot be is the poison of a freed object: that is told behind the point, where the order of the two
    # is announced.
    if cls and cls < MAX_CLASSES and t.held & ~t.x.order.allowed[cls]:
        check_lock_order(t, cls)
    if seen.owner or (op == OP_LOCK and seen.readers):
        t.x.until = 0
    point(t, op, lock)
    take_lock(t, lock, op, cls)


cdef inline void release(Task *t, lock_word *lock, int op, int subclass) noexcept nogil:
    cdef int cls
    if rt_unlikely(t.x.parallel):
        t.x.carrier.release(t, lock, op, subclass)
        return
    cls = glance(lock).cls
    cls = cls + subclass if cls else 0
    point(t, op, lock)
    must_not_be_freed(t, lock)
    if (lock.owner != t.id + 1 if op != OP_READ_UNLOCK else not unshare(t, lock)) or (cls and t.held_count[cls] == 0):
        violate(t, VIOLATION_BAD_UNLOCK, cls, lock.owner, lock_name(t, lock))
    if op == OP_READ_UNLOCK:
        lock.readers -= 1
    else:
        lock.owner = 0
    if op == OP_DOWNGRADE:
        share(t, lock)
        lock.readers += 1
    elif cls:
        unhold(t, cls)
    if lock.waiters:
        recheck(t.x, lock)


cdef inline bint try_acquire(Task *t, lock_word *lock) noexcept nogil:
    """Never blocks, so it cannot close a cycle of waits: no order is checked, as in lockdep."""
    if rt_unlikely(t.x.parallel):
        return t.x.carrier.try_acquire(t, lock, OP_TRYLOCK)
    point(t, OP_TRYLOCK, lock)
    must_not_be_freed(t, lock)
    t.missed = lock.owner or lock.readers
    if t.missed:
        return False
    lock.owner = <uint8_t>(t.id + 1)
    if lock.cls:
        hold(t, lock.cls)
    if lock.waiters:
        recheck(t.x, lock)
    return True


cdef inline bint try_down_read(Task *t, rwsem_t *lock) noexcept nogil:
    if rt_unlikely(t.x.parallel):
        return t.x.carrier.try_acquire(t, lock, OP_READ_TRYLOCK)
    point(t, OP_READ_TRYLOCK, lock)
    must_not_be_freed(t, lock)
    t.missed = lock.owner != 0
    if t.missed:
        return False
    share(t, lock)
    lock.readers += 1
    if lock.cls:
        hold(t, lock.cls)
    if lock.waiters:
        recheck(t.x, lock)
    return True


cdef inline void mutex_lock(Task *t, mutex_t *lock) noexcept nogil:
    acquire(t, lock, OP_LOCK, 0, True)


cdef inline bint mutex_trylock(Task *t, mutex_t *lock) noexcept nogil:
    return try_acquire(t, lock)


cdef inline void mutex_unlock(Task *t, mutex_t *lock) noexcept nogil:
    release(t, lock, OP_UNLOCK, 0)


cdef inline void spin_lock(Task *t, spinlock_t *lock) noexcept nogil:
    acquire(t, lock, OP_LOCK, 0, False)


cdef inline void spin_lock_nested(Task *t, spinlock_t *lock, int subclass) noexcept nogil:
    """A second lock of the same class: `subclass` (1) says that an outer rule orders the two."""
    acquire(t, lock, OP_LOCK, subclass, False)


cdef inline bint spin_trylock(Task *t, spinlock_t *lock) noexcept nogil:
    return try_acquire(t, lock)


cdef inline void spin_unlock(Task *t, spinlock_t *lock) noexcept nogil:
    release(t, lock, OP_UNLOCK, 0)


cdef inline void spin_unlock_nested(Task *t, spinlock_t *lock, int subclass) noexcept nogil:
    release(t, lock, OP_UNLOCK, subclass)


cdef inline void down_read(Task *t, rwsem_t *lock) noexcept nogil:
    acquire(t, lock, OP_READ_LOCK, 0, True)


cdef inline void up_read(Task *t, rwsem_t *lock) noexcept nogil:
    release(t, lock, OP_READ_UNLOCK, 0)


cdef inline void down_write(Task *t, rwsem_t *lock) noexcept nogil:
    acquire(t, lock, OP_LOCK, 0, True)


cdef inline void up_write(Task *t, rwsem_t *lock) noexcept nogil:
    release(t, lock, OP_UNLOCK, 0)


cdef inline void downgrade_write(Task *t, rwsem_t *lock) noexcept nogil:
    """A writer goes on as a reader, and nobody writes in between."""
    release(t, lock, OP_DOWNGRADE, 0)


cdef inline void down_write_nested(Task *t, rwsem_t *lock, int subclass) noexcept nogil:
    acquire(t, lock, OP_LOCK, subclass, True)


cdef inline void up_write_nested(Task *t, rwsem_t *lock, int subclass) noexcept nogil:
    release(t, lock, OP_UNLOCK, subclass)


cdef inline void lock_wait(Task *t, lock_word *lock) noexcept nogil:
    """Sleeps until nobody holds the lock, without taking it (the kernel's wait_on_page_locked)."""
    cdef lock_word seen = glance(lock)
    if seen.owner or seen.readers:
        t.x.until = 0
    point(t, OP_WAIT, lock)
    if not t.x.parallel:
        must_not_be_freed(t, lock)


cdef void end_round(Task *t) noexcept nogil


cdef inline void spin_hint(Task *t) noexcept nogil:
    """At the end of a round of a loop that waits for something and has not found it: t only looked, and the next round
    will do the same, until somebody writes to what it looked at. Not in a loop that gives up some time."""
    if rt_unlikely(t.x.parallel):
        rt_yield()
    else:
        end_round(t)


cdef inline void spin_start(Task *t) noexcept nogil:
    """Before such a loop, where it looks at something more than once, or something was looked at before it: then the
    first round is known to begin here. Without it one more round is made."""
    t.n_looks = 0
    t.news = 0
    t.whole = True


cdef inline void yield_(Task *t) noexcept nogil:
    """The same, under the name that it has where a thread gives its core away."""
    spin_hint(t)


# ---- counters that tasks share, at a point of the caller's own -------------------------------------------------------


cdef inline int32_t add_return(Task *t, int32_t *count, int32_t value) noexcept nogil:
    """Adds and returns the sum, as one step."""
    if rt_unlikely(t.x.parallel):
        return rt_fetch_add(count, value) + value
    count[0] += value
    return count[0]


cdef inline bint add_unless_zero(Task *t, int32_t *count) noexcept nogil:
    """Adds 1 unless the count is 0; whether it did."""
    if rt_unlikely(t.x.parallel):
        return rt_inc_not_zero(count)
    if count[0] == 0:
        return False
    count[0] += 1
    return True
