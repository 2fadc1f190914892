"""The invariants at quiescence: no migration, move or fault is under way any more.

A stale migration entry is invisible in all counters, so the page tables themselves are scanned. The first thing found
is the verdict, and a stale entry is looked for first: the rest may follow from it.
"""

from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from anonvma_rt.engine.base.arena cimport arena_alloc, arena_drop_last, arena_header_of, arena_live, arena_root
from anonvma_rt.engine.base.klist cimport list_empty
from anonvma_rt.engine.run.task cimport Execution, VIOLATION_USE_AFTER_FREE
from anonvma_rt.mm.lab.chains cimport (
    I4_NOT_LISTED, I5_INDEX, I9_DANGLING, NOT_A_PTE, NO_VMA, check_chains, check_trees, listed, report,
)
from anonvma_rt.mm.hooks.notes cimport (
    LOST_PIN, MAPCOUNT_MISMATCH, STALE_MIGRATION_ENTRY, SWAP_MISMATCH, UNREACHABLE_PTE, WRITABLE_PTE, WRONG_CHARGE,
    SHARED_WRITABLE, STALE_TRANSLATION,
    WRONG_PROTECTION,
)
from anonvma_rt.mm.pins cimport MOST_PINS, gup_pin, gup_pins
from anonvma_rt.mm.mm_types cimport (
    PAGE_SHIFT, PGDIR_SHIFT, PG_FILE, PMD_MIGRATION, PMD_SHIFT, PTE_PROTNONE, PTE_WRITE, PTRS_PER_TABLE, THP_3_2,
    TYPE_ANON_VMA, TYPE_SCRATCH, TYPE_TABLE, TYPE_VMA, VM_ACCOUNT, VM_READ, VM_WRITE, anon_vma, compound_mapcount,
    is_huge_zero_pmd, is_migration_entry, is_swap_pte, kernel, linear_page_index, mm_struct, page, page_anon_vma,
    page_compound, page_directory, page_generation, page_in_compound, page_slot, page_table, pfn_to_page, pmd_huge,
    pmd_t, pmd_table, pte_pfn, pte_present, pte_t, vm_area_struct, vma_pages,
)
from anonvma_rt.mm.pgtable cimport peek_table, pte_offset
from anonvma_rt.mm.swap cimport SWAP_SLOTS, swap_area, swap_slot
from anonvma_rt.mm.tlb cimport tlb_excess, translation

cdef enum:
    # Beside a count of entries: one of them may write.
    WRITABLE = 1 << 30


cdef void check_world(Execution *x) noexcept nogil:
    """Linear in vmas, list entries and page-table entries."""
    cdef kernel *k = <kernel *>arena_root(&x.arena)
    cdef uint64_t counts = k.n_pages if k.algorithm.thp == THP_3_2 else 2 * k.n_pages
    # Entries that show each frame, and behind these numbers, of a frame that is a head since 4.5, its pmds.
    cdef int32_t *mapped = <int32_t *>arena_alloc(&x.arena, counts * sizeof(int32_t), TYPE_SCRATCH)
    cdef swap_area counted
    cdef uint64_t i
    k.check_round += 1
    k.n_findings = 0
    for i in range(<uint64_t>k.n_mm):
        check_chains(x, k, k.mm[i])
    if k.swap != NULL:
        memcpy(&counted, k.swap, sizeof(swap_area))
    for i in range(<uint64_t>k.n_mm):
        check_tables(x, k, k.mm[i], mapped)
    if k.swap != NULL:
        check_swap(x, k, &counted)
    if mapped != NULL and not x.finding.kind:
        for i in range(1, <uint64_t>k.n_pages):
            check_mapcount(x, k, pfn_to_page(k, i), mapped)
    if k.tlb != NULL and not x.finding.kind:
        check_translations(x, k)
    if not x.finding.kind:
        for i in range(<uint64_t>k.n_mm):
            check_charge(x, k, k.mm[i])
    if k.pins != NULL and not x.finding.kind:
        check_pins(x, k)
    if k.algorithm.tree and not x.finding.kind:
        for i in range(<uint64_t>k.n_mm):
            check_trees(x, k, k.mm[i])
    if mapped != NULL:
        arena_drop_last(&x.arena, mapped)


cdef void check_translations(Execution *x, kernel *k) noexcept nogil:
    """What CPUs still keep allows no more than the page tables do."""
    cdef translation *one = tlb_excess(k)
    if one != NULL:
        report(x, k, STALE_TRANSLATION, one.mm.id, <int64_t>one.address, <int64_t>one.pfn)


