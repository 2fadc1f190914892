"""From a huge page to all its entries since 4.5, as a split and a migration go: migration entries are put in, and taken
out again (try_to_unmap and remove_migration_ptes of mm/rmap.c and mm/migrate.c for compound pages).

The caller holds the page lock and the root's lock; each table is looked at under its own lock. All parts are dealt with
in one walk over the vmas; the kernel makes one walk for each part when it takes entries out after a split. """

from libc.stdint cimport uint64_t

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport HPAGE_PMD_NR, anon_vma, mm_struct, page, pmd_t

cdef enum:
    PART_WORDS = HPAGE_PMD_NR >> 6

# Which parts have an entry of the page that a walk is about.
cdef struct parts:
    uint64_t word[PART_WORDS]

cdef int count_entries(Task *t, page *head, anon_vma *av) noexcept nogil
cdef bint unmap_huge_page(Task *t, page *head, anon_vma *av, bint split) noexcept nogil
cdef void remap_huge_page(Task *t, page *old, page *new, uint64_t pages, anon_vma *av, parts *owed) noexcept nogil
cdef void pmd_migration_entry_wait(Task *t, mm_struct *mm, pmd_t *pmd, uint64_t address) noexcept nogil
