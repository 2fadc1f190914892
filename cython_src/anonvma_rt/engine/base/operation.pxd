"""What the tasks of an execution announce, the word that their locks are, and how what they did is recorded.

A task announces each operation before it makes it (run/task.pxd). These are the words that the relation of operations,
the hashes of classes and everything above have in common.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "<stdint.h>":
    # A step that never comes: the largest number.
    const uint64_t NEVER "UINT64_MAX"

cdef enum:
    # One less than a byte can hold, because a lock's owner is a task's id plus one.
    MAX_TASKS = 255

# What a task announces.
cdef enum Op:
    OP_START
    OP_LOCK
    OP_READ_LOCK
    OP_WAIT
    OP_AWAIT
    OP_UNLOCK
    OP_READ_UNLOCK
    OP_TRYLOCK
    OP_LOAD
    OP_STORE
    OP_ATOMIC
    OP_NOTE
    # A trylock that shares; an await that changes the word in the same step; a hold that becomes a share. At the end,
    # so that the numbers in recorded events stay what they were.
    OP_READ_TRYLOCK
    OP_TAKE
    OP_DOWNGRADE
    # It is on no object, and comes when all stores of its task are visible.
    OP_FENCE
    OPS

# What an await waits for: a word that is, as a signed number, equal to, not equal to, less than or not less than the
# one wanted; or that has some, or none, of its bits.
cdef enum Test:
    TEST_EQUAL
    TEST_UNEQUAL
    TEST_LESS
    TEST_NOT_LESS
    TEST_BITS
    TEST_NO_BITS

# One word for mutex, spinlock, rwsem and bit lock: who holds it, who is parked at it. `owner` is a task id plus one.
# `word` is all of it, for tasks that run at once (engine/parallel/locks).
cdef extern from *:
    """
    #ifndef ANONVMA_RT_LOCK_WORD
    #define ANONVMA_RT_LOCK_WORD
    #include <stdint.h>
    typedef union {
        struct { uint8_t owner, readers, waiters, cls; };
        uint32_t word;
    } rt_lock_word;
    #endif
    """
    ctypedef struct lock_word "rt_lock_word":
        uint8_t owner
        uint8_t readers
        uint8_t waiters
        uint8_t cls
        uint32_t word

# One operation that was made, or a note on what it did.
cdef struct Event:
    uint64_t step
    int32_t task
    int32_t op
    int64_t code
    int64_t a
    int64_t b
    int64_t c
