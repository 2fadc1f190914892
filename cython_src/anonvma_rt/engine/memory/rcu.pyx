"""Sections and grace periods (see rcu.pxd).

The guarantee: of a section and a grace period, either the section ends before the grace period does, and all that it
did is seen behind it; or it begins after the grace period did, and sees all that was done before. No section spans a
grace period. Sources: McKenney, "Is Parallel Programming Hard, And, If So, What Can You Do About It?", chapter 9 and
appendix B; Alglave, Maranget, McKenney, Parri, Stern, "Frightening Small Children and Disconcerting Grown-ups:
Concurrency in the Linux Kernel" (ASPLOS 2018), for the same as a law of grace periods.

Each task counts the sections that it has begun and those that it has ended. To begin one is seen at once in every
memory model, or a grace period could miss a section whose loads come before its beginning is visible; its end is a
release, so that it is seen after all stores of the section. A grace period sees of each other task what it has begun,
and waits until that has ended. Neither beginning nor end keeps other accesses in order.
"""

from libc.stdint cimport int64_t

from anonvma_rt.engine.base.operation cimport MAX_TASKS, OP_STORE
from anonvma_rt.engine.base.os cimport rt_store_in_order
from anonvma_rt.engine.memory.words cimport FENCE_FULL, await_at_least, fence, load, store_release
from anonvma_rt.engine.run.task cimport VIOLATION_BAD_UNLOCK, VIOLATION_DEADLOCK, Task, point, violate


cdef inline int64_t name_of(Task *t, rcu_domain *rcu) noexcept nogil:
    return <int64_t>(<char *>rcu - t.x.arena.base)


cdef void rcu_read_lock(Task *t, rcu_domain *rcu) noexcept nogil:
    cdef rcu_reader *r = &rcu.reader[t.id]
    r.depth += 1
    if r.depth > 1:
        return
    t.instant = True
    point(t, OP_STORE, &r.begun)
    t.instant = False
    rt_store_in_order(&r.begun, r.begun + 1)


cdef void rcu_read_unlock(Task *t, rcu_domain *rcu) noexcept nogil:
    cdef rcu_reader *r = &rcu.reader[t.id]
    if r.depth == 0:
        violate(t, VIOLATION_BAD_UNLOCK, 0, 0, name_of(t, rcu))
    r.depth -= 1
    if r.depth == 0:
        store_release(t, &r.ended, r.begun)


cdef void synchronize_rcu(Task *t, rcu_domain *rcu) noexcept nogil:
    """A grace period. In a section of the same domain it would wait for itself, which is a deadlock."""
    cdef int64_t begun[MAX_TASKS]
    cdef int u
    if rcu.reader[t.id].depth:
        if t.id >= 64:
            t.x.finding.further[t.id // 64 - 1] = <unsigned long long>1 << (t.id % 64)
        violate(t, VIOLATION_DEADLOCK, <int64_t>1 << t.id if t.id < 64 else 0, 0, 0)
    fence(t, FENCE_FULL)
    for u in range(rcu.tasks):
        begun[u] = load(t, &rcu.reader[u].begun) if u != t.id else 0
    for u in range(rcu.tasks):
        if begun[u]:
            await_at_least(t, &rcu.reader[u].ended, begun[u])
    fence(t, FENCE_FULL)
