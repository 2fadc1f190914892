"""Reclaim of one page (see vmscan.pxd), as kswapd does it: without any mmap_sem.

The page lock is held from before the page gets its slot until it is free or is kept, but for the moment in which it has
been written. What has the last word is a count: a page that somebody else has a reference of is kept, in the swap cache
perhaps, where the next fault finds it.
"""

from libc.errno cimport EAGAIN
from libc.stdint cimport int64_t, uint32_t, uint64_t

from anonvma_rt.engine.base.operation cimport OP_LOAD
from anonvma_rt.engine.base.os cimport read_once32, read_onceu
from anonvma_rt.engine.run.sync cimport mutex_trylock, mutex_unlock, spin_unlock, spinlock_t
from anonvma_rt.engine.run.task cimport Task, note, point
from anonvma_rt.mm.gup cimport maybe_dma_pinned
from anonvma_rt.mm.hooks.notes cimport NOTE_DISCARD, NOTE_KEEP, NOTE_RECLAIM, NOTE_SWAP_OUT
from anonvma_rt.mm.mm_types cimport (
    COW_REUSE_5_19, PG_DIRTY, PG_LAZYFREE, PTE_DIRTY, PTE_EXCLUSIVE, PTE_SWAP, kernel_of, make_pte, page, page_compound,
    page_count, page_in_compound, page_slot, pte_t, serial_of, vm_area_struct,
)
from anonvma_rt.mm.page_alloc cimport isolate_lru_page, put_page, putback_lru_page
from anonvma_rt.mm.page_vma_mapped cimport page_check_address
from anonvma_rt.mm.pgtable cimport set_pte
from anonvma_rt.mm.rmap cimport page_mapped, page_remove_rmap, try_to_unmap
from anonvma_rt.mm.split_huge_page cimport split_huge_page
from anonvma_rt.mm.swap cimport (
    add_to_swap, change_flags, remove_mapping, swap_duplicate, swap_writepage, try_to_free_swap,
)
from anonvma_rt.mm.tlb cimport ptep_clear_later, try_to_unmap_flush


cdef uint32_t flags_of(Task *t, page *p) noexcept nogil:
    """Dirty and lazily freed are set without the page lock, too."""
    point(t, OP_LOAD, &p.flags)
    return read_onceu(&p.flags)


# ---- one entry -------------------------------------------------------------------------------------------------------


cdef bint is_lazily_free(Task *t, page *p) noexcept nogil:
    """Whether the content of a page that was freed lazily, and whose entry is none at this moment, may go: nobody has
    written through an entry. Up to 5.17 that was all, and who wrote to the page through a reference of it lost what he
    wrote (6c8e2a256915)."""
    cdef int references
    cdef int mapped
    if kernel_of(t).algorithm.lazyfree_refs:
        point(t, OP_LOAD, &p.count)
        references = page_count(p)
        point(t, OP_LOAD, &p.mapcount)
        mapped = read_once32(&p.mapcount) + 1
        if references != 1 + mapped:
            return False
    return not flags_of(t, p) & PG_DIRTY


