"""The split of a pmd (see split_huge_pmd.pxd)."""

from libc.stdint cimport int64_t, uint64_t

from anonvma_rt.engine.base.operation cimport OP_ATOMIC
from anonvma_rt.engine.run.sync cimport add_return, spin_lock, spin_unlock
from anonvma_rt.engine.run.task cimport Task, note, point
from anonvma_rt.mm.compound_rmap cimport page_remove_pmd_rmap
from anonvma_rt.mm.hooks.notes cimport NOTE_PMD_SPLIT
from anonvma_rt.mm.mm_types cimport (
    HPAGE_PMD_NR, PMD_MIGRATION, PMD_SIZE, PTE_MIGRATION, PTE_PRESENT, PTRS_PER_TABLE, SPLIT_MIGRATING_COUNTS,
    SPLIT_MIGRATING_REFERENCES, is_huge_zero_pmd, kernel_of, make_pte, mm_of, mm_struct, page, page_at, page_table,
    pmd_huge, pmd_t, pte_pfn, pte_t, serial_of, vm_area_struct, vma_page_prot,
)
from anonvma_rt.mm.page_alloc cimport get_page, put_page
from anonvma_rt.mm.page_lock cimport lock_page, trylock_page, unlock_page
from anonvma_rt.mm.pgtable cimport make_table, pmd_read, set_pmd
from anonvma_rt.mm.tlb cimport flush_tlb_range


cdef void count_ptes(Task *t, page *head) noexcept nogil:
    """The mapcounts of the parts."""
    cdef uint64_t i
    point(t, OP_ATOMIC, &head.mapcount)
    for i in range(<uint64_t>HPAGE_PMD_NR):
        add_return(t, &head[i].mapcount, 1)


cdef void split_huge_zero_page_pmd(Task *t, vm_area_struct *vma, pmd_t *pmd, uint64_t address) noexcept nogil:
    """A table of zero pages where the huge one was. page_table_lock is held."""
    cdef page_table *table = make_table(t, address)
    cdef pte_t prot = vma_page_prot(t, vma)
    cdef uint64_t i
    for i in range(<uint64_t>PTRS_PER_TABLE):
        table.pte[i] = make_pte(PTE_PRESENT, 0, 0) | prot
    set_pmd(t, pmd, <pmd_t>table)
    flush_tlb_range(t, mm_of(t, vma), table.address, table.address + PMD_SIZE)
    note(t, NOTE_PMD_SPLIT, serial_of(vma), <int64_t>table.address, False)


cdef void split_huge_pmd_locked(Task *t, vm_area_struct *vma, pmd_t *pmd, pmd_t value, uint64_t address,
                                bint freeze) noexcept nogil:
    """freeze: migration entries for a split of the page; a migration entry becomes such ones, too. Those are in no
    count, but that migration entries were taken for mappings here at first (split_migrating). The new table is seen by
    nobody before it is in its place, so its entries are one step with that."""
    cdef page *head = page_at(t, pte_pfn(value))
    cdef bint migrating = value & PMD_MIGRATION != 0
    cdef int rule = kernel_of(t).algorithm.split_migrating
    cdef bint mapped = not migrating or rule == SPLIT_MIGRATING_COUNTS
    cdef int state = PTE_MIGRATION if freeze or migrating else PTE_PRESENT
    cdef pte_t prot = 0 if state == PTE_MIGRATION else vma_page_prot(t, vma)
    cdef page_table *table = make_table(t, address)
    cdef uint64_t i
    for i in range(<uint64_t>HPAGE_PMD_NR):
        table.pte[i] = make_pte(state, head.pfn + i, value) | prot
    if not freeze and (mapped or rule == SPLIT_MIGRATING_REFERENCES):
        point(t, OP_ATOMIC, &head.count)
        add_return(t, &head.count, HPAGE_PMD_NR - 1)
    if not freeze and mapped:
        count_ptes(t, head)
    if mapped:
        page_remove_pmd_rmap(t, head)
    set_pmd(t, pmd, <pmd_t>table)
    # The kernel flushes with the pmd marked as not present, before the table is in its place.
    flush_tlb_range(t, mm_of(t, vma), table.address, table.address + PMD_SIZE)
    note(t, NOTE_PMD_SPLIT, serial_of(vma), <int64_t>table.address, state == PTE_MIGRATION)
    if freeze and not migrating:
        put_page(t, head)


cdef bint lock_page_of_pmd(Task *t, mm_struct *mm, pmd_t *pmd, pmd_t value, page *head) noexcept nogil:
    """The lock of the page that a pmd shows, with page_table_lock held before and after but not all the time; False,
    without it, where the pmd is another one by then."""
    cdef bint same
    if trylock_page(t, head):
        return True
    get_page(t, head)
    spin_unlock(t, &mm.page_table_lock)
    lock_page(t, head)
    spin_lock(t, &mm.page_table_lock)
    same = pmd_read(t, pmd) == value
    if not same:
        unlock_page(t, head)
    put_page(t, head)
    return same


cdef inline bint is_lockable(pmd_t value) noexcept nogil:
    return pmd_huge(value) and not value & PMD_MIGRATION and not is_huge_zero_pmd(value)


cdef void split_one_huge_pmd(Task *t, vm_area_struct *vma, pmd_t *pmd, uint64_t address, page *wanted,
                             bint freeze) noexcept nogil:
    """__split_huge_pmd(). wanted: only if it shows this page, which the caller has locked; or NULL. From 5.8 to 5.18
    the page is locked meanwhile."""
    cdef mm_struct *mm = mm_of(t, vma)
    cdef page *locked = NULL
    cdef pmd_t value
    spin_lock(t, &mm.page_table_lock)
    value = pmd_read(t, pmd)
    while is_lockable(value) and wanted == NULL and kernel_of(t).algorithm.split_locks:
        locked = page_at(t, pte_pfn(value))
        if lock_page_of_pmd(t, mm, pmd, value, locked):
            break
        locked = NULL
        value = pmd_read(t, pmd)
    if is_huge_zero_pmd(value) and wanted == NULL:
        split_huge_zero_page_pmd(t, vma, pmd, address)
    elif pmd_huge(value) and (wanted == NULL or pte_pfn(value) == wanted.pfn):
        split_huge_pmd_locked(t, vma, pmd, value, address, freeze)
    spin_unlock(t, &mm.page_table_lock)
    if locked != NULL:
        unlock_page(t, locked)
