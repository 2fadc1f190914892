"""The subject's memory: one block whose state can be saved once and brought back before every execution.

Objects are allocated upwards and not reused within an execution, but by a pool that revives what it retired; a freed
one is poisoned and its generation turns odd, so that a use after free is seen and not survived by luck. Every object
carries a header with its type and its serial number, which is its stable name: the offset into the block stands for an
address wherever one is reported.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from anonvma_rt.engine.audit.access cimport rt_glance
from anonvma_rt.engine.base.os cimport read_onceu

cdef enum:
    ARENA_TYPES = 16
    ARENA_POISON = 0x6B
    # Offset 0 names "outside the block", so no object starts there.
    ARENA_START = 64

# 16 bytes in front of every object. An even generation means live, an odd one freed.
cdef struct arena_header:
    uint32_t size
    uint32_t serial
    uint32_t generation
    uint16_t type
    uint16_t unused

cdef struct arena_state:
    uint64_t used
    uint64_t live
    uint32_t serials[ARENA_TYPES]

# Where tasks run at once each has a view of the arena: the same block, `now.used` covers all of it, and what the task
# allocates comes from a part of its own, from `next` on up to `reserved`.
cdef struct Arena:
    char *base
    arena_state now
    uint64_t next
    bint view
    uint64_t floor
    uint64_t committed
    uint64_t reserved
    # The block is somebody else's, who takes it back.
    bint lent
    # Where the subject's tasks have stacks of its own: not saved, and named by how far they are from the block.
    char *stacks
    uint64_t stacks_size
    uint64_t stack_bytes
    char *snapshot
    arena_state saved
    # Who is told of what is written here to a whole object, or to its header; NULL: nobody (engine/audit). writes: 2.
    void (*told)(void *address, uint64_t size, int writes, void *place) noexcept nogil

cdef int arena_open(Arena *arena) except -1 nogil
cdef void arena_open_at(Arena *arena, char *base, uint64_t committed, uint64_t reserved) noexcept nogil
cdef void arena_close(Arena *arena) noexcept nogil
cdef void *arena_alloc(Arena *arena, uint64_t size, int type) noexcept nogil
cdef void arena_free(Arena *arena, void *object) noexcept nogil
cdef void arena_drop_last(Arena *arena, void *object) noexcept nogil
cdef void arena_retire(Arena *arena, void *object) noexcept nogil
cdef void arena_revive(Arena *arena, void *object) noexcept nogil
cdef int arena_snapshot(Arena *arena) except -1 nogil
cdef void arena_restore(Arena *arena) noexcept nogil
cdef void arena_open_view(Arena *view, Arena *arena, uint64_t first, uint64_t end) noexcept nogil
cdef void arena_reset_view(Arena *view, uint64_t end) noexcept nogil


cdef inline arena_header *arena_header_of(void *object) noexcept nogil:
    return <arena_header *>object - 1


cdef inline uint64_t arena_size(void *object) noexcept nogil:
    """The bytes of an object, its header left out."""
    return arena_header_of(object).size - sizeof(arena_header)


cdef inline arena_header *arena_header_at(Arena *arena, void *object, int type) noexcept nogil:
    """The header of an object of `type`, alive or not; NULL where there is none. Reads nothing outside the block,
    whatever the pointer is."""
    cdef uint64_t offset = <uint64_t>object - <uint64_t>arena.base
    cdef arena_header *header
    if offset >= arena.now.used or offset < sizeof(arena_header) or offset & 7:
        return NULL
    header = arena_header_of(arena.base + offset)
    return header if header.type == type else NULL


cdef inline bint arena_live(Arena *arena, void *object, int type) noexcept nogil:
    """Whether `object` is a live object of `type`."""
    cdef arena_header *header = arena_header_at(arena, object, type)
    return header != NULL and not read_onceu(&header.generation) & 1


cdef inline bint arena_glance(Arena *arena, void *object, int type) noexcept nogil:
    """arena_live() as a look that is no access of the subject's (engine/audit/access.pxd)."""
    cdef arena_header *header = arena_header_at(arena, object, type)
    return header != NULL and not rt_glance(&header.generation) & 1


cdef inline uint64_t arena_offset(Arena *arena, void *object) noexcept nogil:
    """The stable name of an address inside the block; 0 for any other address."""
    cdef uint64_t offset = <uint64_t>object - <uint64_t>arena.base
    return offset if offset < arena.now.used or arena_on_stack(arena, object) else 0


cdef inline bint arena_on_stack(Arena *arena, void *object) noexcept nogil:
    """Whether an address is of a stack that the subject has for its tasks."""
    return <uint64_t>object - <uint64_t>arena.stacks < arena.stacks_size


cdef inline void *arena_root(Arena *arena) noexcept nogil:
    """The first object that was allocated: where a subject keeps what it must find again."""
    return arena.base + ARENA_START + sizeof(arena_header)
