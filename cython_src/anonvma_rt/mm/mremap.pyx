"""Moving ptes from one vma to another, step by step as mm/mremap.c of Linux 3.2 does.

mmap_sem is held for writing for the whole call. The two page-table locks are nested, source outside; the reverse map
is not locked at all unless the algorithm says so, and that is what the race is about.
"""

from libc.errno cimport EFAULT, EINVAL, ENOMEM
from libc.stdint cimport int64_t, uint64_t

from anonvma_rt.engine.klist cimport list_cursor, list_for_each, list_step
from anonvma_rt.engine.sync cimport spin_lock, spin_lock_nested, spin_unlock, spin_unlock_nested, spinlock_t
from anonvma_rt.engine.task cimport Task, note, violate
from anonvma_rt.mm.events cimport (
    BUG_DESTINATION_NOT_NONE,
    BUG_ORDER,
    NOTE_ALLOC_FAILS,
    NOTE_CLEAR,
    NOTE_MOVE,
    NOTE_SET,
)
from anonvma_rt.mm.memory cimport (
    alloc_table,
    find_table,
    pte_lockptr,
    pte_offset,
    pte_read,
    ptep_get_and_clear,
    set_pte,
)
from anonvma_rt.mm.mmap cimport TASK_SIZE_SHIFT, copy_vma, do_munmap, find_vma, get_unmapped_area, vma_adjust
from anonvma_rt.mm.rmap cimport anon_vma_lock, anon_vma_moveto_tail, anon_vma_unlock
from anonvma_rt.mm.types cimport (
    BUG_ON,
    LATENCY_LIMIT,
    MAX_MAP_COUNT,
    PAGE_SHIFT,
    PAGE_SIZE,
    PMD_SIZE,
    PTE_NONE,
    algorithm,
    anon_vma,
    anon_vma_chain,
    avc_of_same_anon_vma,
    avc_of_same_vma,
    kernel_of,
    mm_struct,
    page_table,
    pte_t,
    serial_of,
    vm_area_struct,
)

cdef uint64_t TASK_SIZE = <uint64_t>1 << TASK_SIZE_SHIFT


cdef void move_ptes(Task *t, vm_area_struct *vma, page_table *old, uint64_t address, uint64_t end,
                    vm_area_struct *new_vma, page_table *new, uint64_t new_address) noexcept nogil:
    """Moves the ptes of one extent. Clear and set are one step to whoever takes either lock, two to whoever peeks."""
    cdef mm_struct *mm = vma.vm_mm
    cdef spinlock_t *old_ptl = pte_lockptr(t, mm, old)
    cdef spinlock_t *new_ptl = pte_lockptr(t, mm, new)
    cdef anon_vma *locked = vma.anon_vma if kernel_of(t).algorithm.rmap_locks else NULL
    cdef pte_t *ptep
    cdef pte_t *new_ptep
    cdef pte_t pte
    if locked != NULL:
        anon_vma_lock(t, locked)
    spin_lock(t, old_ptl)
    if new_ptl != old_ptl:
        spin_lock_nested(t, new_ptl, 1)
    while address < end:
        ptep = pte_offset(old, address)
        if pte_read(t, ptep) != PTE_NONE:
            pte = ptep_get_and_clear(t, ptep)
            note(t, NOTE_CLEAR, serial_of(vma), <int64_t>address, <int64_t>pte)
            new_ptep = pte_offset(new, new_address)
            if new_ptep[0] != PTE_NONE:
                violate(t, BUG_ON, BUG_DESTINATION_NOT_NONE, <int64_t>new_address, <int64_t>new_ptep[0])
            set_pte(t, new_ptep, pte)
            note(t, NOTE_SET, serial_of(new_vma), <int64_t>new_address, <int64_t>pte)
        address += PAGE_SIZE
        new_address += PAGE_SIZE
    if new_ptl != old_ptl:
        spin_unlock_nested(t, new_ptl, 1)
    spin_unlock(t, old_ptl)
    if locked != NULL:
        anon_vma_unlock(t, locked)


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


cdef void assert_order(Task *t, vm_area_struct *vma, vm_area_struct *new_vma) noexcept nogil:
    """Invariant I10: on every shared list the source stands before the destination. Only where it is promised."""
    cdef algorithm *a = &kernel_of(t).algorithm
    cdef list_cursor c
    cdef anon_vma_chain *avc
    if vma == new_vma or not (a.tail_after_merge and a.tail_before_move_back):
        return
    c = list_for_each(&new_vma.anon_vma_chain)
    while list_step(&c):
        avc = avc_of_same_vma(c.pos)
        if listed_after(avc.anon_vma, vma, new_vma):
            violate(t, BUG_ON, BUG_ORDER, serial_of(vma), serial_of(new_vma))


cdef uint64_t move_page_tables(Task *t, vm_area_struct *vma, uint64_t old_address, vm_area_struct *new_vma,
                               uint64_t new_address, uint64_t length, int64_t fail_after) noexcept nogil:
    """Moves the ptes of a range, upwards, in extents that cross no page-table border on either side and have at most
    LATENCY_LIMIT pages.

    Returns the bytes done: less than length where no page table could be had. fail_after: the allocation of a page
    table fails once that many extents were moved; -1 never.
    """
    cdef mm_struct *mm = vma.vm_mm
    cdef uint64_t start = old_address
    cdef uint64_t end = old_address + length
    cdef uint64_t extent
    cdef uint64_t left
    cdef int64_t moved = 0
    cdef page_table *old
    cdef page_table *new
    assert_order(t, vma, new_vma)
    while old_address < end:
        extent = (old_address | (PMD_SIZE - 1)) + 1 - old_address
        if extent > end - old_address:
            extent = end - old_address
        old = find_table(t, mm, old_address)
        if old != NULL:
            if 0 <= fail_after <= moved and find_table(t, mm, new_address) == NULL:
                note(t, NOTE_ALLOC_FAILS, <int64_t>new_address, 0, 0)
                break
            new = alloc_table(t, mm, new_address)
            left = (new_address | (PMD_SIZE - 1)) + 1 - new_address
            if extent > left:
                extent = left
            if extent > LATENCY_LIMIT * PAGE_SIZE:
                extent = LATENCY_LIMIT * PAGE_SIZE
            move_ptes(t, vma, old, old_address, old_address + extent, new_vma, new, new_address)
            moved += 1
        old_address += extent
        new_address += extent
    return old_address - start


