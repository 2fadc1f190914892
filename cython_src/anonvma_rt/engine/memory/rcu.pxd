"""RCU: read-side sections that nobody waits for, and grace periods that wait for those that are under way.

A domain is what a grace period is of: the kernel has one for RCU and any number for SRCU. It lies in the subject's
memory, rcu_bytes() of it, and is written by its functions alone.
"""

from libc.stdint cimport int64_t

from anonvma_rt.engine.run.task cimport Task

# Of one task: the sections that it has begun and ended, where sections within each other are one; and how many of them
# it is in.
cdef struct rcu_reader:
    int64_t begun
    int64_t ended
    int64_t depth

cdef struct rcu_domain:
    int64_t tasks
    # As many as there are tasks.
    rcu_reader reader[1]

cdef void rcu_read_lock(Task *t, rcu_domain *rcu) noexcept nogil
cdef void rcu_read_unlock(Task *t, rcu_domain *rcu) noexcept nogil
cdef void synchronize_rcu(Task *t, rcu_domain *rcu) noexcept nogil


cdef inline size_t rcu_bytes(Task *t) noexcept nogil:
    return sizeof(rcu_domain) + (t.x.bodies - 1) * sizeof(rcu_reader)


cdef inline void rcu_init(Task *t, rcu_domain *rcu) noexcept nogil:
    """In memory of rcu_bytes(), while the subject is built."""
    cdef int i
    rcu.tasks = t.x.bodies
    for i in range(t.x.bodies):
        rcu.reader[i].begun = 0
        rcu.reader[i].ended = 0
        rcu.reader[i].depth = 0
