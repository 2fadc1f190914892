"""A 64-bit hash of an execution's Mazurkiewicz trace, built while it runs (see classes.pxd).

The hash of an operation covers the one before it in its task and all that it depends on at its object: that is its causal
past. Where operations do not depend on each other their hashes are added, so their order is forgotten. Addresses are no
part of it: which object an operation has follows from its past, but where an object lies may follow from the order of two
allocations that nothing else depends on. Source: Mazurkiewicz traces as in relation.pxd; hashing them on the fly follows
Musuvathi and Qadeer, "Partial-Order Reduction for Context-Bounded State Exploration" (MSR-TR-2007-12), who store the
happens-before relation of an execution as the sum of its events' hashes.
"""

from libc.stdint cimport int32_t, uint64_t
from libc.stdlib cimport calloc, free

from anonvma_rt.engine.order.relation cimport dependent, tries, would_fail
from anonvma_rt.engine.base.rng cimport mix64
from anonvma_rt.engine.run.task cimport HALT_NO_MEMORY, OP_READ_TRYLOCK, OP_START, Execution, Task

cdef enum:
    OPS = OP_READ_TRYLOCK + 1
    FIRST_ROOM = 1024
    # The group of an operation that commutes with none, and of an object that nothing was done to.
    ALONE = -1
    NOTHING = -2

# The operations that an operation commutes with, by op and whether it is a try that failed; named after the first of them.
cdef int32_t group_of[OPS][2]


cdef inline bint can_be(int kind) noexcept nogil:
    """Whether there is an operation kind >> 1 which kind & 1 says to be a try that failed. A start is on no object."""
    return kind >> 1 != OP_START and (not kind & 1 or tries(kind >> 1))


cdef int fill_groups() except -1:
    """From the one relation. Runs are exact if commuting, among operations that commute with their like, is an
    equivalence; so that is asked here."""
    cdef int a
    cdef int b
    for a in range(2 * OPS):
        group_of[a >> 1][a & 1] = ALONE
        for b in range(2 * OPS):
            if can_be(a) and can_be(b) and not dependent(a >> 1, a & 1, b >> 1, b & 1):
                group_of[a >> 1][a & 1] = b
                break
    for a in range(2 * OPS):
        for b in range(2 * OPS):
            if can_be(a) and can_be(b) and dependent(a >> 1, a & 1, b >> 1, b & 1) != (
                group_of[a >> 1][a & 1] == ALONE or group_of[a >> 1][a & 1] != group_of[b >> 1][b & 1]
            ):
                raise RuntimeError(f"the dependency relation has no groups: operations {a >> 1} and {b >> 1}")
    return 0


fill_groups()


cdef int observer_open(Observer *o) except -1:
    """Makes the table; nothing where it is there."""
    if o.seen == NULL:
        o.seen = <Seen *>calloc(FIRST_ROOM, sizeof(Seen))
        if o.seen == NULL:
            raise MemoryError("no memory to observe executions")
        o.room = FIRST_ROOM
    return 0


cdef void observer_close(Observer *o) noexcept nogil:
    free(o.seen)
    o.seen = NULL


cdef void observer_begin(Observer *o, Execution *x) noexcept nogil:
    """Empties the table by making all that it holds the past."""
    cdef int i
    o.execution += 1
    o.used = 0
    for i in range(x.tasks):
        x.task[i].chain = mix64(i + 1)


cdef void observe(Observer *o, Task *t) noexcept nogil:
    """Task t now makes the operation that it stands at."""
    cdef int op = t.op
    cdef int failed
    cdef int32_t group
    cdef Seen *s
    if op == OP_START:
        t.chain = mix64(t.chain)
        return
    s = find(o, <uint64_t>t.object - <uint64_t>t.x.arena.base)
    if s == NULL:
        t.x.halt = HALT_NO_MEMORY
        return
    failed = would_fail(op, t.object)
    group = group_of[op][failed]
    if group == ALONE or group != s.group:
        if s.group != NOTHING:
            s.before = mix64(s.before + mix64(s.run))
        s.run = 0
        s.group = group
    t.chain = mix64(t.chain + mix64(s.before + <uint64_t>(2 * op + failed) * 0x9E3779B97F4A7C15ULL))
    s.run += t.chain


cdef uint64_t observed_class(Execution *x) noexcept nogil:
    """The class of what has been observed since observer_begin()."""
    cdef uint64_t hash = 0
    cdef int i
    for i in range(x.tasks):
        hash = mix64(hash + x.task[i].chain)
    return hash


cdef inline uint64_t slot_of(Observer *o, uint64_t key) noexcept nogil:
    """Where an object is, or where it belongs; never full."""
    cdef uint64_t slot = (key * 0x9E3779B97F4A7C15ULL) >> 32 & (o.room - 1)
    while o.seen[slot].execution == o.execution and o.seen[slot].key != key:
        slot = (slot + 1) & (o.room - 1)
    return slot


cdef Seen *find(Observer *o, uint64_t key) noexcept nogil:
    """What is known of an object in this execution; NULL where there is no memory for one more."""
    cdef Seen *s = &o.seen[slot_of(o, key)]
    if s.execution == o.execution:
        return s
    if 2 * o.used >= o.room:
        if not grow(o):
            return NULL
        s = &o.seen[slot_of(o, key)]
    o.used += 1
    s.key = key
    s.execution = o.execution
    s.before = 0
    s.run = 0
    s.group = NOTHING
    return s


cdef bint grow(Observer *o) noexcept nogil:
    cdef Seen *old = o.seen
    cdef uint64_t room = o.room
    cdef uint64_t i
    cdef Seen *larger = <Seen *>calloc(2 * room, sizeof(Seen))
    if larger == NULL:
        return False
    o.seen = larger
    o.room = 2 * room
    for i in range(room):
        if old[i].execution == o.execution:
            larger[slot_of(o, old[i].key)] = old[i]
    free(old)
    return True
