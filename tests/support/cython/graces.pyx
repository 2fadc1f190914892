"""Subjects that use RCU of the API."""

from libc.stdint cimport int64_t

from anonvma_rt.api cimport (
    Subject, Task, arena_alloc, arena_root, free_object, load, must_live, rcu_bytes, rcu_domain, rcu_init,
    rcu_read_lock, rcu_read_unlock, require_api, store_release, synchronize_rcu,
)

require_api(__name__)

cdef enum:
    SHARED = 1
    DOMAIN = 2
    NODE = 3


# node: the address of what readers look at.
cdef struct shared:
    int64_t node
    rcu_domain *rcu


cdef class Reclaim(Subject):
    """readers look at a node, and the last task takes it away and frees it; `waits`: after a grace period"""

    parameters = {"tasks": {"default": 2, "min": 2, "max": 200}, "waits": True}
    cdef bint waits

    def __init__(self, tasks=2, waits=True):
        self.tasks = tasks
        self.waits = waits

    cdef int build(self, Task *t) noexcept nogil:
        cdef shared *s = <shared *>arena_alloc(&t.x.arena, sizeof(shared), SHARED)
        s.rcu = <rcu_domain *>arena_alloc(&t.x.arena, rcu_bytes(t), DOMAIN)
        rcu_init(t, s.rcu)
        s.node = <int64_t>arena_alloc(&t.x.arena, sizeof(int64_t), NODE)
        return 0

    cdef void body(self, Task *t) noexcept nogil:
        cdef shared *s = <shared *>arena_root(&t.x.arena)
        cdef void *node
        if t.id < self.tasks - 1:
            rcu_read_lock(t, s.rcu)
            node = <void *>load(t, &s.node)
            if node != NULL:
                must_live(t, node, NODE)
                load(t, <int64_t *>node)
                must_live(t, node, NODE)
            rcu_read_unlock(t, s.rcu)
            return
        node = <void *>load(t, &s.node)
        store_release(t, &s.node, 0)
        if self.waits:
            synchronize_rcu(t, s.rcu)
        free_object(t, node)
