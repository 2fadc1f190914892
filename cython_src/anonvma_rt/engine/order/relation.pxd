"""The dependency relation: whether the order of two operations of different tasks can matter, and who can go on when.

Two executions are equivalent if they order all pairs of dependent operations alike; such a class of executions is what
the exhaustive search visits once, what a hunt counts, and what a shrunk schedule must keep. Source: Mazurkiewicz
traces, as in Godefroid, "Partial-Order Methods for the Verification of Concurrent Systems" (1996). The table of all
kinds, with the argument for each pair, is in docs/engine.md; search, hashes of classes and reordering all ask here.
"""

from libc.stdint cimport int64_t

from anonvma_rt.engine.base.arena cimport ARENA_POISON
from anonvma_rt.engine.base.operation cimport (
    OP_AWAIT, OP_DOWNGRADE, OP_FENCE, OP_LOAD, OP_LOCK, OP_READ_LOCK, OP_READ_TRYLOCK, OP_READ_UNLOCK, OP_START,
    OP_TAKE, OP_TRYLOCK, OP_UNLOCK, OP_WAIT, TEST_BITS, TEST_EQUAL, TEST_LESS, TEST_NOT_LESS, TEST_UNEQUAL, lock_word,
)

# What an operation is to others on its object. Operations of one group commute, but changes do not; those of two groups
# do not commute.
cdef enum Group:
    # It is on no object, as what begins a task is, or what it sees of one is its own task's affair.
    APART
    # It leaves the object as it is: a load, an await, a wait, a try that failed.
    LOOKS
    # It takes or gives back one share of a lock, which is no exclusive hold before or after it.
    SHARES
    CHANGES


cdef inline bint tries(int op) noexcept nogil:
    return op == OP_TRYLOCK or op == OP_READ_TRYLOCK


cdef inline Group group_of(int op, bint failed) noexcept nogil:
    """failed: it is a try that failed; or a look that saw a store of its own task which nobody else sees yet
    (engine/memory). What is said of a shared try that did not holds, beside other shared operations,
    of one that may have failed: it could have only while they could not be."""
    if op == OP_START or op == OP_FENCE or (failed and (op == OP_LOAD or op == OP_AWAIT)):
        return APART
    if failed or op == OP_LOAD or op == OP_AWAIT or op == OP_WAIT:
        return LOOKS
    if op == OP_READ_LOCK or op == OP_READ_UNLOCK or op == OP_READ_TRYLOCK:
        return SHARES
    return CHANGES


cdef inline bint groups_depend(Group one, Group other) noexcept nogil:
    return one != APART and other != APART and (one != other or one == CHANGES)


cdef inline bint dependent(int op, bint failed, int other, bint other_failed) noexcept nogil:
    """Whether the order of two operations of different tasks on one object can matter; `failed`: a try that failed."""
    return groups_depend(group_of(op, failed), group_of(other, other_failed))


cdef inline bint would_fail(int op, void *object) noexcept nogil:
    """Whether an operation that was announced is a try that fails, as things are."""
    cdef lock_word *lock = <lock_word *>object
    if op == OP_TRYLOCK:
        return lock.owner != 0 or lock.readers != 0
    return op == OP_READ_TRYLOCK and lock.owner != 0


cdef inline bint gives_back(int op) noexcept nogil:
    """Whether an operation gives back a hold or a share of a lock; a downgrade keeps a share."""
    return op == OP_UNLOCK or op == OP_READ_UNLOCK or op == OP_DOWNGRADE


cdef inline bint on_lock(int op) noexcept nogil:
    """Whether only locks have such an operation; one that loads may look at a lock as well."""
    return gives_back(op) or op == OP_LOCK or op == OP_READ_LOCK or op == OP_WAIT or tries(op)


cdef inline bint awaits(int op) noexcept nogil:
    """Whether an operation waits for what a word holds."""
    return op == OP_AWAIT or op == OP_TAKE


cdef inline bint waits(int op) noexcept nogil:
    """Whether an operation can have to wait: on a lock, or for what a word holds."""
    return op == OP_LOCK or op == OP_READ_LOCK or op == OP_WAIT or awaits(op)


cdef inline bint passes(int64_t value, int test, int64_t want) noexcept nogil:
    """Whether a word that holds `value` is what an await waits for."""
    if test == TEST_EQUAL:
        return value == want
    if test == TEST_UNEQUAL:
        return value != want
    if test == TEST_LESS:
        return value < want
    if test == TEST_NOT_LESS:
        return value >= want
    return value & want != 0 if test == TEST_BITS else value & want == 0


cdef inline bint can_go_on(int op, void *object, int test, int64_t want) noexcept nogil:
    """Whether an operation that was announced need not wait, as things are. Nobody waits at a lock that was freed: to
    go on there is a violation."""
    cdef lock_word *lock = <lock_word *>object
    if awaits(op):
        return passes((<int64_t *>object)[0], test, want)
    if not waits(op) or lock.cls == ARENA_POISON:
        return True
    return lock.owner == 0 and (op == OP_READ_LOCK or lock.readers == 0)
