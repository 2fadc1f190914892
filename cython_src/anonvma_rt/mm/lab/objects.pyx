"""The kernel's objects in the arena (see objects.pxd)."""

from libc.stdint cimport int64_t, uint64_t

from anonvma_rt.engine.base.arena cimport ARENA_START, Arena, arena_header
from anonvma_rt.engine.base.grow cimport grow
from anonvma_rt.mm.mm_types cimport (
    PGDIR_SHIFT, PMD_SIZE, PTRS_PER_TABLE, TYPE_ANON_VMA, TYPE_AVC, TYPE_DIRECTORY, TYPE_KERNEL, TYPE_MM, TYPE_PAGES,
    TYPE_TABLE, TYPE_VMA, anon_vma, anon_vma_chain, kernel, locked_vma, mm_struct, page, page_directory, page_table,
    pmd_t, vm_area_struct,
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
        return member_of_mm(<mm_struct *>object, address)
    if header.type == TYPE_TABLE:
        if address == <char *>&(<page_table *>object).ptl:
            return MEMBER_PTL
        return MEMBER_PTE if address >= <char *>(<page_table *>object).pte else MEMBER_OTHER
    if header.type == TYPE_KERNEL:
        return member_of_kernel(<kernel *>object, address)
    return MEMBER_PMD if header.type == TYPE_DIRECTORY else MEMBER_OTHER


cdef int member_of_kernel(kernel *k, char *address) noexcept nogil:
    if address == <char *>&k.tlb:
        return MEMBER_TLB
    if address == <char *>&k.free_vma:
        return MEMBER_VMA_POOL
    return MEMBER_POOL if address == <char *>&k.free_anon_vma else MEMBER_VMAS


cdef int member_of_mm(mm_struct *mm, char *address) noexcept nogil:
    if address == <char *>&mm.mmap_sem:
        return MEMBER_MMAP_SEM
    if address == <char *>&mm.tree:
        return MEMBER_TREE
    if address == <char *>&mm.mm_lock_seq:
        return MEMBER_MM_LOCK_SEQ
    return MEMBER_GONE if address == <char *>&mm.gone else MEMBER_PAGE_TABLE_LOCK


cdef int member_of_vma(vm_area_struct *vma, char *address) noexcept nogil:
    if address == <char *>&vma.vm_start:
        return MEMBER_VM_START
    if address == <char *>&vma.vm_end:
        return MEMBER_VM_END
    if address == <char *>&vma.vm_pgoff:
        return MEMBER_VM_PGOFF
    if address == <char *>&vma.vm_flags:
        return MEMBER_VM_FLAGS
    if address == <char *>&vma.vm_page_prot:
        return MEMBER_VM_PAGE_PROT
    if address == <char *>&vma.anon_vma:
        return MEMBER_VMA_ANON_VMA
    if address == <char *>&(<locked_vma *>vma).vm_refcnt:
        return MEMBER_VM_REFCNT
    if address == <char *>&vma.vm_lock or address == <char *>&(<locked_vma *>vma).lock:
        return MEMBER_VM_LOCK
    return MEMBER_OTHER


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


# ---- for people ------------------------------------------------------------------------------------------------------


cdef dict MEMBERS = {
    <int>TYPE_VMA: ("vma", sizeof(locked_vma), (
        (<size_t>&(<vm_area_struct *>NULL).vm_mm, "vm_mm"), (<size_t>&(<vm_area_struct *>NULL).vm_start, "vm_start"),
        (<size_t>&(<vm_area_struct *>NULL).vm_end, "vm_end"),
        (<size_t>&(<vm_area_struct *>NULL).vm_pgoff, "vm_pgoff"),
        (<size_t>&(<vm_area_struct *>NULL).vm_flags, "vm_flags"),
        (<size_t>&(<vm_area_struct *>NULL).vm_page_prot, "vm_page_prot"),
        (<size_t>&(<vm_area_struct *>NULL).vm_next, "vm_next"),
        (<size_t>&(<vm_area_struct *>NULL).vm_prev, "vm_prev"), (<size_t>&(<vm_area_struct *>NULL).left, "left"),
        (<size_t>&(<vm_area_struct *>NULL).right, "right"),
        (<size_t>&(<vm_area_struct *>NULL).anon_vma_chain, "anon_vma_chain"),
        (<size_t>&(<vm_area_struct *>NULL).anon_vma, "anon_vma"),
        (<size_t>&(<vm_area_struct *>NULL).vm_lock, "vm_lock"), (<size_t>&(<locked_vma *>NULL).lock, "vm_lock"),
        (<size_t>&(<locked_vma *>NULL).detached, "detached"),
        (<size_t>&(<locked_vma *>NULL).vm_lock_seq, "vm_lock_seq"),
        (<size_t>&(<locked_vma *>NULL).vm_refcnt, "vm_refcnt"),
        (<size_t>&(<locked_vma *>NULL).key_start, "key_start"), (<size_t>&(<locked_vma *>NULL).key_end, "key_end"),
        (<size_t>&(<locked_vma *>NULL).next_free, "next_free"),
    )),
    <int>TYPE_ANON_VMA: ("anon_vma", sizeof(anon_vma), (
        (<size_t>&(<anon_vma *>NULL).root, "root"), (<size_t>&(<anon_vma *>NULL).mutex, "mutex"),
        (<size_t>&(<anon_vma *>NULL).refcount, "refcount"), (<size_t>&(<anon_vma *>NULL).head, "head"),
        (<size_t>&(<anon_vma *>NULL).tree, "tree"), (<size_t>&(<anon_vma *>NULL).parent, "parent"),
        (<size_t>&(<anon_vma *>NULL).num_children, "num_children"),
        (<size_t>&(<anon_vma *>NULL).num_active_vmas, "num_active_vmas"),
        (<size_t>&(<anon_vma *>NULL).next_free, "next_free"),
        (<size_t>&(<anon_vma *>NULL).checked_round, "checked_round"),
        (<size_t>&(<anon_vma *>NULL).checked_mm, "checked_mm"), (<size_t>&(<anon_vma *>NULL).checked, "checked"),
    )),
    <int>TYPE_AVC: ("avc", sizeof(anon_vma_chain), (
        (<size_t>&(<anon_vma_chain *>NULL).vma, "vma"), (<size_t>&(<anon_vma_chain *>NULL).anon_vma, "anon_vma"),
        (<size_t>&(<anon_vma_chain *>NULL).same_vma, "same_vma"),
        (<size_t>&(<anon_vma_chain *>NULL).same_anon_vma, "same_anon_vma"),
        (<size_t>&(<anon_vma_chain *>NULL).up, "up"), (<size_t>&(<anon_vma_chain *>NULL).left, "left"),
        (<size_t>&(<anon_vma_chain *>NULL).right, "right"),
        (<size_t>&(<anon_vma_chain *>NULL).subtree_last, "subtree_last"),
        (<size_t>&(<anon_vma_chain *>NULL).checked_round, "checked_round"),
    )),
    <int>TYPE_MM: ("mm", sizeof(mm_struct), (
        (<size_t>&(<mm_struct *>NULL).mmap_sem, "mmap_sem"),
        (<size_t>&(<mm_struct *>NULL).page_table_lock, "page_table_lock"),
        (<size_t>&(<mm_struct *>NULL).map_count, "map_count"), (<size_t>&(<mm_struct *>NULL).id, "id"),
        (<size_t>&(<mm_struct *>NULL).mmap, "mmap"), (<size_t>&(<mm_struct *>NULL).tree, "tree"),
        (<size_t>&(<mm_struct *>NULL).mm_lock_seq, "mm_lock_seq"), (<size_t>&(<mm_struct *>NULL).charged, "charged"),
        (<size_t>&(<mm_struct *>NULL).tree_guard, "tree_guard"), (<size_t>&(<mm_struct *>NULL).gone, "gone"),
        (<size_t>&(<mm_struct *>NULL).pgd, "pgd"),
    )),
    <int>TYPE_PAGES: ("page", sizeof(page), (
        (<size_t>&(<page *>NULL).lock, "lock"), (<size_t>&(<page *>NULL).mapcount, "mapcount"),
        (<size_t>&(<page *>NULL).count, "count"), (<size_t>&(<page *>NULL).tag, "tag"),
        (<size_t>&(<page *>NULL).index, "index"), (<size_t>&(<page *>NULL).pfn, "pfn"),
        (<size_t>&(<page *>NULL).head, "head"), (<size_t>&(<page *>NULL).flags, "flags"),
        (<size_t>&(<page *>NULL).mapping, "mapping"),
    )),
    <int>TYPE_TABLE: ("page table", sizeof(page_table), (
        (<size_t>&(<page_table *>NULL).ptl, "ptl"), (<size_t>&(<page_table *>NULL).address, "address"),
        (<size_t>&(<page_table *>NULL).pte, "pte"),
    )),
    <int>TYPE_DIRECTORY: ("page directory", sizeof(page_directory), (
        (<size_t>&(<page_directory *>NULL).entry, "entry"),
    )),
    <int>TYPE_KERNEL: ("kernel", sizeof(kernel), (
        (<size_t>&(<kernel *>NULL).algorithm, "algorithm"), (<size_t>&(<kernel *>NULL).rule, "rule"),
        (<size_t>&(<kernel *>NULL).unused, "unused"),
        (<size_t>&(<kernel *>NULL).swap, "swap"), (<size_t>&(<kernel *>NULL).tlb, "tlb"),
        (<size_t>&(<kernel *>NULL).deferred, "deferred"), (<size_t>&(<kernel *>NULL).pins, "pins"),
        (<size_t>&(<kernel *>NULL).file, "file"),
        (<size_t>&(<kernel *>NULL).free_vma, "free_vma"), (<size_t>&(<kernel *>NULL).mm, "mm"),
        (<size_t>&(<kernel *>NULL).n_mm, "n_mm"), (<size_t>&(<kernel *>NULL).mm_room, "mm_room"),
        (<size_t>&(<kernel *>NULL).n_pages, "n_pages"), (<size_t>&(<kernel *>NULL).chunk, "chunk"),
        (<size_t>&(<kernel *>NULL).chunks, "chunks"), (<size_t>&(<kernel *>NULL).chunk_room, "chunk_room"),
        (<size_t>&(<kernel *>NULL).free_anon_vma, "free_anon_vma"),
        (<size_t>&(<kernel *>NULL).frames_guard, "frames_guard"),
        (<size_t>&(<kernel *>NULL).pool_guard, "pool_guard"), (<size_t>&(<kernel *>NULL).check_round, "check_round"),
        (<size_t>&(<kernel *>NULL).prot_none, "prot_none"),
        (<size_t>&(<kernel *>NULL).watched, "watched"), (<size_t>&(<kernel *>NULL).n_watched, "n_watched"),
        (<size_t>&(<kernel *>NULL).watchers, "watchers"), (<size_t>&(<kernel *>NULL).turn, "turn"),
        (<size_t>&(<kernel *>NULL).plan, "plan"), (<size_t>&(<kernel *>NULL).root_lock, "root_lock"),
        (<size_t>&(<kernel *>NULL).findings, "findings"),
    )),
}  # fmt: skip


cdef str member_name(int type, int64_t serial, int64_t offset):
    """A member of the kernel's by its object and the byte inside it; None for an object that has no members."""
    cdef int64_t number
    if type not in MEMBERS:
        return None
    what, size, members = MEMBERS[type]
    if offset < 0:
        return f"{what} {serial}, whether it is freed"
    number = offset // size
    begin, name = max(one for one in members if one[0] <= offset % size)
    if type == TYPE_PAGES:
        return f"{what} {number} of block {serial}, {name}"
    if type == TYPE_TABLE or type == TYPE_DIRECTORY:
        entry = "" if name == "ptl" or name == "address" else f" {(offset - begin) // 8}"
        return f"{what} {serial}, {name}{entry}"
    return f"{what}, {name}" if type == TYPE_KERNEL else f"{what} {serial}, {name}"
