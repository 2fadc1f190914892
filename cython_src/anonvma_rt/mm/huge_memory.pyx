"""Huge pmds (see huge_memory.pxd)."""

from libc.errno cimport ENOMEM
from libc.stdint cimport int64_t, uint32_t, uint64_t

from anonvma_rt.engine.base.operation cimport OP_LOAD, OP_STORE
from anonvma_rt.engine.base.os cimport read_once32, read_onceu
from anonvma_rt.engine.run.sync cimport spin_lock, spin_lock_nested, spin_unlock, spin_unlock_nested
from anonvma_rt.engine.run.task cimport Task, must_live, note, point, violate
from anonvma_rt.mm.anon_vma_chain cimport anon_vma_prepare
from anonvma_rt.mm.compound_rmap cimport page_dup_pmd_rmap, page_remove_pmd_rmap, page_trans_huge_mapcount
from anonvma_rt.mm.hooks.notes cimport BUG_NO_TABLE, BUG_ON, NOTE_HUGE_FAULT, NOTE_HUGE_MOVE, NOTE_ZAP
from anonvma_rt.mm.migration_entry cimport decode_migration_entry
from anonvma_rt.mm.mm_types cimport (
    COW_REUSE_5_19, HPAGE_PMD_NR, HUGE_ZERO_5_8, HUGE_ZERO_NO, MOVE_FLUSH_DIRTY, MOVE_FLUSH_END, PMD_DIRTY,
    PMD_EXCLUSIVE, PMD_HUGE, PMD_MIGRATION, PMD_PROTNONE, PMD_SIZE, PMD_SPLITTING, PMD_WRITE, THP_3_2, THP_4_14,
    TYPE_VMA, UNSTABLE_PMD_NO, VM_HUGEPAGE, VM_WRITE, algorithm, is_huge_zero_pmd, kernel_of, make_huge_pmd, mm_struct,
    mm_walk, noted, page, page_at, page_count, page_table, pmd_huge, pmd_t, pte_pfn, serial_of, vm_area_struct,
)
from anonvma_rt.mm.mmu_gather cimport tlb_flush_full, tlb_remove_entry, tlb_remove_page
from anonvma_rt.mm.page_alloc cimport alloc_hugepage, get_page, put_page
from anonvma_rt.mm.page_lock cimport unlock_page
from anonvma_rt.mm.pgtable cimport new_table, pmd_offset, pmd_read, set_pmd
from anonvma_rt.mm.rmap cimport own_anon_vma, page_add_new_anon_rmap, set_page_anon_vma
from anonvma_rt.mm.split_huge_page cimport split_huge_page, split_huge_pmd, wait_split_huge_page
from anonvma_rt.mm.split_huge_pmd cimport lock_page_of_pmd
from anonvma_rt.mm.tlb cimport announce_contents, flush_tlb_page, flush_tlb_range


cdef inline page *pmd_page(Task *t, pmd_t pmd) noexcept nogil:
    return page_at(t, pte_pfn(pmd))


cdef void map_new_huge_page(Task *t, vm_area_struct *vma, pmd_t *pmd, uint64_t address, page *new) noexcept nogil:
    """In an empty pmd, for a write. page_table_lock is held."""
    cdef uint64_t start = address & ~<uint64_t>(PMD_SIZE - 1)
    page_add_new_anon_rmap(t, new, vma, start)
    set_pmd(t, pmd, make_huge_pmd(new.pfn, True))
    note(t, NOTE_HUGE_FAULT, vma.vm_mm.id, <int64_t>start, new.pfn)


# ---- faults ----------------------------------------------------------------------------------------------------------


cdef int look_twice(Task *t, mm_struct *mm, uint64_t address, pmd_t *pmd) noexcept nogil:
    """Up to 4.4 a fault that got no huge page asked first whether a table was missing, and then whether a huge page had
    come in its place. One that came and went in between left no table to go on with (ad33bb04b2a6). 0 or -ENOMEM."""
    cdef page_table *table
    if pmd_read(t, pmd) == 0:
        return new_table(t, mm, address, &table)
    if pmd_read(t, pmd) == 0:
        violate(t, BUG_ON, BUG_NO_TABLE, 0, <int64_t>(address & ~<uint64_t>(PMD_SIZE - 1)))
    return 0


