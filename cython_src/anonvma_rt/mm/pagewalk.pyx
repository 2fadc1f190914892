"""Walks over the page tables of a range (see pagewalk.pxd)."""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.huge_memory cimport split_huge_page_pmd
from anonvma_rt.mm.mm_types cimport PMD_SIZE, mm_struct, mm_walk, pmd_huge, pmd_t, pmd_table
from anonvma_rt.mm.pgtable cimport pmd_offset, pmd_read, table_end


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
                split_huge_page_pmd(t, mm, pmd)
                continue
            if not walk.huge(t, walk, pmd, address):
                continue
        elif value:
            error = walk.ptes(t, walk, pmd_table(value), address, stop)
            if error < 0:
                return error
        address = stop
    return 0
