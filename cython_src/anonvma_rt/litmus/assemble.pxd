"""The numbers of a program's instructions: what its texts become and what its threads go by."""

cdef enum:
    MAX_REGISTERS = 64

cdef enum Verb:
    LOCK
    UNLOCK
    TRYLOCK
    READ_LOCK
    READ_UNLOCK
    WRITE_LOCK
    WRITE_UNLOCK
    WAIT
    LOAD
    STORE
    ADD
    CAS
    AWAIT
    SPIN
    FREE
    NEW
    USE
    UNLINK
    SET
    GET
    READ_TRYLOCK
    # In the order of TEST_UNEQUAL and those behind it.
    AWAIT_NOT
    AWAIT_LESS
    AWAIT_AT_LEAST
    AWAIT_BITS
    AWAIT_NO_BITS
    POLL
    TAKE
    DOWNGRADE

# Types of objects in the arena.
cdef enum:
    WORLD = 1
    TABLE
    ROW
    WORD
    LOCK_WORD
    ITEM
