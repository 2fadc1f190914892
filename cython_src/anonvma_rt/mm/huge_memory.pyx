"""Huge pmds (see huge_memory.pxd)."""

from libc.errno cimport ENOMEM
from libc.stdint cimport int64_t, uint32_t, uint64_t

from anonvma_rt.engine.base.operation cimport OP_ATOMIC, OP_LOAD
from anonvma_rt.engine.base.os cimport read_link, read_once32, read_onceu, write_once32, write_onceu
from anonvma_rt.engine.run.sync cimport spin_lock, spin_lock_nested, spin_unlock, spin_unlock_nested
from anonvma_rt.engine.run.task cimport Task, must_live, note, point, violate
from anonvma_rt.mm.anon_vma cimport anon_vma_lock, anon_vma_unlock, put_anon_vma
from anonvma_rt.mm.anon_vma_chain cimport anon_vma_prepare
from anonvma_rt.mm.hooks.notes cimport (
    BUG_NO_TABLE, BUG_ON, BUG_SPLIT_COUNT, BUG_SPLIT_WRITABLE, NOTE_HUGE_FAULT, NOTE_HUGE_MOVE, NOTE_HUGE_SPLIT,
    NOTE_ZAP,
)
from anonvma_rt.mm.mm_types cimport (
    HPAGE_PMD_NR, MOVE_FLUSH_DIRTY, MOVE_FLUSH_END, PMD_DIRTY, PMD_EXCLUSIVE, PMD_PROTNONE, PMD_SIZE, PMD_SPLITTING,
    PMD_WRITE, PTE_PRESENT, TYPE_VMA, UNSTABLE_PMD_NO, VM_HUGEPAGE, VM_WRITE, anon_vma, kernel_of, make_huge_pmd,
    make_pte, mm_of, mm_struct, mm_walk, noted, page, page_at, page_compound, page_table, pfn_to_page, pmd_huge,
    pmd_t, pte_pfn, pte_t, serial_of, vm_area_struct, vma_page_prot,
)
from anonvma_rt.mm.mmu_gather cimport tlb_flush_full, tlb_remove_entry, tlb_remove_page
from anonvma_rt.mm.page_alloc cimport alloc_hugepage, get_page, put_page
from anonvma_rt.mm.page_vma_mapped cimport page_check_address_pmd
from anonvma_rt.mm.pgtable cimport make_table, new_table, pmd_offset, pmd_read, set_pmd
from anonvma_rt.mm.rmap cimport (
    WALK_SPLIT, page_add_new_anon_rmap, page_dup_rmap, page_get_anon_vma, page_lock_anon_vma, page_remove_rmap,
    rmap_walk, rmap_walk_begin, rmap_walk_next, set_page_anon_vma, vma_address,
)
from anonvma_rt.mm.tlb cimport announce_contents, flush_tlb_page, flush_tlb_range


cdef inline page *pmd_page(Task *t, pmd_t pmd) noexcept nogil:
    return page_at(t, pte_pfn(pmd))


# ---- faults ----------------------------------------------------------------------------------------------------------


cdef int look_twice(Task *t, mm_struct *mm, uint64_t address, pmd_t *pmd) noexcept nogil:
    """Up to 4.4 a fault that got no huge page asked first whether a table was missing, and then whether a huge page had
    come in its place. One that came and went in between left no table to go on with (ad33bb04b2a6). 0 or -ENOMEM."""
    cdef page_table *table
    if pmd_read(t, pmd) == 0:
        return new_table(t, mm, address, &table)
    if pmd_read(t, pmd) == 0:
        violate(t, BUG_ON, BUG_NO_TABLE, 0, <int64_t>(address & ~<uint64_t>(PMD_SIZE - 1)))
    return 0


