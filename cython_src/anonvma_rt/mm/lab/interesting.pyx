"""The names of interesting operations, and how one is recognised (see interesting.pxd)."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport malloc

from anonvma_rt.engine.base.arena cimport ARENA_START, Arena, arena_header
from anonvma_rt.engine.base.operation cimport (
    OP_ATOMIC,
    OP_LOAD,
    OP_LOCK,
    OP_READ_LOCK,
    OP_READ_TRYLOCK,
    OP_STORE,
    OP_TRYLOCK,
    OP_WAIT,
    lock_word,
)
from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport (
    CLASS_ANON_VMA,
    CLASS_MMAP_SEM,
    CLASS_PAGE,
    CLASS_PTL,
    TYPE_ANON_VMA,
    TYPE_DIRECTORY,
    TYPE_PAGES,
    TYPE_TABLE,
    TYPE_VMA,
    anon_vma,
    page,
    vm_area_struct,
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
    "refcount": (WATCH_REFCOUNT * 3, "the references of a page or an anon_vma are counted or looked at"),
    "mapcount": (WATCH_MAPCOUNT * 3, "the mapcount of a page changes or is looked at"),
}


cdef uint32_t read_kinds(object names) except? 0:
    """The set that some of NAMES stand for."""
    cdef uint32_t kinds = 0
    for name in names:
        kinds |= <uint32_t>NAMES[name][0]
    # Those are some of these, and are marked by the kernel itself: nothing is marked twice.
    return kinds & ~<uint32_t>WATCH_MIGRATING_PTL if kinds & WATCH_PTL else kinds


cdef int index_objects(object_index *index, Arena *arena) noexcept nogil:
    """Finds the objects of a kernel that was just built; -1 where the host has no memory for that."""
    cdef uint64_t at = ARENA_START
    cdef uint64_t n = 0
    cdef uint64_t *start
    while at < arena.now.used:
        n += 1
        at += (<arena_header *>(arena.base + at)).size
    start = <uint64_t *>malloc((n + 1) * sizeof(uint64_t))
    if start == NULL:
        return -1
    index.n = 0
    at = ARENA_START
    while at < arena.now.used:
        start[index.n] = at
        index.n += 1
        at += (<arena_header *>(arena.base + at)).size
    index.end = at
    index.start = start
    return 0


cdef arena_header *object_of(Arena *arena, object_index *index, uint64_t offset) noexcept nogil:
    """The object that an offset below arena.now.used lies in."""
    cdef uint64_t low = 0
    cdef uint64_t high = index.n
    cdef uint64_t middle
    cdef arena_header *header
    if offset < index.end:
        while high - low > 1:
            middle = (low + high) >> 1
            if index.start[middle] <= offset:
                low = middle
            else:
                high = middle
        return <arena_header *>(arena.base + index.start[low])
    header = <arena_header *>(arena.base + index.end)
    while <char *>header + header.size <= arena.base + offset:
        header = <arena_header *>(<char *>header + header.size)
    return header


cdef bint within(char *address, void *member, size_t size) noexcept nogil:
    return <char *>member <= address < <char *>member + size


cdef uint32_t kind_of_lock(lock_word *lock, arena_header *header) noexcept nogil:
    if lock.cls == CLASS_PTL:
        return WATCH_PTL
    if lock.cls == CLASS_ANON_VMA:
        return WATCH_ROOT_LOCK
    if lock.cls == CLASS_MMAP_SEM:
        return WATCH_MMAP_SEM
    if lock.cls == CLASS_PAGE:
        return WATCH_PAGE_LOCK
    return WATCH_VMA_LOCK if header.type == TYPE_VMA else 0


cdef uint32_t kind_of_word(char *address, arena_header *header) noexcept nogil:
    """What is read there; the next bit for what is changed."""
    cdef vm_area_struct *vma = <vm_area_struct *>(header + 1)
    cdef anon_vma *av = <anon_vma *>(header + 1)
    cdef page *p = <page *>(header + 1)
    if header.type == TYPE_TABLE:
        return WATCH_PTE
    if header.type == TYPE_DIRECTORY:
        return WATCH_PMD
    if header.type == TYPE_VMA:
        if address == <char *>&vma.anon_vma:
            return WATCH_ANON_VMA
        return WATCH_VMA if within(address, &vma.vm_start, 3 * sizeof(uint64_t)) else 0
    if header.type == TYPE_ANON_VMA:
        if address == <char *>&av.head:
            return WATCH_LIST
        if address == <char *>&av.refcount:
            return WATCH_REFCOUNT
        return WATCH_ANON_VMA if address == <char *>&av.root else 0
    if header.type == TYPE_PAGES:
        p += <uint64_t>(address - <char *>p) / sizeof(page)
        if address == <char *>&p.mapcount:
            return WATCH_MAPCOUNT
        if address == <char *>&p.count:
            return WATCH_REFCOUNT
        return WATCH_ANON_VMA if address == <char *>&p.mapping else 0
    return 0


cdef bint is_interesting(Task *t, uint32_t kinds, object_index *index) noexcept nogil:
    """Whether what t announces is of one of `kinds`."""
    cdef Arena *arena = &t.x.arena
    cdef uint64_t offset = <uint64_t>t.object - <uint64_t>arena.base
    cdef arena_header *header
    if offset < ARENA_START or offset >= arena.now.used:
        return False
    header = object_of(arena, index, offset)
    if t.op in (OP_LOCK, OP_READ_LOCK, OP_TRYLOCK, OP_READ_TRYLOCK, OP_WAIT):
        return kinds & kind_of_lock(<lock_word *>t.object, header) != 0
    if t.op == OP_LOAD:
        return kinds & kind_of_word(<char *>t.object, header) != 0
    if t.op in (OP_STORE, OP_ATOMIC):
        return kinds & kind_of_word(<char *>t.object, header) << 1 != 0
    return False
