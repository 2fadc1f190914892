"""Unmapping and faults (see memory.pxd)."""

from libc.errno cimport EAGAIN, ENOMEM
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from anonvma_rt.engine.base.operation cimport OP_LOAD, OP_STORE
from anonvma_rt.engine.base.os cimport read_once64, read_onceu, rt_unlikely, write_once64
from anonvma_rt.engine.parallel.locks cimport pin_step, quiet_unlock
from anonvma_rt.engine.run.sync cimport spin_lock, spin_unlock, spinlock_t
from anonvma_rt.engine.run.task cimport Task, must_live, note, point
from anonvma_rt.mm.anon_folio cimport map_anon_folio
from anonvma_rt.mm.anon_vma_chain cimport anon_vma_prepare
from anonvma_rt.mm.compound_rmap cimport page_trans_huge_mapcount
from anonvma_rt.mm.filemap cimport do_fault
from anonvma_rt.mm.hooks.notes cimport NOTE_COW, NOTE_FAULT, NOTE_ZAP
from anonvma_rt.mm.pins cimport pin_unmapped
from anonvma_rt.mm.huge_memory cimport (
    do_huge_pmd_anonymous_page, do_huge_pmd_wp_page, hugepage_fits, zap_huge_pmd,
)
from anonvma_rt.mm.huge_migration cimport pmd_migration_entry_wait
from anonvma_rt.mm.migrate cimport migration_entry_wait
from anonvma_rt.mm.migration_entry cimport decode_migration_entry
from anonvma_rt.mm.mm_types cimport (
    COW_REUSE_5_19, COW_REUSE_MAPPED_ONCE, MISSING_FLUSH_COW, PAGE_SHIFT, PAGE_SIZE, PG_FILE, PMD_MIGRATION,
    PMD_PROTNONE, PMD_SPLITTING, PMD_WRITE, PTE_DIRTY, PTE_EXCLUSIVE, PTE_NONE, PTE_PRESENT, PTE_PROTNONE, PTE_WRITE,
    PTRS_PER_TABLE, TYPE_VMA, VM_FILE, compound_head, is_huge_zero_pmd, is_migration_entry, is_swap_pte, kernel,
    kernel_of, make_pte, mm_of, mm_struct, mm_walk, mmu_gather, noted, page, page_at, page_count, page_in_compound,
    page_slot, page_table, pmd_huge, pmd_t, pmd_table, pte_pfn, pte_present, pte_t, vm_area_struct,
)
from anonvma_rt.mm.mmu_gather cimport tlb_finish_mmu, tlb_flush_full, tlb_gather_mmu, tlb_remove_entry, tlb_remove_page
from anonvma_rt.mm.page_alloc cimport alloc_page, get_page, put_page
from anonvma_rt.mm.page_lock cimport lock_page, trylock_page, unlock_page
from anonvma_rt.mm.pagewalk cimport walk_page_range
from anonvma_rt.mm.pgtable cimport (
    must_have_pmd, new_table, pmd_access, pmd_read, pte_access, pte_lockptr, pte_offset, pte_read, ptep_get_and_clear,
    set_pte,
)
from anonvma_rt.mm.rmap cimport own_anon_vma, page_add_new_anon_rmap, page_remove_rmap, set_page_anon_vma
from anonvma_rt.mm.split_huge_page cimport wait_split_huge_page
from anonvma_rt.mm.swap cimport free_swap_and_cache, reuse_swap_page, try_to_free_swap
from anonvma_rt.mm.swapin cimport do_swap_page
from anonvma_rt.mm.tlb cimport (
    announce_contents, flush_tlb_batched_pending, flush_tlb_page, shares_cpu, tlb_fill, tlb_of,
)
from anonvma_rt.mm.vm_fault cimport vm_fault

cdef enum:
    # The rights of who wrote to a page that is its own.
    NEW_PAGE = PTE_WRITE | PTE_EXCLUSIVE


# ---- unmapping -------------------------------------------------------------------------------------------------------


