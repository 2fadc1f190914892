"""Page tables: how an entry is found, read and written, and how a table is made (linux/pgtable.h, __pte_alloc).

A pte is protected by the lock of its page table, or by the mm's page_table_lock where the algorithm has one lock per
mm; huge pmds always by page_table_lock. Whoever looks without that lock may see "none" between a clear and a set: they
are two steps.
"""

from libc.stdint cimport int64_t, uint64_t

from anonvma_rt.engine.base.operation cimport OP_ATOMIC, OP_LOAD, OP_STORE
from anonvma_rt.engine.base.os cimport read_link, read_once64, rt_unlikely, write_link, write_once64
from anonvma_rt.engine.run.sync cimport spinlock_t
from anonvma_rt.engine.run.task cimport VIOLATION_USE_AFTER_FREE, Task, point, violate
from anonvma_rt.mm.mm_types cimport (
    CLASS_PTL, CLASS_PTL_NESTED, PAGE_SHIFT, PGDIR_SHIFT, PMD_SHIFT, PMD_SIZE, PTRS_PER_TABLE, TYPE_DIRECTORY,
    TYPE_TABLE, is_poison, kernel_of, mm_struct, page_directory, page_table, pmd_t, pmd_table, pte_t,
)
from anonvma_rt.mm.slab cimport must_alloc

cdef page_table *find_table(Task *t, mm_struct *mm, uint64_t address) noexcept nogil
cdef page_table *make_table(Task *t, uint64_t address) noexcept nogil
cdef int alloc_table(Task *t, mm_struct *mm, uint64_t address, page_table **table) noexcept nogil
cdef int new_table(Task *t, mm_struct *mm, uint64_t address, page_table **table) noexcept nogil


cdef inline void pgd_populate(Task *t, mm_struct *mm, uint64_t start, uint64_t end) noexcept nogil:
    """Makes the tables of pmds of a range. They come with the vma and not with the first fault, so that whoever has
    found the vma finds them: an entry of the pgd that appeared under a walk would be one more thing to announce, and
    what a walk sees there it sees in the pmd as well."""
    cdef uint64_t g = start >> PGDIR_SHIFT
    while g << PGDIR_SHIFT < end:
        if mm.pgd.entry[g & (PTRS_PER_TABLE - 1)] == 0:
            write_link(&mm.pgd.entry[g & (PTRS_PER_TABLE - 1)], must_alloc(t, sizeof(page_directory), TYPE_DIRECTORY))
        g += 1


cdef inline pmd_t *pmd_offset(mm_struct *mm, uint64_t address) noexcept nogil:
    """The pmd of an address, NULL where no vma ever was; no point."""
    cdef page_directory *directory = <page_directory *>read_link(
        &mm.pgd.entry[(address >> PGDIR_SHIFT) & (PTRS_PER_TABLE - 1)]
    )
    return &directory.entry[(address >> PMD_SHIFT) & (PTRS_PER_TABLE - 1)] if directory != NULL else NULL


cdef inline uint64_t table_end(uint64_t address, uint64_t end) noexcept nogil:
    """Where the table of address ends, or end if that comes first."""
    cdef uint64_t border = (address | (PMD_SIZE - 1)) + 1
    return border if border < end else end


cdef inline page_table *peek_table(mm_struct *mm, uint64_t address) noexcept nogil:
    """The page table of an address without a point: for checks and printing only."""
    cdef pmd_t *pmd = pmd_offset(mm, address)
    return pmd_table(<pmd_t>read_link(pmd)) if pmd != NULL else NULL


cdef inline uint64_t live_entry(Task *t, void *entry, uint64_t value, int type) noexcept nogil:
    """`value`, which was read from an entry after its point, unless its table (type) was freed meanwhile."""
    if is_poison(value):
        violate(t, VIOLATION_USE_AFTER_FREE, type, <int64_t>(<char *>entry - t.x.arena.base), 0)
    return value


cdef inline pmd_t *must_have_pmd(Task *t, mm_struct *mm, uint64_t address) noexcept nogil:
    """pmd_offset() of an address in a vma, whose directory is there for as long as the vma is."""
    cdef pmd_t *pmd = pmd_offset(mm, address)
    if pmd == NULL:
        violate(t, VIOLATION_USE_AFTER_FREE, TYPE_DIRECTORY, 0, 0)
    return pmd


cdef inline void *entry_object(Task *t, void *entry) noexcept nogil:
    """What is announced of an operation on an entry: with a TLB all of them are one object (tlb.pxd)."""
    return &kernel_of(t).tlb if rt_unlikely(kernel_of(t).tlb != NULL) else entry


cdef inline void *looked_at(Task *t, void *entry) noexcept nogil:
    """The same of a look: whoever holds the lock that orders the changes of an entry looks at it alone."""
    if rt_unlikely(kernel_of(t).tlb != NULL) and not t.held & (1 << CLASS_PTL | 1 << CLASS_PTL_NESTED):
        return &kernel_of(t).tlb
    return entry


cdef inline pmd_t pmd_read(Task *t, pmd_t *pmd) noexcept nogil:
    point(t, OP_LOAD, looked_at(t, pmd))
    return live_entry(t, pmd, <uint64_t>read_link(pmd), TYPE_DIRECTORY)


cdef inline void set_pmd(Task *t, pmd_t *pmd, pmd_t value) noexcept nogil:
    point(t, OP_STORE, entry_object(t, pmd))
    live_entry(t, pmd, <uint64_t>read_link(pmd), TYPE_DIRECTORY)
    write_link(pmd, <void *>value)


cdef inline pte_t *pte_offset(page_table *table, uint64_t address) noexcept nogil:
    return &table.pte[(address >> PAGE_SHIFT) & (PTRS_PER_TABLE - 1)]


cdef inline spinlock_t *pte_lockptr(Task *t, mm_struct *mm, page_table *table) noexcept nogil:
    return &mm.page_table_lock if kernel_of(t).algorithm.single_ptl else &table.ptl


cdef inline pte_t pte_read(Task *t, pte_t *ptep) noexcept nogil:
    point(t, OP_LOAD, looked_at(t, ptep))
    return live_entry(t, ptep, read_once64(ptep), TYPE_TABLE)


cdef inline pte_t pte_access(Task *t, pte_t *ptep, bint write) noexcept nogil:
    """A user's look at an entry, with which what it does to the page is one step. Hardware marks the entry dirty before
    a write, so that is announced as a change of it: the contents of a page are ordered by the entries that show it."""
    point(t, OP_ATOMIC if write else OP_LOAD, entry_object(t, ptep))
    return live_entry(t, ptep, read_once64(ptep), TYPE_TABLE)


cdef inline pmd_t pmd_access(Task *t, pmd_t *pmd) noexcept nogil:
    """The same for a write to a page inside a huge one."""
    point(t, OP_ATOMIC, entry_object(t, pmd))
    return live_entry(t, pmd, <uint64_t>read_link(pmd), TYPE_DIRECTORY)


cdef inline void set_pte(Task *t, pte_t *ptep, pte_t pte) noexcept nogil:
    point(t, OP_STORE, entry_object(t, ptep))
    live_entry(t, ptep, read_once64(ptep), TYPE_TABLE)
    write_once64(ptep, pte)


cdef inline pte_t ptep_get_and_clear(Task *t, pte_t *ptep) noexcept nogil:
    cdef pte_t pte
    point(t, OP_ATOMIC, entry_object(t, ptep))
    # Every writer holds the lock of the table, so this need not be an exchange.
    pte = live_entry(t, ptep, read_once64(ptep), TYPE_TABLE)
    write_once64(ptep, 0)
    return pte
