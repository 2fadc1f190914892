"""UFFDIO_MOVE (see userfaultfd.pxd). mmap_sem is held for reading only.

The page gets another anon_vma, perhaps of another root, while it stays mapped: what a walker concludes from "mapped" is
not true any more. The page lock and the old root's lock are held meanwhile.
"""

from libc.errno cimport EAGAIN, EBUSY, EEXIST, EINVAL, ENOENT, ENOMEM
from libc.stdint cimport int64_t, uint32_t, uint64_t

from anonvma_rt.engine.base.operation cimport OP_LOAD, OP_STORE
from anonvma_rt.engine.base.os cimport read_once32, write_onceu
from anonvma_rt.engine.run.sync cimport (
    spin_lock, spin_lock_nested, spin_unlock, spin_unlock_nested, spinlock_t,
)
from anonvma_rt.engine.run.task cimport Task, note, point, violate
from anonvma_rt.mm.anon_vma cimport anon_vma_lock, anon_vma_unlock, put_anon_vma
from anonvma_rt.mm.anon_vma_chain cimport anon_vma_prepare
from anonvma_rt.mm.gup cimport follow_page, maybe_dma_pinned
from anonvma_rt.mm.hooks.notes cimport BUG_MIGRATION_PMD, BUG_ON, NOTE_HUGE_MOVE
from anonvma_rt.mm.huge_migration cimport pmd_migration_entry_wait
from anonvma_rt.mm.migrate cimport migration_entry_wait
from anonvma_rt.mm.mm_types cimport (
    HPAGE_PMD_NR, PAGE_SIZE, PMD_EXCLUSIVE, PMD_HUGE, PMD_MIGRATION, PMD_SIZE, PTE_EXCLUSIVE, PTE_NONE, THP_4_14,
    UFFD_SWAP_6_16, UFFD_SWAP_6_8, VM_WRITE, anon_vma, is_huge_zero_pmd, is_migration_entry, is_swap_pte, kernel_of,
    make_huge_pmd, mm_struct, noted, page, page_at, page_slot, page_table, pmd_huge, pmd_t, pte_pfn, pte_present, pte_t,
    serial_of, start_of, vm_area_struct,
)
from anonvma_rt.mm.page_alloc cimport get_page, put_page
from anonvma_rt.mm.page_lock cimport lock_page, unlock_page
from anonvma_rt.mm.pgtable cimport (
    alloc_table, find_table, must_have_pmd, pmd_read, pte_lockptr, pte_offset, pte_read, ptep_get_and_clear, set_pmd,
    set_pte,
)
from anonvma_rt.mm.rmap cimport index_of, page_get_anon_vma, set_page_anon_vma
from anonvma_rt.mm.split_huge_page cimport split_huge_pmd
from anonvma_rt.mm.swap cimport in_swap_cache, lookup_swap_cache
from anonvma_rt.mm.tlb cimport flush_tlb_range, ptep_clear_flush
from anonvma_rt.mm.vma_tree cimport find_vma


cdef int move_entry(Task *t, page *p, pte_t seen, vm_area_struct *vma, uint64_t source, vm_area_struct *new_vma,
                    uint64_t to) noexcept nogil:
    """Moves an entry under both ptls, the lower address outside. p: its page, NULL for the zero page. 0; -EAGAIN where
    entries are not what they were; -EBUSY where the page is not of this entry alone."""
    cdef mm_struct *mm = vma.vm_mm
    cdef page_table *old = find_table(t, mm, source)
    cdef page_table *new = find_table(t, mm, to)
    cdef spinlock_t *first
    cdef spinlock_t *second
    cdef pte_t pte
    cdef int result = 0
    if old == NULL or new == NULL:
        return -EAGAIN
    first = pte_lockptr(t, mm, old if source < to else new)
    second = pte_lockptr(t, mm, new if source < to else old)
    spin_lock(t, first)
    if second != first:
        spin_lock_nested(t, second, 1)
    pte = pte_read(t, pte_offset(old, source))
    if not pte_present(pte) or pte_pfn(pte) != pte_pfn(seen) or pte_read(t, pte_offset(new, to)) != PTE_NONE:
        result = -EAGAIN
    elif p != NULL:
        point(t, OP_LOAD, &p.mapcount)
        if read_once32(&p.mapcount) > 0 or not pte & PTE_EXCLUSIVE:
            # Somebody else maps the page, too, or did.
            result = -EBUSY
        elif kernel_of(t).pins != NULL and maybe_dma_pinned(t, p):
            result = -EBUSY
    if result == 0:
        ptep_clear_flush(t, vma.vm_mm, source, pte_offset(old, source))
        if p != NULL:
            point(t, OP_STORE, &p.mapping)
            set_page_anon_vma(p, new_vma.anon_vma)
            write_onceu(&p.index, <uint32_t>index_of(t, new_vma, to, False))
        set_pte(t, pte_offset(new, to), pte)
    if second != first:
        spin_unlock_nested(t, second, 1)
    spin_unlock(t, first)
    return result


