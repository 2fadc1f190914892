"""Faults that map a folio (see anon_folio.pxd)."""

from libc.stdint cimport int64_t, uint64_t

from anonvma_rt.engine.run.sync cimport spin_lock, spin_unlock
from anonvma_rt.engine.run.task cimport Task, note
from anonvma_rt.mm.hooks.notes cimport NOTE_FAULT
from anonvma_rt.mm.mm_types cimport (
    PAGE_SHIFT, PAGE_SIZE, PTE_EXCLUSIVE, PTE_NONE, PTE_PRESENT, PTE_WRITE, THP_4_14, VM_ORDER_SHIFT, algorithm,
    kernel_of, make_pte, page, pte_t, vm_area_struct,
)
from anonvma_rt.mm.page_alloc cimport alloc_folio, put_page
from anonvma_rt.mm.pgtable cimport pte_read, set_pte
from anonvma_rt.mm.rmap cimport folio_add_new_anon_rmap
from anonvma_rt.mm.vm_fault cimport vm_fault


cdef inline int folio_order(Task *t, vm_area_struct *vma) noexcept nogil:
    """What faults in a vma may get; 0: small pages."""
    cdef int order = vma.vm_flags >> VM_ORDER_SHIFT
    cdef algorithm *a = &kernel_of(t).algorithm
    return order if a.large_folios and a.thp == THP_4_14 else 0


cdef bint pte_range_none(Task *t, pte_t *ptep, uint64_t pages) noexcept nogil:
    cdef uint64_t i
    for i in range(pages):
        if pte_read(t, ptep + i) != PTE_NONE:
            return False
    return True


cdef bint map_anon_folio(Task *t, vm_fault *vmf) noexcept nogil:
    """alloc_anon_folio() of 6.8, and what maps it: 2**order pages around the fault, aligned, where the vma has room and
    no entry is in the way. False where a small page has to do; after True the fault looks again, because another
    thread may have been faster."""
    cdef int order = folio_order(t, vmf.vma)
    cdef uint64_t pages = <uint64_t>1 << order
    cdef uint64_t start = vmf.address & ~(pages * PAGE_SIZE - 1)
    cdef pte_t *ptep = vmf.pte - ((vmf.address - start) >> PAGE_SHIFT)
    cdef page *head
    cdef uint64_t i
    cdef bint mapped
    if order == 0:
        return False
    if start < vmf.vma.vm_start or start + pages * PAGE_SIZE > vmf.vma.vm_end or not pte_range_none(t, ptep, pages):
        return False
    head = alloc_folio(t, order)
    if head == NULL:
        return False
    spin_lock(t, vmf.ptl)
    mapped = pte_range_none(t, ptep, pages)
    if mapped:
        folio_add_new_anon_rmap(t, head, vmf.vma, start)
        for i in range(pages):
            set_pte(t, ptep + i, make_pte(PTE_PRESENT, head.pfn + i, PTE_WRITE | PTE_EXCLUSIVE))
        note(t, NOTE_FAULT, vmf.mm.id, <int64_t>start, head.pfn)
    spin_unlock(t, vmf.ptl)
    if not mapped:
        put_page(t, head)
    return True