cdef int do_huge_pmd_anonymous_page(Task *t, vm_area_struct *vma, uint64_t address, pmd_t *pmd) noexcept nogil:
    """A huge page for an empty pmd, for a read as well: there is no huge zero page yet. Without memory for one a table
    of small pages takes its place. Returns 0 or -ENOMEM."""
    cdef mm_struct *mm = vma.vm_mm
    cdef page_table *table
    cdef uint64_t start = address & ~<uint64_t>(PMD_SIZE - 1)
    cdef page *head
    if anon_vma_prepare(t, vma) < 0:
        return -ENOMEM
    head = alloc_hugepage(t)
    if head == NULL:
        if kernel_of(t).algorithm.unstable_pmd != UNSTABLE_PMD_NO:
            return look_twice(t, mm, address, pmd)
        return new_table(t, mm, address, &table)
    spin_lock(t, &mm.page_table_lock)
    if pmd_read(t, pmd) == 0:
        page_add_new_anon_rmap(t, head, vma, start)
        must_live(t, vma, TYPE_VMA)
        set_pmd(t, pmd, make_huge_pmd(head.pfn, vma.vm_flags & VM_WRITE))
        note(t, NOTE_HUGE_FAULT, mm.id, <int64_t>start, head.pfn)
        head = NULL
    spin_unlock(t, &mm.page_table_lock)
    if head != NULL:
        put_page(t, head)
    return 0


cdef int do_huge_pmd_wp_page(Task *t, vm_area_struct *vma, uint64_t address, pmd_t *pmd, pmd_t seen) noexcept nogil:
    """Copy on write of a whole huge page; a page mapped nowhere else is written to where it is. Without memory for a
    huge page it is split, and the fault looks again. Returns 0 or -ENOMEM."""
    cdef mm_struct *mm = vma.vm_mm
    cdef page *old = pmd_page(t, seen)
    cdef page *new
    cdef uint32_t i
    spin_lock(t, &mm.page_table_lock)
    if pmd_read(t, pmd) != seen:
        spin_unlock(t, &mm.page_table_lock)
        return 0
    point(t, OP_LOAD, &old.mapcount)
    if read_once32(&old.mapcount) == 0:
        set_pmd(t, pmd, seen | PMD_WRITE | PMD_EXCLUSIVE)
        spin_unlock(t, &mm.page_table_lock)
        return 0
    get_page(t, old)
    spin_unlock(t, &mm.page_table_lock)
    if anon_vma_prepare(t, vma) < 0:
        put_page(t, old)
        return -ENOMEM
    new = alloc_hugepage(t)
    if new == NULL:
        split_huge_page(t, old)
        put_page(t, old)
        return 0
    announce_contents(t)
    for i in range(<uint32_t>HPAGE_PMD_NR):
        new[i].tag = read_onceu(&old[i].tag)
    spin_lock(t, &mm.page_table_lock)
    put_page(t, old)
    if pmd_read(t, pmd) == seen:
        set_pmd(t, pmd, 0)
        flush_tlb_page(t, mm, address)
        page_add_new_anon_rmap(t, new, vma, address & ~<uint64_t>(PMD_SIZE - 1))
        set_pmd(t, pmd, make_huge_pmd(new.pfn, True))
        note(t, NOTE_HUGE_FAULT, mm.id, <int64_t>(address & ~<uint64_t>(PMD_SIZE - 1)), new.pfn)
        page_remove_rmap(t, old)
        put_page(t, old)
        new = NULL
    spin_unlock(t, &mm.page_table_lock)
    if new != NULL:
        put_page(t, new)
    return 0


# ---- fork, munmap, mprotect, mremap ----------------------------------------------------------------------------------


cdef pmd_t pmd_trans_huge_lock(Task *t, vm_area_struct *vma, pmd_t *pmd) noexcept nogil:
    """The huge pmd, with page_table_lock held; 0, without the lock, where it is one no more. A split is waited for."""
    cdef pmd_t value
    spin_lock(t, &vma.vm_mm.page_table_lock)
    value = pmd_read(t, pmd)
    if pmd_huge(value) and not value & PMD_SPLITTING:
        return value
    spin_unlock(t, &vma.vm_mm.page_table_lock)
    if pmd_huge(value):
        wait_split_huge_page(t, vma.anon_vma)
    return 0