cdef int move_page(Task *t, page *p, pte_t seen, vm_area_struct *vma, uint64_t source, vm_area_struct *new_vma,
                   uint64_t to) noexcept nogil:
    """Moves a page that the caller holds a reference of, under its lock and that of its old root."""
    cdef anon_vma *pinned
    cdef int result = -EAGAIN
    lock_page(t, p)
    pinned = page_get_anon_vma(t, p)
    if pinned != NULL:
        anon_vma_lock(t, pinned)
        result = move_entry(t, p, seen, vma, source, new_vma, to)
        anon_vma_unlock(t, pinned)
        put_anon_vma(t, pinned)
    unlock_page(t, p)
    put_page(t, p)
    return result


cdef int move_swap_entry(Task *t, page *p, pte_t seen, vm_area_struct *vma, uint64_t source, vm_area_struct *new_vma,
                         uint64_t to) noexcept nogil:
    """move_swap_pte() under both ptls. p: the page that was found in the swap cache, locked, or NULL. It gets its new
    place, too; since 6.16 it must still be the slot's, or none must have come there."""
    cdef mm_struct *mm = vma.vm_mm
    cdef page_table *old = find_table(t, mm, source)
    cdef page_table *new = find_table(t, mm, to)
    cdef uint32_t slot = <uint32_t>pte_pfn(seen)
    cdef bint rechecks = kernel_of(t).algorithm.uffd_swap == UFFD_SWAP_6_16
    cdef spinlock_t *first
    cdef spinlock_t *second
    cdef int result = -EAGAIN
    if old == NULL or new == NULL or (rechecks and p != NULL and page_slot(p) != slot):
        return -EAGAIN
    first = pte_lockptr(t, mm, old if source < to else new)
    second = pte_lockptr(t, mm, new if source < to else old)
    spin_lock(t, first)
    if second != first:
        spin_lock_nested(t, second, 1)
    if pte_read(t, pte_offset(old, source)) == seen and pte_read(t, pte_offset(new, to)) == PTE_NONE:
        if not rechecks or p != NULL or not in_swap_cache(t, slot):
            result = 0
    if result == 0:
        ptep_get_and_clear(t, pte_offset(old, source))
        if p != NULL:
            point(t, OP_STORE, &p.mapping)
            set_page_anon_vma(p, new_vma.anon_vma)
            write_onceu(&p.index, <uint32_t>index_of(t, new_vma, to, False))
        set_pte(t, pte_offset(new, to), seen)
    if second != first:
        spin_unlock_nested(t, second, 1)
    spin_unlock(t, first)
    return result


cdef int move_swapped(Task *t, pte_t seen, vm_area_struct *vma, uint64_t source, vm_area_struct *new_vma,
                      uint64_t to) noexcept nogil:
    """Moves a swap entry that its owner has alone. Up to 6.13 its page, which may still be in the swap cache, was not
    looked for (c50f8e6053b0); up to 6.15 not again, when both entries were locked (0ea148a79919)."""
    cdef page *p = NULL
    cdef int result
    if not seen & PTE_EXCLUSIVE:
        return -EBUSY
    if kernel_of(t).algorithm.uffd_swap != UFFD_SWAP_6_8:
        p = lookup_swap_cache(t, <uint32_t>pte_pfn(seen))
    if p != NULL:
        lock_page(t, p)
    result = move_swap_entry(t, p, seen, vma, source, new_vma, to)
    if p != NULL:
        unlock_page(t, p)
        put_page(t, p)
    return result


cdef int wait_for_migration(Task *t, mm_struct *mm, uint64_t address) noexcept nogil:
    """Until the page whose migration entry is at address is where it will be. -EAGAIN."""
    cdef page_table *table = find_table(t, mm, address)
    if table != NULL:
        migration_entry_wait(t, mm, pte_offset(table, address), pte_lockptr(t, mm, table), address)
    return -EAGAIN


