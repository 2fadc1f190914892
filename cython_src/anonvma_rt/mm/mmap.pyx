"""The vmas of an mm (see mmap.pxd). Rules are those of Linux 3.1 to 3.3 unless the algorithm says so."""

from libc.errno cimport EINVAL, ENOMEM
from libc.stdint cimport int32_t, int64_t, uint64_t

from anonvma_rt.engine.base.operation cimport OP_STORE
from anonvma_rt.engine.base.os cimport write_once64
from anonvma_rt.engine.run.sync cimport down_read, down_write, spin_lock, spin_unlock, up_read
from anonvma_rt.engine.run.task cimport Task, note, point, violate
from anonvma_rt.mm.anon_vma cimport anon_vma_lock, anon_vma_unlock
from anonvma_rt.mm.anon_vma_chain cimport (
    anon_vma_clone, anon_vma_moveto_tail, anon_vma_post_update, anon_vma_pre_update, anon_vma_prepare, unlink_anon_vmas,
)
from anonvma_rt.mm.hooks.notes cimport BUG_ON, BUG_SELF_MERGE, NOTE_FRESH_VMA
from anonvma_rt.mm.hooks.rule cimport ARRIVES_BACK, ARRIVES_FRESH, ARRIVES_MERGED
from anonvma_rt.mm.free_pgtables cimport free_pgtables
from anonvma_rt.mm.memory cimport unmap_page_range
from anonvma_rt.mm.mm_types cimport (
    ALIGNED_6_8, ALIGNED_NO, MAX_MAP_COUNT, ORDERING_FRESH_VMA, ORDERING_NEED_RMAP_LOCKS, ORDERING_RMAP_LOCKS,
    ORDERING_STRICT_RMAP_LOCKS, ORDERING_TAIL, ORDERING_TAIL_AFTER_MERGE, PAGE_SHIFT, PAGE_SIZE, PMD_SIZE, VM_ACCOUNT,
    VM_FILE, VM_GROWSDOWN, VM_NORESERVE, VM_WRITE, algorithm, anon_vma, kernel_of, member_of, mm_struct, mmu_gather,
    rule_hook, serial_of, start_of, vm_area_struct, vma_pages,
)
from anonvma_rt.mm.mmu_gather cimport tlb_finish_mmu, tlb_gather_mmu
from anonvma_rt.mm.pgtable cimport pgd_populate
from anonvma_rt.mm.vma cimport (
    set_range, split_vma, vma_alloc, vma_duplicate, vma_free, vma_link, vma_merge, vma_merge_struct, vma_unlink,
)
from anonvma_rt.mm.vma_lock cimport mmap_write_downgrade, vma_start_write
from anonvma_rt.mm.vma_tree cimport find_vma, find_vma_prev, vma_tree_last

cdef uint64_t TASK_SIZE = <uint64_t>1 << TASK_SIZE_SHIFT

cdef enum:
    # Between a stack that grows and what is below it, in bytes; and the largest stack, as RLIMIT_STACK usually is.
    STACK_GUARD_GAP = 256 << 12
    STACK_LIMIT = 8 << 20
    # Left free below TASK_SIZE, as the stack is.
    PMD_GAP = 1 << 21


# ---- copy ------------------------------------------------------------------------------------------------------------


cdef vm_area_struct *clone_at(Task *t, vm_area_struct *vma, vm_area_struct *prev, uint64_t address, uint64_t length,
                              uint64_t pgoff) noexcept nogil:
    """A fresh vma for pages of `vma` at another place, or NULL.

    Up to 3.6 it is cloned before it is placed, so for a moment a walk meets the source's range twice. In a tree it
    would be put in under the source's key, so since 3.7 (523d4e2008fd) it is placed first.
    """
    cdef vm_area_struct *new = vma_duplicate(t, vma, vma.vm_mm)
    cdef bint placed = kernel_of(t).algorithm.place_before_clone
    if new == NULL:
        return NULL
    if not placed and anon_vma_clone(t, new, vma) < 0:
        vma_free(t, new)
        return NULL
    pgd_populate(t, new.vm_mm, address, address + length)
    point(t, OP_STORE, member_of(t, &new.vm_start))
    write_once64(&new.vm_start, address)
    point(t, OP_STORE, member_of(t, &new.vm_end))
    write_once64(&new.vm_end, address + length)
    point(t, OP_STORE, member_of(t, &new.vm_pgoff))
    write_once64(&new.vm_pgoff, pgoff)
    if placed and anon_vma_clone(t, new, vma) < 0:
        vma_free(t, new)
        return NULL
    vma_link(t, vma.vm_mm, new, prev)
    note(t, NOTE_FRESH_VMA, serial_of(new), <int64_t>address, serial_of(vma))
    return new


