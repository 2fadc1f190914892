"""Pages, page tables and faults (see memory.pxd)."""

from libc.errno cimport EFAULT, ENOMEM
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from anonvma_rt.engine.arena cimport arena_alloc, arena_free
from anonvma_rt.engine.sync cimport lock_init, spin_lock, spin_unlock, spinlock_t
from anonvma_rt.engine.task cimport HALT_NO_MEMORY, OP_ATOMIC, OP_LOAD, OP_STORE, Task, halt, note, point, violate
from anonvma_rt.mm.events cimport BUG_DOUBLE_FREE, NOTE_FAULT, NOTE_FREE_PAGE, NOTE_ZAP
from anonvma_rt.mm.migrate cimport decode_migration_entry, migration_entry_wait
from anonvma_rt.mm.mmap cimport find_vma
from anonvma_rt.mm.rmap cimport anon_vma_prepare, page_add_new_anon_rmap, page_remove_rmap
from anonvma_rt.mm.types cimport (
    BUG_ON,
    CLASS_PAGE,
    CLASS_PTL,
    PAGE_SIZE,
    PAGES_PER_CHUNK,
    PGDIR_SHIFT,
    PMD_SHIFT,
    PMD_SIZE,
    PTE_NONE,
    PTE_PRESENT,
    PTE_WRITE,
    PTRS_PER_TABLE,
    TYPE_DIRECTORY,
    TYPE_PAGES,
    TYPE_SCRATCH,
    TYPE_TABLE,
    is_migration_entry,
    kernel,
    kernel_of,
    make_pte,
    mm_struct,
    page,
    page_directory,
    page_table,
    pfn_to_page,
    pte_pfn,
    pte_present,
    pte_t,
    vm_area_struct,
)


cdef void *must_alloc(Task *t, uint64_t size, int type) noexcept nogil:
    """Memory of the simulated kernel; that the host has none is no event of the simulation."""
    cdef void *object = arena_alloc(&t.x.arena, size, type)
    if object == NULL:
        halt(t, HALT_NO_MEMORY)
    return object


cdef page *alloc_page(Task *t) noexcept nogil:
    """A page frame that was never used before in this execution, with one reference."""
    cdef kernel *k = kernel_of(t)
    cdef page **larger
    cdef page *p
    if k.n_pages == k.chunks * PAGES_PER_CHUNK:
        if k.chunks == k.chunk_room:
            k.chunk_room = 2 * k.chunk_room + 8
            larger = <page **>must_alloc(t, k.chunk_room * sizeof(void *), TYPE_SCRATCH)
            if k.chunks:
                memcpy(larger, k.chunk, k.chunks * sizeof(void *))
                arena_free(&t.x.arena, k.chunk)
            k.chunk = larger
        k.chunk[k.chunks] = <page *>must_alloc(t, PAGES_PER_CHUNK * sizeof(page), TYPE_PAGES)
        k.chunks += 1
    p = pfn_to_page(k, k.n_pages)
    p.pfn = k.n_pages
    k.n_pages += 1
    lock_init(&p.lock, CLASS_PAGE)
    p.mapcount = -1
    p.count = 1
    return p


cdef bint get_page_unless_zero(Task *t, page *p) noexcept nogil:
    point(t, OP_ATOMIC, &p.count)
    if p.count == 0:
        return False
    p.count += 1
    return True


cdef void put_page(Task *t, page *p) noexcept nogil:
    point(t, OP_ATOMIC, &p.count)
    if p.count <= 0:
        violate(t, BUG_ON, BUG_DOUBLE_FREE, p.pfn, 0)
    p.count -= 1
    if p.count == 0:
        note(t, NOTE_FREE_PAGE, p.pfn, 0, 0)
        p.mapping = 0


cdef page_table *peek_table(mm_struct *mm, uint64_t address) noexcept nogil:
    """The page table of an address without a point: for checks and printing only."""
    cdef page_directory *directory = <page_directory *>mm.pgd.entry[(address >> PGDIR_SHIFT) & (PTRS_PER_TABLE - 1)]
    if directory == NULL:
        return NULL
    return <page_table *>directory.entry[(address >> PMD_SHIFT) & (PTRS_PER_TABLE - 1)]


cdef page_table *find_table(Task *t, mm_struct *mm, uint64_t address) noexcept nogil:
    """The page table of an address, or NULL; the pmd is read without a lock, as every walk does."""
    cdef page_directory *directory = <page_directory *>mm.pgd.entry[(address >> PGDIR_SHIFT) & (PTRS_PER_TABLE - 1)]
    if directory == NULL:
        return NULL
    point(t, OP_LOAD, &directory.entry[(address >> PMD_SHIFT) & (PTRS_PER_TABLE - 1)])
    return <page_table *>directory.entry[(address >> PMD_SHIFT) & (PTRS_PER_TABLE - 1)]


cdef page_table *alloc_table(Task *t, mm_struct *mm, uint64_t address) noexcept nogil:
    """pte_alloc: the page table of an address, made if there is none; it appears under page_table_lock."""
    cdef page_directory **directory = <page_directory **>&mm.pgd.entry[(address >> PGDIR_SHIFT) & (PTRS_PER_TABLE - 1)]
    cdef page_table *table = find_table(t, mm, address)
    cdef page_table *fresh
    cdef void **entry
    if table != NULL:
        return table
    fresh = <page_table *>must_alloc(t, sizeof(page_table), TYPE_TABLE)
    lock_init(&fresh.ptl, CLASS_PTL)
    fresh.address = address & ~<uint64_t>(PMD_SIZE - 1)
    spin_lock(t, &mm.page_table_lock)
    if directory[0] == NULL:
        directory[0] = <page_directory *>must_alloc(t, sizeof(page_directory), TYPE_DIRECTORY)
    entry = &directory[0].entry[(address >> PMD_SHIFT) & (PTRS_PER_TABLE - 1)]
    point(t, OP_STORE, entry)
    if entry[0] == NULL:
        entry[0] = fresh
    else:
        arena_free(&t.x.arena, fresh)
    table = <page_table *>entry[0]
    spin_unlock(t, &mm.page_table_lock)
    return table


