"""Moving ptes from one vma to another, step by step as mm/mremap.c of Linux 3.2 does.

mmap_sem is held for writing for the whole call. The two page-table locks are nested, source outside; the reverse map
is not locked at all unless the algorithm says so, and that is what the race is about.
"""

from libc.errno cimport ENOMEM
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from anonvma_rt.engine.base.klist cimport list_cursor, list_for_each, list_step
from anonvma_rt.engine.base.os cimport read_once64, write_onceu
from anonvma_rt.engine.run.sync cimport spin_lock, spin_lock_nested, spin_unlock, spin_unlock_nested, spinlock_t
from anonvma_rt.engine.run.task cimport Task, note, violate
from anonvma_rt.mm.anon_vma cimport anon_vma_lock, anon_vma_unlock
from anonvma_rt.mm.anon_vma_chain cimport unlink_anon_vmas
from anonvma_rt.mm.hooks.notes cimport (
    BUG_BAD_PMD, BUG_DESTINATION_NOT_NONE, BUG_ON, BUG_ORDER, NOTE_CLEAR, NOTE_MOVE, NOTE_SET, NOTE_TABLE_MOVE,
)
from anonvma_rt.mm.pins cimport pins_moved
from anonvma_rt.mm.hooks.rule cimport ARRIVES_BACK
from anonvma_rt.mm.hooks.watch cimport mark_move
from anonvma_rt.mm.huge_memory cimport move_huge_pmd
from anonvma_rt.mm.mm_types cimport (
    LATENCY_LIMIT, MAX_MAP_COUNT, MOVE_FLUSH_DIRTY, MOVE_FLUSH_EACH, MOVE_FLUSH_END, MOVE_FLUSH_LOCKED,
    ORDERING_FRESH_VMA, ORDERING_TAIL, PAGE_SHIFT, PAGE_SIZE, PGDIR_SIZE, PMD_SIZE, PTE_DIRTY, PTE_NONE, PTE_WRITE,
    PTRS_PER_TABLE, VM_ACCOUNT, algorithm, announce_flags, anon_vma, avc_of_same_anon_vma, avc_of_same_vma, kernel_of,
    mm_struct, noted, page_directory, page_table, pmd_huge, pmd_t, pmd_table, pte_present, pte_t, serial_of,
    vm_area_struct,
)
from anonvma_rt.mm.mmap cimport TASK_SIZE_SHIFT, copy_vma, do_munmap, order_destination
from anonvma_rt.mm.pgtable cimport (
    alloc_table, pmd_offset, pmd_read, pte_lockptr, pte_offset, pte_read, ptep_get_and_clear, set_pmd, set_pte,
    table_end,
)
from anonvma_rt.mm.split_huge_page cimport split_huge_pmd
from anonvma_rt.mm.tlb cimport flush_tlb_batched_pending, flush_tlb_page, flush_tlb_range
from anonvma_rt.mm.vma cimport vma_merge, vma_merge_struct
from anonvma_rt.mm.vma_lock cimport vma_start_write

cdef uint64_t TASK_SIZE = <uint64_t>1 << TASK_SIZE_SHIFT


cdef anon_vma *take_rmap_locks(Task *t, vm_area_struct *vma, bint wanted) noexcept nogil:
    """The root's lock for as long as entries are between two places; NULL where none is needed."""
    if not wanted or vma.anon_vma == NULL:
        return NULL
    anon_vma_lock(t, vma.anon_vma)
    return vma.anon_vma


cdef void drop_rmap_locks(Task *t, anon_vma *locked) noexcept nogil:
    if locked != NULL:
        anon_vma_unlock(t, locked)


