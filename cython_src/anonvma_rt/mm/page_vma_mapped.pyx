"""Looks at the entries of an address (see page_vma_mapped.pxd)."""

from libc.stdint cimport int64_t, uint64_t

from anonvma_rt.engine.run.sync cimport spin_lock, spin_unlock, spinlock_t
from anonvma_rt.engine.run.task cimport Task, note, violate
from anonvma_rt.mm.hooks.notes cimport BUG_NO_TABLE, BUG_ON, NOTE_HUGE_LOOK, NOTE_LOOK
from anonvma_rt.mm.hooks.watch cimport mark_look
from anonvma_rt.mm.mm_types cimport (
    PMD_SIZE, PMD_SPLITTING, kernel_of, mm_of, mm_struct, noted, page, page_table, pmd_huge, pmd_t, pmd_table, pte_pfn,
    pte_present, pte_t, serial_of, vm_area_struct,
)
from anonvma_rt.mm.pgtable cimport pmd_offset, pmd_read, pte_lockptr, pte_offset, pte_read


cdef page_table *walked_table(Task *t, vm_area_struct *vma, uint64_t address) noexcept nogil:
    """The page table in which a walk looks for a small page, or NULL; read without a lock.

    Up to 3.15 "present" and "huge" were asked in two looks, between which a huge pmd can be gone, as it is for a moment
    in a copy on write: then what is no table was taken for one (f72e7dcdd252).
    """
    cdef pmd_t *pmd = pmd_offset(mm_of(t, vma), address)
    cdef pmd_t value = pmd_read(t, pmd) if pmd != NULL else 0
    if pmd_huge(value) and kernel_of(t).algorithm.pmd_twice:
        value = pmd_read(t, pmd)
        if value == 0:
            violate(t, BUG_ON, BUG_NO_TABLE, serial_of(vma), <int64_t>address)
    return pmd_table(value)


cdef pte_t *page_check_address(Task *t, page *p, vm_area_struct *vma, uint64_t address,
                               spinlock_t **ptl) noexcept nogil:
    """The pte that shows the page at `address`, with its lock held, or NULL.

    It looks without the lock first, so it may miss a pte between clear and set: whoever calls it can live with that.
    """
    cdef mm_struct *mm = mm_of(t, vma)
    cdef page_table *table = walked_table(t, vma, address)
    cdef pte_t *ptep
    cdef pte_t pte
    if table == NULL:
        note(t, NOTE_LOOK, serial_of(vma), <int64_t>address, 0)
        return NULL
    ptep = pte_offset(table, address)
    pte = pte_read(t, ptep)
    if not pte_present(pte):
        note(t, NOTE_LOOK, serial_of(vma), <int64_t>address, noted(pte))
        return NULL
    ptl[0] = pte_lockptr(t, mm, table)
    mark_look(t, p)
    spin_lock(t, ptl[0])
    pte = pte_read(t, ptep)
    note(t, NOTE_LOOK, serial_of(vma), <int64_t>address, noted(pte))
    if pte_present(pte) and pte_pfn(pte) == p.pfn:
        return ptep
    spin_unlock(t, ptl[0])
    return NULL


cdef pmd_t *page_check_address_pmd(Task *t, page *head, vm_area_struct *vma, uint64_t address,
                                   bint splitting) noexcept nogil:
    """The huge pmd that shows the page at address, in the state that the walk looks for, or NULL; under
    page_table_lock.

    A vma that is being split shows the same pmd twice; the second time it is marked already and passed over.
    """
    cdef pmd_t *pmd = pmd_offset(mm_of(t, vma), address)
    cdef pmd_t value = 0
    if pmd != NULL and not address & (PMD_SIZE - 1):
        value = pmd_read(t, pmd)
    note(t, NOTE_HUGE_LOOK, serial_of(vma), <int64_t>address, noted(value))
    if pmd_huge(value) and pte_pfn(value) == head.pfn and (value & PMD_SPLITTING != 0) == splitting:
        return pmd
    return NULL


cdef bint huge_page_referenced(Task *t, page *head, vm_area_struct *vma, uint64_t address) noexcept nogil:
    """Whether a huge pmd shows the page at address (the huge half of page_referenced_one)."""
    cdef mm_struct *mm = mm_of(t, vma)
    cdef bint seen
    spin_lock(t, &mm.page_table_lock)
    seen = page_check_address_pmd(t, head, vma, address, False) != NULL
    spin_unlock(t, &mm.page_table_lock)
    return seen