cdef bint copy_huge_pmd(Task *t, mm_walk *walk, pmd_t *source, uint64_t address) noexcept nogil:
    """Shares a huge page with the child; False where it was being split or is split, and the caller looks again."""
    cdef mm_struct *child_mm = walk.child.vm_mm
    cdef pmd_t *to = pmd_offset(child_mm, address)
    cdef pmd_t pmd
    spin_lock(t, &child_mm.page_table_lock)
    spin_lock_nested(t, &walk.vma.vm_mm.page_table_lock, 1)
    pmd = pmd_read(t, source)
    if not pmd_huge(pmd) or pmd & PMD_SPLITTING:
        spin_unlock_nested(t, &walk.vma.vm_mm.page_table_lock, 1)
        spin_unlock(t, &child_mm.page_table_lock)
        if pmd_huge(pmd):
            wait_split_huge_page(t, walk.vma.anon_vma)
        return False
    get_page(t, pmd_page(t, pmd))
    page_dup_rmap(t, pmd_page(t, pmd))
    pmd &= ~<pmd_t>(PMD_WRITE | PMD_EXCLUSIVE)
    set_pmd(t, source, pmd)
    set_pmd(t, to, pmd)
    note(t, NOTE_HUGE_MOVE, serial_of(walk.child), <int64_t>address, noted(pmd))
    spin_unlock_nested(t, &walk.vma.vm_mm.page_table_lock, 1)
    spin_unlock(t, &child_mm.page_table_lock)
    return True


cdef bint zap_huge_pmd(Task *t, mm_walk *walk, pmd_t *pmd, uint64_t address) noexcept nogil:
    """Whether the huge pmd was cleared; False where it is one no more, and the caller looks again."""
    cdef mm_struct *mm = walk.vma.vm_mm
    cdef pmd_t value = pmd_trans_huge_lock(t, walk.vma, pmd)
    cdef page *head
    if value == 0:
        return False
    head = pmd_page(t, value)
    set_pmd(t, pmd, 0)
    note(t, NOTE_ZAP, mm.id, <int64_t>address, noted(value))
    page_remove_rmap(t, head)
    spin_unlock(t, &mm.page_table_lock)
    tlb_remove_entry(t, walk.tlb, address, PMD_SIZE)
    if tlb_remove_page(t, walk.tlb, head):
        tlb_flush_full(t, walk.tlb, address, address + PMD_SIZE)
    return True


cdef bint change_huge_pmd(Task *t, mm_walk *walk, pmd_t *pmd, uint64_t address) noexcept nogil:
    """Gives a huge pmd the rights of its vma, but for the one to write, which the next fault gives; False where it is
    one no more."""
    cdef pmd_t prot = walk.vma.vm_page_prot
    cdef pmd_t value = pmd_trans_huge_lock(t, walk.vma, pmd)
    if value == 0:
        return False
    # pmdp_get_and_clear() and set_pmd_at(): none in between, for whoever peeks.
    set_pmd(t, pmd, 0)
    set_pmd(t, pmd, value & ~<pmd_t>(PMD_WRITE | PMD_PROTNONE) | prot)
    tlb_remove_entry(t, walk.tlb, address, PMD_SIZE)
    spin_unlock(t, &walk.vma.vm_mm.page_table_lock)
    return True


cdef bint move_huge_pmd(Task *t, vm_area_struct *vma, pmd_t *old, uint64_t old_address, vm_area_struct *new_vma,
                        pmd_t *new, uint64_t new_address) noexcept nogil:
    """Moves one huge pmd to an empty one; False where it cannot be moved and must be split, or is split by now. It is
    flushed as ptes are (move_ptes)."""
    cdef int rule = kernel_of(t).algorithm.move_flush
    cdef pmd_t value
    if not new_vma.vm_flags & VM_HUGEPAGE or pmd_read(t, new):
        return False
    value = pmd_trans_huge_lock(t, vma, old)
    if value == 0:
        return False
    set_pmd(t, old, 0)
    set_pmd(t, new, value)
    if rule != MOVE_FLUSH_END and (rule != MOVE_FLUSH_DIRTY or value & (PMD_WRITE | PMD_DIRTY)):
        flush_tlb_range(t, vma.vm_mm, old_address, old_address + PMD_SIZE)
    note(t, NOTE_HUGE_MOVE, serial_of(new_vma), <int64_t>new_address, noted(value))
    spin_unlock(t, &vma.vm_mm.page_table_lock)
    return True


