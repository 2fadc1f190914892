"""The dependency relation: whether the order of two operations of different tasks can matter.

Two executions are equivalent if they order all pairs of dependent operations alike; such a class of executions is what
the exhaustive search visits once, what a hunt counts, and what a shrunk schedule must keep. Source: Mazurkiewicz
traces, as in Godefroid, "Partial-Order Methods for the Verification of Concurrent Systems" (1996).
"""

from anonvma_rt.engine.base.operation cimport (
    OP_AWAIT, OP_LOAD, OP_LOCK, OP_READ_LOCK, OP_READ_TRYLOCK, OP_READ_UNLOCK, OP_START, OP_TRYLOCK, OP_UNLOCK, OP_WAIT,
    lock_word,
)


cdef inline bint on_lock(int op) noexcept nogil:
    return (
        op == OP_LOCK or op == OP_UNLOCK or op == OP_READ_LOCK or op == OP_READ_UNLOCK or op == OP_WAIT or tries(op)
    )


cdef inline bint tries(int op) noexcept nogil:
    return op == OP_TRYLOCK or op == OP_READ_TRYLOCK


cdef inline bint reads(int op) noexcept nogil:
    """Whether an operation on a word leaves it as it is."""
    return op == OP_LOAD or op == OP_AWAIT


cdef inline bint shares(int op, bint failed) noexcept nogil:
    """Whether an operation on a lock is one of a reader, whom other readers do not disturb."""
    return op == OP_READ_LOCK or op == OP_READ_UNLOCK or (op == OP_READ_TRYLOCK and not failed)


cdef inline bint would_fail(int op, void *object) noexcept nogil:
    """Whether an operation that was announced is a try that fails, as things are."""
    cdef lock_word *lock = <lock_word *>object
    if op == OP_TRYLOCK:
        return lock.owner != 0 or lock.readers != 0
    return op == OP_READ_TRYLOCK and lock.owner != 0


cdef inline bint dependent(int op, bint failed, int other, bint other_failed) noexcept nogil:
    """Whether the order of two operations of different tasks on one object can matter; `failed`: a try that failed."""
    if op == OP_START or other == OP_START:
        return False
    if on_lock(op) != on_lock(other):
        return True
    if not on_lock(op):
        return not (reads(op) and reads(other))
    # Two tries that failed only looked; readers, and those who wait until nobody holds it, do not disturb their like.
    if failed and other_failed:
        return False
    if op == OP_WAIT and other == OP_WAIT:
        return False
    return not (shares(op, failed) and shares(other, other_failed))
