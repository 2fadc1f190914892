"""Single vmas (see vma.pxd). Rules of merging and locking are those of Linux 3.1 to 3.3 unless the algorithm says
so."""

from libc.errno cimport ENOMEM
from libc.stdint cimport int64_t, uint32_t, uint64_t

from anonvma_rt.engine.base.arena cimport arena_free
from anonvma_rt.engine.base.klist cimport INIT_LIST_HEAD, list_is_singular
from anonvma_rt.engine.base.operation cimport OP_LOAD, OP_STORE
from anonvma_rt.engine.base.os cimport write_once64
from anonvma_rt.engine.parallel.locks cimport guard, unguard
from anonvma_rt.engine.run.sync cimport lock_init
from anonvma_rt.engine.run.task cimport Task, note, point
from anonvma_rt.mm.anon_vma cimport anon_vma_lock, anon_vma_unlock
from anonvma_rt.mm.anon_vma_chain cimport anon_vma_clone, anon_vma_post_update, anon_vma_pre_update, unlink_anon_vmas
from anonvma_rt.mm.failslab cimport should_fail_alloc
from anonvma_rt.mm.hooks.notes cimport ALLOC_VMA, NOTE_MERGE, NOTE_RANGE, NOTE_SPLIT, NOTE_VMA_GONE
from anonvma_rt.mm.mm_types cimport (
    MERGE_3_0, MERGE_6_16, MERGE_6_16_FORKED, MERGE_6_16_UNREPAIRED, MERGE_SYMMETRIC, PAGE_SHIFT, TYPE_VMA, algorithm,
    announce_tree, announce_vmas, anon_vma, by_sequence, kernel_of, member_of, mm_struct, protection_of, serial_of,
    vm_area_struct, vma_pages,
)
from anonvma_rt.mm.pgtable cimport pgd_populate
from anonvma_rt.mm.slab cimport must_alloc
from anonvma_rt.mm.split_huge_page cimport vma_adjust_trans_huge
from anonvma_rt.mm.vma_lock cimport (
    import_unlocked, locked_vma_alloc, locked_vma_free, rekey, set_key, vma_mark_attached, vma_mark_detached,
    vma_start_write,
)
from anonvma_rt.mm.vma_tree cimport vma_tree_erase, vma_tree_insert


# ---- made and linked -------------------------------------------------------------------------------------------------


cdef vm_area_struct *vma_alloc(Task *t, mm_struct *mm, uint64_t start, uint64_t end, uint64_t pgoff,
                               uint64_t flags) noexcept nogil:
    """NULL where there is no memory."""
    cdef vm_area_struct *vma
    if should_fail_alloc(t, ALLOC_VMA):
        return NULL
    if by_sequence(t):
        vma = locked_vma_alloc(t)
    else:
        vma = <vm_area_struct *>must_alloc(t, sizeof(vm_area_struct), TYPE_VMA)
    vma.vm_mm = mm
    vma.vm_start = start
    vma.vm_end = end
    vma.vm_pgoff = pgoff
    vma.vm_flags = <uint32_t>flags
    vma.vm_page_prot = protection_of(flags)
    lock_init(&vma.vm_lock, 0)
    INIT_LIST_HEAD(&vma.anon_vma_chain)
    pgd_populate(t, mm, start, end)
    return vma


cdef vm_area_struct *vma_duplicate(Task *t, vm_area_struct *vma, mm_struct *mm) noexcept nogil:
    """A copy of the structure with an empty chain, or NULL; it names the same anon_vma but is on no list yet."""
    cdef vm_area_struct *new = vma_alloc(t, mm, vma.vm_start, vma.vm_end, vma.vm_pgoff, vma.vm_flags)
    announce_vmas(t, OP_LOAD)
    if new != NULL:
        new.anon_vma = vma.anon_vma
    return new


cdef void vma_link(Task *t, mm_struct *mm, vm_area_struct *vma, vm_area_struct *prev) noexcept nogil:
    vma_mark_attached(t, vma)
    announce_tree(t, mm, OP_STORE)
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
    set_key(t, vma)
    vma_tree_insert(mm, vma)
    if t.x.parallel:
        unguard(&mm.tree_guard)
    mm.map_count += 1


cdef void vma_unlink(Task *t, mm_struct *mm, vm_area_struct *vma) noexcept nogil:
    vma_start_write(t, vma)
    announce_tree(t, mm, OP_STORE)
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
    vma_mark_detached(t, vma)


