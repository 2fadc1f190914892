"""Single vmas (see vma.pxd). Rules of merging and locking are those of Linux 3.1 to 3.3 unless the algorithm says so."""

from libc.errno cimport ENOMEM
from libc.stdint cimport int64_t, uint64_t

from anonvma_rt.engine.base.arena cimport arena_free
from anonvma_rt.engine.base.klist cimport INIT_LIST_HEAD, list_is_singular
from anonvma_rt.engine.base.operation cimport OP_STORE
from anonvma_rt.engine.base.os cimport write_link, write_once64
from anonvma_rt.engine.parallel.locks cimport guard, unguard
from anonvma_rt.engine.run.sync cimport lock_init
from anonvma_rt.engine.run.task cimport Task, note, point
from anonvma_rt.mm.anon_vma cimport anon_vma_lock, anon_vma_unlock
from anonvma_rt.mm.anon_vma_chain cimport anon_vma_clone, anon_vma_post_update, anon_vma_pre_update, unlink_anon_vmas
from anonvma_rt.mm.failslab cimport should_fail_alloc
from anonvma_rt.mm.hooks.notes cimport ALLOC_VMA, NOTE_MERGE, NOTE_RANGE, NOTE_SPLIT, NOTE_VMA_GONE
from anonvma_rt.mm.huge_memory cimport vma_adjust_trans_huge
from anonvma_rt.mm.mm_types cimport (
    MERGE_3_0,
    MERGE_6_16,
    MERGE_6_16_FORKED,
    MERGE_SYMMETRIC,
    PAGE_SHIFT,
    TYPE_VMA,
    anon_vma,
    kernel_of,
    mm_struct,
    serial_of,
    vm_area_struct,
    vma_pages,
)
from anonvma_rt.mm.pgtable cimport pgd_populate
from anonvma_rt.mm.slab cimport must_alloc
from anonvma_rt.mm.vma_tree cimport vma_tree_erase, vma_tree_insert


# ---- made and linked ---------------------------------------------------------------------------------------------------


cdef vm_area_struct *vma_alloc(Task *t, mm_struct *mm, uint64_t start, uint64_t end, uint64_t pgoff,
                               uint64_t flags) noexcept nogil:
    """NULL where there is no memory."""
    cdef vm_area_struct *vma
    if should_fail_alloc(t, ALLOC_VMA):
        return NULL
    vma = <vm_area_struct *>must_alloc(t, sizeof(vm_area_struct), TYPE_VMA)
    vma.vm_mm = mm
    vma.vm_start = start
    vma.vm_end = end
    vma.vm_pgoff = pgoff
    vma.vm_flags = flags
    lock_init(&vma.vm_lock, 0)
    INIT_LIST_HEAD(&vma.anon_vma_chain)
    pgd_populate(t, mm, start, end)
    return vma


cdef vm_area_struct *vma_duplicate(Task *t, vm_area_struct *vma, mm_struct *mm) noexcept nogil:
    """A copy of the structure with an empty chain, or NULL; it names the same anon_vma but is on no list yet."""
    cdef vm_area_struct *new = vma_alloc(t, mm, vma.vm_start, vma.vm_end, vma.vm_pgoff, vma.vm_flags)
    if new != NULL:
        new.anon_vma = vma.anon_vma
    return new


cdef void vma_link(Task *t, mm_struct *mm, vm_area_struct *vma, vm_area_struct *prev) noexcept nogil:
    vma.vm_prev = prev
    vma.vm_next = prev.vm_next if prev != NULL else mm.mmap
    if prev != NULL:
        prev.vm_next = vma
    else:
        mm.mmap = vma
    if vma.vm_next != NULL:
        vma.vm_next.vm_prev = vma
    if t.x.parallel:
        guard(t, &mm.tree_guard)
    vma_tree_insert(mm, vma)
    if t.x.parallel:
        unguard(&mm.tree_guard)
    mm.map_count += 1