# ---- the split -------------------------------------------------------------------------------------------------------


cdef void wait_split_huge_page(Task *t, anon_vma *av) noexcept nogil:
    """A split holds the root's lock from its first walk to its last."""
    anon_vma_lock(t, av)
    anon_vma_unlock(t, av)


cdef int mark_splitting(Task *t, page *head, vm_area_struct *vma, uint64_t address) noexcept nogil:
    """__split_huge_page_splitting: 1 if a pmd was marked. In 3.13 and 3.14 it peeked first (b5a8cad376ee)."""
    cdef mm_struct *mm = mm_of(t, vma)
    cdef pmd_t *pmd
    if kernel_of(t).algorithm.split_peeks:
        if page_check_address_pmd(t, head, vma, address, False) == NULL:
            return 0
    spin_lock(t, &mm.page_table_lock)
    pmd = page_check_address_pmd(t, head, vma, address, False)
    if pmd != NULL:
        set_pmd(t, pmd, pmd[0] | PMD_SPLITTING)
    spin_unlock(t, &mm.page_table_lock)
    return pmd != NULL


cdef int map_small_pages(Task *t, page *head, vm_area_struct *vma, uint64_t address) noexcept nogil:
    """__split_huge_page_map: 1 if a splitting pmd became a table of small pages."""
    cdef mm_struct *mm = mm_of(t, vma)
    cdef page_table *table
    cdef pte_t prot
    cdef pmd_t *pmd
    cdef uint64_t i
    spin_lock(t, &mm.page_table_lock)
    pmd = page_check_address_pmd(t, head, vma, address, True)
    if pmd != NULL:
        prot = vma_page_prot(t, vma)
        table = make_table(t, address)
        if pmd[0] & PMD_WRITE and read_once32(&head.mapcount):
            violate(t, BUG_ON, BUG_SPLIT_WRITABLE, head.pfn, read_once32(&head.mapcount) + 1)
        for i in range(<uint64_t>HPAGE_PMD_NR):
            # The rights have the same bits.
            table.pte[i] = make_pte(PTE_PRESENT, head.pfn + i, pmd[0]) | prot
        set_pmd(t, pmd, <pmd_t>table)
        flush_tlb_range(t, mm, address, address + PMD_SIZE)
    spin_unlock(t, &mm.page_table_lock)
    return pmd != NULL


cdef void split_refcounts(Task *t, page *head, anon_vma *av) noexcept nogil:
    """__split_huge_page_refcount: every small page gets the mapcount and as many references, an index and an
    anon_vma."""
    cdef uint32_t i
    point(t, OP_ATOMIC, &head.count)
    for i in range(1, <uint32_t>HPAGE_PMD_NR):
        write_once32(&head[i].mapcount, head.mapcount)
        write_once32(&head[i].count, head.mapcount + 1)
        write_onceu(&head[i].index, head.index + i)
        set_page_anon_vma(head + i, av)
    for i in range(<uint32_t>HPAGE_PMD_NR):
        write_onceu(&head[i].head, head[i].pfn)
    write_onceu(&head.flags, 0)


cdef int split_walk(Task *t, page *head, anon_vma *av, bint mark) noexcept nogil:
    """One of the two walks over all vmas that may show the page; how many pmds it changed."""
    cdef rmap_walk w = rmap_walk_begin(t, av, head, WALK_SPLIT)
    cdef vm_area_struct *vma
    cdef uint64_t address
    cdef int count = 0
    while True:
        vma = rmap_walk_next(t, &w)
        if vma == NULL:
            return count
        if not vma_address(t, head, vma, &address):
            continue
        count += mark_splitting(t, head, vma, address) if mark else map_small_pages(t, head, vma, address)


