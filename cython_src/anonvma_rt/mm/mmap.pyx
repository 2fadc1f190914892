"""The vmas of an mm (see mmap.pxd). Rules of merging and locking are those of Linux 3.1 to 3.3."""

from libc.errno cimport EINVAL, ENOMEM
from libc.stdint cimport int64_t, uint64_t

from anonvma_rt.engine.arena cimport arena_free
from anonvma_rt.engine.klist cimport INIT_LIST_HEAD, list_is_singular
from anonvma_rt.engine.task cimport OP_STORE, Task, note, point, violate
from anonvma_rt.mm.events cimport BUG_SELF_MERGE, NOTE_FRESH_VMA, NOTE_MERGE, NOTE_SPLIT, NOTE_VMA_GONE
from anonvma_rt.mm.memory cimport free_pgtables, must_alloc, zap_range
from anonvma_rt.mm.rmap cimport (
    anon_vma_clone,
    anon_vma_lock,
    anon_vma_moveto_tail,
    anon_vma_unlock,
    unlink_anon_vmas,
)
from anonvma_rt.mm.types cimport (
    BUG_ON,
    MAX_MAP_COUNT,
    PAGE_SHIFT,
    PAGE_SIZE,
    TYPE_VMA,
    anon_vma,
    kernel_of,
    mm_struct,
    serial_of,
    vm_area_struct,
)
from anonvma_rt.mm.vma_tree cimport vma_tree_erase, vma_tree_find, vma_tree_insert, vma_tree_last

cdef uint64_t TASK_SIZE = <uint64_t>1 << TASK_SIZE_SHIFT

cdef enum:
    # Left free below TASK_SIZE, as the stack is.
    PMD_GAP = 1 << 21


# ---- the list of an mm -------------------------------------------------------------------------------------------------


cdef vm_area_struct *find_vma(Task *t, mm_struct *mm, uint64_t address) noexcept nogil:
    """The first vma that ends above address, or NULL; mmap_sem is held."""
    cdef vm_area_struct *vma = mm.mmap_cache
    if vma != NULL and vma.vm_start <= address < vma.vm_end:
        return vma
    vma = vma_tree_find(mm, address)
    if vma != NULL:
        mm.mmap_cache = vma
    return vma


cdef vm_area_struct *find_vma_prev(Task *t, mm_struct *mm, uint64_t address) noexcept nogil:
    """The last vma that starts at or below `address` and is not the one that contains it, or NULL."""
    cdef vm_area_struct *vma = find_vma(t, mm, address)
    if vma != NULL:
        return vma.vm_prev
    return vma_tree_last(mm)


cdef vm_area_struct *vma_alloc(Task *t, mm_struct *mm, uint64_t start, uint64_t end, uint64_t pgoff) noexcept nogil:
    cdef vm_area_struct *vma = <vm_area_struct *>must_alloc(t, sizeof(vm_area_struct), TYPE_VMA)
    vma.vm_mm = mm
    vma.vm_start = start
    vma.vm_end = end
    vma.vm_pgoff = pgoff
    INIT_LIST_HEAD(&vma.anon_vma_chain)
    return vma


cdef void vma_link(mm_struct *mm, vm_area_struct *vma, vm_area_struct *prev) noexcept nogil:
    vma.vm_prev = prev
    vma.vm_next = prev.vm_next if prev != NULL else mm.mmap
    if prev != NULL:
        prev.vm_next = vma
    else:
        mm.mmap = vma
    if vma.vm_next != NULL:
        vma.vm_next.vm_prev = vma
    vma_tree_insert(mm, vma)
    mm.map_count += 1


cdef void vma_unlink(mm_struct *mm, vm_area_struct *vma) noexcept nogil:
    if vma.vm_prev != NULL:
        vma.vm_prev.vm_next = vma.vm_next
    else:
        mm.mmap = vma.vm_next
    if vma.vm_next != NULL:
        vma.vm_next.vm_prev = vma.vm_prev
    vma_tree_erase(mm, vma)
    mm.map_count -= 1
    mm.mmap_cache = NULL


cdef void vma_free(Task *t, vm_area_struct *vma) noexcept nogil:
    note(t, NOTE_VMA_GONE, serial_of(vma), 0, 0)
    arena_free(&t.x.arena, vma)


# ---- adjust and merge --------------------------------------------------------------------------------------------------