cdef int zap_pte_range(Task *t, mm_walk *walk, page_table *table, uint64_t address, uint64_t end) noexcept nogil:
    cdef kernel *k = kernel_of(t)
    cdef mm_struct *mm = walk.vma.vm_mm
    cdef spinlock_t *ptl = pte_lockptr(t, mm, table)
    cdef pte_t *ptep
    cdef pte_t pte
    cdef page *p
    spin_lock(t, ptl)
    flush_tlb_batched_pending(t, mm)
    while address < end:
        ptep = pte_offset(table, address)
        if pte_read(t, ptep) != PTE_NONE:
            pte = ptep_get_and_clear(t, ptep)
            note(t, NOTE_ZAP, mm.id, <int64_t>address, noted(pte))
            if k.pins != NULL:
                pin_unmapped(t, mm, address)
            if pte_present(pte):
                tlb_remove_entry(t, walk.tlb, address, PAGE_SIZE)
            if pte_present(pte) and pte_pfn(pte):
                p = page_at(t, pte_pfn(pte))
                page_remove_rmap(t, p)
                if tlb_remove_page(t, walk.tlb, p):
                    spin_unlock(t, ptl)
                    tlb_flush_full(t, walk.tlb, address, end)
                    spin_lock(t, ptl)
            elif is_swap_pte(pte):
                free_swap_and_cache(t, <uint32_t>pte_pfn(pte))
            elif is_migration_entry(pte) and k.algorithm.decode_in_zap:
                # For rss accounting, since 3.3.
                decode_migration_entry(t, pte, address)
        address += PAGE_SIZE
    spin_unlock(t, ptl)
    return 0


cdef void unmap_page_range(Task *t, mmu_gather *tlb, vm_area_struct *vma, uint64_t start,
                           uint64_t end) noexcept nogil:
    """Clears what a vma maps in a range; mmap_sem is held for writing, or nobody uses the mm."""
    cdef mm_walk walk = mm_walk(vma=vma, huge=zap_huge_pmd, ptes=zap_pte_range, child=NULL, tlb=tlb, shared=False)
    walk_page_range(t, &walk, start, end)


cdef void zap_page_range(Task *t, vm_area_struct *vma, uint64_t start, uint64_t end) noexcept nogil:
    """The same for whoever holds mmap_sem for reading: faults come in between."""
    cdef mmu_gather gathered
    cdef mmu_gather *tlb = tlb_gather_mmu(t, &gathered, vma.vm_mm)
    cdef mm_walk walk = mm_walk(vma=vma, huge=zap_huge_pmd, ptes=zap_pte_range, child=NULL, tlb=tlb, shared=True)
    walk_page_range(t, &walk, start, end)
    tlb_finish_mmu(t, tlb, start, end)


# ---- faults ----------------------------------------------------------------------------------------------------------


cdef bint reuse_mapped_once(Task *t, vm_fault *vmf, page *p) noexcept nogil:
    """Up to 5.8: the page lock is waited for, and what is mapped nowhere else is used again."""
    cdef int total
    if not trylock_page(t, p):
        get_page(t, p)
        spin_unlock(t, vmf.ptl)
        lock_page(t, p)
        spin_lock(t, vmf.ptl)
        vmf.changed = pte_read(t, vmf.pte) != vmf.seen
        put_page(t, p)
        if vmf.changed:
            unlock_page(t, p)
            return False
    if page_in_compound(p):
        # Part of a huge page: nobody else may map any part, and it is no other anon_vma's while another part is mapped.
        if page_trans_huge_mapcount(t, compound_head(t, p), &total) > 1:
            unlock_page(t, p)
            return False
        if total > 1:
            unlock_page(t, p)
            return True
        p = compound_head(t, p)
    elif not reuse_swap_page(t, p):
        unlock_page(t, p)
        return False
    point(t, OP_STORE, &p.mapping)
    set_page_anon_vma(p, own_anon_vma(t, vmf.vma))
    unlock_page(t, p)
    return True


cdef bint referenced_once(Task *t, page *p, bint cached) noexcept nogil:
    """cached: and by the swap cache."""
    p = compound_head(t, p)
    point(t, OP_LOAD, &p.count)
    return page_count(p) == 1 + cached