cdef int64_t move_vma(Task *t, vm_area_struct *vma, uint64_t old_address, uint64_t old_length, uint64_t new_length,
                      uint64_t new_address, int64_t fail_after) noexcept nogil:
    """Moves a part of vma. The source is not split before the final unmapping; a failure moves everything back, in
    the opposite direction and still upwards."""
    cdef mm_struct *mm = vma.vm_mm
    cdef uint64_t pgoff = vma.vm_pgoff + ((old_address - vma.vm_start) >> PAGE_SHIFT)
    cdef vm_area_struct *new_vma
    cdef uint64_t moved
    cdef int64_t result = <int64_t>new_address
    if mm.map_count >= MAX_MAP_COUNT - 3:
        return -ENOMEM
    new_vma = copy_vma(t, &vma, new_address, new_length, pgoff)
    note(t, NOTE_MOVE, serial_of(vma), serial_of(new_vma), 0)
    moved = move_page_tables(t, vma, old_address, new_vma, new_address, old_length, fail_after)
    if moved < old_length:
        # The ptes travel against the order of the lists now, even where the destination was fresh.
        if kernel_of(t).algorithm.tail_before_move_back:
            anon_vma_moveto_tail(t, vma)
        note(t, NOTE_MOVE, serial_of(new_vma), serial_of(vma), 1)
        move_page_tables(t, new_vma, new_address, vma, old_address, moved, -1)
        old_address = new_address
        old_length = new_length
        result = -ENOMEM
    # It can fail at the limit of vmas only; then the old range stays mapped, empty, and the kernel corrects accounting.
    do_munmap(t, mm, old_address, old_length)
    return result


cdef vm_area_struct *vma_to_resize(Task *t, mm_struct *mm, uint64_t address, uint64_t old_length) noexcept nogil:
    """The one vma that holds the whole range, or NULL (-EFAULT)."""
    cdef vm_area_struct *vma = find_vma(t, mm, address)
    if vma == NULL or vma.vm_start > address or old_length > vma.vm_end - address:
        return NULL
    return vma


cdef int64_t mremap_to(Task *t, mm_struct *mm, uint64_t address, uint64_t old_length, uint64_t to,
                       uint64_t new_length, int64_t fail_after) noexcept nogil:
    """MREMAP_FIXED: whatever is at the destination is unmapped first, even if the call fails later."""
    cdef vm_area_struct *vma
    cdef int error
    if to & (PAGE_SIZE - 1) or new_length > TASK_SIZE or to > TASK_SIZE - new_length:
        return -EINVAL
    # Two questions, as in the kernel: where old_length is 0, one condition for both would let to == address pass.
    if (to <= address and address < to + new_length) or (address <= to and to < address + old_length):
        return -EINVAL
    error = do_munmap(t, mm, to, new_length)
    if error < 0:
        return error
    if old_length >= new_length:
        if old_length > new_length:
            error = do_munmap(t, mm, address + new_length, old_length - new_length)
            if error < 0:
                return error
        old_length = new_length
    vma = vma_to_resize(t, mm, address, old_length)
    if vma == NULL:
        return -EFAULT
    return move_vma(t, vma, address, old_length, new_length, to, fail_after)


cdef int64_t do_mremap(Task *t, mm_struct *mm, uint64_t address, uint64_t old_length, uint64_t new_length, int64_t to,
                       bint maymove, int64_t fail_after) noexcept nogil:
    """The system call, with mmap_sem held for writing. Lengths in bytes; to: -1 unless MREMAP_FIXED.

    Returns the new address, or -EINVAL, -EFAULT, -ENOMEM.
    """
    cdef vm_area_struct *vma
    cdef uint64_t end
    cdef int64_t new_address
    cdef int error
    if address & (PAGE_SIZE - 1) or new_length == 0 or address > TASK_SIZE or new_length > TASK_SIZE:
        return -EINVAL
    if to != -1:
        if not maymove:
            return -EINVAL
        return mremap_to(t, mm, address, old_length, <uint64_t>to, new_length, fail_after)
    if old_length >= new_length:
        if old_length > new_length:
            error = do_munmap(t, mm, address + new_length, old_length - new_length)
            if error < 0:
                return error
        return <int64_t>address
    vma = vma_to_resize(t, mm, address, old_length)
    if vma == NULL:
        return -EFAULT
    end = address + new_length
    if address + old_length == vma.vm_end and end <= TASK_SIZE and (vma.vm_next == NULL or vma.vm_next.vm_start >= end):
        vma_adjust(t, vma, vma.vm_start, end, vma.vm_pgoff, NULL)
        return <int64_t>address
    if not maymove:
        return -ENOMEM
    new_address = get_unmapped_area(mm, new_length)
    if new_address < 0:
        return new_address
    return move_vma(t, vma, address, old_length, new_length, <uint64_t>new_address, fail_after)