cdef int is_taken(Task *t, mm_struct *mm, uint64_t address) noexcept nogil:
    """Whether an entry is at the destination, whose table is made if there is none; or -ENOMEM."""
    cdef page_table *table
    cdef spinlock_t *ptl
    cdef bint taken
    if alloc_table(t, mm, address, &table) < 0:
        return -ENOMEM
    if table == NULL:
        # A huge page.
        return True
    ptl = pte_lockptr(t, mm, table)
    spin_lock(t, ptl)
    taken = pte_read(t, pte_offset(table, address)) != PTE_NONE
    spin_unlock(t, ptl)
    return taken


# ---- huge pages ------------------------------------------------------------------------------------------------------


cdef int move_locked_pmd(Task *t, page *head, pmd_t seen, vm_area_struct *vma, uint64_t source, pmd_t *old,
                         vm_area_struct *new_vma, uint64_t to) noexcept nogil:
    """Moves a huge pmd under page_table_lock, which both have. head: its page, NULL for the huge zero page. The same
    errors as move_entry()."""
    cdef mm_struct *mm = vma.vm_mm
    cdef pmd_t *new = must_have_pmd(t, mm, to)
    cdef int result = 0
    spin_lock(t, &mm.page_table_lock)
    if pmd_read(t, old) != seen or pmd_read(t, new) != 0:
        result = -EAGAIN
    elif head != NULL and kernel_of(t).pins != NULL and maybe_dma_pinned(t, head):
        result = -EBUSY
    else:
        set_pmd(t, old, 0)
        flush_tlb_range(t, mm, source, source + PMD_SIZE)
        if head != NULL:
            point(t, OP_STORE, &head.mapping)
            set_page_anon_vma(head, new_vma.anon_vma)
            write_onceu(&head.index, <uint32_t>index_of(t, new_vma, to, False))
        set_pmd(t, new, make_huge_pmd(head.pfn, True) if head != NULL else <pmd_t>PMD_HUGE)
        note(t, NOTE_HUGE_MOVE, serial_of(new_vma), <int64_t>to, noted(seen))
    spin_unlock(t, &mm.page_table_lock)
    return result


cdef int move_pages_huge_pmd(Task *t, pmd_t seen, vm_area_struct *vma, uint64_t source, pmd_t *old,
                             vm_area_struct *new_vma, uint64_t to) noexcept nogil:
    """A huge page moves as a whole. page_table_lock is held, and not on return. -EBUSY where it is not of this pmd
    alone; -EAGAIN where it is migrating, which was waited for, or changed just now."""
    cdef mm_struct *mm = vma.vm_mm
    cdef anon_vma *pinned
    cdef page *head
    cdef int result = -EAGAIN
    if seen & PMD_MIGRATION or is_huge_zero_pmd(seen) or not seen & PMD_EXCLUSIVE:
        spin_unlock(t, &mm.page_table_lock)
        if seen & PMD_MIGRATION:
            pmd_migration_entry_wait(t, mm, old, source)
            return -EAGAIN
        return move_locked_pmd(t, NULL, seen, vma, source, old, new_vma, to) if is_huge_zero_pmd(seen) else -EBUSY
    head = page_at(t, pte_pfn(seen))
    get_page(t, head)
    spin_unlock(t, &mm.page_table_lock)
    lock_page(t, head)
    pinned = page_get_anon_vma(t, head)
    if pinned != NULL:
        anon_vma_lock(t, pinned)
        result = move_locked_pmd(t, head, seen, vma, source, old, new_vma, to)
        anon_vma_unlock(t, pinned)
        put_anon_vma(t, pinned)
    unlock_page(t, head)
    put_page(t, head)
    return result


cdef int move_or_split(Task *t, vm_area_struct *vma, uint64_t source, vm_area_struct *new_vma, uint64_t to,
                       uint64_t pages) noexcept nogil:
    """What is at source as a huge pmd: how many pages of it moved, 0 where there is none any more, or -errno. One that
    does not move as a whole is split. Up to 6.16 its page was looked at for that, also where a migration entry told
    of none (aba6faec0103)."""
    cdef mm_struct *mm = vma.vm_mm
    cdef pmd_t *old = must_have_pmd(t, mm, source)
    cdef bint whole = pages >= HPAGE_PMD_NR and not (source | to) & (PMD_SIZE - 1)
    cdef pmd_t value
    cdef int result
    whole = whole and pmd_read(t, must_have_pmd(t, mm, to)) == 0
    spin_lock(t, &mm.page_table_lock)
    value = pmd_read(t, old)
    if not pmd_huge(value):
        spin_unlock(t, &mm.page_table_lock)
        return 0
    if whole:
        result = move_pages_huge_pmd(t, value, vma, source, old, new_vma, to)
        return result if result < 0 else HPAGE_PMD_NR
    if value & PMD_MIGRATION and kernel_of(t).algorithm.uffd_any_pmd:
        violate(t, BUG_ON, BUG_MIGRATION_PMD, 0, <int64_t>source)
    result = 0
    if not value & (PMD_MIGRATION | PMD_EXCLUSIVE) and not is_huge_zero_pmd(value):
        result = -EBUSY
    spin_unlock(t, &mm.page_table_lock)
    if result == 0:
        split_huge_pmd(t, vma, old, source)
    return result


