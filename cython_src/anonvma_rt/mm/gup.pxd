"""From an address to its page, with a reference that outlives the look (mm/gup.c)."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from anonvma_rt.engine.base.operation cimport OP_LOAD
from anonvma_rt.engine.run.task cimport Task, point
from anonvma_rt.mm.pins cimport GUP_PIN_COUNTING_BIAS
from anonvma_rt.mm.mm_types cimport mm_struct, page, page_count, pte_t, vm_area_struct

cdef page *follow_page(Task *t, vm_area_struct *vma, uint64_t address, bint isolate, pte_t wanted,
                       pte_t *seen) noexcept nogil
cdef int pin_user_page(Task *t, mm_struct *mm, uint64_t address, bint write, bint pin, bint fast) noexcept nogil
cdef int unpin_user_page(Task *t, mm_struct *mm, uint64_t address) noexcept nogil
cdef int dma_write(Task *t, mm_struct *mm, uint64_t address, int64_t tag) noexcept nogil


cdef inline bint maybe_dma_pinned(Task *t, page *p) noexcept nogil:
    """Never false for a page that is pinned (page_maybe_dma_pinned, 5.7)."""
    point(t, OP_LOAD, &p.count)
    return page_count(p) >= GUP_PIN_COUNTING_BIAS