cdef void map_huge_zero_page(Task *t, mm_struct *mm, pmd_t *pmd) noexcept nogil:
    """set_huge_zero_page(). It is always there, where the kernel makes it for who wants it first, and maps small pages
    without memory for it."""
    spin_lock(t, &mm.page_table_lock)
    if pmd_read(t, pmd) == 0:
        set_pmd(t, pmd, PMD_HUGE)
    spin_unlock(t, &mm.page_table_lock)


cdef int do_huge_pmd_anonymous_page(Task *t, vm_area_struct *vma, uint64_t address, pmd_t *pmd,
                                    bint write) noexcept nogil:
    """A huge page for an empty pmd; for a read the huge zero page, where there is one (3.8). Without memory for one a
    table of small pages takes its place. Returns 0 or -ENOMEM."""
    cdef mm_struct *mm = vma.vm_mm
    cdef page_table *table
    cdef uint64_t start = address & ~<uint64_t>(PMD_SIZE - 1)
    cdef page *head
    if anon_vma_prepare(t, vma) < 0:
        return -ENOMEM
    if not write and kernel_of(t).algorithm.huge_zero != HUGE_ZERO_NO:
        map_huge_zero_page(t, mm, pmd)
        return 0
    head = alloc_hugepage(t)
    if head == NULL:
        if kernel_of(t).algorithm.unstable_pmd != UNSTABLE_PMD_NO:
            return look_twice(t, mm, address, pmd)
        return new_table(t, mm, address, &table)
    spin_lock(t, &mm.page_table_lock)
    if pmd_read(t, pmd) == 0:
        page_add_new_anon_rmap(t, head, vma, start)
        must_live(t, vma, TYPE_VMA)
        set_pmd(t, pmd, make_huge_pmd(head.pfn, vma.vm_flags & VM_WRITE))
        note(t, NOTE_HUGE_FAULT, mm.id, <int64_t>start, head.pfn)
        head = NULL
    spin_unlock(t, &mm.page_table_lock)
    if head != NULL:
        put_page(t, head)
    return 0


cdef int reuse_huge_page(Task *t, vm_area_struct *vma, pmd_t *pmd, pmd_t seen, page *head) noexcept nogil:
    """Whether a huge page that is written to is of this pmd alone; -1: the pmd changed while the page lock was waited
    for. page_table_lock is held on entry and on return.

    Up to 4.4 the mapcount says so, and from 4.5 on those of the parts, too, which nothing kept as they are until 4.14
    and 5.8 (split_locks). Since 5.19 references are counted, and a page that was not shared since it was last
    written to is used again without a question.
    """
    cdef algorithm *a = &kernel_of(t).algorithm
    cdef bint alone
    cdef int total
    if a.thp == THP_3_2:
        point(t, OP_LOAD, &head.mapcount)
        return read_once32(&head.mapcount) == 0
    if a.cow_reuse == COW_REUSE_5_19 and seen & PMD_EXCLUSIVE:
        return True
    if a.thp != THP_4_14:
        return page_trans_huge_mapcount(t, head, &total) == 1
    if not lock_page_of_pmd(t, vma.vm_mm, pmd, seen, head):
        return -1
    if a.cow_reuse == COW_REUSE_5_19:
        point(t, OP_LOAD, &head.count)
        alone = page_count(head) == 1
        if alone:
            point(t, OP_STORE, &head.mapping)
            set_page_anon_vma(head, own_anon_vma(t, vma))
    else:
        alone = page_trans_huge_mapcount(t, head, &total) == 1
    unlock_page(t, head)
    return alone


cdef int do_huge_zero_wp_pmd(Task *t, vm_area_struct *vma, uint64_t address, pmd_t *pmd) noexcept nogil:
    """A write where the huge zero page is: a huge page in its place (3.8 to 5.7, and since 6.13); otherwise, or without
    memory for one, the pmd is split, and the fault finds the zero page. Returns 0 or -ENOMEM."""
    cdef mm_struct *mm = vma.vm_mm
    cdef page *new = NULL
    if anon_vma_prepare(t, vma) < 0:
        return -ENOMEM
    if kernel_of(t).algorithm.huge_zero != HUGE_ZERO_5_8:
        new = alloc_hugepage(t)
    if new == NULL:
        split_huge_pmd(t, vma, pmd, address)
        return 0
    spin_lock(t, &mm.page_table_lock)
    if is_huge_zero_pmd(pmd_read(t, pmd)):
        set_pmd(t, pmd, 0)
        flush_tlb_page(t, mm, address)
        map_new_huge_page(t, vma, pmd, address, new)
        new = NULL
    spin_unlock(t, &mm.page_table_lock)
    if new != NULL:
        put_page(t, new)
    return 0


