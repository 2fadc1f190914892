"""Translations (see tlb.pxd): a user's access, what leaves one behind, and what must leave none."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from anonvma_rt.engine.audit.access cimport rt_glance64
from anonvma_rt.engine.base.operation cimport OP_ATOMIC, OP_LOAD, OP_STORE
from anonvma_rt.engine.base.os cimport read_once64, read_onceu, write_onceu
from anonvma_rt.engine.run.task cimport Task, note, point, violate
from anonvma_rt.mm.hooks.notes cimport NOTE_TLB_FILL, NOTE_TLB_FLUSH, NOTE_TLB_HIT, STALE_TRANSLATION
from anonvma_rt.mm.mm_types cimport (
    PAGE_SHIFT, PAGE_SIZE, PGDIR_SHIFT, PMD_HUGE, PMD_MIGRATION, PMD_PROTNONE, PMD_SHIFT, PMD_SIZE, PMD_WRITE,
    PTE_PROTNONE, PTE_WRITE, PTRS_PER_TABLE, TYPE_SCRATCH, compound_nr, kernel, kernel_of, mm_struct, page,
    page_directory, page_table, pfn_to_page, pmd_t, pmd_table, pte_pfn, pte_present, pte_t,
)
from anonvma_rt.mm.slab cimport must_alloc


cdef void tlb_open(Task *t, int32_t *cpu_of, int tasks) noexcept nogil:
    """Empty translations for the CPUs that tasks run on: cpu_of, from 0 on without a gap. Until then, and while calls
    run alone afterwards, every access walks."""
    cdef tlb_state *tlb = <tlb_state *>must_alloc(t, sizeof(tlb_state), TYPE_SCRATCH)
    cdef int i
    for i in range(tasks):
        if cpu_of[i] >= tlb.cpus:
            tlb.cpus = cpu_of[i] + 1
    tlb.cpu = <cpu_tlb *>must_alloc(t, tlb.cpus * sizeof(cpu_tlb), TYPE_SCRATCH)
    for i in range(tasks):
        tlb.of_task[i] = &tlb.cpu[cpu_of[i]]
        tlb.of_task[i].tasks += 1
    kernel_of(t).tlb = tlb


cdef void tlb_keep(Task *t, int cpu, mm_struct *mm, uint64_t address, bint write) noexcept nogil:
    """A CPU accessed this before the tasks start."""
    cdef bint huge = False
    cdef uint64_t entry = look_up(mm, address, &huge)
    if entry and (not write or entry & PTE_WRITE):
        fill(&tlb_of(t).cpu[cpu], mm, address, entry, huge, write)


# ---- accesses --------------------------------------------------------------------------------------------------------


cdef inline uint64_t size_of(translation *one) noexcept nogil:
    return <uint64_t>PMD_SIZE if one.rights & TLB_HUGE else <uint64_t>PAGE_SIZE


cdef inline bint within(translation *one, mm_struct *mm, uint64_t start, uint64_t end) noexcept nogil:
    """Whether it is one of mm and a part of the range."""
    return one.mm == mm and one.address < end and start < one.address + size_of(one)


cdef translation *find(cpu_tlb *cpu, mm_struct *mm, uint64_t address) noexcept nogil:
    cdef int i
    for i in range(TLB_ENTRIES):
        if within(&cpu.entry[i], mm, address, address + 1):
            return &cpu.entry[i]
    return NULL


cdef uint64_t look_up(mm_struct *mm, uint64_t address, bint *huge) noexcept nogil:
    """What the page tables say of an address at this moment: a present pte, or a huge pmd that is a mapping; or 0."""
    # A table of pmds comes empty, and goes when nobody uses the mm.
    cdef page_directory *directory = <page_directory *>rt_glance64(
        <int64_t *>&mm.pgd.entry[(address >> PGDIR_SHIFT) & (PTRS_PER_TABLE - 1)]
    )
    cdef page_table *table
    cdef pmd_t pmd
    cdef pte_t pte
    if directory == NULL:
        return 0
    pmd = read_once64(&directory.entry[(address >> PMD_SHIFT) & (PTRS_PER_TABLE - 1)])
    huge[0] = pmd & PMD_HUGE
    if huge[0]:
        return 0 if pmd & (PMD_PROTNONE | PMD_MIGRATION) else pmd
    table = pmd_table(pmd)
    if table == NULL:
        return 0
    pte = read_once64(&table.pte[(address >> PAGE_SHIFT) & (PTRS_PER_TABLE - 1)])
    return pte if pte_present(pte) and not pte & PTE_PROTNONE else 0


cdef void tlb_fill(Task *t, mm_struct *mm, uint64_t address, uint64_t entry, bint huge, bint write) noexcept nogil:
    """Leaves what was found for an access, in the step of that. The right to write is kept by a write only: the first
    one walks in any case, to mark the entry dirty."""
    fill(tlb_of(t).of_task[t.id], mm, address, entry, huge, write)
    note(t, NOTE_TLB_FILL, mm.id, <int64_t>address, <int64_t>pte_pfn(entry))


cdef void fill(cpu_tlb *cpu, mm_struct *mm, uint64_t address, uint64_t entry, bint huge, bint write) noexcept nogil:
    cdef translation *one = find(cpu, mm, address)
    if one == NULL:
        one = &cpu.entry[cpu.next]
        cpu.next = (cpu.next + 1) % <int>TLB_ENTRIES
    one.mm = mm
    one.address = address & ~<uint64_t>((PMD_SIZE if huge else PAGE_SIZE) - 1)
    one.pfn = pte_pfn(entry)
    one.rights = <uint32_t>((TLB_HUGE if huge else 0) | (TLB_WRITE if write else 0))
    one.older_than = 0


cdef int64_t use(Task *t, translation *one, uint64_t address, int64_t tag) noexcept nogil:
    """The access itself, and what the page holds then. tag: what is written, or -1."""
    cdef uint64_t pfn = one.pfn + ((address - one.address) >> PAGE_SHIFT)
    cdef page *p
    if one.pfn == 0:
        return 0
    p = pfn_to_page(kernel_of(t), pfn)
    if read_onceu(&p.tag) == FREED_TAG:
        violate(t, STALE_TRANSLATION, one.mm.id, <int64_t>address, <int64_t>pfn)
    if tag >= 0:
        write_onceu(&p.tag, <uint32_t>tag)
    return read_onceu(&p.tag)


cdef bint tlb_access(Task *t, mm_struct *mm, uint64_t address, bint write, int64_t tag, int64_t *result) noexcept nogil:
    """An access by a translation of the task's CPU, or by the page tables, which the CPU walks under no lock and leaves
    a translation: one step, into which no flush comes. False where neither allows it: that is a fault."""
    cdef cpu_tlb *cpu = tlb_of(t).of_task[t.id]
    cdef translation *one
    cdef uint64_t entry
    cdef bint huge = False
    point(t, OP_ATOMIC if write or cpu.tasks > 1 else OP_LOAD, &kernel_of(t).tlb)
    one = find(cpu, mm, address)
    if one != NULL and (not write or one.rights & TLB_WRITE):
        note(t, NOTE_TLB_HIT, mm.id, <int64_t>address, <int64_t>one.pfn)
    elif write and kernel_of(t).swap != NULL:
        # The entry is marked dirty, which a fault does here.
        return False
    else:
        entry = look_up(mm, address, &huge)
        # The right to write has one bit in both.
        if entry == 0 or (write and not entry & PTE_WRITE):
            return False
        tlb_fill(t, mm, address, entry, huge, write)
        one = find(cpu, mm, address)
    result[0] = use(t, one, address, tag if write else -1)
    return True


cdef void tlb_page_freed(Task *t, page *p) noexcept nogil:
    """Its last reference is gone. Whoever still has a translation of it will be seen by what it holds now."""
    cdef int n = <int>compound_nr(p)
    cdef int i
    point(t, OP_STORE, &kernel_of(t).tlb)
    for i in range(n):
        write_onceu(&p[i].tag, <uint32_t>FREED_TAG)


cdef void look_at_contents(Task *t) noexcept nogil:
    point(t, OP_LOAD, &kernel_of(t).tlb)


# ---- flushes ---------------------------------------------------------------------------------------------------------


cdef bint drop_range(tlb_state *tlb, mm_struct *mm, uint64_t start, uint64_t end) noexcept nogil:
    cdef bint some = False
    cdef int i
    cdef int j
    for i in range(tlb.cpus):
        for j in range(TLB_ENTRIES):
            if within(&tlb.cpu[i].entry[j], mm, start, end):
                tlb.cpu[i].entry[j].mm = NULL
                some = True
    return some


cdef void flush_now(Task *t, mm_struct *mm, uint64_t start, uint64_t end) noexcept nogil:
    cdef bint some
    point(t, OP_STORE, &kernel_of(t).tlb)
    some = drop_range(tlb_of(t), mm, start, end)
    note(t, NOTE_TLB_FLUSH, mm.id, <int64_t>start, some)


cdef void defer_flush(Task *t, mm_struct *mm) noexcept nogil:
    """set_tlb_ubc_flush_pending: in the step that cleared the entry, under its lock."""
    tlb_of(t).deferred[t.id] |= <uint64_t>1 << mm.id
    tlb_of(t).batched[mm.id] = True


cdef void flush_deferred(Task *t) noexcept nogil:
    cdef tlb_state *tlb = tlb_of(t)
    cdef int i
    for i in range(kernel_of(t).n_mm):
        if tlb.deferred[t.id] >> i & 1:
            flush_now(t, kernel_of(t).mm[i], 0, <uint64_t>-1)
    tlb.deferred[t.id] = 0


cdef void flush_batched(Task *t, mm_struct *mm) noexcept nogil:
    cdef tlb_state *tlb = tlb_of(t)
    point(t, OP_LOAD, &kernel_of(t).tlb)
    if tlb.batched[mm.id]:
        flush_now(t, mm, 0, <uint64_t>-1)
        tlb.batched[mm.id] = False


# ---- what must be gone -----------------------------------------------------------------------------------------------


cdef void call_begins(Task *t, mm_struct *mm) noexcept nogil:
    """A system call that takes pages or rights from users begins. What is there now must be gone when it returns; what
    comes later is of pages that came meanwhile."""
    cdef tlb_state *tlb = tlb_of(t)
    cdef int i
    cdef int j
    point(t, OP_ATOMIC, &kernel_of(t).tlb)
    for i in range(tlb.cpus):
        for j in range(TLB_ENTRIES):
            if tlb.cpu[i].entry[j].mm == mm:
                tlb.cpu[i].entry[j].older_than |= <uint64_t>1 << t.id
            else:
                tlb.cpu[i].entry[j].older_than &= ~(<uint64_t>1 << t.id)


cdef void call_returns(Task *t, mm_struct *mm, uint64_t start, uint64_t end, bint writes_only) noexcept nogil:
    """It succeeded: no older translation of the range is left, or none to write by."""
    cdef tlb_state *tlb = tlb_of(t)
    cdef translation *one
    cdef int i
    cdef int j
    point(t, OP_LOAD, &kernel_of(t).tlb)
    for i in range(tlb.cpus):
        for j in range(TLB_ENTRIES):
            one = &tlb.cpu[i].entry[j]
            if one.older_than >> t.id & 1 and within(one, mm, start, end) and (
                not writes_only or one.rights & TLB_WRITE
            ):
                violate(t, STALE_TRANSLATION, mm.id, <int64_t>one.address, <int64_t>one.pfn)


cdef translation *tlb_excess(kernel *k) noexcept nogil:
    """When nobody runs any more: a translation that allows what the page tables do not, because a flush was missed; or
    NULL."""
    cdef tlb_state *tlb = <tlb_state *>k.tlb
    cdef translation *one
    cdef uint64_t entry
    cdef bint huge
    cdef int i
    cdef int j
    for i in range(tlb.cpus):
        for j in range(TLB_ENTRIES):
            one = &tlb.cpu[i].entry[j]
            if one.mm == NULL:
                continue
            huge = False
            entry = look_up(one.mm, one.address, &huge)
            if (
                entry == 0
                or pte_pfn(entry) != one.pfn
                or huge != (one.rights & TLB_HUGE != 0)
                or (one.rights & TLB_WRITE and not entry & PMD_WRITE)
            ):
                return one
    return NULL
