"""The kernel's objects as they lie in the arena: one after the other, and which of them an address belongs to.

For whoever looks from outside: checks, names for reports, interesting operations. Nothing here changes an object.
"""

from libc.stdint cimport int64_t, uint64_t

from anonvma_rt.engine.base.arena cimport ARENA_START, Arena, arena_header
from anonvma_rt.mm.mm_types cimport mm_struct, pmd_t

# What an address is inside its object, of all that points announce.
cdef enum Member:
    MEMBER_OTHER
    MEMBER_MMAP_SEM
    MEMBER_PAGE_TABLE_LOCK
    MEMBER_VM_LOCK
    MEMBER_VM_START
    MEMBER_VM_END
    MEMBER_VM_PGOFF
    MEMBER_VM_FLAGS
    MEMBER_VMA_ANON_VMA
    MEMBER_MUTEX
    MEMBER_HEAD
    MEMBER_ANON_VMA_REFCOUNT
    MEMBER_ROOT
    MEMBER_PAGE_LOCK
    MEMBER_MAPCOUNT
    MEMBER_COUNT
    MEMBER_MAPPING
    MEMBER_PTL
    MEMBER_PTE
    MEMBER_PMD
    MEMBER_POOL
    MEMBER_VMAS
    MEMBER_VMA_POOL
    MEMBER_TREE
    MEMBER_MM_LOCK_SEQ
    MEMBER_GONE
    MEMBER_VM_REFCNT
    MEMBER_VM_PAGE_PROT
    MEMBER_TLB

# Where the objects of a built kernel begin, ascending, as offsets into the arena; later ones lie behind `end`.
cdef struct object_index:
    uint64_t *start
    uint64_t n
    uint64_t room
    uint64_t end

cdef int index_objects(object_index *index, Arena *arena) noexcept nogil
cdef arena_header *object_at(Arena *arena, object_index *index, uint64_t offset) noexcept nogil
cdef int member_at(arena_header *header, char *address) noexcept nogil
cdef str member_name(int type, int64_t serial, int64_t offset)
cdef pmd_t *next_pmd(mm_struct *mm, uint64_t *address) noexcept nogil


cdef inline arena_header *next_object(Arena *arena, arena_header *header) noexcept nogil:
    """The object behind `header`, or the first one where that is NULL; NULL behind the last. Freed ones are among
    them."""
    cdef char *at = <char *>header + header.size if header != NULL else arena.base + ARENA_START
    return <arena_header *>at if at < arena.base + arena.now.used else NULL