cdef bint order_destination(Task *t, vm_area_struct *source, vm_area_struct *destination, int arrival) noexcept nogil:
    """What mremap does about the order in which a walk meets source and destination; asked before any pte moves.

    Whether ptes have to move under the root's lock, after the order of the lists is what the algorithm wants."""
    cdef rule_hook *own = &kernel_of(t).rule
    cdef int ordering = kernel_of(t).algorithm.ordering
    if own.rule != NULL:
        return own.place(own.rule, t, source, destination, arrival)
    if ordering == ORDERING_RMAP_LOCKS:
        return True
    if arrival == ARRIVES_FRESH:
        return False
    if ordering == ORDERING_TAIL or (ordering == ORDERING_TAIL_AFTER_MERGE and arrival == ARRIVES_MERGED):
        anon_vma_moveto_tail(t, destination)
    if ordering == ORDERING_STRICT_RMAP_LOCKS:
        return arrival == ARRIVES_BACK or destination.vm_pgoff < source.vm_pgoff
    if ordering != ORDERING_NEED_RMAP_LOCKS:
        return False
    # "<" would do, because vma_adjust puts back what it changes behind its equals. Nobody compares on the way back.
    return arrival == ARRIVES_BACK or destination.vm_pgoff <= source.vm_pgoff


cdef vm_area_struct *copy_vma(Task *t, vm_area_struct **source, uint64_t address, uint64_t length, uint64_t pgoff,
                              bint *need_rmap_locks) noexcept nogil:
    """The vma for a range that ptes of *source are about to move to: a neighbour that grew, or a fresh one, or NULL.

    *source is replaced where the source itself grew ("merge with self"). 948f017b (3.3) moves the entries of a merged
    destination to the tail of their lists, because it may be older than the source; 3.2 does nothing about it; 3.7
    (38a76013ad80) says that ptes must move under the anon_vma lock where the tree has the destination first.
    """
    cdef vm_area_struct *vma = source[0]
    cdef mm_struct *mm = vma.vm_mm
    cdef uint64_t source_start = vma.vm_start
    cdef bint faulted = vma.anon_vma != NULL
    cdef int ordering = kernel_of(t).algorithm.ordering
    cdef vm_area_struct *prev
    cdef vm_area_struct *new = NULL
    cdef vma_merge_struct vmg
    if not faulted and not vma.vm_flags & VM_FILE:
        # No page has an index yet, so the one that merges best may be chosen.
        pgoff = address >> PAGE_SHIFT
    prev = find_vma_prev(t, mm, address)
    if ordering != ORDERING_FRESH_VMA:
        vmg = vma_merge_struct(mm=mm, prev=prev, start=address, end=address + length, pgoff=pgoff, flags=vma.vm_flags,
                               anon_vma=vma.anon_vma, source=vma, copied=True)
        new = vma_merge(t, &vmg)
    if new == NULL:
        new = clone_at(t, vma, prev, address, length, pgoff)
        if new != NULL:
            need_rmap_locks[0] = order_destination(t, vma, new, ARRIVES_FRESH)
        return new
    if new.vm_start <= source_start < new.vm_end:
        # One vma has one pgoff, so a page cannot be valid at two of its addresses: the source had no pages.
        if (ordering == ORDERING_TAIL or ordering == ORDERING_TAIL_AFTER_MERGE) and faulted:
            violate(t, BUG_ON, BUG_SELF_MERGE, serial_of(new), 0)
        source[0] = new
        need_rmap_locks[0] = (
            ordering == ORDERING_RMAP_LOCKS
            or ordering == ORDERING_NEED_RMAP_LOCKS
            or ordering == ORDERING_STRICT_RMAP_LOCKS
        )
    else:
        need_rmap_locks[0] = order_destination(t, vma, new, ARRIVES_MERGED)
    return new


