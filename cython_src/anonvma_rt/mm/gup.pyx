"""From an address to its page (see gup.pxd)."""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.run.sync cimport spin_lock, spin_unlock, spinlock_t
from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.huge_memory cimport split_huge_page_pmd
from anonvma_rt.mm.mm_types cimport (
    PTE_NONE, mm_struct, page, page_at, pmd_huge, pmd_t, pmd_table, pte_pfn, pte_present, pte_t,
)
from anonvma_rt.mm.page_alloc cimport get_page, isolate_lru_page
from anonvma_rt.mm.pgtable cimport pmd_offset, pmd_read, pte_lockptr, pte_offset, pte_read


cdef page *follow_page(Task *t, mm_struct *mm, uint64_t address, bint isolate, pte_t *seen) noexcept nogil:
    """The page at an address with a reference, or NULL; a huge page there is split first (FOLL_SPLIT). mmap_sem is held
    for reading. seen: the pte that was there under its lock, which says why there is no page.

    isolate: takes it off the LRU as well, or gives NULL where somebody has."""
    cdef pmd_t *pmd = pmd_offset(mm, address)
    cdef pmd_t value = pmd_read(t, pmd) if pmd != NULL else 0
    cdef page *p = NULL
    cdef spinlock_t *ptl
    cdef pte_t pte
    seen[0] = PTE_NONE
    while pmd_huge(value):
        split_huge_page_pmd(t, mm, pmd)
        value = pmd_read(t, pmd)
    if value == 0:
        return NULL
    ptl = pte_lockptr(t, mm, pmd_table(value))
    spin_lock(t, ptl)
    pte = pte_read(t, pte_offset(pmd_table(value), address))
    seen[0] = pte
    if pte_present(pte) and pte_pfn(pte):
        p = page_at(t, pte_pfn(pte))
        if not isolate:
            get_page(t, p)
        elif isolate_lru_page(t, p) < 0:
            p = NULL
    spin_unlock(t, ptl)
    return p
