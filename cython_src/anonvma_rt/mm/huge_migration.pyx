"""Migration entries of a huge page (see huge_migration.pxd)."""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memset

from anonvma_rt.engine.base.operation cimport OP_ATOMIC, OP_LOAD
from anonvma_rt.engine.base.os cimport read_once64, read_onceu
from anonvma_rt.engine.run.sync cimport add_return, lock_wait, spin_lock, spin_unlock, spinlock_t
from anonvma_rt.engine.run.task cimport Task, must_live, note, point, violate
from anonvma_rt.mm.compound_rmap cimport page_dup_pmd_rmap, page_remove_pmd_rmap
from anonvma_rt.mm.hooks.notes cimport (
    BUG_DOUBLE_FREE, BUG_MAPCOUNT, BUG_ON, NOTE_HUGE_LOOK, NOTE_NO_LOOK, NOTE_RESTORE, NOTE_UNMAP, NOTE_WAIT, NOTE_WALK,
)
from anonvma_rt.mm.migration_entry cimport decode_migration_entry
from anonvma_rt.mm.mm_types cimport (
    PAGE_SHIFT, PAGE_SIZE, PMD_EXCLUSIVE, PMD_HUGE, PMD_MIGRATION, PMD_WRITE, PTE_MIGRATION, PTE_PFN_SHIFT, PTE_PRESENT,
    TYPE_VMA, anon_vma, compound_head, compound_nr, is_migration_entry, kernel_of, make_pte, member_of, mm_of,
    mm_struct, noted, page, page_table, pmd_huge, pmd_t, pmd_table, pte_pfn, pte_present, pte_t, serial_of,
    vm_area_struct, vma_page_prot,
)
from anonvma_rt.mm.page_alloc cimport get_page, get_page_unless_zero, put_page
from anonvma_rt.mm.page_lock cimport page_lockptr
from anonvma_rt.mm.pgtable cimport (
    pmd_offset, pmd_read, pte_lockptr, pte_offset, pte_read, ptep_get_and_clear, set_pmd, set_pte, table_end,
)
from anonvma_rt.mm.rmap cimport (
    WALK_REFERENCED, WALK_RESTORE, WALK_SPLIT, WALK_UNMAP, page_add_anon_rmap, page_mapped, rmap_walk,
    rmap_walk_next, rmap_walk_range,
)
from anonvma_rt.mm.split_huge_pmd cimport split_one_huge_pmd
from anonvma_rt.mm.tlb cimport announce_contents, flush_tlb_page

# The addresses of a vma that may show parts of a huge page, and the part that is the first of them.
cdef struct extent:
    page *first
    uint64_t address
    uint64_t end


cdef bint huge_vma_address(Task *t, page *head, uint64_t pages, vm_area_struct *vma, extent *e) noexcept nogil:
    """vma_address() for all parts: False where none would be inside. The fields are read one by one, too."""
    cdef uint64_t pgoff
    cdef uint64_t start
    cdef uint64_t from_part = 0
    cdef uint64_t to_part = pages
    cdef uint64_t last
    cdef uint64_t index = read_onceu(&head.index)
    point(t, OP_LOAD, member_of(t, &vma.vm_pgoff))
    pgoff = read_once64(&vma.vm_pgoff)
    point(t, OP_LOAD, member_of(t, &vma.vm_start))
    start = read_once64(&vma.vm_start)
    point(t, OP_LOAD, member_of(t, &vma.vm_end))
    must_live(t, vma, TYPE_VMA)
    last = pgoff + ((read_once64(&vma.vm_end) - start) >> PAGE_SHIFT)
    if index < pgoff:
        from_part = pgoff - index
    if index + to_part > last:
        to_part = last - index if last > index else 0
    if from_part >= to_part:
        note(t, NOTE_NO_LOOK, serial_of(vma), head.pfn, 0)
        return False
    e.first = head + from_part
    e.address = start + ((index + from_part - pgoff) << PAGE_SHIFT)
    e.end = e.address + ((to_part - from_part) << PAGE_SHIFT)
    return True


# ---- counting --------------------------------------------------------------------------------------------------------


