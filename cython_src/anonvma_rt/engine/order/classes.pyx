"""A 64-bit hash of an execution's Mazurkiewicz trace, built while it runs (see classes.pxd).

The hash of an operation covers the one before it in its task and all that it depends on at its object: that is its
causal past. Where operations do not depend on each other their hashes are added, so their order is forgotten. Addresses
are no part of it: which object an operation has follows from its past, but where an object lies may follow from the
order of two allocations that nothing else depends on. Source: Mazurkiewicz traces as in relation.pxd; hashing them on
the fly follows Musuvathi and Qadeer, "Partial-Order Reduction for Context-Bounded State Exploration" (MSR-TR-2007-12),
who store the happens-before relation of an execution as the sum of its events' hashes.
"""

from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.stdlib cimport free

from anonvma_rt.engine.base.grow cimport grow
from anonvma_rt.engine.base.operation cimport OP_READ_TRYLOCK, OP_START
from anonvma_rt.engine.base.rng cimport mix64
from anonvma_rt.engine.base.table cimport table_add, table_clear, table_close, table_open
from anonvma_rt.engine.order.relation cimport dependent, tries, would_fail

cdef enum:
    OPS = OP_READ_TRYLOCK + 1
    # The group of an operation that commutes with none, and of an object that nothing was done to.
    ALONE = -1
    NOTHING = -2

# The operations that an operation commutes with, by op and whether it is a try that failed; named after the first of
# them.
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
    return table_open(&o.objects)


cdef void observer_close(Observer *o) noexcept nogil:
    table_close(&o.objects)
    free(o.seen)
    o.seen = NULL
    o.room = 0


cdef void observer_begin(Observer *o, int tasks) noexcept nogil:
    cdef int i
    table_clear(&o.objects)
    o.tasks = tasks
    for i in range(tasks):
        o.chain[i] = mix64(i + 1)


cdef int observe(Observer *o, int task, int op, void *object) noexcept nogil:
    """The task now makes the operation that it stands at. -1: there is no memory for one more object."""
    cdef int failed
    cdef int32_t group
    cdef Seen *s
    if op == OP_START:
        o.chain[task] = mix64(o.chain[task])
        return 0
    s = seen_of(o, object)
    if s == NULL:
        return -1
    failed = would_fail(op, object)
    group = group_of[op][failed]
    if group == ALONE or group != s.group:
        if s.group != NOTHING:
            s.before = mix64(s.before + mix64(s.run))
        s.run = 0
        s.group = group
    o.chain[task] = mix64(o.chain[task] + mix64(s.before + <uint64_t>(2 * op + failed) * 0x9E3779B97F4A7C15ULL))
    s.run += o.chain[task]
    return 0


cdef uint64_t observed_class(Observer *o) noexcept nogil:
    """The class of what has been observed since observer_begin()."""
    cdef uint64_t hash = 0
    cdef int i
    for i in range(o.tasks):
        hash = mix64(hash + o.chain[i])
    return hash


cdef inline Seen *seen_of(Observer *o, void *object) noexcept nogil:
    """What is known of an object in this execution; NULL where there is no memory for one more."""
    cdef uint32_t known = o.objects.used
    cdef uint32_t number = table_add(&o.objects, <uint64_t>object)
    if number == 0 or grow(<void **>&o.seen, &o.room, number + 1, sizeof(Seen)) < 0:
        return NULL
    if number > known:
        o.seen[number].before = 0
        o.seen[number].run = 0
        o.seen[number].group = NOTHING
    return &o.seen[number]