cdef int do_huge_pmd_wp_page(Task *t, vm_area_struct *vma, uint64_t address, pmd_t *pmd, pmd_t seen) noexcept nogil:
    """Copy on write of a whole huge page; a page mapped nowhere else is written to where it is. Without memory for a
    huge page it is split, and the fault looks again, as it does since 5.8 in any case (cow_splits), with the pmd split
    and not the page. Returns 0 or -ENOMEM."""
    cdef mm_struct *mm = vma.vm_mm
    cdef page *old = pmd_page(t, seen)
    cdef page *new
    cdef uint32_t i
    cdef int alone = -1
    if is_huge_zero_pmd(seen):
        return do_huge_zero_wp_pmd(t, vma, address, pmd)
    spin_lock(t, &mm.page_table_lock)
    if pmd_read(t, pmd) == seen:
        alone = reuse_huge_page(t, vma, pmd, seen, old)
    if alone:
        if alone > 0:
            set_pmd(t, pmd, seen | PMD_WRITE | PMD_EXCLUSIVE)
        spin_unlock(t, &mm.page_table_lock)
        return 0
    if kernel_of(t).algorithm.cow_splits:
        spin_unlock(t, &mm.page_table_lock)
        split_huge_pmd(t, vma, pmd, address)
        return 0
    get_page(t, old)
    spin_unlock(t, &mm.page_table_lock)
    if anon_vma_prepare(t, vma) < 0:
        put_page(t, old)
        return -ENOMEM
    new = alloc_hugepage(t)
    if new == NULL:
        if kernel_of(t).algorithm.thp == THP_3_2:
            split_huge_page(t, old)
        else:
            split_huge_pmd(t, vma, pmd, address)
        put_page(t, old)
        return 0
    announce_contents(t)
    for i in range(<uint32_t>HPAGE_PMD_NR):
        new[i].tag = read_onceu(&old[i].tag)
    spin_lock(t, &mm.page_table_lock)
    put_page(t, old)
    if pmd_read(t, pmd) == seen:
        set_pmd(t, pmd, 0)
        flush_tlb_page(t, mm, address)
        map_new_huge_page(t, vma, pmd, address, new)
        page_remove_pmd_rmap(t, old)
        put_page(t, old)
        new = NULL
    spin_unlock(t, &mm.page_table_lock)
    if new != NULL:
        put_page(t, new)
    return 0


# ---- fork, munmap, mprotect, mremap ----------------------------------------------------------------------------------


cdef pmd_t pmd_trans_huge_lock(Task *t, vm_area_struct *vma, pmd_t *pmd) noexcept nogil:
    """The huge pmd, with page_table_lock held; 0, without the lock, where it is one no more. A split is waited for."""
    cdef pmd_t value
    spin_lock(t, &vma.vm_mm.page_table_lock)
    value = pmd_read(t, pmd)
    if pmd_huge(value) and not value & PMD_SPLITTING:
        return value
    spin_unlock(t, &vma.vm_mm.page_table_lock)
    if pmd_huge(value):
        wait_split_huge_page(t, vma.anon_vma)
    return 0


