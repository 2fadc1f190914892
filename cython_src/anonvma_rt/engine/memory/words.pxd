"""Words that tasks share: what reads and writes them, on every carrier and in every memory model.

Under SC, the default, an access is one step, and whoever comes next sees it. Under TSO and PSO a store goes into a
buffer of its task and becomes visible when that is flushed (buffers.pxd); one branch leads there, and to the hardware's
own operations where tasks run at once. Operations that read and write (fetch_add, compare_exchange, exchange, take) are
locked ones: they come when all stores of their task are visible, and fences of x86 are in them.
"""

from libc.stdint cimport int64_t, uint64_t

from anonvma_rt.engine.audit.access cimport rt_glance64
from anonvma_rt.engine.base.operation cimport (
    OP_ATOMIC, OP_AWAIT, OP_LOAD, OP_STORE, OP_TAKE, TEST_BITS, TEST_EQUAL, TEST_LESS, TEST_NOT_LESS, TEST_NO_BITS,
    TEST_UNEQUAL,
)
from anonvma_rt.engine.base.os cimport (
    rt_add_in_order, rt_exchange_in_order, rt_load_in_order, rt_unlikely,
)
from anonvma_rt.engine.order.relation cimport passes
from anonvma_rt.engine.run.task cimport Task, point, recheck

# What a fence keeps in order: all that comes before it and all that comes behind it; loads; stores.
cdef enum Fence:
    FENCE_FULL
    FENCE_LOADS
    FENCE_STORES

cdef int64_t load_the_long_way(Task *t, int64_t *word) noexcept nogil
cdef void store_the_long_way(Task *t, int64_t *word, int64_t value, bint release) noexcept nogil
cdef int64_t exchange_at_once(Task *t, int64_t *word, int64_t value) noexcept nogil
cdef void fence_the_long_way(Task *t, Fence kind) noexcept nogil


cdef inline int64_t load(Task *t, int64_t *word) noexcept nogil:
    if rt_unlikely(t.x.long_way):
        return load_the_long_way(t, word)
    point(t, OP_LOAD, word)
    return rt_load_in_order(word)


cdef inline int64_t load_acquire(Task *t, int64_t *word) noexcept nogil:
    """A load before which nothing comes that stands behind it: so is every load in all models here."""
    return load(t, word)


cdef inline void store(Task *t, int64_t *word, int64_t value) noexcept nogil:
    if rt_unlikely(t.x.long_way):
        store_the_long_way(t, word, value, False)
        return
    point(t, OP_STORE, word)
    word[0] = value
    if t.x.awaiting:
        recheck(t.x, word)


cdef inline void store_release(Task *t, int64_t *word, int64_t value) noexcept nogil:
    """A store that is seen after all that stands before it: under PSO it waits for the stores before it."""
    if rt_unlikely(t.x.long_way):
        store_the_long_way(t, word, value, True)
    else:
        store(t, word, value)


cdef inline void fence(Task *t, Fence kind) noexcept nogil:
    """smp_mb, smp_rmb, smp_wmb. Under SC it is nothing, and no step."""
    if rt_unlikely(t.x.long_way):
        fence_the_long_way(t, kind)


cdef inline int64_t peek(Task *t, int64_t *word) noexcept nogil:
    """What t would load now, without a point: right for what a lock protects."""
    cdef int64_t value
    if rt_unlikely(t.x.long_way) and not t.x.parallel and t.x.memory.forwards(t, word, &value):
        return value
    return rt_load_in_order(word)


cdef inline int64_t exchange(Task *t, int64_t *word, int64_t value) noexcept nogil:
    """Atomic; returns the value before."""
    cdef int64_t before
    if rt_unlikely(t.x.parallel):
        return exchange_at_once(t, word, value)
    point(t, OP_ATOMIC, word)
    before = word[0]
    word[0] = value
    if t.x.awaiting:
        recheck(t.x, word)
    return before


