"""The splits of pmds and pages, and those of up to 4.4 as a whole (see split_huge_page.pxd)."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from anonvma_rt.engine.audit.access cimport rt_glance
from anonvma_rt.engine.base.operation cimport OP_ATOMIC, OP_LOAD
from anonvma_rt.engine.base.os cimport read_link, read_once32, write_once32, write_onceu
from anonvma_rt.engine.run.sync cimport spin_lock, spin_unlock
from anonvma_rt.engine.run.task cimport Task, note, point, violate
from anonvma_rt.mm.anon_vma cimport anon_vma_lock, anon_vma_unlock, put_anon_vma
from anonvma_rt.mm.hooks.notes cimport BUG_ON, BUG_SPLIT_COUNT, BUG_SPLIT_WRITABLE, NOTE_HUGE_SPLIT
from anonvma_rt.mm.mm_types cimport (
    HPAGE_PMD_NR, PMD_SIZE, PMD_SPLITTING, PMD_WRITE, PTE_PRESENT, THP_3_2, anon_vma, is_huge_zero_pmd, kernel_of,
    make_pte, mm_of, mm_struct, page, page_at, page_compound, page_table, pfn_to_page, pmd_huge, pmd_t, pte_pfn, pte_t,
    vm_area_struct, vma_page_prot,
)
from anonvma_rt.mm.page_alloc cimport get_page, put_page
from anonvma_rt.mm.page_vma_mapped cimport page_check_address_pmd
from anonvma_rt.mm.pgtable cimport make_table, pmd_offset, pmd_read, set_pmd
from anonvma_rt.mm.rmap cimport (
    WALK_SPLIT, page_get_anon_vma, page_lock_anon_vma, rmap_walk, rmap_walk_begin, rmap_walk_next, set_page_anon_vma,
    vma_address,
)
from anonvma_rt.mm.split_huge_page_to_list cimport split_huge_page_locked
from anonvma_rt.mm.split_huge_pmd cimport split_huge_zero_page_pmd, split_one_huge_pmd
from anonvma_rt.mm.tlb cimport flush_tlb_range


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
    """Makes small pages of a huge one, everywhere. False where nothing maps it any more, or, since 4.5, somebody but
    the caller and the entries has a reference. The caller has one."""
    if kernel_of(t).algorithm.thp != THP_3_2:
        return split_huge_page_locked(t, p)
    return split_mapped_page(t, p)


cdef bint split_mapped_page(Task *t, page *p) noexcept nogil:
    """Up to 4.4.

    The root's lock is held throughout. Whoever is mapped and was not met by the first walk would keep a huge pmd of
    a page that is none: the kernel's BUG, counted pmds against mapcount, and the second walk against the first.
    """
    # Of a head this is its own number, whoever writes it.
    cdef page *head = pfn_to_page(kernel_of(t), rt_glance(&p.head))
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


cdef void split_huge_page_pmd(Task *t, vm_area_struct *vma, pmd_t *pmd, uint64_t address) noexcept nogil:
    """Splits the huge page at a pmd, if there is one; afterwards a table is there, or nothing."""
    cdef mm_struct *mm = vma.vm_mm
    cdef page *head
    cdef pmd_t value
    spin_lock(t, &mm.page_table_lock)
    value = pmd_read(t, pmd)
    if not pmd_huge(value):
        spin_unlock(t, &mm.page_table_lock)
        return
    if is_huge_zero_pmd(value):
        split_huge_zero_page_pmd(t, vma, pmd, address)
        spin_unlock(t, &mm.page_table_lock)
        return
    head = page_at(t, pte_pfn(value))
    get_page(t, head)
    spin_unlock(t, &mm.page_table_lock)
    split_huge_page(t, head)
    put_page(t, head)


# ---- one pmd ---------------------------------------------------------------------------------------------------------


cdef void split_huge_pmd(Task *t, vm_area_struct *vma, pmd_t *pmd, uint64_t address) noexcept nogil:
    """A pmd becomes a table, with its page up to 4.4. Afterwards a table is there, or nothing."""
    if kernel_of(t).algorithm.thp == THP_3_2:
        split_huge_page_pmd(t, vma, pmd, address)
    else:
        split_one_huge_pmd(t, vma, pmd, address, NULL, False)


cdef void split_at_border(Task *t, vm_area_struct *vma, uint64_t border) noexcept nogil:
    """Splits the huge page of vma that a new border would cut. mmap_sem is held for writing, so that none can
    appear."""
    cdef uint64_t start = border & ~<uint64_t>(PMD_SIZE - 1)
    cdef pmd_t *pmd
    if start == border or start < vma.vm_start or start + PMD_SIZE > vma.vm_end:
        return
    pmd = pmd_offset(vma.vm_mm, border)
    if pmd != NULL and pmd_huge(<pmd_t>read_link(pmd)):
        split_huge_pmd(t, vma, pmd, start)


cdef void vma_adjust_trans_huge(Task *t, vm_area_struct *vma, uint64_t start, uint64_t end, vm_area_struct *next,
                                int64_t shift) noexcept nogil:
    """Before borders change: a huge page lies in one vma as a whole. next, shift: the neighbour whose start moves, or
    0."""
    split_at_border(t, vma, start)
    split_at_border(t, vma, end)
    if shift > 0:
        split_at_border(t, next, next.vm_start + shift)