cdef bint copy_huge_pmd(Task *t, mm_walk *walk, pmd_t *source, uint64_t address) noexcept nogil:
    """Shares a huge page with the child; False where it was being split or is split, and the caller looks again."""
    cdef mm_struct *child_mm = walk.child.vm_mm
    cdef pmd_t *to = pmd_offset(child_mm, address)
    cdef pmd_t pmd
    spin_lock(t, &child_mm.page_table_lock)
    spin_lock_nested(t, &walk.vma.vm_mm.page_table_lock, 1)
    pmd = pmd_read(t, source)
    if not pmd_huge(pmd) or pmd & PMD_SPLITTING:
        spin_unlock_nested(t, &walk.vma.vm_mm.page_table_lock, 1)
        spin_unlock(t, &child_mm.page_table_lock)
        if pmd_huge(pmd):
            wait_split_huge_page(t, walk.vma.anon_vma)
        return False
    if pmd & PMD_MIGRATION:
        decode_migration_entry(t, pmd, address)
    elif not is_huge_zero_pmd(pmd):
        get_page(t, pmd_page(t, pmd))
        page_dup_pmd_rmap(t, pmd_page(t, pmd))
    pmd &= ~<pmd_t>(PMD_WRITE | PMD_EXCLUSIVE)
    set_pmd(t, source, pmd)
    set_pmd(t, to, pmd)
    note(t, NOTE_HUGE_MOVE, serial_of(walk.child), <int64_t>address, noted(pmd))
    spin_unlock_nested(t, &walk.vma.vm_mm.page_table_lock, 1)
    spin_unlock(t, &child_mm.page_table_lock)
    return True


cdef bint zap_huge_pmd(Task *t, mm_walk *walk, pmd_t *pmd, uint64_t address) noexcept nogil:
    """Whether the huge pmd was cleared; False where it is one no more, and the caller looks again."""
    cdef mm_struct *mm = walk.vma.vm_mm
    cdef pmd_t value = pmd_trans_huge_lock(t, walk.vma, pmd)
    cdef page *head
    if value == 0:
        return False
    set_pmd(t, pmd, 0)
    note(t, NOTE_ZAP, mm.id, <int64_t>address, noted(value))
    if value & PMD_MIGRATION:
        decode_migration_entry(t, value, address)
        spin_unlock(t, &mm.page_table_lock)
        return True
    head = NULL if is_huge_zero_pmd(value) else pmd_page(t, value)
    if head != NULL:
        page_remove_pmd_rmap(t, head)
    spin_unlock(t, &mm.page_table_lock)
    tlb_remove_entry(t, walk.tlb, address, PMD_SIZE)
    if head != NULL and tlb_remove_page(t, walk.tlb, head):
        tlb_flush_full(t, walk.tlb, address, address + PMD_SIZE)
    return True


cdef bint change_huge_pmd(Task *t, mm_walk *walk, pmd_t *pmd, uint64_t address) noexcept nogil:
    """Gives a huge pmd the rights of its vma, but for the one to write, which the next fault gives; False where it is
    one no more."""
    cdef pmd_t prot = walk.vma.vm_page_prot
    cdef pmd_t value = pmd_trans_huge_lock(t, walk.vma, pmd)
    if value == 0:
        return False
    if value & PMD_MIGRATION:
        set_pmd(t, pmd, value & ~<pmd_t>PMD_WRITE)
        spin_unlock(t, &walk.vma.vm_mm.page_table_lock)
        return True
    # pmdp_get_and_clear() and set_pmd_at(): none in between, for whoever peeks.
    set_pmd(t, pmd, 0)
    set_pmd(t, pmd, value & ~<pmd_t>(PMD_WRITE | PMD_PROTNONE) | prot)
    tlb_remove_entry(t, walk.tlb, address, PMD_SIZE)
    spin_unlock(t, &walk.vma.vm_mm.page_table_lock)
    return True


cdef bint move_huge_pmd(Task *t, vm_area_struct *vma, pmd_t *old, uint64_t old_address, vm_area_struct *new_vma,
                        pmd_t *new, uint64_t new_address) noexcept nogil:
    """Moves one huge pmd to an empty one; False where it cannot be moved and must be split, or is split by now. It is
    flushed as ptes are (move_ptes)."""
    cdef int rule = kernel_of(t).algorithm.move_flush
    cdef pmd_t value
    if not new_vma.vm_flags & VM_HUGEPAGE or pmd_read(t, new):
        return False
    value = pmd_trans_huge_lock(t, vma, old)
    if value == 0:
        return False
    set_pmd(t, old, 0)
    set_pmd(t, new, value)
    if rule != MOVE_FLUSH_END and (rule != MOVE_FLUSH_DIRTY or value & (PMD_WRITE | PMD_DIRTY)):
        flush_tlb_range(t, vma.vm_mm, old_address, old_address + PMD_SIZE)
    note(t, NOTE_HUGE_MOVE, serial_of(new_vma), <int64_t>new_address, noted(value))
    spin_unlock(t, &vma.vm_mm.page_table_lock)
    return True