cdef void vma_adjust(Task *t, vm_area_struct *vma, uint64_t start, uint64_t end, uint64_t pgoff,
                     vm_area_struct *insert) noexcept nogil:
    """Gives vma a new range; swallows the next vma where the range covers it; links `insert`, its other half of a split.

    The root's mutex is taken only if anon_vmas are imported from the swallowed vma, or the start changes: growth at
    the end alone goes without (deliberate, for brk).
    """
    cdef mm_struct *mm = vma.vm_mm
    cdef vm_area_struct *next = vma.vm_next
    cdef vm_area_struct *swallowed = NULL
    cdef anon_vma *locked = NULL
    if insert == NULL and next != NULL and end >= next.vm_end:
        swallowed = next
        if next.anon_vma != NULL and vma.anon_vma == NULL:
            anon_vma_clone(t, vma, next)
            vma.anon_vma = next.anon_vma
    if vma.anon_vma != NULL and (swallowed != NULL or start != vma.vm_start):
        locked = vma.anon_vma
        anon_vma_lock(t, locked)
    if start != vma.vm_start:
        point(t, OP_STORE, &vma.vm_start)
        vma.vm_start = start
    if end != vma.vm_end:
        point(t, OP_STORE, &vma.vm_end)
        vma.vm_end = end
    if pgoff != vma.vm_pgoff:
        point(t, OP_STORE, &vma.vm_pgoff)
        vma.vm_pgoff = pgoff
    if swallowed != NULL:
        vma_unlink(mm, swallowed)
    elif insert != NULL:
        vma_link(mm, insert, vma.vm_prev if insert.vm_start < vma.vm_start else vma)
    mm.mmap_cache = NULL
    if locked != NULL:
        anon_vma_unlock(t, locked)
    if swallowed != NULL:
        if swallowed.anon_vma != NULL:
            unlink_anon_vmas(t, swallowed)
        vma_free(t, swallowed)


cdef bint mergeable_anon_vma(anon_vma *a, anon_vma *b, vm_area_struct *neighbour) noexcept nogil:
    """Whether a request with anon_vma `a` fits a neighbour with `b`. An empty chain is not singular, so an unfaulted
    neighbour never takes a faulted request (3.0 to 6.15)."""
    if (a == NULL or b == NULL) and (neighbour == NULL or list_is_singular(&neighbour.anon_vma_chain)):
        return True
    return a == b


cdef bint can_merge_after(vm_area_struct *prev, uint64_t address, anon_vma *av, uint64_t pgoff) noexcept nogil:
    return (
        prev != NULL
        and prev.vm_end == address
        and mergeable_anon_vma(av, prev.anon_vma, prev)
        and prev.vm_pgoff + vma_pages(prev) == pgoff
    )


cdef bint can_merge_before(vm_area_struct *next, uint64_t end, anon_vma *av, uint64_t pgoff_end) noexcept nogil:
    return (
        next != NULL
        and next.vm_start == end
        and mergeable_anon_vma(av, next.anon_vma, next)
        and next.vm_pgoff == pgoff_end
    )


cdef vm_area_struct *vma_merge(Task *t, mm_struct *mm, vm_area_struct *prev, uint64_t address, uint64_t end,
                               anon_vma *av, uint64_t pgoff) noexcept nogil:
    """Lets a neighbour grow over the free range [address, end), or returns NULL.

    Cases 1 (both neighbours), 2 (the one below) and 3 (the one above) of the table at vma_merge in mm/mmap.c.
    """
    cdef vm_area_struct *next = prev.vm_next if prev != NULL else mm.mmap
    cdef uint64_t pages = (end - address) >> PAGE_SHIFT
    cdef bint after = can_merge_after(prev, address, av, pgoff)
    cdef bint before = can_merge_before(next, end, av, pgoff + pages)
    if after and before and mergeable_anon_vma(prev.anon_vma, next.anon_vma, NULL):
        note(t, NOTE_MERGE, serial_of(prev), 1, prev.anon_vma != NULL or next.anon_vma != NULL)
        vma_adjust(t, prev, prev.vm_start, next.vm_end, prev.vm_pgoff, NULL)
        return prev
    if after:
        note(t, NOTE_MERGE, serial_of(prev), 2, 0)
        vma_adjust(t, prev, prev.vm_start, end, prev.vm_pgoff, NULL)
        return prev
    if before:
        note(t, NOTE_MERGE, serial_of(next), 3, next.anon_vma != NULL)
        vma_adjust(t, next, address, next.vm_end, next.vm_pgoff - pages, NULL)
        return next
    return NULL


# ---- copy --------------------------------------------------------------------------------------------------------------