cdef int count_in_vma(Task *t, vm_area_struct *vma, extent e) noexcept nogil:
    cdef mm_struct *mm = mm_of(t, vma)
    cdef uint64_t stop
    cdef spinlock_t *ptl
    cdef pmd_t *pmd
    cdef pmd_t value
    cdef pte_t pte
    cdef int seen = 0
    while e.address < e.end:
        stop = table_end(e.address, e.end)
        pmd = pmd_offset(mm, e.address)
        value = pmd_read(t, pmd) if pmd != NULL else 0
        if pmd_huge(value):
            seen += not value & PMD_MIGRATION and pte_pfn(value) == e.first.head
        elif value:
            ptl = pte_lockptr(t, mm, pmd_table(value))
            spin_lock(t, ptl)
            while e.address < stop:
                pte = read_once64(pte_offset(pmd_table(value), e.address))
                seen += pte_present(pte) and pte_pfn(pte) == e.first.pfn
                e.first += 1
                e.address += PAGE_SIZE
            spin_unlock(t, ptl)
        e.first += (stop - e.address) >> PAGE_SHIFT
        e.address = stop
    return seen


cdef int count_entries(Task *t, page *head, anon_vma *av) noexcept nogil:
    """How many entries show the page or a part of it, as reclaim asks it."""
    cdef rmap_walk w = rmap_walk_range(t, av, head, WALK_REFERENCED, compound_nr(head))
    cdef vm_area_struct *vma = rmap_walk_next(t, &w)
    cdef extent e
    cdef int seen = 0
    while vma != NULL:
        if huge_vma_address(t, head, compound_nr(head), vma, &e):
            seen += count_in_vma(t, vma, e)
        vma = rmap_walk_next(t, &w)
    note(t, NOTE_WALK, WALK_REFERENCED, head.pfn, 1)
    return seen


# ---- migration entries go in -----------------------------------------------------------------------------------------


cdef void uncount(Task *t, page *head, parts *found) noexcept nogil:
    """page_remove_rmap() and put_page() for an entry of each of these parts. The caller has a reference of his own."""
    cdef int32_t n = 0
    cdef uint64_t i
    for i in range(<uint64_t>compound_nr(head)):
        n += found.word[i >> 6] >> (i & 63) & 1
    if n == 0:
        return
    point(t, OP_ATOMIC, &head.mapcount)
    for i in range(<uint64_t>compound_nr(head)):
        if found.word[i >> 6] >> (i & 63) & 1 and add_return(t, &head[i].mapcount, -1) < -1:
            violate(t, BUG_ON, BUG_MAPCOUNT, head[i].pfn, 0)
    point(t, OP_ATOMIC, &head.count)
    if add_return(t, &head.count, -n) <= 0:
        violate(t, BUG_ON, BUG_DOUBLE_FREE, head.pfn, 0)


cdef void unmap_ptes(Task *t, vm_area_struct *vma, page_table *table, page *p, uint64_t address, uint64_t end,
                     bint sync) noexcept nogil:
    """The entries of one table, for parts from p on. The lock is taken for the first that is present and kept; what is
    none before that is passed over without it, though a munmap may be about to uncount it: not with sync. Counts go
    down for all of them together, before the lock is given back: the kernel does so entry by entry."""
    cdef spinlock_t *ptl = pte_lockptr(t, mm_of(t, vma), table)
    cdef page *head = compound_head(t, p)
    cdef bint locked = sync
    cdef parts found
    cdef pte_t *ptep
    cdef pte_t pte
    memset(&found, 0, sizeof(found))
    if sync:
        spin_lock(t, ptl)
    while address < end:
        ptep = pte_offset(table, address)
        if not locked and pte_present(pte_read(t, ptep)):
            spin_lock(t, ptl)
            locked = True
        pte = read_once64(ptep) if locked else 0
        if pte_present(pte) and pte_pfn(pte) == p.pfn:
            pte = ptep_get_and_clear(t, ptep)
            flush_tlb_page(t, mm_of(t, vma), address)
            set_pte(t, ptep, make_pte(PTE_MIGRATION, p.pfn, pte))
            note(t, NOTE_UNMAP, serial_of(vma), <int64_t>address, p.pfn)
            found.word[(p - head) >> 6] |= <uint64_t>1 << ((p - head) & 63)
        p += 1
        address += PAGE_SIZE
    uncount(t, head, &found)
    if locked:
        spin_unlock(t, ptl)