cdef void move_ptes(Task *t, pagetable_move_control *pmc, uint64_t extent, page_table *old,
                    page_table *new) noexcept nogil:
    """Moves the ptes of one extent. Clear and set are one step to whoever takes either lock, two to whoever peeks.

    Up to 3.1 each old address was flushed as its pte moved. Then all were at the end of move_page_tables(), when the
    locks had been dropped long ago; since 4.9 an extent with a dirty pte is before the source's lock is (5d1904204c99),
    and since 4.19 each is before both are (eb66ae030829).
    """
    cdef int rule = kernel_of(t).algorithm.move_flush
    cdef bint flush = False
    cdef mm_struct *mm = pmc.old.vm_mm
    cdef spinlock_t *old_ptl = pte_lockptr(t, mm, old)
    cdef spinlock_t *new_ptl = pte_lockptr(t, mm, new)
    cdef anon_vma *locked = take_rmap_locks(t, pmc.old, pmc.need_rmap_locks)
    cdef uint64_t end = pmc.old_addr + extent
    cdef pte_t *ptep
    cdef pte_t *new_ptep
    cdef pte_t pte
    mark_move(t, pmc.old, old, pmc.old_addr, end)
    spin_lock(t, old_ptl)
    if new_ptl != old_ptl:
        spin_lock_nested(t, new_ptl, 1)
    if kernel_of(t).pins != NULL:
        pins_moved(t, mm, pmc.old_addr, end, pmc.new_addr)
    flush_tlb_batched_pending(t, mm)
    while pmc.old_addr < end:
        ptep = pte_offset(old, pmc.old_addr)
        if pte_read(t, ptep) != PTE_NONE:
            pte = ptep_get_and_clear(t, ptep)
            if rule == MOVE_FLUSH_EACH:
                flush_tlb_page(t, mm, pmc.old_addr)
            # Whoever wrote through it has left it writable, and dirty.
            flush |= pte_present(pte) and (rule == MOVE_FLUSH_LOCKED or pte & (PTE_WRITE | PTE_DIRTY) != 0)
            note(t, NOTE_CLEAR, serial_of(pmc.old), <int64_t>pmc.old_addr, noted(pte))
            new_ptep = pte_offset(new, pmc.new_addr)
            if new_ptep[0] != PTE_NONE:
                violate(t, BUG_ON, BUG_DESTINATION_NOT_NONE, <int64_t>pmc.new_addr, <int64_t>new_ptep[0])
            set_pte(t, new_ptep, pte)
            note(t, NOTE_SET, serial_of(pmc.new), <int64_t>pmc.new_addr, noted(pte))
        pmc.old_addr += PAGE_SIZE
        pmc.new_addr += PAGE_SIZE
    if flush and rule == MOVE_FLUSH_LOCKED:
        flush_tlb_range(t, mm, end - extent, end)
    if new_ptl != old_ptl:
        spin_unlock_nested(t, new_ptl, 1)
    if flush and rule == MOVE_FLUSH_DIRTY:
        flush_tlb_range(t, mm, end - extent, end)
    spin_unlock(t, old_ptl)
    drop_rmap_locks(t, locked)


cdef bint move_normal_pmd(Task *t, pagetable_move_control *pmc, pmd_t *old, pmd_t *new) noexcept nogil:
    """Moves a whole page table by its pmd, always under the root's lock (5.14; 97113eb39fa7 says why) or, from 5.1 to
    5.13, only where its ptes would be. False where the destination has a table, or the source is huge."""
    cdef mm_struct *mm = pmc.old.vm_mm
    cdef anon_vma *locked
    cdef pmd_t value
    cdef bint moved = False
    if pmd_read(t, new):
        return False
    locked = take_rmap_locks(t, pmc.old, pmc.need_rmap_locks or not kernel_of(t).algorithm.tables_unlocked)
    spin_lock(t, &mm.page_table_lock)
    value = pmd_read(t, old)
    if value and not pmd_huge(value):
        set_pmd(t, old, 0)
        pmd_table(value).address = pmc.new_addr
        if kernel_of(t).pins != NULL:
            pins_moved(t, mm, pmc.old_addr, pmc.old_addr + PMD_SIZE, pmc.new_addr)
        set_pmd(t, new, value)
        flush_tlb_range(t, mm, pmc.old_addr, pmc.old_addr + PMD_SIZE)
        note(t, NOTE_TABLE_MOVE, serial_of(pmc.new), <int64_t>pmc.new_addr, 0)
        moved = True
    spin_unlock(t, &mm.page_table_lock)
    drop_rmap_locks(t, locked)
    return moved


