"""Page tables go (see free_pgtables.pxd)."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from anonvma_rt.engine.base.arena cimport arena_free, arena_retire
from anonvma_rt.engine.base.operation cimport OP_LOAD, OP_STORE
from anonvma_rt.engine.base.os cimport write_link, write_once64, write_onceu
from anonvma_rt.engine.run.sync cimport spin_lock, spin_unlock
from anonvma_rt.engine.run.task cimport Task, point, violate
from anonvma_rt.mm.hooks.notes cimport BUG_BAD_PMD, BUG_ON
from anonvma_rt.mm.mm_types cimport (
    PGDIR_SHIFT, PMD_SIZE, PTRS_PER_TABLE, mm_struct, page_table, pmd_t, pmd_table, poison,
)
from anonvma_rt.mm.pgtable cimport entry_object, pmd_offset


cdef void free_met(Task *t, page_table *table) noexcept nogil:
    """Frees a page table that others may have found, piece by piece: who uses an entry, or the lock, comes before or
    behind that."""
    cdef int i
    # The lock first: most of those who come too late want that.
    point(t, OP_STORE, &table.ptl)
    write_onceu(&table.ptl.word, <uint32_t>poison())
    for i in range(PTRS_PER_TABLE):
        point(t, OP_STORE, entry_object(t, &table.pte[i]))
        write_once64(&table.pte[i], poison())
    arena_retire(&t.x.arena, table)


cdef void free_pgtables(Task *t, mm_struct *mm, uint64_t start, uint64_t end, uint64_t floor,
                        uint64_t ceiling, bint met) noexcept nogil:
    """Frees the page tables of [start, end) that lie wholly between the neighbouring vmas (floor and ceiling).

    No vma covers the range any more and mmap_sem is held, so no walk can arrive here. met: one can, because mmap_sem is
    shared and a stack grows into the range (downgrade_beside_stack).
    """
    cdef uint64_t address = start & ~<uint64_t>(PMD_SIZE - 1)
    cdef page_table *table
    cdef pmd_t *pmd
    while address < end:
        pmd = pmd_offset(mm, address)
        if pmd == NULL:
            address = ((address >> PGDIR_SHIFT) + 1) << PGDIR_SHIFT
            continue
        if met:
            point(t, OP_LOAD, entry_object(t, pmd))
        if pmd[0] and address >= floor and address + PMD_SIZE <= ceiling:
            spin_lock(t, &mm.page_table_lock)
            point(t, OP_STORE, entry_object(t, pmd))
            table = pmd_table(pmd[0])
            if table == NULL:
                violate(t, BUG_ON, BUG_BAD_PMD, 0, <int64_t>address)
            write_link(pmd, NULL)
            if met:
                free_met(t, table)
            else:
                arena_free(&t.x.arena, table)
            spin_unlock(t, &mm.page_table_lock)
        address += PMD_SIZE
