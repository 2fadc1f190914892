"""How the hash of a step follows from those before it: of the task, and of what was done to the object (classes.pyx).

Whoever keeps a Seen of an object and the last hash of a task can go on from there; the observer does for a running
execution, and the search for the steps on its stack.
"""

from libc.stdint cimport int32_t, uint64_t

from anonvma_rt.engine.base.rng cimport mix64
from anonvma_rt.engine.order.classes cimport BY_ALL, Seen
from anonvma_rt.engine.order.relation cimport CHANGES, LOOKS, group_of

cdef enum:
    # The group of an object that nothing was done to.
    NOTHING = -1


cdef inline uint64_t first_chain(int task) noexcept nogil:
    """The hash of a task that has made no step."""
    return mix64(task + 1)


cdef inline void untouched(Seen *s) noexcept nogil:
    s.before = 0
    s.run = 0
    s.group = NOTHING
    s.by = 0


cdef inline uint64_t chained(Seen *s, uint64_t chain, int op, bint failed) noexcept nogil:
    """The hash of an operation on an object, and what the object has seen with it. chain: the task's hash before."""
    cdef int32_t group = group_of(op, failed)
    if group == CHANGES or group != s.group:
        if s.group != NOTHING:
            s.before = mix64(s.before + mix64(s.run))
        s.run = 0
        s.group = group
    chain = mix64(chain + mix64(s.before + <uint64_t>(2 * op + failed) * 0x9E3779B97F4A7C15ULL))
    s.run += chain
    return chain


cdef inline uint64_t chained_apart(uint64_t chain, int op) noexcept nogil:
    """The hash of an operation that nothing which was done to its object comes before: of a fence, or of a look at a
    store of its own task (engine/memory/buffers)."""
    return mix64(chain + mix64(<uint64_t>(2 * op + 1) * 0x9E3779B97F4A7C15ULL))


cdef inline void also_seen(Seen *s, uint64_t hashes) noexcept nogil:
    """Looks with these hashes, in sum, come before the next change of an object."""
    if s.group != LOOKS:
        s.before = mix64(s.before + mix64(s.run))
        s.run = 0
        s.group = LOOKS
    s.run += hashes


cdef inline uint64_t class_of(const uint64_t *chain, int tasks, int cut_by) noexcept nogil:
    """The class of an execution by the last hash of each task (observed_class)."""
    cdef uint64_t hash = 0
    cdef int i
    if cut_by == BY_ALL:
        return mix64(BY_ALL)
    if cut_by >= 0:
        return mix64(chain[cut_by] + <uint64_t>cut_by)
    for i in range(tasks):
        hash = mix64(hash + chain[i])
    return hash