cdef bint in_the_cache(Task *t, page *p) noexcept nogil:
    """PageSwapCache() without the page lock."""
    if kernel_of(t).swap == NULL:
        return False
    point(t, OP_LOAD, &p.flags)
    return page_slot(p) != 0


cdef bint reuse_page(Task *t, vm_fault *vmf, page *p) noexcept nogil:
    """Whether a page that is written to is this vma's alone, and the pte is the same still (the page-locked half of
    do_wp_page). ptl is held on entry and on return.

    It then belongs to the vma's own anon_vma, but from 5.9 to 5.18: those ask for a single reference, and copy where
    somebody has the page lock (09854ba94c6a). Since 5.19 the page belongs there again (6c54dc6c7437), and one that was
    not shared since it was last written to is used again without a question (6c287605fd56).
    """
    cdef int32_t rule = kernel_of(t).algorithm.cow_reuse
    cdef bint alone
    cdef bint cached
    if rule == COW_REUSE_MAPPED_ONCE:
        return reuse_mapped_once(t, vmf, p)
    if rule == COW_REUSE_5_19 and vmf.seen & PTE_EXCLUSIVE:
        return True
    cached = rule == COW_REUSE_5_19 and in_the_cache(t, p)
    if not referenced_once(t, p, cached) or not trylock_page(t, p):
        return False
    if rule == COW_REUSE_5_19:
        try_to_free_swap(t, p)
    alone = referenced_once(t, p, False)
    if alone and rule == COW_REUSE_5_19:
        point(t, OP_STORE, &compound_head(t, p).mapping)
        set_page_anon_vma(compound_head(t, p), own_anon_vma(t, vmf.vma))
    unlock_page(t, p)
    return alone


cdef int do_wp_page(Task *t, vm_fault *vmf) noexcept nogil:
    """Copy on write. ptl is held on entry and not on return; the fault looks again afterwards. Returns 0 or -ENOMEM."""
    cdef page *old = page_at(t, pte_pfn(vmf.seen)) if pte_pfn(vmf.seen) else NULL
    cdef page *new = NULL
    cdef pte_t rights = PTE_EXCLUSIVE if vmf.unshare else NEW_PAGE
    if old != NULL:
        vmf.changed = False
        if not read_onceu(&old.flags) & PG_FILE and reuse_page(t, vmf, old):
            set_pte(t, vmf.pte, vmf.seen | rights)
            spin_unlock(t, vmf.ptl)
            return 0
        if vmf.changed:
            spin_unlock(t, vmf.ptl)
            return 0
        get_page(t, old)
    spin_unlock(t, vmf.ptl)
    if anon_vma_prepare(t, vmf.vma) == 0:
        new = alloc_page(t)
    if new == NULL:
        if old != NULL:
            put_page(t, old)
        return -ENOMEM
    if old != NULL and kernel_of(t).pins != NULL:
        point(t, OP_LOAD, &old.tag)
    announce_contents(t)
    new.tag = read_onceu(&old.tag) if old != NULL else 0
    spin_lock(t, vmf.ptl)
    if pte_read(t, vmf.pte) == vmf.seen:
        ptep_get_and_clear(t, vmf.pte)
        if kernel_of(t).algorithm.missing_flush != MISSING_FLUSH_COW:
            flush_tlb_page(t, vmf.mm, vmf.address)
        page_add_new_anon_rmap(t, new, vmf.vma, vmf.address)
        set_pte(t, vmf.pte, make_pte(PTE_PRESENT, new.pfn, rights))
        note(t, NOTE_COW, vmf.mm.id, <int64_t>vmf.address, new.pfn)
        new = NULL
        if old != NULL:
            page_remove_rmap(t, old)
    spin_unlock(t, vmf.ptl)
    if old != NULL:
        # The reference of this function, and if the pte was replaced the one of the pte.
        if new == NULL:
            put_page(t, old)
        put_page(t, old)
    if new != NULL:
        put_page(t, new)
    return 0


