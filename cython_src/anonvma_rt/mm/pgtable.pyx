"""Page tables are made here (see pgtable.pxd)."""

from libc.errno cimport ENOMEM
from libc.stdint cimport uint64_t

from anonvma_rt.engine.base.arena cimport arena_free
from anonvma_rt.engine.base.operation cimport OP_STORE
from anonvma_rt.engine.base.os cimport read_link, write_link
from anonvma_rt.engine.run.sync cimport lock_init, spin_lock, spin_unlock
from anonvma_rt.engine.run.task cimport Task, point
from anonvma_rt.mm.failslab cimport should_fail_alloc
from anonvma_rt.mm.hooks.notes cimport ALLOC_TABLE
from anonvma_rt.mm.mm_types cimport (
    CLASS_PTL, PMD_SIZE, TYPE_DIRECTORY, TYPE_TABLE, mm_struct, page_table, pmd_t, pmd_table,
)
from anonvma_rt.mm.slab cimport must_alloc


cdef page_table *find_table(Task *t, mm_struct *mm, uint64_t address) noexcept nogil:
    """The page table of an address, or NULL where there is none or a huge pmd; read without a lock, as every walk
    does."""
    cdef pmd_t *pmd = pmd_offset(mm, address)
    return pmd_table(pmd_read(t, pmd)) if pmd != NULL else NULL


cdef page_table *make_table(Task *t, uint64_t address) noexcept nogil:
    """An empty page table for the range around address, not linked yet."""
    cdef page_table *table = <page_table *>must_alloc(t, sizeof(page_table), TYPE_TABLE)
    lock_init(&table.ptl, CLASS_PTL)
    table.address = address & ~<uint64_t>(PMD_SIZE - 1)
    return table


cdef int alloc_table(Task *t, mm_struct *mm, uint64_t address, page_table **table) noexcept nogil:
    """pte_alloc: the page table of an address, made if there is none; NULL where a huge pmd is. 0 or -ENOMEM."""
    table[0] = find_table(t, mm, address)
    return 0 if table[0] != NULL else new_table(t, mm, address, table)


cdef int new_table(Task *t, mm_struct *mm, uint64_t address, page_table **table) noexcept nogil:
    """__pte_alloc: where none was a moment ago; somebody else may be faster. 0 or -ENOMEM."""
    cdef pmd_t *pmd = must_have_pmd(t, mm, address)
    cdef page_table *fresh
    cdef pmd_t value
    if should_fail_alloc(t, ALLOC_TABLE):
        return -ENOMEM
    fresh = make_table(t, address)
    spin_lock(t, &mm.page_table_lock)
    point(t, OP_STORE, entry_object(t, pmd))
    value = live_entry(t, pmd, <uint64_t>read_link(pmd), TYPE_DIRECTORY)
    if value == 0:
        value = <pmd_t>fresh
        write_link(pmd, fresh)
    else:
        arena_free(&t.x.arena, fresh)
    table[0] = pmd_table(value)
    spin_unlock(t, &mm.page_table_lock)
    return 0
