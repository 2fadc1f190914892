"""Shadow: who touched which bytes of the arena, when, and from where; and the pairs that no announcement orders.

For every 8 bytes there is a list of accesses: of each task the last ones, by what they did and to which bytes. A new
access is compared with all of them. Source: FastTrack (Flanagan and Freund, PLDI 2009), whose epochs these are; here
nothing of another task's is forgotten, so that of a pair both places are known.
"""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from anonvma_rt.engine.base.arena cimport Arena

# LOCKS: what the engine does to a lock's word for the operation that was announced on it.
cdef enum Touch:
    READS
    WRITES
    LOCKS

cdef enum:
    # Distinct pairs that are kept; and calls of the stack of a pair's second access.
    MOST_PAIRS = 512
    PAIR_FRAMES = 16

cdef struct Access:
    void *place
    uint64_t step
    uint32_t epoch
    uint32_t next
    uint8_t task
    uint8_t touch
    uint8_t bytes

# One side of a pair. place: where the access was made, an address to return to.
cdef struct Side:
    void *place
    uint64_t step
    int32_t task
    int32_t touch

cdef struct Pair:
    Side first
    Side second
    # The object and the byte inside it (negative: of its header), the execution in which it was seen first, and how
    # often in all.
    int32_t offset
    uint32_t serial
    uint16_t type
    uint64_t index
    uint64_t count
    void *frames[PAIR_FRAMES]

cdef struct Shadow:
    Arena *arena
    # Of each 8 bytes, the first access of its list in `access` (0: none); and which 8 bytes have a list.
    uint32_t *first
    uint64_t room
    uint64_t *touched
    uint64_t touched_room
    uint64_t n_touched
    Access *access
    uint64_t access_room
    uint32_t n_access
    Pair *pair
    int n_pairs
    # Pairs for which there was no place.
    uint64_t unkept
    bint full

cdef int shadow_open(Shadow *s, Arena *arena) except -1
cdef void shadow_close(Shadow *s) noexcept nogil
cdef void shadow_begin(Shadow *s) noexcept nogil
cdef void shadow_touch(Shadow *s, uint64_t offset, uint64_t size, const Access *now, const uint32_t *clock,
                       uint64_t index) noexcept nogil