# ---- the call --------------------------------------------------------------------------------------------------------


cdef int move_pages_pte(Task *t, vm_area_struct *vma, uint64_t source, vm_area_struct *new_vma,
                        uint64_t to) noexcept nogil:
    """One page: 0 or what move_uffd_pages() says."""
    cdef mm_struct *mm = vma.vm_mm
    cdef page *p
    cdef pte_t seen
    cdef int result = is_taken(t, mm, to)
    if result:
        return -EEXIST if result > 0 else result
    p = follow_page(t, vma, source, False, PTE_EXCLUSIVE, &seen)
    if p != NULL:
        return move_page(t, p, seen, vma, source, new_vma, to)
    if is_migration_entry(seen):
        return wait_for_migration(t, mm, source)
    if is_swap_pte(seen):
        return move_swapped(t, seen, vma, source, new_vma, to)
    if not pte_present(seen):
        return -ENOENT
    # It is shared, or part of a huge page that could not be split, because somebody has a reference of it.
    return -EBUSY if pte_pfn(seen) else move_entry(t, NULL, seen, vma, source, new_vma, to)


cdef int move_next(Task *t, vm_area_struct *vma, uint64_t source, vm_area_struct *new_vma, uint64_t to,
                   uint64_t pages) noexcept nogil:
    """How many pages moved, 0 where to look again, or -errno."""
    cdef mm_struct *mm = vma.vm_mm
    cdef bint whole = kernel_of(t).algorithm.thp == THP_4_14
    cdef pmd_t value
    cdef int result
    if whole and pmd_huge(pmd_read(t, must_have_pmd(t, mm, to))):
        return -EEXIST
    value = pmd_read(t, must_have_pmd(t, mm, source))
    if value == 0:
        return -ENOENT
    if whole and pmd_huge(value):
        return move_or_split(t, vma, source, new_vma, to, pages)
    result = move_pages_pte(t, vma, source, new_vma, to)
    return result if result < 0 else 1


cdef int move_uffd_pages(Task *t, mm_struct *mm, uint64_t source, uint64_t to, uint64_t pages) noexcept nogil:
    """move_pages() of mm/userfaultfd.c: a huge page moves as a whole where both places are aligned and all of it is
    wanted (since 4.14 huge pages have migration entries; before, all are split).

    0; -EINVAL unaligned, of no page, not both writable, or beyond the end of one of the two; -ENOENT no mapping at one
    of the two, or no page; -EEXIST the destination has one; -EBUSY a page is shared, or was since it was last written
    to; -EAGAIN it is migrating, which was waited for, or changed just now, or some pages moved before another error;
    -ENOMEM. The destination has an anon_vma afterwards, if there is one at all."""
    cdef vm_area_struct *vma = find_vma(t, mm, source)
    cdef vm_area_struct *new_vma = find_vma(t, mm, to)
    cdef uint64_t moved = 0
    cdef uint64_t length = pages * PAGE_SIZE
    cdef int result = 0
    if (source | to) & (PAGE_SIZE - 1) or pages == 0:
        return -EINVAL
    if new_vma == NULL or start_of(t, new_vma) > to:
        return -ENOENT
    if anon_vma_prepare(t, new_vma) < 0:
        return -ENOMEM
    if vma == NULL or start_of(t, vma) > source:
        return -ENOENT
    if source + length > vma.vm_end or to + length > new_vma.vm_end:
        return -EINVAL
    if not vma.vm_flags & new_vma.vm_flags & VM_WRITE:
        return -EINVAL
    while moved < pages and result >= 0:
        result = move_next(t, vma, source + moved * PAGE_SIZE, new_vma, to + moved * PAGE_SIZE, pages - moved)
        moved += <uint64_t>result if result > 0 else 0
    if result < 0:
        return -EAGAIN if moved else result
    return 0
