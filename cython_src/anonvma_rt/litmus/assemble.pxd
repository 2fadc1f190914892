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
    LOAD_ACQUIRE
    STORE_RELEASE
    PLAIN_LOAD
    PLAIN_STORE
    EXCHANGE
    COMPARE_EXCHANGE
    FETCH_ADD
    FETCH_AND
    FETCH_OR
    FETCH_XOR
    ADD_UNLESS
    MB
    RMB
    WMB
    LET
    LABEL
    JUMP
    JUMP_IF
    JUMP_UNLESS
    SPIN_START
    SPIN_HINT
    BEYOND
    IS_LOCKED
    RCU_READ_LOCK
    RCU_READ_UNLOCK
    SYNCHRONIZE_RCU

# Types of objects in the arena.
cdef enum:
    WORLD = 1
    TABLE
    ROW
    WORD
    LOCK_WORD
    ITEM
    DOMAIN
