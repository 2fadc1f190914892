"""Accesses to shared words where they take the long way (see words.pxd)."""

from libc.stdint cimport int64_t

from anonvma_rt.engine.base.operation cimport OP_ATOMIC, OP_FENCE, OP_LOAD, OP_STORE
from anonvma_rt.engine.base.os cimport rt_exchange_in_order, rt_load_in_order, rt_store_in_order
from anonvma_rt.engine.run.task cimport Task, point


cdef int64_t load_the_long_way(Task *t, int64_t *word) noexcept nogil:
    cdef int64_t value
    point(t, OP_LOAD, word)
    if not t.x.parallel and t.x.memory.forwards(t, word, &value):
        return value
    return rt_load_in_order(word)


cdef void store_the_long_way(Task *t, int64_t *word, int64_t value, bint release) noexcept nogil:
    if not t.x.parallel:
        t.x.memory.store(t, word, value, release)
        return
    point(t, OP_STORE, word)
    rt_store_in_order(word, value)


cdef int64_t exchange_at_once(Task *t, int64_t *word, int64_t value) noexcept nogil:
    cdef int64_t before
    point(t, OP_ATOMIC, word)
    before = rt_load_in_order(word)
    while not rt_exchange_in_order(word, before, value):
        before = rt_load_in_order(word)
    return before


cdef void fence_the_long_way(Task *t, Fence kind) noexcept nogil:
    # Where tasks run at once all accesses are in order.
    if t.x.parallel:
        return
    if kind == FENCE_STORES:
        t.x.memory.order_stores(t)
    elif kind == FENCE_FULL:
        # It is on no object: what it waits for are the buffers of its task.
        point(t, OP_FENCE, t.x.arena.base)
