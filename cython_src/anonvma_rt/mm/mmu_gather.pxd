"""Pages on their way out: freed behind the flush that covers them (mm/mmu_gather.c, in mm/memory.c before it).

Without a TLB there is no gather, and a page is freed where its entry is cleared.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.base.os cimport rt_unlikely
from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport kernel_of, mm_struct, mmu_gather, page
from anonvma_rt.mm.page_alloc cimport put_page

cdef mmu_gather *gather(Task *t, mmu_gather *tlb, mm_struct *mm) noexcept nogil
cdef void finish(Task *t, mmu_gather *tlb, uint64_t start, uint64_t end) noexcept nogil
cdef void tlb_remove_entry(Task *t, mmu_gather *tlb, uint64_t address, uint64_t size) noexcept nogil
cdef bint keep(mmu_gather *tlb, page *p) noexcept nogil
cdef void tlb_flush_full(Task *t, mmu_gather *tlb, uint64_t address, uint64_t end) noexcept nogil


cdef inline mmu_gather *tlb_gather_mmu(Task *t, mmu_gather *tlb, mm_struct *mm) noexcept nogil:
    """For a call that clears entries of mm; NULL without a TLB, and then *tlb is not used."""
    return gather(t, tlb, mm) if rt_unlikely(kernel_of(t).tlb != NULL) else NULL


cdef inline void tlb_finish_mmu(Task *t, mmu_gather *tlb, uint64_t start, uint64_t end) noexcept nogil:
    """The range of the call is done."""
    if rt_unlikely(tlb != NULL):
        finish(t, tlb, start, end)


cdef inline bint tlb_remove_page(Task *t, mmu_gather *tlb, page *p) noexcept nogil:
    """Frees a page, later if there is a TLB. True where the gather is full: the caller drops its locks for
    tlb_flush_full()."""
    if rt_unlikely(tlb != NULL):
        return keep(tlb, p)
    put_page(t, p)
    return False
