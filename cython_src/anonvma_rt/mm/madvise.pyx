"""madvise (see madvise.pxd)."""

from libc.errno cimport EINVAL, ENOMEM
from libc.stdint cimport int64_t, uint32_t, uint64_t

from anonvma_rt.engine.base.operation cimport OP_LOAD
from anonvma_rt.engine.base.os cimport read_once32, read_onceu
from anonvma_rt.engine.run.sync cimport mutex_trylock, mutex_unlock, spin_lock, spin_unlock, spinlock_t
from anonvma_rt.engine.run.task cimport Task, note, point
from anonvma_rt.mm.hooks.notes cimport NOTE_ZAP
from anonvma_rt.mm.memory cimport zap_page_range
from anonvma_rt.mm.mm_types cimport (
    PAGE_SIZE, PG_DIRTY, PG_LAZYFREE, PG_SWAPCACHE, PTE_DIRTY, is_huge_zero_pmd, is_swap_pte, mm_struct, mm_walk, noted,
    page, page_at, page_in_compound, page_slot, page_table, pmd_t, pte_pfn, pte_present, pte_t, start_of,
    vm_area_struct,
)
from anonvma_rt.mm.pagewalk cimport walk_page_range
from anonvma_rt.mm.pgtable cimport pmd_read, pte_lockptr, pte_offset, pte_read, ptep_get_and_clear, set_pte
from anonvma_rt.mm.split_huge_page cimport split_huge_pmd
from anonvma_rt.mm.swap cimport change_flags, free_swap_and_cache, swap_of, try_to_free_swap
from anonvma_rt.mm.tlb cimport flush_tlb_batched_pending, flush_tlb_range
from anonvma_rt.mm.vma_tree cimport find_vma


cdef bint clean_page(Task *t, page *p) noexcept nogil:
    """Makes a page clean that is in the swap cache, or dirty: if nobody has it locked, and no other entry shows it."""
    cdef bint clean
    point(t, OP_LOAD, &p.flags)
    if not read_onceu(&p.flags) & (PG_DIRTY | PG_SWAPCACHE):
        return True
    if not mutex_trylock(t, &p.lock):
        return False
    point(t, OP_LOAD, &p.mapcount)
    clean = read_once32(&p.mapcount) == 0 and (page_slot(p) == 0 or try_to_free_swap(t, p))
    if clean:
        change_flags(t, p, PG_DIRTY, 0)
    mutex_unlock(t, &p.lock)
    return clean


cdef int free_pte_range(Task *t, mm_walk *walk, page_table *table, uint64_t address, uint64_t end) noexcept nogil:
    """madvise_free_pte_range(): clean entries of clean pages, which reclaim drops if they still are so when it comes;
    what is swapped out goes at once."""
    cdef mm_struct *mm = walk.vma.vm_mm
    cdef spinlock_t *ptl = pte_lockptr(t, mm, table)
    cdef pte_t *ptep
    cdef pte_t pte
    cdef page *p
    spin_lock(t, ptl)
    flush_tlb_batched_pending(t, mm)
    while address < end:
        ptep = pte_offset(table, address)
        pte = pte_read(t, ptep)
        if is_swap_pte(pte):
            ptep_get_and_clear(t, ptep)
            note(t, NOTE_ZAP, mm.id, <int64_t>address, noted(pte))
            free_swap_and_cache(t, <uint32_t>pte_pfn(pte))
        elif pte_present(pte) and pte_pfn(pte) and swap_of(t) != NULL:
            p = page_at(t, pte_pfn(pte))
            # Part of a huge page: it stays as it is, where the kernel splits the page first.
            if not page_in_compound(p) and clean_page(t, p):
                # Cleared and set again: what is written meanwhile faults, and waits.
                pte = ptep_get_and_clear(t, ptep)
                set_pte(t, ptep, pte & ~<pte_t>PTE_DIRTY)
                change_flags(t, p, 0, PG_LAZYFREE)
        address += PAGE_SIZE
    spin_unlock(t, ptl)
    return 0


cdef bint split_first(Task *t, mm_walk *walk, pmd_t *pmd, uint64_t address) noexcept nogil:
    if is_huge_zero_pmd(pmd_read(t, pmd)):
        return True
    split_huge_pmd(t, walk.vma, pmd, address)
    return False


cdef void free_page_range(Task *t, vm_area_struct *vma, uint64_t start, uint64_t end) noexcept nogil:
    """MADV_FREE of a part of a vma. Where nothing reclaims pages it does nothing that could be seen."""
    cdef mm_walk walk = mm_walk(vma=vma, huge=split_first, ptes=free_pte_range, child=NULL, tlb=NULL, shared=True)
    walk_page_range(t, &walk, start, end)
    flush_tlb_range(t, vma.vm_mm, start, end)


cdef int madvise(Task *t, mm_struct *mm, uint64_t start, uint64_t length, bint lazily) noexcept nogil:
    """Clears the entries of [start, start + length); the next access finds a fresh page. lazily: MADV_FREE, that is
    when memory is short. mmap_sem is held for reading.

    0, -EINVAL for an unaligned or impossible range, -ENOMEM where some of it is not mapped: what is mapped is cleared
    all the same. Locked, huge-page and device mappings, which the kernel refuses, are not modelled.
    """
    cdef uint64_t end = start + length
    cdef uint64_t stop
    cdef uint64_t begin
    cdef int error = 0
    cdef vm_area_struct *vma
    if start & (PAGE_SIZE - 1) or end < start:
        return -EINVAL
    if length == 0:
        return 0
    vma = find_vma(t, mm, start)
    while start < end:
        if vma == NULL:
            return -ENOMEM
        begin = start_of(t, vma)
        if start < begin:
            error = -ENOMEM
            start = begin
            if start >= end:
                break
        stop = vma.vm_end if vma.vm_end < end else end
        if lazily:
            free_page_range(t, vma, start, stop)
        else:
            zap_page_range(t, vma, start, stop)
        start = stop
        vma = vma.vm_next
    return error