cdef void vma_free(Task *t, vm_area_struct *vma) noexcept nogil:
    announce_vmas(t, OP_STORE)
    note(t, NOTE_VMA_GONE, serial_of(vma), 0, 0)
    if by_sequence(t):
        locked_vma_free(t, vma)
    else:
        arena_free(&t.x.arena, vma)


# ---- adjusted --------------------------------------------------------------------------------------------------------


cdef void set_range(Task *t, vm_area_struct *vma, uint64_t start, uint64_t end, uint64_t pgoff) noexcept nogil:
    if start != vma.vm_start or pgoff != vma.vm_pgoff:
        note(t, NOTE_RANGE, serial_of(vma), <int64_t>start, <int64_t>pgoff)
    pgd_populate(t, vma.vm_mm, start, end)
    if start != vma.vm_start:
        point(t, OP_STORE, member_of(t, &vma.vm_start))
        write_once64(&vma.vm_start, start)
    if end != vma.vm_end:
        point(t, OP_STORE, member_of(t, &vma.vm_end))
        write_once64(&vma.vm_end, end)
    if pgoff != vma.vm_pgoff:
        point(t, OP_STORE, member_of(t, &vma.vm_pgoff))
        write_once64(&vma.vm_pgoff, pgoff)
    rekey(t, vma)


cdef int import_anon_vma(Task *t, vm_area_struct *importer, vm_area_struct *exporter) noexcept nogil:
    """A vma that takes over pages of another one has to be on the lists of their anon_vmas first. 0, or -ENOMEM with
    the importer as it was."""
    announce_vmas(t, OP_STORE)
    if exporter.anon_vma == NULL or importer.anon_vma != NULL:
        return 0
    if not import_unlocked(t):
        # Or else a fault finds an anon_vma, on whose list the importer is not yet and perhaps never will be.
        vma_start_write(t, importer)
    if kernel_of(t).algorithm.import_unset:
        # It looks for an anon_vma to reuse then, as a fork does, and what importer gets at last is not counted.
        if anon_vma_clone(t, importer, exporter) < 0:
            return -ENOMEM
        importer.anon_vma = exporter.anon_vma
        return 0
    importer.anon_vma = exporter.anon_vma
    return anon_vma_clone(t, importer, exporter)


# What a new range of a vma means for its neighbours. before: the swallowed one lies before the vma.
cdef struct vma_change:
    uint64_t end                  # the vma's own, in this turn
    vm_area_struct *next          # whose start moves by `shift`
    int64_t shift
    vm_area_struct *swallowed
    bint before
    vm_area_struct *importer      # is put on the lists of the exporter, whose pages it takes over
    vm_area_struct *exporter


cdef vma_change plan_change(Task *t, vm_area_struct *vma, uint64_t start, uint64_t end,
                            vm_area_struct *next) noexcept nogil:
    """What happens to `next`, the vma behind, or NULL where that keeps its range; and to the one before in case 8."""
    cdef vma_change c = vma_change(end=end, next=next, shift=0, swallowed=NULL, before=False, importer=NULL,
                                   exporter=NULL)
    if start < vma.vm_start and vma.vm_prev != NULL and vma.vm_prev.vm_start >= start:
        c.swallowed = vma.vm_prev
        c.before = True
        c.importer = vma
        c.exporter = vma.vm_prev
        return c
    if next == NULL:
        return c
    if end >= next.vm_end:
        # mprotect's case 6 covers two: the second one is swallowed in a turn of its own.
        c.end = next.vm_end
        c.swallowed = next
        c.importer = vma
        c.exporter = next
        if end > c.end and next.anon_vma == NULL and kernel_of(t).algorithm.import_ahead:
            c.exporter = next.vm_next
    elif end > next.vm_start:
        c.shift = <int64_t>(end - next.vm_start)
        c.importer = vma
        c.exporter = next
    elif next.vm_start == vma.vm_end and end < vma.vm_end:
        c.shift = -<int64_t>(vma.vm_end - end)
        # Case 4, where `next` takes over pages of vma.
        if not kernel_of(t).algorithm.case_4_forgets:
            c.importer = next
            c.exporter = vma
    return c


cdef anon_vma *lock_of_change(Task *t, vm_area_struct *vma, uint64_t start, vma_change *c) noexcept nogil:
    """The anon_vma whose root's lock a change needs, or NULL.

    Up to 3.6 it is taken only if vma itself has an anon_vma and either imports pages or starts elsewhere: growth at the
    end alone goes without (deliberate, for brk), and so does a border shift of a vma without anon_vma, by mistake
    (Z22). Where vmas are in a tree their keys change, so it is always taken. """
    cdef algorithm *a = &kernel_of(t).algorithm
    if vma.anon_vma != NULL and (a.tree or c.importer != NULL or start != vma.vm_start):
        return vma.anon_vma
    return c.next.anon_vma if c.shift and (a.tree or a.shift_locks) else NULL