cdef void vma_unlink(Task *t, mm_struct *mm, vm_area_struct *vma) noexcept nogil:
    if vma.vm_prev != NULL:
        vma.vm_prev.vm_next = vma.vm_next
    else:
        mm.mmap = vma.vm_next
    if vma.vm_next != NULL:
        vma.vm_next.vm_prev = vma.vm_prev
    if t.x.parallel:
        guard(t, &mm.tree_guard)
    vma_tree_erase(mm, vma)
    if t.x.parallel:
        unguard(&mm.tree_guard)
    mm.map_count -= 1
    write_link(&mm.mmap_cache, NULL)


cdef void vma_free(Task *t, vm_area_struct *vma) noexcept nogil:
    note(t, NOTE_VMA_GONE, serial_of(vma), 0, 0)
    arena_free(&t.x.arena, vma)


# ---- adjusted ----------------------------------------------------------------------------------------------------------


cdef void set_range(Task *t, vm_area_struct *vma, uint64_t start, uint64_t end, uint64_t pgoff) noexcept nogil:
    if start != vma.vm_start or pgoff != vma.vm_pgoff:
        note(t, NOTE_RANGE, serial_of(vma), <int64_t>start, <int64_t>pgoff)
    pgd_populate(t, vma.vm_mm, start, end)
    if start != vma.vm_start:
        point(t, OP_STORE, &vma.vm_start)
        write_once64(&vma.vm_start, start)
    if end != vma.vm_end:
        point(t, OP_STORE, &vma.vm_end)
        write_once64(&vma.vm_end, end)
    if pgoff != vma.vm_pgoff:
        point(t, OP_STORE, &vma.vm_pgoff)
        write_once64(&vma.vm_pgoff, pgoff)


cdef int import_anon_vma(Task *t, vm_area_struct *importer, vm_area_struct *exporter) noexcept nogil:
    """A vma that takes over pages of another one has to be on the lists of their anon_vmas first. 0, or -ENOMEM with the
    importer as it was."""
    if exporter.anon_vma == NULL or importer.anon_vma != NULL:
        return 0
    # Before the clone, or it would look for an anon_vma to reuse.
    importer.anon_vma = exporter.anon_vma
    return anon_vma_clone(t, importer, exporter)


cdef int vma_adjust(Task *t, vm_area_struct *vma, uint64_t start, uint64_t end, uint64_t pgoff,
                     vm_area_struct *insert) noexcept nogil:
    """Gives vma a new range, and its neighbour what follows from that: swallows the next one or two vmas where the range
    covers them, shifts the border with the next one, or links `insert`, the other half of a split.

    Up to 3.6 the root's lock is taken only if vma itself has an anon_vma and either imports pages or starts elsewhere:
    growth at the end alone goes without (deliberate, for brk), and so does a border shift of a vma without anon_vma, by
    mistake (Z22). Where vmas are in a tree their keys change, so it is always taken.

    0, or -ENOMEM where what has to be imported cannot be, with nothing changed. But up to 4.7 a vma that grows over two
    imports from the second when the first is gone already (mprotect's case 6; 734537c9cb72 looks ahead).
    """
    cdef mm_struct *mm = vma.vm_mm
    cdef bint tree = kernel_of(t).algorithm.tree
    cdef vm_area_struct *next = vma.vm_next if insert == NULL else NULL
    cdef vm_area_struct *importer = NULL
    cdef vm_area_struct *exporter = NULL
    cdef vm_area_struct *swallowed = NULL
    cdef anon_vma *locked = NULL
    cdef int64_t shift = 0
    cdef uint64_t last = end
    if next != NULL and end >= next.vm_end:
        # mprotect's case 6 covers two: the second one is swallowed in a turn of its own.
        swallowed = next
        end = next.vm_end
        importer = vma
        exporter = next
        if last > end and next.anon_vma == NULL and kernel_of(t).algorithm.import_ahead:
            exporter = next.vm_next
    elif next != NULL and end > next.vm_start:
        shift = <int64_t>(end - next.vm_start)
        importer = vma
        exporter = next
    elif next != NULL and next.vm_start == vma.vm_end and end < vma.vm_end:
        shift = -<int64_t>(vma.vm_end - end)
        importer = next
        exporter = vma
    if importer != NULL and import_anon_vma(t, importer, exporter) < 0:
        return -ENOMEM
    vma_adjust_trans_huge(t, vma, start, end, next if shift else NULL, shift)
    if tree:
        locked = vma.anon_vma
    elif vma.anon_vma != NULL and (importer != NULL or start != vma.vm_start):
        locked = vma.anon_vma
    if locked == NULL and shift and (tree or kernel_of(t).algorithm.shift_locks):
        locked = next.anon_vma
    if locked != NULL:
        anon_vma_lock(t, locked)
        if tree:
            anon_vma_pre_update(t, vma)
            if shift:
                anon_vma_pre_update(t, next)
    set_range(t, vma, start, end, pgoff)
    if shift:
        set_range(t, next, next.vm_start + shift, next.vm_end, next.vm_pgoff + (shift >> PAGE_SHIFT))
    if tree and locked != NULL:
        anon_vma_post_update(t, vma)
        if shift:
            anon_vma_post_update(t, next)
    if swallowed != NULL:
        vma_unlink(t, mm, swallowed)
    elif insert != NULL:
        vma_link(t, mm, insert, vma.vm_prev if insert.vm_start < vma.vm_start else vma)
    write_link(&mm.mmap_cache, NULL)
    if locked != NULL:
        anon_vma_unlock(t, locked)
    if swallowed != NULL:
        if swallowed.anon_vma != NULL:
            unlink_anon_vmas(t, swallowed)
        vma_free(t, swallowed)
    return vma_adjust(t, vma, start, last, pgoff, NULL) if last > end else 0


