"""Unmapping and faults (the part of mm/memory.c that the reverse map needs); pgtable.pxd says what protects entries.

A user's access is one step with the last look at its entry, as a TLB makes it: where tasks run at once the entry's lock
is held meanwhile, and no lock of the subject's is taken by that.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.run.sync cimport spinlock_t
from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport mm_struct, page, pte_t, vm_area_struct

# A user's access while it is dealt with. `ptl` guards the entry `pte`, in which `seen` was read.
cdef struct vm_fault:
    vm_area_struct *vma
    mm_struct *mm
    uint64_t address
    bint write
    pte_t *pte
    pte_t seen
    spinlock_t *ptl
    # It was another one when it was looked at again.
    bint changed
    # The page is to be this entry's alone, and is not written to (FAULT_FLAG_UNSHARE).
    bint unshare
    # What comes of it: the page, NULL for the zero page, and a lock that keeps the entry until unpin_entry(), or NULL.
    page *content
    spinlock_t *pinned
    # Where pages are written to through references, too: the lock of the entry, held until then.
    spinlock_t *held

cdef void unmap_page_range(Task *t, vm_area_struct *vma, uint64_t start, uint64_t end) noexcept nogil
cdef void zap_page_range(Task *t, vm_area_struct *vma, uint64_t start, uint64_t end) noexcept nogil
cdef void free_pgtables(Task *t, mm_struct *mm, uint64_t start, uint64_t end, uint64_t floor,
                        uint64_t ceiling, bint met) noexcept nogil
cdef int do_wp_page(Task *t, vm_fault *vmf) noexcept nogil
cdef int handle_mm_fault(Task *t, vm_fault *vmf) noexcept nogil
cdef void unpin_entry(Task *t, vm_fault *vmf) noexcept nogil