# ---- stacks ----------------------------------------------------------------------------------------------------------


cdef int expand_downwards(Task *t, vm_area_struct *vma, uint64_t address) noexcept nogil:
    """A stack grows down to the page of an address. 0, or -ENOMEM: another mapping is nearer than stack_guard_gap, the
    stack would be larger than RLIMIT_STACK usually is, or there is no memory.

    mmap_sem is held, and up to 6.4 for reading: the root's lock keeps others who grow out, and walkers, but nobody who
    asks for the index of a page. The gap is that of 4.12 and later; before, the lowest page of a stack was its guard.
    page_table_lock, which is for the gaps of the vma tree since 3.8, is taken in every release.
    """
    cdef vm_area_struct *prev = vma.vm_prev
    cdef bint tree = kernel_of(t).algorithm.tree
    cdef anon_vma *locked
    cdef uint64_t grow
    cdef int error = -ENOMEM
    address &= ~<uint64_t>(PAGE_SIZE - 1)
    if prev != NULL and not prev.vm_flags & VM_GROWSDOWN and address - prev.vm_end < STACK_GUARD_GAP:
        return -ENOMEM
    if anon_vma_prepare(t, vma) < 0:
        return -ENOMEM
    if kernel_of(t).algorithm.exclusive_growth:
        # Since 6.5, too (c137381f71ae).
        vma_start_write(t, vma)
    locked = vma.anon_vma
    anon_vma_lock(t, locked)
    grow = (vma.vm_start - address) >> PAGE_SHIFT
    if address >= vma.vm_start:
        error = 0
    elif vma.vm_end - address <= STACK_LIMIT and grow <= vma.vm_pgoff:
        error = 0
        spin_lock(t, &vma.vm_mm.page_table_lock)
        if tree:
            anon_vma_pre_update(t, vma)
        set_range(t, vma, address, vma.vm_end, vma.vm_pgoff - grow)
        if tree:
            anon_vma_post_update(t, vma)
        if vma.vm_flags & VM_ACCOUNT:
            vma.vm_mm.charged += <int32_t>grow
        spin_unlock(t, &vma.vm_mm.page_table_lock)
    anon_vma_unlock(t, locked)
    return error


cdef inline bint is_below_stack(Task *t, vm_area_struct *vma, uint64_t address) noexcept nogil:
    return vma != NULL and vma.vm_flags & VM_GROWSDOWN and address < start_of(t, vma)


cdef vm_area_struct *lock_mm_and_find_vma(Task *t, mm_struct *mm, uint64_t address) noexcept nogil:
    """find_vma() of a fault, which takes mmap_sem for reading and lets a stack grow: for that alone it holds mmap_sem
    for writing since 6.5 (8d7071af8907). NULL where the stack cannot."""
    cdef vm_area_struct *vma
    cdef int error = 0
    down_read(t, &mm.mmap_sem)
    vma = find_vma(t, mm, address)
    if not is_below_stack(t, vma, address):
        return vma
    if not kernel_of(t).algorithm.exclusive_growth:
        return vma if expand_downwards(t, vma, address) == 0 else NULL
    up_read(t, &mm.mmap_sem)
    down_write(t, &mm.mmap_sem)
    vma = find_vma(t, mm, address)
    if is_below_stack(t, vma, address):
        error = expand_downwards(t, vma, address)
    mmap_write_downgrade(t, mm)
    return vma if error == 0 else NULL


# ---- unmap and map ---------------------------------------------------------------------------------------------------


