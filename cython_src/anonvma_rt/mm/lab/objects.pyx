"""The kernel's objects in the arena (see objects.pxd)."""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.base.arena cimport ARENA_START, Arena, arena_header
from anonvma_rt.engine.base.grow cimport grow
from anonvma_rt.mm.mm_types cimport (
    PGDIR_SHIFT, PMD_SIZE, PTRS_PER_TABLE, TYPE_ANON_VMA, TYPE_DIRECTORY, TYPE_KERNEL, TYPE_MM, TYPE_PAGES, TYPE_TABLE,
    TYPE_VMA, anon_vma, mm_struct, page, page_table, pmd_t, vm_area_struct,
)
from anonvma_rt.mm.pgtable cimport pmd_offset


cdef int index_objects(object_index *index, Arena *arena) noexcept nogil:
    """Finds all objects there are; -1 where the host has no memory for that."""
    cdef arena_header *header = next_object(arena, NULL)
    index.n = 0
    index.end = ARENA_START
    while header != NULL:
        if grow(<void **>&index.start, &index.room, index.n + 1, sizeof(uint64_t)) < 0:
            return -1
        index.start[index.n] = <uint64_t>(<char *>header - arena.base)
        index.n += 1
        index.end = index.start[index.n - 1] + header.size
        header = next_object(arena, header)
    return 0


cdef arena_header *object_at(Arena *arena, object_index *index, uint64_t offset) noexcept nogil:
    """The object that an offset lies in; NULL where no object is."""
    cdef uint64_t low = 0
    cdef uint64_t high = index.n
    cdef uint64_t middle
    cdef arena_header *header
    if offset < ARENA_START or offset >= arena.now.used:
        return NULL
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


cdef int member_at(arena_header *header, char *address) noexcept nogil:
    """Which Member of the object an address inside it is."""
    cdef char *object = <char *>(header + 1)
    if header.type == TYPE_VMA:
        return member_of_vma(<vm_area_struct *>object, address)
    if header.type == TYPE_PAGES:
        return member_of_page(<page *>object + <uint64_t>(address - object) // sizeof(page), address)
    if header.type == TYPE_ANON_VMA:
        return member_of_anon_vma(<anon_vma *>object, address)
    if header.type == TYPE_MM:
        return MEMBER_MMAP_SEM if address == <char *>&(<mm_struct *>object).mmap_sem else MEMBER_PAGE_TABLE_LOCK
    if header.type == TYPE_TABLE:
        if address == <char *>&(<page_table *>object).ptl:
            return MEMBER_PTL
        return MEMBER_PTE if address >= <char *>(<page_table *>object).pte else MEMBER_OTHER
    return MEMBER_PMD if header.type == TYPE_DIRECTORY else MEMBER_POOL if header.type == TYPE_KERNEL else MEMBER_OTHER


cdef int member_of_vma(vm_area_struct *vma, char *address) noexcept nogil:
    if address == <char *>&vma.vm_start:
        return MEMBER_VM_START
    if address == <char *>&vma.vm_end:
        return MEMBER_VM_END
    if address == <char *>&vma.vm_pgoff:
        return MEMBER_VM_PGOFF
    if address == <char *>&vma.vm_flags:
        return MEMBER_VM_FLAGS
    if address == <char *>&vma.anon_vma:
        return MEMBER_VMA_ANON_VMA
    return MEMBER_VM_LOCK if address == <char *>&vma.vm_lock else MEMBER_OTHER


cdef int member_of_anon_vma(anon_vma *av, char *address) noexcept nogil:
    if address == <char *>&av.mutex:
        return MEMBER_MUTEX
    if address == <char *>&av.head:
        return MEMBER_HEAD
    if address == <char *>&av.refcount:
        return MEMBER_ANON_VMA_REFCOUNT
    return MEMBER_ROOT if address == <char *>&av.root else MEMBER_OTHER


cdef int member_of_page(page *p, char *address) noexcept nogil:
    if address == <char *>&p.lock:
        return MEMBER_PAGE_LOCK
    if address == <char *>&p.mapcount:
        return MEMBER_MAPCOUNT
    if address == <char *>&p.count:
        return MEMBER_COUNT
    return MEMBER_MAPPING if address == <char *>&p.mapping else MEMBER_OTHER


cdef pmd_t *next_pmd(mm_struct *mm, uint64_t *address) noexcept nogil:
    """The first pmd that is not empty, of `address` or above, which address becomes; NULL where there is none."""
    cdef pmd_t *pmd
    while address[0] >> PGDIR_SHIFT < <uint64_t>PTRS_PER_TABLE:
        pmd = pmd_offset(mm, address[0])
        if pmd == NULL:
            address[0] = ((address[0] >> PGDIR_SHIFT) + 1) << PGDIR_SHIFT
        elif pmd[0]:
            return pmd
        else:
            address[0] += PMD_SIZE
    return NULL
