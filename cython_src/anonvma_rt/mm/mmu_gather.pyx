"""Gathers of pages (see mmu_gather.pxd)."""

from libc.stdint cimport uint64_t
from libc.string cimport memset

from anonvma_rt.engine.base.operation cimport OP_ATOMIC
from anonvma_rt.engine.run.task cimport Task, point
from anonvma_rt.mm.mm_types cimport (
    GATHER_FLUSH_GATHERED, GATHER_FLUSH_MM, GATHER_FLUSH_REST, GATHER_FLUSH_SHORT, MMU_GATHER_BUNDLE, kernel_of,
    mm_struct, mmu_gather, page,
)
from anonvma_rt.mm.page_alloc cimport put_page
from anonvma_rt.mm.tlb cimport flush_now, tlb_of


cdef mmu_gather *gather(Task *t, mmu_gather *tlb, mm_struct *mm) noexcept nogil:
    """inc_tlb_flush_pending() is of 4.13."""
    memset(tlb, 0, sizeof(mmu_gather))
    tlb.mm = mm
    if kernel_of(t).algorithm.nested_flush:
        point(t, OP_ATOMIC, &kernel_of(t).tlb)
        tlb_of(t).pending[mm.id] += 1
    return tlb


cdef void tlb_remove_entry(Task *t, mmu_gather *tlb, uint64_t address, uint64_t size) noexcept nogil:
    """An entry that users may have a translation of was cleared: only what has such a one is flushed."""
    if tlb == NULL:
        return
    if tlb.start == tlb.end:
        tlb.start = address
    tlb.end = address + size


cdef bint keep(mmu_gather *tlb, page *p) noexcept nogil:
    tlb.pages[tlb.n] = p
    tlb.n += 1
    return tlb.n == MMU_GATHER_BUNDLE


cdef void flush_range(Task *t, mmu_gather *tlb, uint64_t start, uint64_t end) noexcept nogil:
    """tlb_flush_mmu: a flush, and behind it the pages."""
    cdef int i
    flush_now(t, tlb.mm, start, end)
    for i in range(tlb.n):
        put_page(t, tlb.pages[i])
    tlb.n = 0
    tlb.start = tlb.end = 0


cdef void tlb_flush_full(Task *t, mmu_gather *tlb, uint64_t address, uint64_t end) noexcept nogil:
    """Room for more pages, before the walk goes on at `address`. No page-table lock is held.

    Up to 3.5 the whole mm was flushed. From 3.6 to 3.10 it was the range from the last page on, which is still to come,
    and not the one whose pages are freed here (e6c495a96ce0); then, up to 3.17, the one before the last page, which is
    freed as well (ce9ec37bddb6).
    """
    if kernel_of(t).algorithm.gather_flush == GATHER_FLUSH_MM:
        flush_range(t, tlb, 0, <uint64_t>-1)
    elif kernel_of(t).algorithm.gather_flush == GATHER_FLUSH_REST:
        flush_range(t, tlb, address, end)
    elif kernel_of(t).algorithm.gather_flush == GATHER_FLUSH_SHORT:
        flush_range(t, tlb, tlb.start, address)
    else:
        flush_range(t, tlb, tlb.start, tlb.end)


cdef void finish(Task *t, mmu_gather *tlb, uint64_t start, uint64_t end) noexcept nogil:
    """Nothing is flushed where nothing was cleared; but somebody else may have cleared it, and not have flushed yet.
    Since 4.13 whoever is not alone flushes all of his range (mm_tlb_flush_nested, 99baac21e458)."""
    cdef bint nested = kernel_of(t).algorithm.nested_flush
    if nested:
        point(t, OP_ATOMIC, &kernel_of(t).tlb)
        if tlb_of(t).pending[tlb.mm.id] > 1:
            tlb.start = start
            tlb.end = end
    if tlb.start < tlb.end and kernel_of(t).algorithm.gather_flush != GATHER_FLUSH_GATHERED:
        # Up to 3.17 the range of the call, if anything is left to be flushed.
        tlb.start = start
        tlb.end = end
    if tlb.start < tlb.end:
        flush_range(t, tlb, tlb.start, tlb.end)
    if nested:
        point(t, OP_ATOMIC, &kernel_of(t).tlb)
        tlb_of(t).pending[tlb.mm.id] -= 1