cdef void check_mapcount(Execution *x, kernel *k, page *p, int32_t *mapped) noexcept nogil:
    """As many entries as are counted; and one that may write is the only one."""
    cdef int32_t entries = mapped[p.pfn] & ~WRITABLE
    cdef bint writable = mapped[p.pfn] & WRITABLE != 0
    cdef int32_t pmds
    if p.mapcount + 1 != entries:
        report(x, k, MAPCOUNT_MISMATCH, p.pfn, p.mapcount + 1, entries)
    if page_in_compound(p):
        pmds = mapped[k.n_pages + p.head] & ~WRITABLE
        if page_compound(p) and compound_mapcount(p)[0] + 1 != pmds:
            report(x, k, MAPCOUNT_MISMATCH, p.pfn, compound_mapcount(p)[0] + 1, pmds)
        writable |= mapped[k.n_pages + p.head] & WRITABLE != 0
        entries += pmds
    if writable and entries > 1 and not x.finding.kind:
        report(x, k, SHARED_WRITABLE, p.pfn, entries, 0)


cdef page *owner_of(kernel *k, page *p) noexcept nogil:
    """compound_head(), where the anon_vma and the index are."""
    return pfn_to_page(k, p.head) if page_in_compound(p) else p


cdef void check_owner(Execution *x, kernel *k, page *p) noexcept nogil:
    """I9: a mapped page points to the anon_vma that it was given, which lives and whose list is not empty."""
    cdef anon_vma *av = page_anon_vma(owner_of(k, p))
    cdef uint16_t generation = page_generation(owner_of(k, p))
    if not arena_live(&x.arena, av, TYPE_ANON_VMA) or <uint16_t>arena_header_of(av).generation != generation:
        report(x, k, VIOLATION_USE_AFTER_FREE, TYPE_ANON_VMA, p.pfn, I9_DANGLING)
    elif list_empty(&av.head):
        report(x, k, UNREACHABLE_PTE, 0, p.pfn, I9_DANGLING)


# ---- page tables: I4 to I7 -------------------------------------------------------------------------------------------


cdef void check_tables(Execution *x, kernel *k, mm_struct *mm, int32_t *mapped) noexcept nogil:
    """Every entry of every table, inside a vma or not."""
    cdef vm_area_struct *vma = mm.mmap
    cdef page_directory *directory
    cdef page_table *table
    cdef pmd_t pmd
    cdef uint64_t g = next_used(<uint64_t *>mm.pgd.entry, 0)
    cdef uint64_t m
    cdef uint64_t i
    cdef uint64_t address
    while g < PTRS_PER_TABLE:
        directory = <page_directory *>mm.pgd.entry[g]
        m = next_used(<uint64_t *>directory.entry, 0)
        while m < PTRS_PER_TABLE:
            pmd = directory.entry[m]
            address = g << PGDIR_SHIFT | m << PMD_SHIFT
            if pmd_huge(pmd):
                while vma != NULL and vma.vm_end <= address:
                    vma = vma.vm_next
                # The rights of a huge pmd have a pte's bits.
                if pmd & PMD_MIGRATION:
                    report(x, k, STALE_MIGRATION_ENTRY, mm.id, <int64_t>address, <int64_t>pte_pfn(pmd))
                elif not is_huge_zero_pmd(pmd):
                    check_entry(x, k, mm, vma, address, pmd, pmds_counted(k, pmd, mapped))
            elif not arena_live(&x.arena, pmd_table(pmd), TYPE_TABLE):
                report(x, k, VIOLATION_USE_AFTER_FREE, TYPE_TABLE, mm.id, <int64_t>address)
            else:
                table = pmd_table(pmd)
                i = next_used(<uint64_t *>table.pte, 0)
                while i < PTRS_PER_TABLE:
                    address = g << PGDIR_SHIFT | m << PMD_SHIFT | i << PAGE_SHIFT
                    while vma != NULL and vma.vm_end <= address:
                        vma = vma.vm_next
                    check_pte(x, k, mm, vma, address, table.pte[i], mapped)
                    i = next_used(<uint64_t *>table.pte, i + 1)
            m = next_used(<uint64_t *>directory.entry, m + 1)
        g = next_used(<uint64_t *>mm.pgd.entry, g + 1)


cdef uint64_t next_used(const uint64_t *entry, uint64_t i) noexcept nogil:
    """The first entry from i on that is not empty; PTRS_PER_TABLE: none. Four at a time, because nearly all are."""
    while i & 3 and entry[i] == 0:
        i += 1
    if i & 3:
        return i
    while i < PTRS_PER_TABLE and not (entry[i] | entry[i + 1] | entry[i + 2] | entry[i + 3]):
        i += 4
    while i < PTRS_PER_TABLE and entry[i] == 0:
        i += 1
    return i


cdef int32_t *pmds_counted(kernel *k, pmd_t pmd, int32_t *mapped) noexcept nogil:
    """Where huge pmds are counted: since 4.5 not where the ptes of the head are."""
    cdef bint apart = mapped != NULL and pte_pfn(pmd) < k.n_pages and page_in_compound(pfn_to_page(k, pte_pfn(pmd)))
    return mapped + k.n_pages if apart else mapped