cdef void unmap_region(Task *t, vm_area_struct *detached, uint64_t floor, uint64_t ceiling,
                       bint met) noexcept nogil:
    """Ends a row of vmas that are linked by vm_next and belong to no mm any more: ptes first, then the reverse map,
    then the page tables between floor and ceiling, then the vmas."""
    cdef mm_struct *mm = detached.vm_mm
    cdef vm_area_struct *vma = detached
    cdef uint64_t start = detached.vm_start
    cdef uint64_t end = start
    cdef mmu_gather gathered
    cdef mmu_gather *tlb = tlb_gather_mmu(t, &gathered, mm)
    while vma != NULL:
        unmap_page_range(t, tlb, vma, vma.vm_start, vma.vm_end)
        end = vma.vm_end
        vma = vma.vm_next
    vma = detached
    while vma != NULL:
        unlink_anon_vmas(t, vma)
        vma = vma.vm_next
    free_pgtables(t, mm, start, end, floor, ceiling, met)
    tlb_finish_mmu(t, tlb, start, end)
    while detached != NULL:
        vma = detached.vm_next
        vma_free(t, detached)
        detached = vma


cdef bint may_downgrade(Task *t, vm_area_struct *next) noexcept nogil:
    """Whether others may come while what is before `next` is unmapped. Not if it is a stack, which would grow into
    the page tables that are being freed: since 5.8 (246c320a8cfe)."""
    cdef algorithm *a = &kernel_of(t).algorithm
    return a.munmap_downgrades and (a.downgrade_beside_stack or next == NULL or not next.vm_flags & VM_GROWSDOWN)


cdef int do_munmap(Task *t, mm_struct *mm, uint64_t start, uint64_t length, bint downgrade) noexcept nogil:
    """Unmaps [start, start + length); 0, -EINVAL for an unaligned or impossible range, -ENOMEM at the vma limit and
    where a split finds no memory: nothing is unmapped then, though the first of two splits may stay.

    Splits at both ends, zaps the ptes, takes the vmas off the reverse map, frees page tables nobody covers. downgrade:
    all that comes behind the splits needs mmap_sem for reading only, and since 4.20 has it so (dd2283f2605e): who calls
    gives back what is held then (mmap_unlock).
    """
    cdef uint64_t end = start + length
    cdef vm_area_struct *vma
    cdef vm_area_struct *prev
    cdef vm_area_struct *last
    cdef vm_area_struct *detached
    cdef vm_area_struct *tail = NULL
    cdef uint64_t floor
    cdef uint64_t ceiling
    if start & (PAGE_SIZE - 1) or start > TASK_SIZE or length > TASK_SIZE - start or length == 0:
        return -EINVAL
    vma = find_vma(t, mm, start)
    if vma == NULL or vma.vm_start >= end:
        return 0
    prev = vma.vm_prev
    if start > vma.vm_start:
        if end < vma.vm_end and mm.map_count >= MAX_MAP_COUNT:
            return -ENOMEM
        if split_vma(t, mm, vma, start, False) < 0:
            return -ENOMEM
        prev = vma
    last = find_vma(t, mm, end)
    if last != NULL and end > last.vm_start and split_vma(t, mm, last, end, True) < 0:
        return -ENOMEM
    detached = prev.vm_next if prev != NULL else mm.mmap
    vma = detached
    while vma != NULL and vma.vm_start < end:
        tail = vma
        vma_unlink(t, mm, vma)
        if vma.vm_flags & VM_ACCOUNT:
            mm.charged -= <int32_t>vma_pages(vma)
        vma = vma.vm_next
    tail.vm_next = NULL
    floor = prev.vm_end if prev != NULL else 0
    ceiling = vma.vm_start if vma != NULL else TASK_SIZE
    downgrade = downgrade and may_downgrade(t, vma)
    if downgrade:
        mmap_write_downgrade(t, mm)
    unmap_region(t, detached, floor, ceiling, downgrade and vma != NULL and vma.vm_flags & VM_GROWSDOWN)
    return 0


cdef int64_t highest_gap(mm_struct *mm, uint64_t length) noexcept nogil:
    """The highest gap that fits below TASK_SIZE (top-down, as x86 does), or -ENOMEM."""
    cdef uint64_t top = TASK_SIZE - PMD_GAP
    cdef vm_area_struct *vma = vma_tree_last(mm)
    while True:
        if vma == NULL:
            return <int64_t>(top - length) if length + PAGE_SIZE <= top else -ENOMEM
        if vma.vm_end <= top and top - vma.vm_end >= length:
            return <int64_t>(top - length)
        if vma.vm_start < top:
            top = vma.vm_start
        vma = vma.vm_prev


