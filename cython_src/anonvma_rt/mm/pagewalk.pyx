"""Walks over the page tables of a range (see pagewalk.pxd)."""

from libc.stdint cimport int64_t, uint64_t

from anonvma_rt.engine.run.task cimport Task, violate
from anonvma_rt.mm.hooks.notes cimport BUG_BAD_PMD, BUG_ON
from anonvma_rt.mm.mm_types cimport (
    PMD_SIZE, UNSTABLE_PMD_WALKS, kernel_of, mm_struct, mm_walk, pmd_huge, pmd_t, pmd_table,
)
from anonvma_rt.mm.pgtable cimport pmd_offset, pmd_read, table_end
from anonvma_rt.mm.split_huge_page cimport split_huge_pmd


cdef pmd_t look_again(Task *t, mm_walk *walk, pmd_t *pmd, pmd_t value, uint64_t address) noexcept nogil:
    """What was no huge pmd is looked at for its table. Up to 3.3 that is a second look (pmd_none_or_clear_bad), for
    which a huge page that a fault has mapped since is a bad table. With mmap_sem held for writing nobody maps one."""
    if not walk.shared or kernel_of(t).algorithm.unstable_pmd != UNSTABLE_PMD_WALKS or pmd == NULL:
        return value
    value = pmd_read(t, pmd)
    if pmd_huge(value):
        violate(t, BUG_ON, BUG_BAD_PMD, 0, <int64_t>(address & ~<uint64_t>(PMD_SIZE - 1)))
    return value


cdef int walk_page_range(Task *t, mm_walk *walk, uint64_t address, uint64_t end) noexcept nogil:
    """Table by table; a huge page that the range cuts is split first. 0, or the errno that ended the walk."""
    cdef mm_struct *mm = walk.vma.vm_mm
    cdef uint64_t stop
    cdef pmd_t *pmd
    cdef pmd_t value
    cdef int error
    while address < end:
        stop = table_end(address, end)
        pmd = pmd_offset(mm, address)
        value = pmd_read(t, pmd) if pmd != NULL else 0
        if pmd_huge(value):
            if stop - address < PMD_SIZE:
                split_huge_pmd(t, walk.vma, pmd, address)
                continue
            if not walk.huge(t, walk, pmd, address):
                continue
        else:
            value = look_again(t, walk, pmd, value, address)
            error = walk.ptes(t, walk, pmd_table(value), address, stop) if value else 0
            if error < 0:
                return error
        address = stop
    return 0