cdef vm_area_struct *copy_vma(Task *t, vm_area_struct **source, uint64_t address, uint64_t length,
                              uint64_t pgoff) noexcept nogil:
    """The vma for a range that ptes of *source are about to move to: a neighbour that grew, or a fresh one.

    *source is replaced where the source itself grew ("merge with self"). 948f017b (3.3) moves the entries of a merged
    destination to the tail of their lists, because it may be older than the source; 3.2 does nothing about it.
    """
    cdef vm_area_struct *vma = source[0]
    cdef mm_struct *mm = vma.vm_mm
    cdef uint64_t source_start = vma.vm_start
    cdef bint faulted = vma.anon_vma != NULL
    cdef vm_area_struct *prev
    cdef vm_area_struct *new
    if not faulted:
        # No page has an index yet, so the one that merges best may be chosen.
        pgoff = address >> PAGE_SHIFT
    prev = find_vma_prev(t, mm, address)
    new = vma_merge(t, mm, prev, address, address + length, vma.anon_vma, pgoff)
    if new != NULL:
        if new.vm_start <= source_start < new.vm_end:
            # One vma has one pgoff, so a page cannot be valid at two of its addresses: the source had no pages.
            if kernel_of(t).algorithm.tail_after_merge and faulted:
                violate(t, BUG_ON, BUG_SELF_MERGE, serial_of(new), 0)
            source[0] = new
        elif kernel_of(t).algorithm.tail_after_merge:
            anon_vma_moveto_tail(t, new)
        return new
    new = vma_alloc(t, mm, vma.vm_start, vma.vm_end, vma.vm_pgoff)
    new.anon_vma = vma.anon_vma
    # Cloned before it is placed: for a moment a walk meets the source's range twice.
    anon_vma_clone(t, new, vma)
    point(t, OP_STORE, &new.vm_start)
    new.vm_start = address
    point(t, OP_STORE, &new.vm_end)
    new.vm_end = address + length
    point(t, OP_STORE, &new.vm_pgoff)
    new.vm_pgoff = pgoff
    vma_link(mm, new, prev)
    note(t, NOTE_FRESH_VMA, serial_of(new), <int64_t>address, serial_of(vma))
    return new


# ---- unmap and map -----------------------------------------------------------------------------------------------------


cdef void split_vma(Task *t, mm_struct *mm, vm_area_struct *vma, uint64_t address, bint new_below) noexcept nogil:
    """Makes two vmas of one, the new one below or above address. Between clone and adjust the two overlap.

    __split_vma, as do_munmap calls it: without a look at the limit of vmas.
    """
    cdef vm_area_struct *new
    new = vma_alloc(t, mm, vma.vm_start, vma.vm_end, vma.vm_pgoff)
    new.anon_vma = vma.anon_vma
    if new_below:
        new.vm_end = address
    else:
        new.vm_start = address
        new.vm_pgoff += (address - vma.vm_start) >> PAGE_SHIFT
    anon_vma_clone(t, new, vma)
    note(t, NOTE_SPLIT, serial_of(vma), serial_of(new), <int64_t>new.vm_start)
    if new_below:
        vma_adjust(t, vma, address, vma.vm_end, vma.vm_pgoff + ((address - new.vm_start) >> PAGE_SHIFT), new)
    else:
        vma_adjust(t, vma, vma.vm_start, address, vma.vm_pgoff, new)


cdef int do_munmap(Task *t, mm_struct *mm, uint64_t start, uint64_t length) noexcept nogil:
    """Unmaps [start, start + length); 0, -EINVAL for an unaligned or impossible range, -ENOMEM at the vma limit.

    Splits at both ends, zaps the ptes, takes the vmas off the reverse map, frees page tables nobody covers.
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
        split_vma(t, mm, vma, start, False)
        prev = vma
    last = find_vma(t, mm, end)
    if last != NULL and end > last.vm_start:
        split_vma(t, mm, last, end, True)
    detached = prev.vm_next if prev != NULL else mm.mmap
    vma = detached
    while vma != NULL and vma.vm_start < end:
        tail = vma
        vma_unlink(mm, vma)
        vma = vma.vm_next
    tail.vm_next = NULL
    floor = prev.vm_end if prev != NULL else 0
    ceiling = vma.vm_start if vma != NULL else TASK_SIZE
    last = detached
    while last != NULL:
        zap_range(t, mm, last.vm_start, last.vm_end)
        last = last.vm_next
    last = detached
    while last != NULL:
        unlink_anon_vmas(t, last)
        last = last.vm_next
    free_pgtables(t, mm, start, end, floor, ceiling)
    while detached != NULL:
        last = detached.vm_next
        vma_free(t, detached)
        detached = last
    return 0


cdef int64_t get_unmapped_area(mm_struct *mm, uint64_t length) noexcept nogil:
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


cdef int64_t do_mmap(Task *t, mm_struct *mm, int64_t at, uint64_t length) noexcept nogil:
    """Private anonymous memory at `at` (MAP_FIXED: what is there goes away), or anywhere where at is -1.

    Returns the address, -EINVAL for an unaligned address or no length, -ENOMEM outside TASK_SIZE and above
    the limit of vmas.
    """
    cdef uint64_t address
    cdef vm_area_struct *prev
    cdef int error
    if length == 0 or (at != -1 and at & (PAGE_SIZE - 1)):
        return -EINVAL
    if mm.map_count > MAX_MAP_COUNT:
        return -ENOMEM
    if length > TASK_SIZE or (at != -1 and <uint64_t>at > TASK_SIZE - length):
        return -ENOMEM
    if at == -1:
        at = get_unmapped_area(mm, length)
        if at < 0:
            return at
    address = <uint64_t>at
    error = do_munmap(t, mm, address, length)
    if error < 0:
        return error
    prev = find_vma_prev(t, mm, address)
    if vma_merge(t, mm, prev, address, address + length, NULL, address >> PAGE_SHIFT) == NULL:
        vma_link(mm, vma_alloc(t, mm, address, address + length, address >> PAGE_SHIFT), prev)
    return at