cdef int64_t get_unmapped_area(Task *t, mm_struct *mm, uint64_t length) noexcept nogil:
    """Where a mapping of no given address goes, or -ENOMEM. Since 6.7 (efa7df3e3bb5) one that may hold a huge page
    begins where one can, if there is a gap that is longer by that much; since 6.12 (d4148aeab412) only one that is as
    long as some huge pages."""
    cdef int32_t aligned = kernel_of(t).algorithm.aligned
    cdef int64_t at
    if aligned != ALIGNED_NO and length >= PMD_SIZE and (aligned == ALIGNED_6_8 or not length & (PMD_SIZE - 1)):
        at = highest_gap(mm, length + PMD_SIZE)
        if at >= 0:
            return (at + PMD_SIZE) & ~<int64_t>(PMD_SIZE - 1)
    return highest_gap(mm, length)


cdef int map_area(Task *t, mm_struct *mm, uint64_t address, uint64_t length, uint64_t flags) noexcept nogil:
    """A free range becomes private anonymous memory: of a neighbour that grows, or of a new vma. 0 or -ENOMEM."""
    cdef vm_area_struct *prev = find_vma_prev(t, mm, address)
    cdef uint64_t pgoff = address >> PAGE_SHIFT
    cdef vma_merge_struct vmg
    cdef vm_area_struct *vma
    if flags & (VM_WRITE | VM_NORESERVE) == VM_WRITE:
        flags |= VM_ACCOUNT
    vmg = vma_merge_struct(mm=mm, prev=prev, start=address, end=address + length, pgoff=pgoff, flags=flags,
                           anon_vma=NULL, source=NULL, copied=False)
    if vma_merge(t, &vmg) == NULL:
        vma = vma_alloc(t, mm, address, address + length, pgoff, flags)
        if vma == NULL:
            return -ENOMEM
        vma_link(t, mm, vma, prev)
    if flags & VM_ACCOUNT:
        mm.charged += <int32_t>(length >> PAGE_SHIFT)
    return 0


cdef int64_t do_mmap(Task *t, mm_struct *mm, int64_t at, uint64_t length, uint64_t flags) noexcept nogil:
    """Private anonymous memory at `at` (MAP_FIXED: what is there goes away), or anywhere where at is -1.

    flags: VM_*. Returns the address, -EINVAL for no length, -ENOMEM outside TASK_SIZE and above the limit of vmas,
    -EINVAL for an unaligned address, and -ENOMEM where there is no memory: what was there is gone then.
    """
    cdef int error
    if length == 0:
        return -EINVAL
    if length > TASK_SIZE or (at != -1 and <uint64_t>at > TASK_SIZE - length) or mm.map_count > MAX_MAP_COUNT:
        return -ENOMEM
    if at != -1 and at & (PAGE_SIZE - 1):
        return -EINVAL
    if at == -1:
        at = get_unmapped_area(t, mm, length)
        if at < 0:
            return at
    error = do_munmap(t, mm, <uint64_t>at, length, False)
    if error < 0:
        return error
    error = map_area(t, mm, <uint64_t>at, length, flags)
    return at if error == 0 else error


cdef int64_t do_brk(Task *t, mm_struct *mm, uint64_t address, uint64_t length, uint64_t flags) noexcept nogil:
    """The heap grows from `address` by length: the vma that ends there is extended at its end, without the root's lock,
    or a new one begins. Returns the new break, -EINVAL, or -ENOMEM where something is mapped up to a page behind it."""
    cdef uint64_t end = address + length
    cdef vm_area_struct *vma
    if address & (PAGE_SIZE - 1) or length == 0:
        return -EINVAL
    if length > TASK_SIZE or address > TASK_SIZE - length or mm.map_count > MAX_MAP_COUNT:
        return -ENOMEM
    vma = find_vma(t, mm, address)
    if vma != NULL and vma.vm_start < end + PAGE_SIZE:
        return -ENOMEM
    return <int64_t>end if map_area(t, mm, address, length, flags) == 0 else -ENOMEM
