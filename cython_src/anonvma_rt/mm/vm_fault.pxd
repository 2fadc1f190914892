"""What the handlers of a fault hand on (struct vm_fault of linux/mm.h)."""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.run.sync cimport spinlock_t
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