cdef pmd_t set_pmd_migration_entry(Task *t, vm_area_struct *vma, pmd_t *pmd, page *head,
                                   uint64_t address) noexcept nogil:
    """The pmd of a page that migrates as a whole (4.14), if it is one still. What was seen under the lock."""
    cdef mm_struct *mm = mm_of(t, vma)
    cdef pmd_t value
    spin_lock(t, &mm.page_table_lock)
    value = pmd_read(t, pmd)
    note(t, NOTE_HUGE_LOOK, serial_of(vma), <int64_t>address, noted(value))
    if pmd_huge(value) and not value & PMD_MIGRATION and pte_pfn(value) == head.pfn:
        set_pmd(t, pmd, value & (PMD_WRITE | PMD_EXCLUSIVE) | <uint64_t>head.pfn << PTE_PFN_SHIFT
                | PMD_HUGE | PMD_MIGRATION)
        flush_tlb_page(t, mm, address)
        note(t, NOTE_UNMAP, serial_of(vma), <int64_t>address, head.pfn)
        page_remove_pmd_rmap(t, head)
        put_page(t, head)
    spin_unlock(t, &mm.page_table_lock)
    return value


cdef void unmap_in_vma(Task *t, page *head, vm_area_struct *vma, extent e, bint split) noexcept nogil:
    """split: a pmd becomes a table of migration entries, which is made under its lock, whatever is seen without."""
    cdef mm_struct *mm = mm_of(t, vma)
    cdef uint64_t stop
    cdef pmd_t *pmd
    cdef pmd_t value
    while e.address < e.end:
        stop = table_end(e.address, e.end)
        pmd = pmd_offset(mm, e.address)
        value = 0
        if pmd != NULL:
            if split:
                split_one_huge_pmd(t, vma, pmd, e.address, head, True)
            value = pmd_read(t, pmd)
        if pmd_huge(value):
            value = set_pmd_migration_entry(t, vma, pmd, head, e.address)
        # It may have been split a moment ago.
        if value and not pmd_huge(value):
            unmap_ptes(t, vma, pmd_table(value), e.first, e.address, stop,
                       split and kernel_of(t).algorithm.split_sync)
        e.first += (stop - e.address) >> PAGE_SHIFT
        e.address = stop


cdef bint unmap_huge_page(Task *t, page *head, anon_vma *av, bint split) noexcept nogil:
    """All entries become migration entries, in a walk that stops when nothing maps the page any more; whether nothing
    does."""
    cdef int walk = WALK_SPLIT if split else WALK_UNMAP
    cdef rmap_walk w = rmap_walk_range(t, av, head, walk, compound_nr(head))
    cdef vm_area_struct *vma = rmap_walk_next(t, &w)
    cdef extent e
    cdef bint mapped = True
    while mapped and vma != NULL:
        if huge_vma_address(t, head, compound_nr(head), vma, &e):
            unmap_in_vma(t, head, vma, e, split)
            mapped = page_mapped(t, head)
        if mapped:
            vma = rmap_walk_next(t, &w)
    note(t, NOTE_WALK, walk, head.pfn, 1)
    return not mapped or not page_mapped(t, head)


# ---- and out ---------------------------------------------------------------------------------------------------------


cdef bint take_over(parts *owed, uint64_t part) noexcept nogil:
    """Whether a part's first entry takes over the reference that the split has of it."""
    cdef uint64_t bit = <uint64_t>1 << (part & 63)
    if owed == NULL or not owed.word[part >> 6] & bit:
        return False
    owed.word[part >> 6] &= ~bit
    return True


cdef bint map_unused_to_zeropage(Task *t, vm_area_struct *vma, pte_t *ptep, page *p) noexcept nogil:
    """Since 6.12 a part of a split page that holds nothing but zeroes is let go, and the zero page takes its place
    (split_zeroes). Nobody writes to it meanwhile: it is locked, and has no entry and no reference but the split's."""
    if not kernel_of(t).algorithm.split_zeroes:
        return False
    announce_contents(t)
    if read_onceu(&p.tag):
        return False
    set_pte(t, ptep, make_pte(PTE_PRESENT, 0, 0) | vma_page_prot(t, vma))
    return True