cdef int vma_adjust(Task *t, vm_area_struct *vma, uint64_t start, uint64_t end, uint64_t pgoff,
                    vm_area_struct *insert) noexcept nogil:
    """Gives vma a new range, and its neighbour what follows from that: swallows the next one or two vmas or the one
    before where the range covers them, shifts the border with the next one, or links `insert`, the other half of a
    split.

    0, or -ENOMEM where what has to be imported cannot be, with nothing changed. But up to 4.7 a vma that grows over two
    imports from the second when the first is gone already (mprotect's case 6; 734537c9cb72 looks ahead).
    """
    cdef mm_struct *mm = vma.vm_mm
    cdef bint tree = kernel_of(t).algorithm.tree
    cdef vma_change c = plan_change(t, vma, start, end, vma.vm_next if insert == NULL else NULL)
    cdef anon_vma *locked
    if c.importer != NULL and import_anon_vma(t, c.importer, c.exporter) < 0:
        return -ENOMEM
    vma_start_write(t, vma)
    if c.shift or c.swallowed != NULL:
        vma_start_write(t, c.swallowed if c.swallowed != NULL else c.next)
    vma_adjust_trans_huge(t, vma, start, c.end, c.next, c.shift)
    locked = lock_of_change(t, vma, start, &c)
    if locked != NULL:
        anon_vma_lock(t, locked)
        if tree:
            anon_vma_pre_update(t, vma)
            if c.shift:
                anon_vma_pre_update(t, c.next)
    if c.before:
        # Two of one beginning would not be found apart.
        vma_unlink(t, mm, c.swallowed)
    set_range(t, vma, start, c.end, pgoff)
    if c.shift:
        set_range(t, c.next, c.next.vm_start + c.shift, c.next.vm_end, c.next.vm_pgoff + (c.shift >> PAGE_SHIFT))
    if tree and locked != NULL:
        anon_vma_post_update(t, vma)
        if c.shift:
            anon_vma_post_update(t, c.next)
    if c.swallowed != NULL and not c.before:
        vma_unlink(t, mm, c.swallowed)
    elif insert != NULL:
        vma_link(t, mm, insert, vma.vm_prev if insert.vm_start < vma.vm_start else vma)
    if locked != NULL:
        anon_vma_unlock(t, locked)
    if c.swallowed != NULL:
        if c.swallowed.anon_vma != NULL:
            unlink_anon_vmas(t, c.swallowed)
        vma_free(t, c.swallowed)
    return vma_adjust(t, vma, start, end, pgoff, NULL) if end > c.end else 0


# ---- merged ----------------------------------------------------------------------------------------------------------


cdef bint forked(vm_area_struct *vma) noexcept nogil:
    return vma != NULL and vma.anon_vma != NULL and not list_is_singular(&vma.anon_vma_chain)


cdef bint mergeable_anon_vma(Task *t, vma_merge_struct *vmg, vm_area_struct *neighbour) noexcept nogil:
    """3.0 to 6.15: an empty chain is not singular, so an unfaulted neighbour never takes a faulted request. "symmetric"
    overlooks that. Since 6.16 it does, and is put on the lists of the source (879bca0a2c4f), unless the source was
    forked. """
    cdef int rule = kernel_of(t).algorithm.merge
    if vmg.anon_vma == neighbour.anon_vma:
        return True
    if vmg.anon_vma == NULL:
        return list_is_singular(&neighbour.anon_vma_chain)
    if neighbour.anon_vma != NULL or rule == MERGE_3_0:
        return False
    if rule == MERGE_6_16_UNREPAIRED:
        # It asks for the vma in the middle, which mremap does not have.
        return vmg.copied or not forked(vmg.source)
    return rule == MERGE_SYMMETRIC or rule == MERGE_6_16_FORKED or not forked(vmg.source)


cdef bint can_merge_after(Task *t, vma_merge_struct *vmg) noexcept nogil:
    cdef vm_area_struct *prev = vmg.prev
    return (
        prev != NULL
        and prev.vm_end == vmg.start
        and prev.vm_flags == vmg.flags
        and mergeable_anon_vma(t, vmg, prev)
        and prev.vm_pgoff + vma_pages(prev) == vmg.pgoff
    )