cdef bint directory_empty(page_directory *directory) noexcept nogil:
    cdef int i
    for i in range(PTRS_PER_TABLE):
        if read_once64(&directory.entry[i]):
            return False
    return True


cdef bint move_normal_pud(Task *t, pagetable_move_control *pmc) noexcept nogil:
    """Moves a whole table of pmds (5.11). In the kernel that is one entry of the level above; here all its pmds move
    under one hold of the locks, each of which is cleared before it is set, so that a walk for a page sees the same.
    False where the destination has a table."""
    cdef mm_struct *mm = pmc.old.vm_mm
    cdef page_directory *old = <page_directory *>pmd_offset(mm, pmc.old_addr)
    cdef page_directory *new = <page_directory *>pmd_offset(mm, pmc.new_addr)
    cdef anon_vma *locked
    cdef pmd_t value
    cdef uint64_t i
    cdef bint moved = False
    if old == NULL or new == NULL:
        return False
    locked = take_rmap_locks(t, pmc.old, pmc.need_rmap_locks or not kernel_of(t).algorithm.tables_unlocked)
    spin_lock(t, &mm.page_table_lock)
    if directory_empty(new):
        for i in range(<uint64_t>PTRS_PER_TABLE):
            if read_once64(&old.entry[i]) == 0:
                continue
            value = pmd_read(t, &old.entry[i])
            set_pmd(t, &old.entry[i], 0)
            if not pmd_huge(value):
                pmd_table(value).address = pmc.new_addr + i * PMD_SIZE
            set_pmd(t, &new.entry[i], value)
            note(t, NOTE_TABLE_MOVE, serial_of(pmc.new), <int64_t>(pmc.new_addr + i * PMD_SIZE), 0)
        flush_tlb_range(t, mm, pmc.old_addr, pmc.old_addr + PGDIR_SIZE)
        moved = True
    spin_unlock(t, &mm.page_table_lock)
    drop_rmap_locks(t, locked)
    return moved


cdef bint move_whole_pmd(Task *t, pagetable_move_control *pmc, pmd_t *old) noexcept nogil:
    """A huge pmd or, since 5.1, a table moves as one; False where its ptes have to move one by one."""
    cdef algorithm *a = &kernel_of(t).algorithm
    cdef pmd_t *new = pmd_offset(pmc.old.vm_mm, pmc.new_addr)
    cdef anon_vma *locked
    cdef pmd_t value = pmd_read(t, old)
    cdef bint moved
    if pmd_huge(value):
        # 3.7 to 3.14 forgot the lock here (dd18dbc2d42a).
        locked = take_rmap_locks(t, pmc.old, pmc.need_rmap_locks and not a.huge_ignores_locks)
        moved = move_huge_pmd(t, pmc.old, old, pmc.old_addr, pmc.new, new, pmc.new_addr)
        drop_rmap_locks(t, locked)
        return moved
    return value and a.whole_tables and move_normal_pmd(t, pmc, old, new)


cdef bint listed_after(anon_vma *av, vm_area_struct *source, vm_area_struct *destination) noexcept nogil:
    """Whether source stands behind destination; False where av is not a list of both (an unfaulted source)."""
    cdef list_cursor c = list_for_each(&av.head)
    cdef vm_area_struct *vma
    cdef bint passed = False
    while list_step(&c):
        vma = avc_of_same_anon_vma(c.pos).vma
        if vma == source:
            return passed
        if vma == destination:
            passed = True
    return False