# ---- merged ------------------------------------------------------------------------------------------------------------


cdef bint forked(vm_area_struct *vma) noexcept nogil:
    return vma != NULL and vma.anon_vma != NULL and not list_is_singular(&vma.anon_vma_chain)


cdef bint mergeable_anon_vma(Task *t, anon_vma *a, vm_area_struct *source, vm_area_struct *neighbour) noexcept nogil:
    """Whether a request with anon_vma `a` fits a neighbour. `source`: the vma that has the pages, NULL where there is none.

    3.0 to 6.15: an empty chain is not singular, so an unfaulted neighbour never takes a faulted request. "symmetric"
    overlooks that. Since 6.16 it does, and is put on the lists of the source (879bca0a2c4f), unless the source was forked.
    """
    cdef anon_vma *b = neighbour.anon_vma
    cdef int rule = kernel_of(t).algorithm.merge
    if a == b:
        return True
    if a == NULL:
        return list_is_singular(&neighbour.anon_vma_chain)
    if b != NULL or rule == MERGE_3_0:
        return False
    return rule == MERGE_SYMMETRIC or rule == MERGE_6_16_FORKED or not forked(source)


cdef bint can_merge_after(Task *t, vm_area_struct *prev, uint64_t address, uint64_t flags, anon_vma *av, uint64_t pgoff,
                          vm_area_struct *source) noexcept nogil:
    return (
        prev != NULL
        and prev.vm_end == address
        and prev.vm_flags == flags
        and mergeable_anon_vma(t, av, source, prev)
        and prev.vm_pgoff + vma_pages(prev) == pgoff
    )


cdef bint can_merge_before(Task *t, vm_area_struct *next, uint64_t end, uint64_t flags, anon_vma *av, uint64_t pgoff_end,
                           vm_area_struct *source) noexcept nogil:
    return (
        next != NULL
        and next.vm_start == end
        and next.vm_flags == flags
        and mergeable_anon_vma(t, av, source, next)
        and next.vm_pgoff == pgoff_end
    )


