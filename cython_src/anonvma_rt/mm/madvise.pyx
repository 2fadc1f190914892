"""madvise(MADV_DONTNEED) (see madvise.pxd)."""

from libc.errno cimport EINVAL, ENOMEM
from libc.stdint cimport uint64_t

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.memory cimport zap_page_range
from anonvma_rt.mm.mm_types cimport PAGE_SIZE, mm_struct, start_of, vm_area_struct
from anonvma_rt.mm.vma_tree cimport find_vma


cdef int madvise_dontneed(Task *t, mm_struct *mm, uint64_t start, uint64_t length) noexcept nogil:
    """Clears the entries of [start, start + length); the next access finds a fresh page. mmap_sem is held for reading.

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
        zap_page_range(t, vma, start, stop)
        start = stop
        vma = vma.vm_next
    return error
