"""The names of interesting operations, and how one is recognised (see interesting.pxd)."""

from libc.stdint cimport uint32_t, uint64_t

from anonvma_rt.engine.base.arena cimport Arena, arena_header
from anonvma_rt.engine.base.operation cimport (
    OP_ATOMIC, OP_LOAD, OP_LOCK, OP_READ_LOCK, OP_READ_TRYLOCK, OP_STORE, OP_TRYLOCK, OP_WAIT,
)
from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.lab.objects cimport (
    MEMBER_ANON_VMA_REFCOUNT, MEMBER_COUNT, MEMBER_HEAD, MEMBER_MAPCOUNT, MEMBER_MAPPING, MEMBER_MMAP_SEM, MEMBER_MUTEX,
    MEMBER_PAGE_LOCK, MEMBER_PAGE_TABLE_LOCK, MEMBER_PMD, MEMBER_PTE, MEMBER_PTL, MEMBER_ROOT, MEMBER_VMA_ANON_VMA,
    MEMBER_VM_END, MEMBER_VM_LOCK, MEMBER_VM_PGOFF, MEMBER_VM_REFCNT, MEMBER_VM_START, member_at, object_at,
    object_index,
)

DEFAULT = "migrating-ptl"

# name: its kinds, and a line for `list`. Names of locks mean that one is taken, tried or waited for.
NAMES = {
    DEFAULT: (WATCH_MIGRATING_PTL, "the page-table lock that guards a page which a thread migrates is taken (default)"),
    "ptl": (WATCH_PTL, "a page-table lock is taken"),
    "root-lock": (WATCH_ROOT_LOCK, "the lock of an anon_vma's root is taken or tried"),
    "mmap-sem": (WATCH_MMAP_SEM, "an mmap_sem is taken, for reading or for writing"),
    "vma-lock": (WATCH_VMA_LOCK, "the lock of one vma is taken or tried"),
    "page-lock": (WATCH_PAGE_LOCK, "a page is locked, tried to be, or waited for"),
    "pte": (WATCH_PTE * 3, "a pte is read, set or cleared"),
    "pte-write": (WATCH_PTE * 2, "a pte is set or cleared"),
    "pmd": (WATCH_PMD * 3, "a pmd is read, set or cleared"),
    "pmd-write": (WATCH_PMD * 2, "a pmd is set or cleared"),
    "list": (WATCH_LIST * 3, "an anon_vma's list is walked or changed"),
    "list-write": (WATCH_LIST * 2, "an anon_vma's list is changed"),
    "vma": (WATCH_VMA * 3, "vm_start, vm_end or vm_pgoff is read without mmap_sem, or stored"),
    "vma-write": (WATCH_VMA * 2, "vm_start, vm_end or vm_pgoff is stored"),
    "anon-vma": (WATCH_ANON_VMA * 3, "a pointer to an anon_vma (of a vma, a page, to a root) is read or stored"),
    "anon-vma-write": (WATCH_ANON_VMA * 2, "a pointer to an anon_vma (of a vma, a page, to a root) is stored"),
    "refcount": (WATCH_REFCOUNT * 3, "the references of a page, an anon_vma or a vma are counted or looked at"),
    "mapcount": (WATCH_MAPCOUNT * 3, "the mapcount of a page changes or is looked at"),
}


cdef uint32_t read_kinds(object names) except? 0:
    """The set that some of NAMES stand for."""
    cdef uint32_t kinds = 0
    for name in names:
        kinds |= <uint32_t>NAMES[name][0]
    # Those are some of these, and are marked by the kernel itself: nothing is marked twice.
    return kinds & ~<uint32_t>WATCH_MIGRATING_PTL if kinds & WATCH_PTL else kinds


cdef uint32_t kind_of(int member) noexcept nogil:
    if member == MEMBER_PTL or member == MEMBER_PAGE_TABLE_LOCK:
        return WATCH_PTL
    if member == MEMBER_MUTEX:
        return WATCH_ROOT_LOCK
    if member == MEMBER_MMAP_SEM:
        return WATCH_MMAP_SEM
    if member == MEMBER_VM_LOCK:
        return WATCH_VMA_LOCK
    if member == MEMBER_PAGE_LOCK:
        return WATCH_PAGE_LOCK
    if member == MEMBER_PTE:
        return WATCH_PTE
    if member == MEMBER_PMD:
        return WATCH_PMD
    if member == MEMBER_HEAD:
        return WATCH_LIST
    if member == MEMBER_VM_START or member == MEMBER_VM_END or member == MEMBER_VM_PGOFF:
        return WATCH_VMA
    if member == MEMBER_VMA_ANON_VMA or member == MEMBER_ROOT or member == MEMBER_MAPPING:
        return WATCH_ANON_VMA
    if member == MEMBER_COUNT or member == MEMBER_ANON_VMA_REFCOUNT or member == MEMBER_VM_REFCNT:
        return WATCH_REFCOUNT
    return WATCH_MAPCOUNT if member == MEMBER_MAPCOUNT else 0


cdef bint is_interesting(Task *t, uint32_t kinds, object_index *index) noexcept nogil:
    """Whether what t announces is of one of `kinds`. A lock is what it guards only where it is taken or tried."""
    cdef Arena *arena = &t.x.arena
    cdef arena_header *header = object_at(arena, index, <uint64_t>t.object - <uint64_t>arena.base)
    cdef uint32_t kind = kind_of(member_at(header, <char *>t.object)) if header != NULL else 0
    if t.op in (OP_LOCK, OP_READ_LOCK, OP_TRYLOCK, OP_READ_TRYLOCK, OP_WAIT):
        return kinds & kind != 0
    if kind < WATCH_PTE:
        return False
    if t.op == OP_LOAD:
        return kinds & kind != 0
    return t.op in (OP_STORE, OP_ATOMIC) and kinds & kind << 1 != 0