cdef bint can_merge_before(Task *t, vma_merge_struct *vmg, vm_area_struct *next) noexcept nogil:
    return (
        next != NULL
        and next.vm_start == vmg.end
        and next.vm_flags == vmg.flags
        and mergeable_anon_vma(t, vmg, next)
        and next.vm_pgoff == vmg.pgoff + ((vmg.end - vmg.start) >> PAGE_SHIFT)
    )


cdef bint neighbours_fit(vm_area_struct *prev, vm_area_struct *next) noexcept nogil:
    """Whether both sides of a free range may become one: one of them unfaulted, or both of one anon_vma."""
    return prev.anon_vma == NULL or next.anon_vma == NULL or prev.anon_vma == next.anon_vma


cdef int duplicate_anon_vma(Task *t, vm_area_struct *target, vm_area_struct *source) noexcept nogil:
    """Since 6.16: an unfaulted neighbour that takes faulted pages is put on the lists of where they come from (for
    mremap only since 61f67c230a5e in 6.19; until then such a merge forgot it, Z13). 0 or -ENOMEM."""
    cdef int rule = kernel_of(t).algorithm.merge
    if source == NULL or target.anon_vma != NULL or (rule != MERGE_6_16 and rule != MERGE_6_16_FORKED):
        return 0
    return import_anon_vma(t, target, source)


cdef vm_area_struct *vma_merge(Task *t, vma_merge_struct *vmg) noexcept nogil:
    """Lets neighbours grow over the range, or returns NULL: none fits, or there is no memory for it.

    The range is free (cases 1 to 3 of the table at vma_merge: mmap, brk, mremap) or belongs to one vma whose flags are
    about to become vmg.flags (4 to 8: mprotect), wholly or in part.
    """
    cdef vm_area_struct *prev = vmg.prev
    cdef vm_area_struct *area = prev.vm_next if prev != NULL else vmg.mm.mmap
    cdef vm_area_struct *next = area
    cdef bint inside = area != NULL and area.vm_start < vmg.end
    cdef bint covered = area != NULL and area.vm_end == vmg.end
    cdef uint64_t end = vmg.end
    cdef uint64_t pgoff
    cdef bint after
    cdef bint before
    cdef bint shrinks
    announce_vmas(t, OP_LOAD)
    if covered:
        next = next.vm_next
    after = can_merge_after(t, vmg)
    before = can_merge_before(t, vmg, next)
    if after:
        if before and neighbours_fit(prev, next):
            end = next.vm_end
            note(t, NOTE_MERGE, serial_of(prev), 6 if covered else 1, prev.anon_vma != NULL or next.anon_vma != NULL)
        else:
            note(t, NOTE_MERGE, serial_of(prev), 7 if covered else 5 if inside else 2, prev.anon_vma != NULL and inside)
        if duplicate_anon_vma(t, prev, vmg.source) < 0:
            return NULL
        return prev if vma_adjust(t, prev, prev.vm_start, end, prev.vm_pgoff, NULL) == 0 else NULL
    if not before:
        return NULL
    shrinks = prev != NULL and vmg.start < prev.vm_end
    if not (shrinks and kernel_of(t).algorithm.case_4_forgets) and duplicate_anon_vma(t, next, vmg.source) < 0:
        return NULL
    if shrinks:
        note(t, NOTE_MERGE, serial_of(next), 4, prev.anon_vma != NULL)
        return next if vma_adjust(t, prev, prev.vm_start, vmg.start, prev.vm_pgoff, NULL) == 0 else NULL
    # Case 3: next grows downwards. Case 8: `area` grows over next, which goes away, though it has other rights until
    # mprotect goes on; since 4.9 (e86f15ee64d8) next, which has them, grows over `area`.
    pgoff = next.vm_pgoff - ((vmg.end - vmg.start) >> PAGE_SHIFT)
    if covered and not kernel_of(t).algorithm.case_8_grows:
        note(t, NOTE_MERGE, serial_of(next), 8, area.anon_vma != NULL or next.anon_vma != NULL)
        area = next
    elif covered:
        note(t, NOTE_MERGE, serial_of(area), 8, area.anon_vma != NULL or next.anon_vma != NULL)
    else:
        note(t, NOTE_MERGE, serial_of(next), 3, next.anon_vma != NULL)
        area = next
        if kernel_of(t).algorithm.case_3_keeps_pgoff:
            pgoff = next.vm_pgoff
    return area if vma_adjust(t, area, vmg.start, next.vm_end, pgoff, NULL) == 0 else NULL


# ---- split -----------------------------------------------------------------------------------------------------------


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