cdef void assert_order(Task *t, pagetable_move_control *pmc) noexcept nogil:
    """Invariant I10: on every shared list the source stands before the destination. Only where it is promised, and
    where nobody can change a list meanwhile: it looks without the root's lock."""
    cdef algorithm *a = &kernel_of(t).algorithm
    cdef list_cursor c
    if pmc.old == pmc.new or t.x.parallel or a.ordering != ORDERING_TAIL or a.tail_own_only:
        return
    c = list_for_each(&pmc.new.anon_vma_chain)
    while list_step(&c):
        if listed_after(avc_of_same_vma(c.pos).anon_vma, pmc.old, pmc.new):
            violate(t, BUG_ON, BUG_ORDER, serial_of(pmc.old), serial_of(pmc.new))


cdef inline bint moves_whole_pud(pagetable_move_control *pmc) noexcept nogil:
    return not (pmc.old_addr | pmc.new_addr) & (PGDIR_SIZE - 1) and pmc.old_end - pmc.old_addr >= PGDIR_SIZE


cdef uint64_t move_page_tables(Task *t, pagetable_move_control *pmc) noexcept nogil:
    """Moves the entries of a range, upwards, in extents that cross no page-table border on either side and, up to 4.18,
    have at most LATENCY_LIMIT pages.

    Returns the bytes done: less than asked for where no page table could be had.
    """
    cdef bint whole_tables = kernel_of(t).algorithm.whole_tables
    cdef bint pud_moves = kernel_of(t).algorithm.pud_moves
    cdef int rule = kernel_of(t).algorithm.move_flush
    cdef mm_struct *mm = pmc.old.vm_mm
    cdef uint64_t start = pmc.old_addr
    cdef uint64_t extent
    cdef pmd_t *pmd
    cdef pmd_t value
    cdef page_table *new
    cdef bint whole
    assert_order(t, pmc)
    while pmc.old_addr < pmc.old_end:
        if pud_moves and moves_whole_pud(pmc) and move_normal_pud(t, pmc):
            pmc.old_addr += PGDIR_SIZE
            pmc.new_addr += PGDIR_SIZE
            continue
        extent = table_end(pmc.old_addr, pmc.old_end) - pmc.old_addr
        pmd = pmd_offset(mm, pmc.old_addr)
        value = pmd_read(t, pmd) if pmd != NULL else 0
        if pmd_huge(value) and kernel_of(t).algorithm.mremap_splits:
            split_huge_pmd(t, pmc.old, pmd, pmc.old_addr)
            continue
        whole = value == 0
        if extent == PMD_SIZE and not pmc.new_addr & (PMD_SIZE - 1) and (pmd_huge(value) or (value and whole_tables)):
            whole = move_whole_pmd(t, pmc, pmd)
        if whole:
            pmc.old_addr += extent
            pmc.new_addr += extent
            continue
        if pmd_huge(value):
            split_huge_pmd(t, pmc.old, pmd, pmc.old_addr)
            continue
        if alloc_table(t, mm, pmc.new_addr, &new) < 0:
            break
        if new == NULL:
            violate(t, BUG_ON, BUG_BAD_PMD, 0, <int64_t>pmc.new_addr)
        extent = table_end(pmc.new_addr, pmc.new_addr + extent) - pmc.new_addr
        if extent > LATENCY_LIMIT * PAGE_SIZE and not whole_tables:
            extent = LATENCY_LIMIT * PAGE_SIZE
        move_ptes(t, pmc, extent, pmd_table(value), new)
    if (rule == MOVE_FLUSH_END or rule == MOVE_FLUSH_DIRTY) and start < pmc.old_addr:
        flush_tlb_range(t, mm, start, pmc.old_addr)
    return pmc.old_addr - start


cdef void merge_afterwards(Task *t, vm_area_struct *vma) noexcept nogil:
    """What copy_vma would have merged, now that no pte is on its way."""
    cdef vma_merge_struct vmg = vma_merge_struct(mm=vma.vm_mm, prev=vma.vm_prev, start=vma.vm_start, end=vma.vm_end,
                                                 pgoff=vma.vm_pgoff, flags=vma.vm_flags,
                                                 anon_vma=vma.anon_vma, source=vma, copied=True)
    vma_merge(t, &vmg)


