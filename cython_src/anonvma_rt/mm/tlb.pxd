"""The translations that CPUs keep, and the calls that flush them (arch/x86/mm/tlb.c, and tlb_ubc of mm/rmap.c).

Only programs whose threads name a CPU have them (k.tlb is NULL elsewhere). A translation stays until it is flushed: an
eviction makes its user walk again, as one does who never had it. What is written here, all entries of page tables, and
the contents of pages are then one object to the engine, &k.tlb: an access of a user depends on all three in one step.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from anonvma_rt.engine.base.os cimport rt_unlikely
from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport (
    MAX_PROCESSES, MISSING_FLUSH_UNMAP, MOST_THREADS, PAGE_SIZE, kernel, kernel_of, mm_struct, page, pte_t,
)
from anonvma_rt.mm.pgtable cimport ptep_get_and_clear

cdef enum:
    # Of one CPU, as in the first level of many; the oldest goes when there are more.
    TLB_ENTRIES = 64
    # The content of a freed page, which no user can write.
    FREED_TAG = 0xFFFFFFFF

cdef enum:
    TLB_WRITE = 1
    TLB_HUGE = 2

cdef struct translation:
    mm_struct *mm             # NULL: none
    uint64_t address          # of the page, or of the huge page
    uint64_t pfn              # the same
    uint32_t rights           # TLB_*
    # Tasks in a call that began when it was there already.
    uint64_t older_than

cdef struct cpu_tlb:
    int32_t next              # where the next one goes
    int32_t tasks             # that run on this CPU
    translation entry[TLB_ENTRIES]

cdef struct tlb_state:
    cpu_tlb *of_task[MOST_THREADS]
    cpu_tlb *cpu
    int32_t cpus
    # Of each mm: mm_tlb_flush_pending, how many gather pages of it.
    int32_t pending[MAX_PROCESSES]
    # Whether an unmap walk has left it to be flushed later (tlb_flush_batched).
    bint batched[MAX_PROCESSES]
    # Of each task, a bit for each mm that it flushes before it frees what it unmapped (tlb_ubc).
    uint64_t deferred[MOST_THREADS]

cdef void tlb_open(Task *t, int32_t *cpu_of, int tasks) noexcept nogil
cdef void tlb_keep(Task *t, int cpu, mm_struct *mm, uint64_t address, bint write) noexcept nogil
cdef bint tlb_access(Task *t, mm_struct *mm, uint64_t address, bint write, int64_t tag, int64_t *result) noexcept nogil
cdef void tlb_fill(Task *t, mm_struct *mm, uint64_t address, uint64_t entry, bint huge, bint write) noexcept nogil
cdef void look_at_contents(Task *t) noexcept nogil
cdef void tlb_page_freed(Task *t, page *p) noexcept nogil
cdef void flush_now(Task *t, mm_struct *mm, uint64_t start, uint64_t end) noexcept nogil
cdef void defer_flush(Task *t, mm_struct *mm) noexcept nogil
cdef void flush_deferred(Task *t) noexcept nogil
cdef void flush_batched(Task *t, mm_struct *mm) noexcept nogil
cdef void call_begins(Task *t, mm_struct *mm) noexcept nogil
cdef void call_returns(Task *t, mm_struct *mm, uint64_t start, uint64_t end, bint writes_only) noexcept nogil
cdef translation *tlb_excess(kernel *k) noexcept nogil


cdef inline tlb_state *tlb_of(Task *t) noexcept nogil:
    return <tlb_state *>kernel_of(t).tlb


cdef inline bint shares_cpu(Task *t) noexcept nogil:
    """Whether what this task's accesses leave in the TLB is another one's, too."""
    return rt_unlikely(tlb_of(t) != NULL) and tlb_of(t).of_task[t.id].tasks > 1


cdef inline void flush_tlb_range(Task *t, mm_struct *mm, uint64_t start, uint64_t end) noexcept nogil:
    """No CPU has a translation of the range any more; one step, though Linux waits for one CPU after the other."""
    if rt_unlikely(tlb_of(t) != NULL):
        flush_now(t, mm, start, end)


cdef inline void flush_tlb_page(Task *t, mm_struct *mm, uint64_t address) noexcept nogil:
    flush_tlb_range(t, mm, address, address + PAGE_SIZE)


cdef inline void flush_tlb_mm(Task *t, mm_struct *mm) noexcept nogil:
    flush_tlb_range(t, mm, 0, <uint64_t>-1)


cdef inline pte_t ptep_clear_flush(Task *t, mm_struct *mm, uint64_t address, pte_t *ptep) noexcept nogil:
    """Two steps: until the second one users go on with the old page."""
    cdef pte_t pte = ptep_get_and_clear(t, ptep)
    flush_tlb_page(t, mm, address)
    return pte


cdef inline pte_t ptep_clear_later(Task *t, mm_struct *mm, uint64_t address, pte_t *ptep, bint later) noexcept nogil:
    """The same of an unmap walk, which may leave the flush to try_to_unmap_flush()."""
    cdef pte_t pte = ptep_get_and_clear(t, ptep)
    if rt_unlikely(tlb_of(t) != NULL):
        if later:
            defer_flush(t, mm)
        elif kernel_of(t).algorithm.missing_flush != MISSING_FLUSH_UNMAP:
            flush_now(t, mm, address, address + PAGE_SIZE)
    return pte


cdef inline void try_to_unmap_flush(Task *t) noexcept nogil:
    """What the walks of this task left to be flushed; before a page is copied or freed."""
    if rt_unlikely(tlb_of(t) != NULL):
        flush_deferred(t)


cdef inline void flush_tlb_batched_pending(Task *t, mm_struct *mm) noexcept nogil:
    """What the walks of all tasks left to be flushed of an mm, for whoever found an entry that was gone already (4.13).
    The page-table lock is held."""
    if rt_unlikely(tlb_of(t) != NULL) and kernel_of(t).algorithm.batched_pending:
        flush_batched(t, mm)


cdef inline void announce_contents(Task *t) noexcept nogil:
    """Before the kernel copies a page that a user may write to by a translation that is left."""
    if rt_unlikely(tlb_of(t) != NULL):
        look_at_contents(t)