cdef void remap_ptes(Task *t, vm_area_struct *vma, page_table *table, extent e, page *old, page *new,
                     parts *owed) noexcept nogil:
    cdef spinlock_t *ptl = pte_lockptr(t, mm_of(t, vma), table)
    cdef uint64_t part
    cdef page *p
    cdef pte_t *ptep
    cdef pte_t pte
    spin_lock(t, ptl)
    while e.address < e.end:
        ptep = pte_offset(table, e.address)
        pte = read_once64(ptep)
        if is_migration_entry(pte) and pte_pfn(pte) == e.first.pfn:
            part = e.first.pfn - old.pfn
            p = new + part
            if owed == NULL or not map_unused_to_zeropage(t, vma, ptep, p):
                if not take_over(owed, part):
                    get_page(t, p)
                set_pte(t, ptep, make_pte(PTE_PRESENT, p.pfn, pte) | vma_page_prot(t, vma))
                note(t, NOTE_RESTORE, serial_of(vma), <int64_t>e.address, p.pfn)
                page_add_anon_rmap(t, p, vma, e.address)
        e.first += 1
        e.address += PAGE_SIZE
    spin_unlock(t, ptl)


cdef pmd_t remove_migration_pmd(Task *t, vm_area_struct *vma, pmd_t *pmd, page *old, page *new,
                                uint64_t address) noexcept nogil:
    """What was seen under the lock."""
    cdef mm_struct *mm = mm_of(t, vma)
    cdef pmd_t value
    spin_lock(t, &mm.page_table_lock)
    value = pmd_read(t, pmd)
    note(t, NOTE_HUGE_LOOK, serial_of(vma), <int64_t>address, noted(value))
    if pmd_huge(value) and value & PMD_MIGRATION and pte_pfn(value) == old.pfn:
        get_page(t, new)
        set_pmd(t, pmd, value & (PMD_WRITE | PMD_EXCLUSIVE) | <uint64_t>new.pfn << PTE_PFN_SHIFT | PMD_HUGE
                | vma_page_prot(t, vma))
        note(t, NOTE_RESTORE, serial_of(vma), <int64_t>address, new.pfn)
        page_dup_pmd_rmap(t, new)
    spin_unlock(t, &mm.page_table_lock)
    return value


cdef void remap_in_vma(Task *t, vm_area_struct *vma, extent e, page *old, page *new, parts *owed) noexcept nogil:
    cdef mm_struct *mm = mm_of(t, vma)
    cdef extent table
    cdef uint64_t stop
    cdef pmd_t *pmd
    cdef pmd_t value
    while e.address < e.end:
        stop = table_end(e.address, e.end)
        pmd = pmd_offset(mm, e.address)
        value = pmd_read(t, pmd) if pmd != NULL else 0
        if pmd != NULL and (value == 0 or pmd_huge(value)):
            # Under its lock also where none is seen: in the kernel that is no second look.
            value = remove_migration_pmd(t, vma, pmd, old, new, e.address)
        if value and not pmd_huge(value):
            table = e
            table.end = stop
            remap_ptes(t, vma, pmd_table(value), table, old, new, owed)
        e.first += (stop - e.address) >> PAGE_SHIFT
        e.address = stop


cdef void remap_huge_page(Task *t, page *old, page *new, uint64_t pages, anon_vma *av, parts *owed) noexcept nogil:
    """All migration entries of old and its parts become entries of new, which is old itself after a split and where it
    is given up. owed: parts of which the split has a reference; what nobody took over is left in it, or NULL."""
    cdef rmap_walk w = rmap_walk_range(t, av, old, WALK_RESTORE, pages)
    cdef vm_area_struct *vma = rmap_walk_next(t, &w)
    cdef extent e
    while vma != NULL:
        if huge_vma_address(t, old, pages, vma, &e):
            remap_in_vma(t, vma, e, old, new, owed)
        vma = rmap_walk_next(t, &w)
    note(t, NOTE_WALK, WALK_RESTORE, old.pfn, 1)


cdef void pmd_migration_entry_wait(Task *t, mm_struct *mm, pmd_t *pmd, uint64_t address) noexcept nogil:
    """A fault met the migration entry of a huge page: sleeps until that is unlocked, and looks again."""
    cdef bint pin = not kernel_of(t).algorithm.wait_without_pin
    cdef pmd_t value
    cdef page *head
    spin_lock(t, &mm.page_table_lock)
    value = pmd_read(t, pmd)
    if not pmd_huge(value) or not value & PMD_MIGRATION:
        spin_unlock(t, &mm.page_table_lock)
        return
    head = decode_migration_entry(t, value, address)
    note(t, NOTE_WAIT, head.pfn, <int64_t>address, 0)
    pin = pin and get_page_unless_zero(t, head)
    spin_unlock(t, &mm.page_table_lock)
    if pin or kernel_of(t).algorithm.wait_without_pin:
        lock_wait(t, page_lockptr(t, head))
    if pin:
        put_page(t, head)
