"""A file in memory (see filemap.pxd)."""

from libc.errno cimport EAGAIN, EINVAL, ENOMEM
from libc.stdint cimport int64_t, uint32_t, uint64_t

from anonvma_rt.engine.base.arena cimport arena_free
from anonvma_rt.engine.base.operation cimport OP_LOAD
from anonvma_rt.engine.base.os cimport read_link, read_once64, read_onceu, write_onceu
from anonvma_rt.engine.run.sync cimport (
    down_read, lock_init, mutex_lock, mutex_t, mutex_trylock, mutex_unlock, spin_lock, spin_unlock, spinlock_t, up_read,
)
from anonvma_rt.engine.run.task cimport Task, must_live, note, point
from anonvma_rt.mm.anon_vma_chain cimport anon_vma_prepare
from anonvma_rt.mm.free_pgtables cimport free_met
from anonvma_rt.mm.hooks.notes cimport NOTE_COW, NOTE_RETRACT
from anonvma_rt.mm.mm_types cimport (
    CLASS_PAGE, CLASS_PTL, PG_FILE, PMD_ORDER, PMD_SIZE, PTE_EXCLUSIVE, PTE_NONE, PTE_PRESENT, PTE_WRITE,
    PTRS_PER_TABLE, TYPE_SCRATCH, TYPE_VMA, VM_FILE, kernel, kernel_of, linear_page_index, make_pte, member_of,
    mm_struct, page, page_at, page_table, pmd_t, pmd_table, pte_pfn, pte_present, pte_t, vm_area_struct,
)
from anonvma_rt.mm.page_alloc cimport alloc_page, get_page, put_page
from anonvma_rt.mm.pgtable cimport pmd_offset, pmd_read, pte_lockptr, pte_read, ptep_get_and_clear, set_pmd, set_pte
from anonvma_rt.mm.rmap cimport page_add_new_anon_rmap, page_dup_rmap, page_remove_rmap
from anonvma_rt.mm.slab cimport must_alloc
from anonvma_rt.mm.tlb cimport flush_tlb_range
from anonvma_rt.mm.vma_lock cimport mmap_write_unlock
from anonvma_rt.mm.vma_tree cimport find_vma

# A page of the cache, in a list.
cdef struct cached_page:
    page *page
    cached_page *next

cdef enum:
    RANGES = 8

# page_lock: of all pages of a range of 2 MiB, modulo 16 MiB.
cdef struct address_space:
    spinlock_t i_pages
    cached_page *first
    mutex_t page_lock[RANGES]


cdef void make_file(Task *t) noexcept nogil:
    """The file, for a program that maps it; no task runs yet."""
    cdef kernel *k = kernel_of(t)
    cdef address_space *file
    cdef int i
    if k.file == NULL:
        file = <address_space *>must_alloc(t, sizeof(address_space), TYPE_SCRATCH)
        lock_init(&file.i_pages, CLASS_PTL)
        for i in range(RANGES):
            lock_init(&file.page_lock[i], CLASS_PAGE)
        k.file = file


cdef mutex_t *page_lock_of(Task *t, uint64_t index) noexcept nogil:
    return &(<address_space *>kernel_of(t).file).page_lock[index >> PMD_ORDER & (RANGES - 1)]


cdef page *find_or_create_page(Task *t, uint64_t index) noexcept nogil:
    """The page of the file at an index, with a reference, or NULL without memory. Its content is 0."""
    cdef address_space *file = <address_space *>kernel_of(t).file
    cdef cached_page *one
    cdef page *p = NULL
    spin_lock(t, &file.i_pages)
    one = file.first
    while one != NULL and one.page.index != index:
        one = one.next
    if one != NULL:
        p = one.page
    else:
        p = alloc_page(t)
        if p != NULL:
            p.index = <uint32_t>index
            write_onceu(&p.flags, PG_FILE)
            one = <cached_page *>must_alloc(t, sizeof(cached_page), TYPE_SCRATCH)
            one.page = p
            one.next = file.first
            file.first = one
    if p != NULL:
        get_page(t, p)
    spin_unlock(t, &file.i_pages)
    return p


# ---- faults ----------------------------------------------------------------------------------------------------------


cdef int do_fault(Task *t, vm_fault *vmf) noexcept nogil:
    """do_read_fault() and do_cow_fault(): an empty pte of a private mapping. Returns 0 or -ENOMEM.

    The page of the file is locked until the entry is there. Who waits for that lock keeps mmap_sem here, and gives it
    back in the kernel."""
    cdef uint64_t index = linear_page_index(vmf.vma, vmf.address)
    cdef mutex_t *lock = page_lock_of(t, index)
    cdef page *fresh = NULL
    cdef page *p
    if vmf.write:
        if anon_vma_prepare(t, vmf.vma) < 0:
            return -ENOMEM
        fresh = alloc_page(t)
        if fresh == NULL:
            return -ENOMEM
    mutex_lock(t, lock)
    p = find_or_create_page(t, index)
    if p == NULL:
        mutex_unlock(t, lock)
        if fresh != NULL:
            put_page(t, fresh)
        return -ENOMEM
    if fresh != NULL:
        fresh.tag = read_onceu(&p.tag)
    spin_lock(t, vmf.ptl)
    if pte_read(t, vmf.pte) == PTE_NONE:
        if fresh != NULL:
            page_add_new_anon_rmap(t, fresh, vmf.vma, vmf.address)
            set_pte(t, vmf.pte, make_pte(PTE_PRESENT, fresh.pfn, PTE_WRITE | PTE_EXCLUSIVE))
            note(t, NOTE_COW, vmf.mm.id, <int64_t>vmf.address, fresh.pfn)
            fresh = NULL
        else:
            page_dup_rmap(t, p)
            set_pte(t, vmf.pte, make_pte(PTE_PRESENT, p.pfn, 0))
            p = NULL
    spin_unlock(t, vmf.ptl)
    mutex_unlock(t, lock)
    if fresh != NULL:
        put_page(t, fresh)
    if p != NULL:
        put_page(t, p)
    return 0


