"""A 64-bit hash of an execution's Mazurkiewicz trace, built while it runs (see classes.pxd).

The hash of an operation covers the one before it in its task and all that it depends on at its object: that is its
causal past. Where operations do not depend on each other their hashes are added, so their order is forgotten. Addresses
are no part of it: which object an operation has follows from its past, but where an object lies may follow from the
order of two allocations that nothing else depends on. Source: Mazurkiewicz traces as in relation.pxd; hashing them on
the fly follows Musuvathi and Qadeer, "Partial-Order Reduction for Context-Bounded State Exploration" (MSR-TR-2007-12),
who store the happens-before relation of an execution as the sum of its events' hashes.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free

from anonvma_rt.engine.base.grow cimport grow
from anonvma_rt.engine.base.operation cimport OP_START
from anonvma_rt.engine.base.rng cimport mix64
from anonvma_rt.engine.base.table cimport table_add, table_clear, table_close, table_open
from anonvma_rt.engine.order.chains cimport chained, class_of, first_chain, untouched

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
        o.chain[i] = first_chain(i)


cdef int observe(Observer *o, int task, int op, bint failed, void *object) noexcept nogil:
    """The task now makes an operation; failed: a try that fails. -1: there is no memory for one more object."""
    cdef Seen *s
    if op == OP_START:
        o.chain[task] = mix64(o.chain[task])
        return 0
    s = seen_of(o, object)
    if s == NULL:
        return -1
    o.chain[task] = chained(s, o.chain[task], op, failed)
    return 0


cdef uint64_t observed_class(Observer *o, int cut_by) noexcept nogil:
    """The class of what has been observed since observer_begin(). cut_by: the task that ended the execution with a
    violation, or BY_NONE. Then only its last step and that step's past count: what others did meanwhile, or had not
    begun to do, is no part of what went wrong. BY_ALL: that is not known, and all such executions are one class."""
    return class_of(o.chain, o.tasks, cut_by)


cdef Seen *seen_of(Observer *o, void *object) noexcept nogil:
    """What is known of an object in this execution; NULL where there is no memory for one more."""
    cdef uint32_t known = o.objects.used
    cdef uint32_t number = table_add(&o.objects, <uint64_t>object)
    if number == 0 or grow(<void **>&o.seen, &o.room, number + 1, sizeof(Seen)) < 0:
        return NULL
    if number > known:
        untouched(&o.seen[number])
    return &o.seen[number]