cdef void uncharge_flag(Task *t, vm_area_struct *vma) noexcept nogil:
    """Takes VM_ACCOUNT, under which the charge of a vma is given back one day, and leaves the charge."""
    if vma.vm_flags & VM_ACCOUNT:
        announce_flags(t, vma)
        write_onceu(&vma.vm_flags, vma.vm_flags & ~<uint32_t>VM_ACCOUNT)


cdef int64_t move_vma(Task *t, vm_area_struct *vma, uint64_t old_address, uint64_t old_length, uint64_t new_length,
                      uint64_t new_address, bint dontunmap) noexcept nogil:
    """Moves a part of vma. The source is not split before the final unmapping; a failure moves everything back, in
    the opposite direction and still upwards. The new address, or -ENOMEM.

    VM_ACCOUNT is hidden from the final unmapping in the kernel, which charged for the difference only, and put back on
    what stays. From 6.3 to 6.14 it was not put back on a part that begins at address 0, which was taken for none
    (937582ee8e8d); from 6.15 to 6.17 the source that MREMAP_DONTUNMAP leaves lost it as a whole (0e59f47c15ce). """
    cdef bint fresh = kernel_of(t).algorithm.ordering == ORDERING_FRESH_VMA
    cdef mm_struct *mm = vma.vm_mm
    cdef uint64_t pgoff = vma.vm_pgoff + ((old_address - vma.vm_start) >> PAGE_SHIFT)
    cdef pagetable_move_control pmc
    cdef vm_area_struct *new_vma
    cdef vm_area_struct *below
    cdef uint64_t moved
    cdef int64_t result = <int64_t>new_address
    if mm.map_count >= MAX_MAP_COUNT - 3:
        return -ENOMEM
    vma_start_write(t, vma)
    new_vma = copy_vma(t, &vma, new_address, new_length, pgoff, &pmc.need_rmap_locks)
    if new_vma == NULL:
        return -ENOMEM
    note(t, NOTE_MOVE, serial_of(vma), serial_of(new_vma), 0)
    # The new range is charged for as a whole, and what is unmapped below no longer.
    if vma.vm_flags & VM_ACCOUNT:
        mm.charged += <int32_t>(new_length >> PAGE_SHIFT)
    pmc.old = vma
    pmc.new = new_vma
    pmc.old_addr = old_address
    pmc.old_end = old_address + old_length
    pmc.new_addr = new_address
    moved = move_page_tables(t, &pmc)
    if moved < old_length:
        # The ptes travel against the order of the lists now, even where the destination was fresh.
        pmc = pagetable_move_control(old=new_vma, new=vma, old_addr=new_address, old_end=new_address + moved,
                                     new_addr=old_address,
                                     need_rmap_locks=order_destination(t, new_vma, vma, ARRIVES_BACK))
        note(t, NOTE_MOVE, serial_of(new_vma), serial_of(vma), 1)
        move_page_tables(t, &pmc)
        old_address = new_address
        old_length = new_length
        result = -ENOMEM
    elif dontunmap:
        # The source stays, empty, and if nothing else is in it the next fault gives it an anon_vma of its own (5.7).
        if new_vma != vma and vma.vm_start == old_address and vma.vm_end == old_address + old_length:
            unlink_anon_vmas(t, vma)
        if kernel_of(t).algorithm.dontunmap_uncharges:
            uncharge_flag(t, vma)
        if fresh:
            merge_afterwards(t, new_vma)
        return result
    # It can fail at the limit of vmas and where a split finds no memory; then the old range stays mapped, empty, and
    # the kernel corrects accounting.
    below = vma if result >= 0 and kernel_of(t).algorithm.uncharges_at_0 and vma.vm_start == 0 < old_address else NULL
    if do_munmap(t, mm, old_address, old_length, False) == 0 and below != NULL:
        uncharge_flag(t, below)
    if fresh and result >= 0:
        merge_afterwards(t, new_vma)
    return result