# ---- the collapse of a file's pages ----------------------------------------------------------------------------------


cdef void unmap_mapping_pages(Task *t, mm_struct *mm, page_table *table, uint64_t address) noexcept nogil:
    """Clears the entries of one table that show pages of the file; copies stay."""
    cdef spinlock_t *ptl = pte_lockptr(t, mm, table)
    cdef page *p
    cdef pte_t pte
    cdef int i
    spin_lock(t, ptl)
    for i in range(PTRS_PER_TABLE):
        if read_once64(&table.pte[i]) == 0:
            continue
        pte = pte_read(t, &table.pte[i])
        p = page_at(t, pte_pfn(pte)) if pte_present(pte) and pte_pfn(pte) else NULL
        if p != NULL and read_onceu(&p.flags) & PG_FILE:
            ptep_get_and_clear(t, &table.pte[i])
            page_remove_rmap(t, p)
            put_page(t, p)
    # None of these pages is freed: the cache has them.
    flush_tlb_range(t, mm, address, address + PMD_SIZE)
    spin_unlock(t, ptl)


cdef bint has_anon_vma(Task *t, vm_area_struct *vma) noexcept nogil:
    point(t, OP_LOAD, member_of(t, &vma.anon_vma))
    must_live(t, vma, TYPE_VMA)
    return read_link(&vma.anon_vma) != NULL


cdef vm_area_struct *mapping_at(Task *t, mm_struct *mm, uint64_t address) noexcept nogil:
    """The mapping of the file that has all of the range from address on, or NULL."""
    cdef vm_area_struct *vma = find_vma(t, mm, address)
    if vma == NULL or not vma.vm_flags & VM_FILE or vma.vm_start > address or address + PMD_SIZE > vma.vm_end:
        return NULL
    return vma


cdef void retract_page_tables(Task *t, mm_struct *mm, uint64_t address, bint asked) noexcept nogil:
    """Frees the page table of a range whose pages are one huge page of the file now. A mapping that has an anon_vma may
    have copies in it, and keeps it: `asked` says that it had none a moment ago. mmap_sem is held for writing."""
    cdef vm_area_struct *vma = mapping_at(t, mm, address)
    cdef pmd_t *pmd = pmd_offset(mm, address)
    cdef pmd_t value
    if vma == NULL or not (asked or not has_anon_vma(t, vma)):
        return
    value = pmd_read(t, pmd)
    if pmd_table(value) == NULL:
        return
    spin_lock(t, &mm.page_table_lock)
    set_pmd(t, pmd, 0)
    note(t, NOTE_RETRACT, mm.id, <int64_t>address, 0)
    spin_unlock(t, &mm.page_table_lock)
    if asked:
        free_met(t, pmd_table(value))
    else:
        # Without an anon_vma no walk leads here.
        arena_free(&t.x.arena, pmd_table(value))


cdef int collapse_file(Task *t, mm_struct *mm, uint64_t address) noexcept nogil:
    """The file's pages around address become one huge page: what maps them is cleared, and page tables that are empty
    by that, go, too. 0; -EINVAL where no mapping of the file has the whole range; -EAGAIN where somebody has mmap_sem.
    They are locked meanwhile, so that no fault maps one. The cache keeps its pages here: nobody maps the huge page.

    Up to 6.1 the anon_vma was asked for before mmap_sem was held, so that a fault could come in between
    (023f47a8250c). The kernel finds the mapping through the file, whose lock (i_mmap) keeps it meanwhile; here mmap_sem
    is held for reading until then, and the mapping is looked up again.
    """
    cdef bint early = kernel_of(t).algorithm.retract_asks_early
    cdef vm_area_struct *vma
    cdef page_table *table
    cdef mutex_t *lock
    cdef bint kept
    cdef int result = 0
    address &= ~<uint64_t>(PMD_SIZE - 1)
    down_read(t, &mm.mmap_sem)
    vma = mapping_at(t, mm, address)
    if vma == NULL:
        up_read(t, &mm.mmap_sem)
        return -EINVAL
    lock = page_lock_of(t, linear_page_index(vma, address))
    if not mutex_trylock(t, lock):
        up_read(t, &mm.mmap_sem)
        return -EAGAIN
    table = pmd_table(pmd_read(t, pmd_offset(mm, address)))
    if table != NULL:
        unmap_mapping_pages(t, mm, table, address)
    kept = table == NULL or (early and has_anon_vma(t, vma))
    up_read(t, &mm.mmap_sem)
    if not kept:
        if mutex_trylock(t, &mm.mmap_sem):
            retract_page_tables(t, mm, address, early)
            mmap_write_unlock(t, mm)
        else:
            result = -EAGAIN
    mutex_unlock(t, lock)
    return result