cdef int do_anonymous_page(Task *t, vm_fault *vmf) noexcept nogil:
    """A page for an empty pte; the zero page for a read. Returns 0 or -ENOMEM."""
    cdef page *fresh = NULL
    if vmf.write:
        if anon_vma_prepare(t, vmf.vma) < 0:
            return -ENOMEM
        if map_anon_folio(t, vmf):
            return 0
        fresh = alloc_page(t)
        if fresh == NULL:
            return -ENOMEM
    spin_lock(t, vmf.ptl)
    if pte_read(t, vmf.pte) == PTE_NONE:
        if vmf.write:
            page_add_new_anon_rmap(t, fresh, vmf.vma, vmf.address)
            set_pte(t, vmf.pte, make_pte(PTE_PRESENT, fresh.pfn, NEW_PAGE))
            note(t, NOTE_FAULT, vmf.mm.id, <int64_t>vmf.address, fresh.pfn)
            fresh = NULL
        else:
            set_pte(t, vmf.pte, make_pte(PTE_PRESENT, 0, 0))
    spin_unlock(t, vmf.ptl)
    if fresh != NULL:
        put_page(t, fresh)
    return 0


cdef uint64_t pin_entry(Task *t, vm_fault *vmf, uint64_t *entry, spinlock_t *lock) noexcept nogil:
    """Looks at an entry again with its lock held, where tasks run at once: the access that follows is one step with
    it."""
    pin_step(t, entry, lock)
    vmf.pinned = lock
    return read_once64(entry)


cdef void unpin_entry(Task *t, vm_fault *vmf) noexcept nogil:
    if vmf.pinned != NULL:
        quiet_unlock(t, vmf.pinned)
        vmf.pinned = NULL
    if vmf.held != NULL:
        spin_unlock(t, vmf.held)
        vmf.held = NULL


cdef bint hold_entry(Task *t, vm_fault *vmf, uint64_t *entry, spinlock_t *lock, uint64_t seen) noexcept nogil:
    """The same where tasks take turns and pages are written to through references, too: so what the access does to the
    page is a step of its own. False where the entry is another one by now."""
    if t.x.parallel:
        return True
    spin_lock(t, lock)
    if pte_read(t, entry) != seen:
        spin_unlock(t, lock)
        return False
    vmf.held = lock
    return True


cdef inline bint pmd_allows(pmd_t pmd, bint write) noexcept nogil:
    return pmd_huge(pmd) and not pmd & (PMD_PROTNONE | PMD_MIGRATION) and (not write or pmd & PMD_WRITE)


cdef inline bint pte_allows(pte_t pte, bint write) noexcept nogil:
    return pte_present(pte) and not pte & PTE_PROTNONE and (not write or pte & PTE_WRITE)


cdef int handle_huge_fault(Task *t, vm_fault *vmf, pmd_t *pmd, pmd_t value) noexcept nogil:
    """A fault where a huge pmd is: 1 when the access may happen, 0 to look again, or -ENOMEM or -EAGAIN."""
    if pmd_allows(value, vmf.write):
        if vmf.write or shares_cpu(t):
            value = pmd_access(t, pmd)
            if not pmd_allows(value, vmf.write):
                return 0
        if t.x.parallel:
            value = pin_entry(t, vmf, pmd, &vmf.mm.page_table_lock)
            if not pmd_allows(value, vmf.write):
                unpin_entry(t, vmf)
                return 0
        if kernel_of(t).pins != NULL and not hold_entry(t, vmf, pmd, &vmf.mm.page_table_lock, value):
            return 0
        if tlb_of(t) != NULL:
            tlb_fill(t, vmf.mm, vmf.address, value, True, vmf.write)
        vmf.content = NULL
        if not is_huge_zero_pmd(value):
            vmf.content = page_at(t, pte_pfn(value)) + ((vmf.address >> PAGE_SHIFT) & (PTRS_PER_TABLE - 1))
        return 1
    if value & PMD_MIGRATION:
        pmd_migration_entry_wait(t, vmf.mm, pmd, vmf.address)
        return 0
    if value & PMD_PROTNONE:
        return -EAGAIN
    if value & PMD_SPLITTING:
        wait_split_huge_page(t, own_anon_vma(t, vmf.vma))
        return 0
    return do_huge_pmd_wp_page(t, vmf.vma, vmf.address, pmd, value)


