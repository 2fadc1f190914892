"""Migration of a page, and faults that meet one (mm/migrate.c).

The page lock is held from before the unmap walk until after the restore walk; a migration entry exists only in
between. The pin on the anon_vma is what keeps it alive while the page is mapped nowhere.
"""

from libc.stdint cimport int32_t, uint64_t

from anonvma_rt.engine.run.sync cimport spinlock_t
from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport mm_struct, page, pte_t

cdef int migrate_page(Task *t, page *p, bint fail_copy, uint64_t *pfn) noexcept nogil
cdef int move_pages(Task *t, mm_struct *mm, uint64_t address, uint64_t pages, int32_t *status) noexcept nogil
cdef void migration_entry_wait(Task *t, mm_struct *mm, pte_t *ptep, spinlock_t *ptl, uint64_t address) noexcept nogil
cdef page *decode_migration_entry(Task *t, pte_t pte, uint64_t address) noexcept nogil
