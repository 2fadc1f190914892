"""Unmapping and faults (the part of mm/memory.c that the reverse map needs); pgtable.pxd says what protects entries.

A user's access is one step with the last look at its entry, as a TLB makes it: where tasks run at once the entry's lock
is held meanwhile, and no lock of the subject's is taken by that.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport mm_struct, mmu_gather, vm_area_struct
from anonvma_rt.mm.vm_fault cimport vm_fault

cdef void unmap_page_range(Task *t, mmu_gather *tlb, vm_area_struct *vma, uint64_t start,
                           uint64_t end) noexcept nogil
cdef void zap_page_range(Task *t, vm_area_struct *vma, uint64_t start, uint64_t end) noexcept nogil
cdef int do_wp_page(Task *t, vm_fault *vmf) noexcept nogil
cdef int handle_mm_fault(Task *t, vm_fault *vmf) noexcept nogil
cdef void unpin_entry(Task *t, vm_fault *vmf) noexcept nogil