cdef int handle_pte_fault(Task *t, vm_fault *vmf) noexcept nogil:
    """Again and again until the pte allows the access. Returns 0, -ENOMEM, or -EAGAIN where it is one that nobody may
    access. Where pages are reclaimed a write marks the entry dirty, in one step with the last look at it."""
    cdef pte_t pte
    cdef int result = 0
    while result >= 0:
        pte = pte_access(t, vmf.pte, vmf.write or shares_cpu(t))
        if t.x.parallel and pte_allows(pte, vmf.write):
            pte = pin_entry(t, vmf, vmf.pte, vmf.ptl)
            if not pte_allows(pte, vmf.write):
                unpin_entry(t, vmf)
        if is_migration_entry(pte):
            migration_entry_wait(t, vmf.mm, vmf.pte, vmf.ptl, vmf.address)
        elif pte == PTE_NONE:
            must_live(t, vmf.vma, TYPE_VMA)
            result = do_fault(t, vmf) if vmf.vma.vm_flags & VM_FILE else do_anonymous_page(t, vmf)
        elif pte_allows(pte, vmf.write):
            if rt_unlikely(kernel_of(t).pins != NULL) and not hold_entry(t, vmf, vmf.pte, vmf.ptl, pte):
                continue
            if tlb_of(t) != NULL:
                tlb_fill(t, vmf.mm, vmf.address, pte, False, vmf.write)
            vmf.content = page_at(t, pte_pfn(pte)) if pte_pfn(pte) else NULL
            if vmf.write and rt_unlikely(kernel_of(t).swap != NULL):
                if vmf.held != NULL:
                    point(t, OP_STORE, vmf.pte)
                write_once64(vmf.pte, pte | PTE_DIRTY)
            return 0
        elif pte & PTE_PROTNONE:
            result = -EAGAIN
        elif is_swap_pte(pte):
            vmf.seen = pte
            result = do_swap_page(t, vmf)
        else:
            vmf.seen = pte
            spin_lock(t, vmf.ptl)
            if pte_read(t, vmf.pte) == pte:
                result = do_wp_page(t, vmf)
            else:
                spin_unlock(t, vmf.ptl)
    return result


cdef int handle_mm_fault(Task *t, vm_fault *vmf) noexcept nogil:
    """One access of a user: faults until the entry allows it; mmap_sem is held for reading, or the vma's own lock.

    The last look at the entry and what the caller does with vmf.content next are one step; then it calls unpin_entry.
    Returns 0; -ENOMEM: where the kernel would have its killer of processes choose one, this fault is given up; -EAGAIN
    where the entry lets nobody access it, though the caller saw that the vma does.
    """
    cdef mm_struct *mm = mm_of(t, vmf.vma)
    cdef page_table *table
    cdef pmd_t *pmd
    cdef pmd_t value
    cdef int result = 0
    vmf.mm = mm
    while result >= 0:
        pmd = must_have_pmd(t, mm, vmf.address)
        value = pmd_read(t, pmd)
        # Nothing but the vma's own lock keeps it alive since 6.4.
        must_live(t, vmf.vma, TYPE_VMA)
        if pmd_huge(value):
            result = handle_huge_fault(t, vmf, pmd, value)
            if result > 0:
                return 0
        elif value == 0 and hugepage_fits(vmf.vma, vmf.address):
            result = do_huge_pmd_anonymous_page(t, vmf.vma, vmf.address, pmd, vmf.write)
        else:
            table = pmd_table(value)
            if value == 0:
                result = new_table(t, mm, vmf.address, &table)
            if table != NULL:
                vmf.pte = pte_offset(table, vmf.address)
                vmf.ptl = pte_lockptr(t, mm, table)
                return handle_pte_fault(t, vmf)
    return result