cdef inline int64_t fetch_add(Task *t, int64_t *word, int64_t value) noexcept nogil:
    """Atomic; returns the value before. It wraps at 64 bits."""
    cdef int64_t before
    point(t, OP_ATOMIC, word)
    if rt_unlikely(t.x.parallel):
        return rt_add_in_order(word, value)
    before = word[0]
    word[0] = <int64_t>(<uint64_t>before + <uint64_t>value)
    if t.x.awaiting:
        recheck(t.x, word)
    return before


cdef inline bint compare_exchange(Task *t, int64_t *word, int64_t expected, int64_t value) noexcept nogil:
    """Atomic; whether the word held `expected` and so was replaced."""
    cdef bint same
    point(t, OP_ATOMIC, word)
    if rt_unlikely(t.x.parallel):
        return rt_exchange_in_order(word, expected, value)
    same = word[0] == expected
    t.missed = not same
    if same:
        word[0] = value
        if t.x.awaiting:
            recheck(t.x, word)
    return same


cdef inline void wait_for(Task *t, int op, int64_t *word, int test, int64_t want) noexcept nogil:
    """Blocks until the word is what `test` (TEST_*) and `want` say: a spin loop that costs no steps and cannot starve
    anyone. One that never is makes the execution a deadlock. op: OP_AWAIT, or OP_TAKE where t changes the word in the
    same step (and calls recheck() then), as it takes a unit of a semaphore."""
    t.want = want
    t.test = test
    if not passes(rt_glance64(word), test, want):
        t.x.until = 0
    point(t, op, word)


cdef inline void await_test(Task *t, int64_t *word, int test, int64_t want) noexcept nogil:
    """Blocks until the word is what `test` and `want` say."""
    wait_for(t, OP_AWAIT, word, test, want)


cdef inline void await_value(Task *t, int64_t *word, int64_t value) noexcept nogil:
    """Blocks until the word holds `value`."""
    await_test(t, word, TEST_EQUAL, value)


cdef inline void await_not(Task *t, int64_t *word, int64_t value) noexcept nogil:
    """Blocks until the word holds something else than `value`."""
    await_test(t, word, TEST_UNEQUAL, value)


cdef inline void await_less(Task *t, int64_t *word, int64_t bound) noexcept nogil:
    """Blocks until the word, as a signed number, is less than `bound`."""
    await_test(t, word, TEST_LESS, bound)


cdef inline void await_at_least(Task *t, int64_t *word, int64_t bound) noexcept nogil:
    """Blocks until the word, as a signed number, is `bound` or more."""
    await_test(t, word, TEST_NOT_LESS, bound)


cdef inline void await_bits(Task *t, int64_t *word, int64_t mask) noexcept nogil:
    """Blocks until at least one bit of `mask` is set in the word."""
    await_test(t, word, TEST_BITS, mask)


cdef inline void await_no_bits(Task *t, int64_t *word, int64_t mask) noexcept nogil:
    """Blocks until no bit of `mask` is set in the word."""
    await_test(t, word, TEST_NO_BITS, mask)


cdef inline void take(Task *t, int64_t *word, int64_t amount) noexcept nogil:
    """Blocks until the word, as a signed number, is `amount` or more, and takes so much from it in the same step: P of
    a semaphore, of which fetch_add is V. Source: Dijkstra, "Cooperating Sequential Processes" (1965)."""
    cdef int64_t value
    wait_for(t, OP_TAKE, word, TEST_NOT_LESS, amount)
    if rt_unlikely(t.x.parallel):
        value = rt_load_in_order(word)
        while value < amount or not rt_exchange_in_order(word, value, value - amount):
            if value < amount:
                wait_for(t, OP_TAKE, word, TEST_NOT_LESS, amount)
            value = rt_load_in_order(word)
        return
    word[0] -= amount
    if t.x.awaiting:
        recheck(t.x, word)