cdef vm_area_struct *vma_merge(Task *t, mm_struct *mm, vm_area_struct *prev, uint64_t address, uint64_t end,
                               uint64_t flags, anon_vma *av, uint64_t pgoff,
                               vm_area_struct *source) noexcept nogil:
    """Lets neighbours grow over [address, end), or returns NULL: none fits, or there is no memory for it.

    The range is free (cases 1 to 3 of the table at vma_merge: mmap, brk, mremap) or belongs to one vma whose flags are
    about to become `flags` (4 to 8: mprotect), wholly or in part. `source`: the vma that the pages of a move come from,
    or which is there already; NULL where there are no pages.
    """
    cdef vm_area_struct *area = prev.vm_next if prev != NULL else mm.mmap
    cdef vm_area_struct *next = area
    cdef uint64_t pages = (end - address) >> PAGE_SHIFT
    cdef bint after
    cdef bint before
    cdef bint covered = next != NULL and next.vm_end == end
    if covered:
        next = next.vm_next
    after = can_merge_after(t, prev, address, flags, av, pgoff, source)
    before = can_merge_before(t, next, end, flags, av, pgoff + pages, source)
    if after and before and neighbours_fit(prev, next):
        note(t, NOTE_MERGE, serial_of(prev), 6 if covered else 1, prev.anon_vma != NULL or next.anon_vma != NULL)
        if duplicate_anon_vma(t, prev, source) < 0:
            return NULL
        return prev if vma_adjust(t, prev, prev.vm_start, next.vm_end, prev.vm_pgoff, NULL) == 0 else NULL
    if after:
        note(t, NOTE_MERGE, serial_of(prev), 7 if covered else 5 if area != NULL and area.vm_start < end else 2,
             prev.anon_vma != NULL and area != NULL and area.vm_start < end)
        if duplicate_anon_vma(t, prev, source) < 0:
            return NULL
        return prev if vma_adjust(t, prev, prev.vm_start, end, prev.vm_pgoff, NULL) == 0 else NULL
    if not before or duplicate_anon_vma(t, next, source) < 0:
        return NULL
    if prev != NULL and address < prev.vm_end:
        note(t, NOTE_MERGE, serial_of(next), 4, prev.anon_vma != NULL)
        return next if vma_adjust(t, prev, prev.vm_start, address, prev.vm_pgoff, NULL) == 0 else NULL
    if covered:
        # Case 8: `area` grows over next, which goes away.
        note(t, NOTE_MERGE, serial_of(area), 8, area.anon_vma != NULL or next.anon_vma != NULL)
        return area if vma_adjust(t, area, address, next.vm_end, next.vm_pgoff - pages, NULL) == 0 else NULL
    note(t, NOTE_MERGE, serial_of(next), 3, next.anon_vma != NULL)
    return next if vma_adjust(t, next, address, next.vm_end, next.vm_pgoff - pages, NULL) == 0 else NULL


cdef bint neighbours_fit(vm_area_struct *prev, vm_area_struct *next) noexcept nogil:
    """Whether both sides of a free range may become one: one of them unfaulted, or both of one anon_vma."""
    return prev.anon_vma == NULL or next.anon_vma == NULL or prev.anon_vma == next.anon_vma


cdef int duplicate_anon_vma(Task *t, vm_area_struct *target, vm_area_struct *source) noexcept nogil:
    """Since 6.16: an unfaulted neighbour that takes faulted pages is put on the lists of where they come from (for mremap
    only since 61f67c230a5e in 6.19; until then such a merge forgot it, Z13). 0 or -ENOMEM."""
    cdef int rule = kernel_of(t).algorithm.merge
    if source == NULL or target.anon_vma != NULL or (rule != MERGE_6_16 and rule != MERGE_6_16_FORKED):
        return 0
    return import_anon_vma(t, target, source)


# ---- split -------------------------------------------------------------------------------------------------------------


cdef int split_vma(Task *t, mm_struct *mm, vm_area_struct *vma, uint64_t address, bint new_below) noexcept nogil:
    """Makes two vmas of one, the new one below or above address. Between clone and adjust the two overlap.

    __split_vma: the limit of vmas is the caller's affair. 0, or -ENOMEM with nothing changed.
    """
    cdef vm_area_struct *new = vma_duplicate(t, vma, mm)
    if new == NULL:
        return -ENOMEM
    if new_below:
        new.vm_end = address
    else:
        new.vm_start = address
        new.vm_pgoff += (address - vma.vm_start) >> PAGE_SHIFT
    if anon_vma_clone(t, new, vma) < 0:
        vma_free(t, new)
        return -ENOMEM
    note(t, NOTE_SPLIT, serial_of(vma), serial_of(new), <int64_t>new.vm_start)
    if new_below:
        return vma_adjust(t, vma, address, vma.vm_end, vma.vm_pgoff + ((address - new.vm_start) >> PAGE_SHIFT), new)
    return vma_adjust(t, vma, vma.vm_start, address, vma.vm_pgoff, new)
