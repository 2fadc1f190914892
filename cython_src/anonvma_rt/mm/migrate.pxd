"""Migration of a page, and faults that meet one (mm/migrate.c).

The page lock is held from before the unmap walk until after the restore walk; a migration entry exists only in
between. The pin on the anon_vma is what keeps it alive while the page is mapped nowhere.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.run.sync cimport spinlock_t
from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport anon_vma, mm_struct, page, pte_t

cdef enum:
    MAX_PASSES = 10
    # From this pass on a migration waits for the page lock instead of trying it.
    FORCE_PASS = 3
    # Of begin_migration().
    UNMAPPED = 1

# A page on its way: its new page and the pin of its anon_vma in a pass, and the frame where it is, or would be.
cdef struct migration:
    page *old
    page *new
    anon_vma *pinned
    uint64_t pfn
    int state                 # of a batch (move_pages.pyx)
    bint mapped               # something showed the page when the pass began; else it was only in the swap cache

cdef int begin_migration(Task *t, migration *m, bint force) noexcept nogil
cdef int move_to_new_page(Task *t, migration *m, bint fail_copy) noexcept nogil
cdef void end_migration(Task *t, migration *m, int result) noexcept nogil
cdef void told(Task *t, page *old, int result) noexcept nogil
cdef void finished(Task *t, page *old, int result) noexcept nogil
cdef int migrate_isolated(Task *t, page *p, bint fail_copy, uint64_t *pfn) noexcept nogil
cdef int migrate_page(Task *t, page *p, bint fail_copy, uint64_t *pfn) noexcept nogil
cdef void migration_entry_wait(Task *t, mm_struct *mm, pte_t *ptep, spinlock_t *ptl, uint64_t address) noexcept nogil
