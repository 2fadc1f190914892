"""Allocation, snapshot and restore of the subject's memory (see arena.pxd)."""

from libc.string cimport memcpy, memset
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_NONE, PROT_READ, PROT_WRITE
from posix.mman cimport mmap, mprotect, munmap

from anonvma_rt.engine.base.os cimport rt_caller, write_onceu

cdef enum:
    GRANULE = 1 << 20
    # What is told of a write that makes or ends an object, and not only changes it.
    LIFETIME = 2


cdef int arena_open(Arena *arena) except -1 nogil:
    """Reserves the block. Address space only: memory is committed as the block grows, and the block never moves."""
    cdef uint64_t size = <uint64_t>64 << 30
    memset(arena, 0, sizeof(Arena))
    while size >= <uint64_t>64 << 20:
        arena.base = <char *>mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        if arena.base != <char *>MAP_FAILED:
            arena.reserved = size
            arena.now.used = ARENA_START
            if grow(arena, ARENA_START) < 0:
                arena_close(arena)
                break
            return 0
        size >>= 1
    arena.base = NULL
    with gil:
        raise MemoryError("no address space for the subject's memory (64 MiB at least)")


cdef void arena_open_at(Arena *arena, char *base, uint64_t committed, uint64_t reserved) noexcept nogil:
    """Takes a block that somebody has reserved and will give back; its first `committed` bytes can be used already."""
    memset(arena, 0, sizeof(Arena))
    arena.base = base
    arena.committed = committed
    arena.reserved = reserved
    arena.now.used = ARENA_START
    arena.lent = True


cdef void arena_close(Arena *arena) noexcept nogil:
    if arena.base != NULL and not arena.lent:
        munmap(arena.base, arena.reserved)
    if arena.snapshot != NULL:
        munmap(arena.snapshot, arena.saved.used)
    memset(arena, 0, sizeof(Arena))


cdef int grow(Arena *arena, uint64_t used) noexcept nogil:
    cdef uint64_t wanted = arena.committed
    if used <= arena.committed:
        return 0
    wanted = (used + (used - arena.floor) // 8 + GRANULE - 1) & ~<uint64_t>(GRANULE - 1)
    if wanted > arena.reserved:
        wanted = arena.reserved
    if used > wanted:
        return -1
    if mprotect(arena.base + arena.committed, wanted - arena.committed, PROT_READ | PROT_WRITE) != 0:
        return -1
    arena.committed = wanted
    return 0


cdef void *arena_alloc(Arena *arena, uint64_t size, int type) noexcept nogil:
    """A zeroed object of `size` bytes, or NULL when the block is full."""
    cdef uint64_t whole = (sizeof(arena_header) + size + 7) & ~<uint64_t>7
    cdef uint64_t start = arena.next if arena.view else arena.now.used
    cdef arena_header *header
    if whole >> 32 or grow(arena, start + whole) < 0:
        return NULL
    if arena.view:
        arena.next = start + whole
    else:
        arena.now.used = start + whole
    header = <arena_header *>(arena.base + start)
    memset(header, 0, whole)
    header.size = <uint32_t>whole
    header.type = <uint16_t>type
    arena.now.serials[type] += 1
    header.serial = arena.now.serials[type]
    arena.now.live += 1
    if arena.told != NULL:
        arena.told(header, whole, LIFETIME, rt_caller())
    return header + 1


cdef void arena_free(Arena *arena, void *object) noexcept nogil:
    """Poisons a live object; whoever still looks at it is caught by arena_live."""
    cdef arena_header *header = arena_header_of(object)
    memset(object, ARENA_POISON, arena_size(object))
    if arena.told != NULL:
        arena.told(object, header.size - sizeof(arena_header), LIFETIME, rt_caller())
        arena.told(&header.generation, sizeof(header.generation), LIFETIME, rt_caller())
    write_onceu(&header.generation, header.generation + 1)
    arena.now.live -= 1


cdef int arena_snapshot(Arena *arena) except -1 nogil:
    """Saves the state that arena_restore brings back; once per arena."""
    cdef char *copy = <char *>mmap(NULL, arena.now.used, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    if copy == <char *>MAP_FAILED:
        with gil:
            raise MemoryError(f"no memory for a snapshot of {arena.now.used} bytes")
    arena.snapshot = copy
    arena.saved = arena.now
    memcpy(copy, arena.base, arena.now.used)
    return 0


cdef void arena_restore(Arena *arena) noexcept nogil:
    memcpy(arena.base, arena.snapshot, arena.saved.used)
    arena.now = arena.saved
    arena.view = False


cdef void arena_open_view(Arena *view, Arena *arena, uint64_t first, uint64_t end) noexcept nogil:
    """A view whose own part of the block is [first, end), which is committed as it is used and never by another one."""
    memset(view, 0, sizeof(Arena))
    view.base = arena.base
    view.saved = arena.saved
    view.floor = first
    view.committed = first
    view.reserved = end


cdef void arena_reset_view(Arena *view, uint64_t end) noexcept nogil:
    """Empties a view's own part; of the arena itself that is what lies behind the snapshot. `end`: of the whole block.

    What was in the part needs no wiping: nothing that was restored points there.
    """
    view.view = True
    view.now = view.saved
    view.now.used = end
    view.next = view.floor if view.floor else view.saved.used


cdef void arena_retire(Arena *arena, void *object) noexcept nogil:
    """Frees without poison: memory that keeps its type after it was freed, as under SLAB_DESTROY_BY_RCU."""
    cdef arena_header *header = arena_header_of(object)
    write_onceu(&header.generation, header.generation + 1)
    if arena.told != NULL:
        arena.told(&header.generation, sizeof(header.generation), LIFETIME, rt_caller())
    arena.now.live -= 1


cdef void arena_revive(Arena *arena, void *object) noexcept nogil:
    """Makes a retired object live again, in its next generation; what it holds stays."""
    cdef arena_header *header = arena_header_of(object)
    write_onceu(&header.generation, header.generation + 1)
    if arena.told != NULL:
        arena.told(&header.generation, sizeof(header.generation), LIFETIME, rt_caller())
    arena.now.live += 1


cdef void arena_drop_last(Arena *arena, void *object) noexcept nogil:
    """Takes back the allocation of the object that was allocated last, as if it had never been: for scratch memory."""
    cdef arena_header *header = arena_header_of(object)
    if arena.view:
        arena.next -= header.size
    else:
        arena.now.used -= header.size
    arena.now.serials[header.type] -= 1
    arena.now.live -= 1