cdef void check_pte(Execution *x, kernel *k, mm_struct *mm, vm_area_struct *vma, uint64_t address, pte_t pte,
                    int32_t *mapped) noexcept nogil:
    if is_swap_pte(pte) and k.swap != NULL and pte_pfn(pte) < SWAP_SLOTS:
        # Taken off here, and put back by check_swap().
        (<swap_area *>k.swap).slot[pte_pfn(pte)].count -= 1
    elif is_migration_entry(pte):
        # I6 and I7: no migration is under way, so this entry was missed by its restore walk.
        report(x, k, STALE_MIGRATION_ENTRY, mm.id, <int64_t>address, <int64_t>pte_pfn(pte))
    elif not pte_present(pte):
        report(x, k, UNREACHABLE_PTE, mm.id, <int64_t>address, NOT_A_PTE)
    elif pte_pfn(pte):
        check_entry(x, k, mm, vma, address, pte, mapped)


cdef void check_entry(Execution *x, kernel *k, mm_struct *mm, vm_area_struct *vma, uint64_t address, uint64_t entry,
                      int32_t *mapped) noexcept nogil:
    """A present pte or huge pmd: its vma, its index and its anon_vma must lead back to it; if it may write, so may the
    vma, and it may be accessed if and only if the vma may."""
    cdef uint64_t pfn = pte_pfn(entry)
    cdef int32_t *count
    cdef page *p
    if pfn >= k.n_pages:
        report(x, k, UNREACHABLE_PTE, mm.id, <int64_t>address, NOT_A_PTE)
        return
    p = pfn_to_page(k, pfn)
    if not p.flags & PG_FILE:
        check_owner(x, k, p)
    if mapped != NULL:
        count = &mapped[p.pfn]
        count[0] += 1
        if entry & PTE_WRITE:
            count[0] |= WRITABLE
    if vma == NULL or address < vma.vm_start:
        report(x, k, UNREACHABLE_PTE, mm.id, <int64_t>address, NO_VMA)
    elif linear_page_index(vma, address) != owner_of(k, p).index + (p.pfn - owner_of(k, p).pfn):
        report(x, k, UNREACHABLE_PTE, mm.id, <int64_t>address, I5_INDEX)
    elif not p.flags & PG_FILE and not listed(vma, page_anon_vma(owner_of(k, p))):
        report(x, k, UNREACHABLE_PTE, mm.id, <int64_t>address, I4_NOT_LISTED)
    elif entry & PTE_WRITE and not vma.vm_flags & VM_WRITE:
        report(x, k, WRITABLE_PTE, mm.id, <int64_t>address, <int64_t>pfn)
    elif (entry & PTE_PROTNONE == 0) != (vma.vm_flags & VM_READ != 0):
        report(x, k, WRONG_PROTECTION, mm.id, <int64_t>address, <int64_t>pfn)


cdef void check_swap(Execution *x, kernel *k, swap_area *was) noexcept nogil:
    """A slot counts the entries that name it, and leads to a page in the cache if and only if that leads to it. No
    reader has one any more. Afterwards all is as it was."""
    cdef swap_area *area = <swap_area *>k.swap
    cdef swap_slot *slot
    cdef uint32_t i
    for i in range(<uint32_t>SWAP_SLOTS):
        slot = &area.slot[i]
        if x.finding.kind == 0 or k.findings != NULL:
            if slot.count:
                report(x, k, SWAP_MISMATCH, i, was.slot[i].count, was.slot[i].count - slot.count)
            elif slot.prepared or (slot.page and page_slot(pfn_to_page(k, slot.page)) != i):
                report(x, k, SWAP_MISMATCH, i, 0, slot.page | slot.prepared)
    memcpy(area, was, sizeof(swap_area))


cdef void check_pins(Execution *x, kernel *k) noexcept nogil:
    """What a pin promises, as the next access would see it."""
    cdef gup_pins *pins = <gup_pins *>k.pins
    cdef gup_pin *pin
    cdef page_table *table
    cdef pte_t pte
    cdef bint kept
    cdef int i
    for i in range(MOST_PINS):
        pin = &pins.pin[i]
        if pin.page == NULL or not pin.promises or not pin.mapped:
            continue
        table = peek_table(k.mm[pin.mm], pin.address)
        pte = pte_offset(table, pin.address)[0] if table != NULL else 0
        if is_swap_pte(pte):
            kept = page_slot(pin.page) == pte_pfn(pte)
        else:
            kept = pte_present(pte) and pte_pfn(pte) == pin.page.pfn
        if not kept:
            report(x, k, LOST_PIN, pin.mm, <int64_t>pin.address, pin.page.pfn)


cdef void check_charge(Execution *x, kernel *k, mm_struct *mm) noexcept nogil:
    """What a process is charged for is what its vmas will give back."""
    cdef vm_area_struct *vma = mm.mmap
    cdef int64_t pages = 0
    while vma != NULL and arena_live(&x.arena, vma, TYPE_VMA):
        if vma.vm_flags & VM_ACCOUNT:
            pages += <int64_t>vma_pages(vma)
        vma = vma.vm_next
    if vma == NULL and pages != mm.charged:
        report(x, k, WRONG_CHARGE, mm.id, mm.charged, pages)
