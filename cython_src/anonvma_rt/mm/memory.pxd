"""Pages, page tables and faults (the part of mm/memory.c and mm/page_alloc.c that the reverse map needs).

A pte is protected by the lock of its page table, or by the mm's page_table_lock where the algorithm has one lock per
mm. Whoever looks without that lock may see "none" between a clear and a set. Clear and set are two steps.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from anonvma_rt.engine.sync cimport spinlock_t
from anonvma_rt.engine.task cimport OP_ATOMIC, OP_LOAD, OP_STORE, Task, point
from anonvma_rt.mm.types cimport (
    PAGE_SHIFT,
    PMD_SHIFT,
    PTRS_PER_TABLE,
    kernel_of,
    mm_struct,
    page,
    page_table,
    pte_t,
    vm_area_struct,
)

cdef void *must_alloc(Task *t, uint64_t size, int type) noexcept nogil
cdef page *alloc_page(Task *t) noexcept nogil
cdef bint get_page_unless_zero(Task *t, page *p) noexcept nogil
cdef void put_page(Task *t, page *p) noexcept nogil
cdef page_table *find_table(Task *t, mm_struct *mm, uint64_t address) noexcept nogil
cdef page_table *alloc_table(Task *t, mm_struct *mm, uint64_t address) noexcept nogil
cdef page_table *peek_table(mm_struct *mm, uint64_t address) noexcept nogil
cdef void zap_range(Task *t, mm_struct *mm, uint64_t start, uint64_t end) noexcept nogil
cdef void free_pgtables(Task *t, mm_struct *mm, uint64_t start, uint64_t end, uint64_t floor,
                        uint64_t ceiling) noexcept nogil
cdef int handle_mm_fault(Task *t, vm_area_struct *vma, uint64_t address, bint write, page **content) noexcept nogil
cdef int access_page(Task *t, mm_struct *mm, uint64_t address, bint write, uint32_t *tag) noexcept nogil


cdef inline pte_t *pte_offset(page_table *table, uint64_t address) noexcept nogil:
    return &table.pte[(address >> PAGE_SHIFT) & (PTRS_PER_TABLE - 1)]


cdef inline spinlock_t *pte_lockptr(Task *t, mm_struct *mm, page_table *table) noexcept nogil:
    return &mm.page_table_lock if kernel_of(t).algorithm.single_ptl else &table.ptl


cdef inline pte_t pte_read(Task *t, pte_t *ptep) noexcept nogil:
    point(t, OP_LOAD, ptep)
    return ptep[0]


cdef inline void set_pte(Task *t, pte_t *ptep, pte_t pte) noexcept nogil:
    point(t, OP_STORE, ptep)
    ptep[0] = pte


cdef inline pte_t ptep_get_and_clear(Task *t, pte_t *ptep) noexcept nogil:
    cdef pte_t pte
    point(t, OP_ATOMIC, ptep)
    pte = ptep[0]
    ptep[0] = 0
    return pte


cdef inline void get_page(Task *t, page *p) noexcept nogil:
    point(t, OP_ATOMIC, &p.count)
    p.count += 1


cdef inline bint page_mapped(Task *t, page *p) noexcept nogil:
    point(t, OP_LOAD, &p.mapcount)
    return p.mapcount >= 0