cdef void zap_range(Task *t, mm_struct *mm, uint64_t start, uint64_t end) noexcept nogil:
    """unmap_vmas: clears the ptes of a range, table by table under its lock; mmap_sem is held."""
    cdef kernel *k = kernel_of(t)
    cdef uint64_t address = start
    cdef uint64_t stop
    cdef page_table *table
    cdef spinlock_t *ptl
    cdef pte_t *ptep
    cdef pte_t pte
    cdef page *p
    while address < end:
        stop = (address | (PMD_SIZE - 1)) + 1
        if stop > end:
            stop = end
        table = find_table(t, mm, address)
        if table != NULL:
            ptl = pte_lockptr(t, mm, table)
            spin_lock(t, ptl)
            while address < stop:
                ptep = pte_offset(table, address)
                if pte_read(t, ptep) != PTE_NONE:
                    pte = ptep_get_and_clear(t, ptep)
                    note(t, NOTE_ZAP, mm.id, <int64_t>address, <int64_t>pte)
                    if pte_present(pte) and pte_pfn(pte):
                        p = pfn_to_page(k, pte_pfn(pte))
                        page_remove_rmap(t, p)
                        put_page(t, p)
                    elif is_migration_entry(pte) and k.algorithm.decode_in_zap:
                        # For rss accounting, since 3.3.
                        decode_migration_entry(t, pte, address)
                address += PAGE_SIZE
            spin_unlock(t, ptl)
        address = stop


cdef void free_pgtables(Task *t, mm_struct *mm, uint64_t start, uint64_t end, uint64_t floor,
                        uint64_t ceiling) noexcept nogil:
    """Frees the page tables of [start, end) that lie wholly between the neighbouring vmas (floor and ceiling).

    mmap_sem is held for writing and no vma covers the range any more, so no walk can arrive here.
    """
    cdef uint64_t address = start & ~<uint64_t>(PMD_SIZE - 1)
    cdef page_directory *directory
    cdef void **entry
    while address < end:
        directory = <page_directory *>mm.pgd.entry[(address >> PGDIR_SHIFT) & (PTRS_PER_TABLE - 1)]
        if directory != NULL and address >= floor and address + PMD_SIZE <= ceiling:
            entry = &directory.entry[(address >> PMD_SHIFT) & (PTRS_PER_TABLE - 1)]
            if entry[0] != NULL:
                spin_lock(t, &mm.page_table_lock)
                point(t, OP_STORE, entry)
                arena_free(&t.x.arena, entry[0])
                entry[0] = NULL
                spin_unlock(t, &mm.page_table_lock)
        address += PMD_SIZE


cdef int handle_mm_fault(Task *t, vm_area_struct *vma, uint64_t address, bint write, page **content) noexcept nogil:
    """One fault, retried until the pte allows the access; mmap_sem is held for reading.

    handle_pte_fault, do_anonymous_page and do_swap_page of mm/memory.c. content: the page (NULL for the zero page).
    Returns 0 or -ENOMEM.
    """
    cdef mm_struct *mm = vma.vm_mm
    cdef page_table *table = alloc_table(t, mm, address)
    cdef pte_t *ptep = pte_offset(table, address)
    cdef spinlock_t *ptl = pte_lockptr(t, mm, table)
    cdef kernel *k = kernel_of(t)
    cdef page *fresh = NULL
    cdef pte_t pte
    while True:
        pte = pte_read(t, ptep)
        if is_migration_entry(pte):
            migration_entry_wait(t, mm, ptep, ptl, address)
            continue
        if pte_present(pte) and (not write or pte & PTE_WRITE):
            content[0] = pfn_to_page(k, pte_pfn(pte)) if pte_pfn(pte) else NULL
            break
        # Nothing there, or the zero page is written to.
        if write:
            if anon_vma_prepare(t, vma) < 0:
                return -ENOMEM
            fresh = alloc_page(t)
        spin_lock(t, ptl)
        if pte_read(t, ptep) == pte:
            if write:
                page_add_new_anon_rmap(t, fresh, vma, address)
                set_pte(t, ptep, make_pte(PTE_PRESENT, fresh.pfn, True))
                note(t, NOTE_FAULT, mm.id, <int64_t>address, fresh.pfn)
                fresh = NULL
            else:
                set_pte(t, ptep, make_pte(PTE_PRESENT, 0, False))
        spin_unlock(t, ptl)
        if fresh != NULL:
            # Another thread was faster. Given back here and not at the end: the last look at the pte and the access
            # that follows it are one step.
            put_page(t, fresh)
            fresh = NULL
    return 0


cdef int access_page(Task *t, mm_struct *mm, uint64_t address, bint write, uint32_t *tag) noexcept nogil:
    """A user's access to one page: reads its content tag, or writes it. mmap_sem is held for reading.

    The access itself happens while the pte allows it, so it is one step with the last look at the pte.
    Returns 0, -EFAULT outside every mapping, or -ENOMEM.
    """
    cdef vm_area_struct *vma = find_vma(t, mm, address)
    cdef page *content = NULL
    cdef int error
    if vma == NULL or address < vma.vm_start:
        return -EFAULT
    error = handle_mm_fault(t, vma, address, write, &content)
    if error < 0:
        return error
    if write:
        content.tag = tag[0]
    else:
        tag[0] = content.tag if content != NULL else 0
    return 0