cdef anon_vma *lock_for_split(Task *t, page *head) noexcept nogil:
    """Exclusive also where walks share the lock (3.8): then the anon_vma is pinned first."""
    cdef anon_vma *av
    if not kernel_of(t).algorithm.shared_walks:
        return page_lock_anon_vma(t, head)
    av = page_get_anon_vma(t, head)
    if av != NULL:
        anon_vma_lock(t, av)
    return av


cdef void unlock_for_split(Task *t, anon_vma *av) noexcept nogil:
    anon_vma_unlock(t, av)
    if kernel_of(t).algorithm.shared_walks:
        put_anon_vma(t, av)


cdef bint split_huge_page(Task *t, page *p) noexcept nogil:
    """Makes small pages of a huge one, everywhere; False where nothing maps it any more.

    The root's lock is held throughout. Whoever is mapped and was not met by the first walk would keep a huge pmd of
    a page that is none: the kernel's BUG, counted pmds against mapcount, and the second walk against the first.
    """
    cdef page *head = pfn_to_page(kernel_of(t), p.head)
    cdef anon_vma *av
    cdef int counted
    cdef int again
    av = lock_for_split(t, head)
    if av == NULL:
        return False
    if not page_compound(head):
        unlock_for_split(t, av)
        return True
    note(t, NOTE_HUGE_SPLIT, head.pfn, 0, 0)
    counted = split_walk(t, head, av, True)
    note(t, NOTE_HUGE_SPLIT, head.pfn, 1, counted)
    point(t, OP_LOAD, &head.mapcount)
    if counted != read_once32(&head.mapcount) + 1:
        violate(t, BUG_ON, BUG_SPLIT_COUNT, counted, head.mapcount + 1)
    split_refcounts(t, head, av)
    again = split_walk(t, head, av, False)
    note(t, NOTE_HUGE_SPLIT, head.pfn, 2, again)
    if again != counted:
        violate(t, BUG_ON, BUG_SPLIT_COUNT, again, counted)
    unlock_for_split(t, av)
    return True


cdef void split_huge_page_pmd(Task *t, mm_struct *mm, pmd_t *pmd) noexcept nogil:
    """Splits the huge page at a pmd, if there is one; afterwards a table is there, or nothing."""
    cdef page *head
    cdef pmd_t value
    spin_lock(t, &mm.page_table_lock)
    value = pmd_read(t, pmd)
    if not pmd_huge(value):
        spin_unlock(t, &mm.page_table_lock)
        return
    head = pmd_page(t, value)
    get_page(t, head)
    spin_unlock(t, &mm.page_table_lock)
    split_huge_page(t, head)
    put_page(t, head)


cdef void split_at_border(Task *t, vm_area_struct *vma, uint64_t border) noexcept nogil:
    """Splits the huge page of vma that a new border would cut. mmap_sem is held for writing, so that none can
    appear."""
    cdef uint64_t start = border & ~<uint64_t>(PMD_SIZE - 1)
    cdef pmd_t *pmd
    if start == border or start < vma.vm_start or start + PMD_SIZE > vma.vm_end:
        return
    pmd = pmd_offset(vma.vm_mm, border)
    if pmd != NULL and pmd_huge(<pmd_t>read_link(pmd)):
        split_huge_page_pmd(t, vma.vm_mm, pmd)


cdef void vma_adjust_trans_huge(Task *t, vm_area_struct *vma, uint64_t start, uint64_t end, vm_area_struct *next,
                                int64_t shift) noexcept nogil:
    """Before borders change: a huge page lies in one vma as a whole. next, shift: the neighbour whose start moves, or
    0."""
    split_at_border(t, vma, start)
    split_at_border(t, vma, end)
    if shift > 0:
        split_at_border(t, next, next.vm_start + shift)