cdef bint unmap_to_swap(Task *t, page *p, vm_area_struct *vma, uint64_t address) noexcept nogil:
    """try_to_unmap_one() of reclaim: the entry becomes that of the page's slot, or none for a page that was freed
    lazily. False where the page has to stay: its entry is what it was. An address that does not show the page is no
    reason for that.

    A TLB is flushed right behind the clear; since 4.3 (72b252aed506) it may be put off, if the entry was not dirty, up
    to the write of the page, or its end (reclaim_page).
    """
    cdef spinlock_t *ptl = NULL
    cdef pte_t *ptep = page_check_address(t, p, vma, address, &ptl)
    cdef pte_t pte
    cdef bint goes
    if ptep == NULL:
        return True
    pte = ptep_clear_later(t, vma.vm_mm, address, ptep, kernel_of(t).algorithm.deferred_flush)
    if pte & PTE_DIRTY:
        change_flags(t, p, 0, PG_DIRTY)
    if not page_slot(p):
        goes = flags_of(t, p) & PG_LAZYFREE and is_lazily_free(t, p)
        if goes:
            note(t, NOTE_DISCARD, serial_of(vma), <int64_t>address, p.pfn)
        elif flags_of(t, p) & PG_DIRTY:
            change_flags(t, p, PG_LAZYFREE, 0)
    else:
        # Since 5.19 (6c287605fd56) an entry that has its page alone keeps it where that may be pinned.
        goes = not (kernel_of(t).algorithm.cow_reuse == COW_REUSE_5_19 and pte & PTE_EXCLUSIVE
                    and maybe_dma_pinned(t, p))
        if goes:
            swap_duplicate(t, page_slot(p))
            set_pte(t, ptep, make_pte(PTE_SWAP, page_slot(p), pte & PTE_EXCLUSIVE))
            note(t, NOTE_SWAP_OUT, serial_of(vma), <int64_t>address, p.pfn)
    if goes:
        page_remove_rmap(t, p)
        put_page(t, p)
    else:
        set_pte(t, ptep, pte)
        note(t, NOTE_KEEP, serial_of(vma), <int64_t>address, p.pfn)
    spin_unlock(t, ptl)
    return goes


# ---- the page --------------------------------------------------------------------------------------------------------


cdef bint pageout(Task *t, page *p, bint *locked) noexcept nogil:
    """Writes a page that nothing maps to its slot: whether it is clean then. Who has a reference beside the cache and
    the caller may be writing to it: it is not written. locked: whether the page lock, which the write has given back,
    could be had again."""
    point(t, OP_LOAD, &p.count)
    if page_count(p) != 2:
        return False
    change_flags(t, p, PG_DIRTY, 0)
    if not try_to_free_swap(t, p):
        swap_writepage(t, p)
    mutex_unlock(t, &p.lock)
    locked[0] = mutex_trylock(t, &p.lock)
    return locked[0] and page_slot(p) and not flags_of(t, p) & PG_DIRTY


cdef bint shrink_locked(Task *t, page *p, bint *locked) noexcept nogil:
    """shrink_page_list() of a page that is isolated and locked: whether it is free now but for the caller's reference.
    locked: whether the page lock is still held."""
    cdef bint lazy = flags_of(t, p) & PG_LAZYFREE != 0
    if not lazy and not page_slot(p):
        # Since 5.11 (feb889fb40fa).
        if kernel_of(t).algorithm.keeps_pinned and maybe_dma_pinned(t, p):
            return False
        if not add_to_swap(t, p):
            return False
    if page_mapped(t, p) and not try_to_unmap(t, p, unmap_to_swap):
        return False
    if not page_slot(p):
        # All entries are gone, and so is what it held: only the caller's reference is left, or it is in use.
        point(t, OP_LOAD, &p.count)
        return page_count(p) == 1 and not flags_of(t, p) & PG_DIRTY
    if flags_of(t, p) & PG_DIRTY:
        # Where flushes are put off, here is one before a dirty page is written (try_to_unmap_flush_dirty).
        try_to_unmap_flush(t)
        if not pageout(t, p, locked):
            return False
    return remove_mapping(t, p)


cdef int reclaim_page(Task *t, page *p) noexcept nogil:
    """Frees a page, whose content goes to the swap area. 0; -EAGAIN where it is kept, -ENOENT where it is free,
    -EBUSY where somebody else has isolated it. Whether it was used is not asked. A huge page is split first."""
    cdef bint locked = True
    cdef bint freed = False
    cdef int result = isolate_lru_page(t, p)
    if result < 0:
        return result
    note(t, NOTE_RECLAIM, p.pfn, 0, 0)
    if (page_compound(p) or page_in_compound(p)) and not split_huge_page(t, p):
        locked = False
    elif not mutex_trylock(t, &p.lock):
        locked = False
    else:
        freed = shrink_locked(t, p, &locked)
    # Where flushes are put off, the last one is here: before the page is free.
    try_to_unmap_flush(t)
    if locked:
        mutex_unlock(t, &p.lock)
    note(t, NOTE_RECLAIM, p.pfn, 1 if freed else 2, 0)
    putback_lru_page(t, p)
    return 0 if freed else -EAGAIN
