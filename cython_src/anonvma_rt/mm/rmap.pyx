"""From a page to its ptes (see rmap.pxd). Names and order of steps follow mm/rmap.c of Linux 3.1 to 3.3."""

from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from anonvma_rt.engine.base.arena cimport arena_header_of, arena_live
from anonvma_rt.engine.base.klist cimport list_for_each, list_step
from anonvma_rt.engine.base.operation cimport OP_ATOMIC, OP_LOAD
from anonvma_rt.engine.base.os cimport (
    read_link, read_once32, read_once64, read_onceu, write_once32, write_once64, write_onceu,
)
from anonvma_rt.engine.run.sync cimport add_return, mutex_lock, mutex_unlock, spin_unlock, spinlock_t, up_read
from anonvma_rt.engine.run.task cimport (
    VIOLATION_LIST_CORRUPTION, VIOLATION_USE_AFTER_FREE, Task, must_live, note, point, violate,
)
from anonvma_rt.mm.anon_vma cimport (
    anon_vma_lock_read, anon_vma_trylock, anon_vma_unlock_read, dec_and_test, free_unused, get_anon_vma, inc_not_zero,
    lock_owner, put_anon_vma,
)
from anonvma_rt.mm.compound_rmap cimport page_remove_part_rmap
from anonvma_rt.mm.hooks.notes cimport (
    BENIGN_MISSES, BUG_MAPCOUNT, BUG_NO_ANON_VMA, BUG_ON, BUG_RMAP_INDEX, BUG_RMAP_ROOT, NOTE_LIST, NOTE_NO_LOOK,
    NOTE_UNMAP, NOTE_WALK,
)
from anonvma_rt.mm.interval_tree cimport anon_vma_interval_tree_first, anon_vma_interval_tree_next
from anonvma_rt.mm.mm_types cimport (
    BATCHES_NO, GENERATION_SHIFT, ORDERING_DOUBLE_WALK, PAGE_MAPPING_ANON, PAGE_SHIFT, PG_DIRTY, PTE_DIRTY,
    PTE_MIGRATION, TYPE_ANON_VMA, TYPE_AVC, TYPE_VMA, VM_GROWSDOWN, VM_STACK_INCOMPLETE_SETUP, algorithm, announce_vmas,
    anon_vma, anon_vma_chain, avc_of_same_anon_vma, by_sequence, compound_head, compound_nr, kernel_of,
    linear_page_index, make_pte, member_of, page, page_anon_vma, page_generation, page_in_compound, pmd_mapcount, pte_t,
    serial_of, start_of, vm_area_struct,
)
from anonvma_rt.mm.page_alloc cimport put_page
from anonvma_rt.mm.page_vma_mapped cimport page_check_address
from anonvma_rt.mm.pgtable cimport set_pte
from anonvma_rt.mm.swap cimport change_flags
from anonvma_rt.mm.tlb cimport ptep_clear_later


# ---- from a page to its anon_vma -----------------------------------------------------------------------------------


cdef anon_vma *anon_vma_of(Task *t, page *p, uint16_t *generation) noexcept nogil:
    """page.mapping as an anon_vma, and its generation then, if the page is anonymous and mapped. Inside an RCU section:
    it may be freed."""
    cdef anon_vma *av
    point(t, OP_LOAD, &p.mapping)
    av = page_anon_vma(p)
    generation[0] = page_generation(p)
    if av == NULL or not page_mapped(t, p):
        return NULL
    return av


cdef inline uint16_t generation_of(anon_vma *av) noexcept nogil:
    return <uint16_t>read_onceu(&arena_header_of(av).generation)


cdef anon_vma *must_be_its_anon_vma(Task *t, page *p) noexcept nogil:
    """page.mapping of an anonymous page, outside every RCU section: the very anon_vma that the page was given, not
    freed and not something else by now."""
    cdef anon_vma *av = page_anon_vma(p)
    if not arena_live(&t.x.arena, av, TYPE_ANON_VMA) or generation_of(av) != page_generation(p):
        violate(t, VIOLATION_USE_AFTER_FREE, TYPE_ANON_VMA, <int64_t>(<char *>av - t.x.arena.base), p.pfn)
    return av


cdef anon_vma *page_get_anon_vma(Task *t, page *p) noexcept nogil:
    """Pins the anon_vma of a mapped page, or NULL: mapped after the increment means that it is still the page's.

    2.6.36 and .37 asked "mapped" once, before, and incremented whatever was there (Z19).
    """
    cdef uint16_t generation
    cdef anon_vma *av = anon_vma_of(t, p, &generation)
    if av != NULL and not kernel_of(t).algorithm.careful_pin:
        get_anon_vma(t, av)
        return av
    if av == NULL or not inc_not_zero(t, av):
        return NULL
    if not page_mapped(t, p):
        put_anon_vma(t, av)
        return NULL
    return av


cdef bint moved_away(Task *t, page *p, anon_vma *av, uint16_t generation) noexcept nogil:
    """Whether the page belongs to another anon_vma by now (UFFDIO_MOVE): since 6.8 a walker asks once more. One that
    does not ask leaves its RCU section with a pointer that nothing keeps alive."""
    if kernel_of(t).algorithm.recheck_mapping:
        point(t, OP_LOAD, &p.mapping)
        if page_anon_vma(p) != av:
            return True
    if not arena_live(&t.x.arena, av, TYPE_ANON_VMA) or generation_of(av) != generation:
        violate(t, VIOLATION_USE_AFTER_FREE, TYPE_ANON_VMA, <int64_t>(<char *>av - t.x.arena.base), p.pfn)
    return False


cdef anon_vma *page_lock_anon_vma(Task *t, page *p) noexcept nogil:
    """The anon_vma of a mapped page with its root locked, for anon_vma_unlock_read, or NULL.

    The root that was locked is remembered until the page is seen to be mapped: the memory may have become an
    anon_vma with another root meanwhile.
    """
    cdef algorithm *a = &kernel_of(t).algorithm
    cdef anon_vma *av
    cdef anon_vma *root
    cdef uint16_t generation
    while True:
        av = anon_vma_of(t, p, &generation)
        if av == NULL:
            return NULL
        point(t, OP_LOAD, &av.root)
        root = lock_owner(t, av)
        if not a.recheck_mapped:
            # 2.6.36-rc: a spinlock, and the walk stays inside the RCU section.
            mutex_lock(t, &root.mutex)
            return av
        if anon_vma_trylock(t, root):
            if not page_mapped(t, p):
                if not a.remember_root:
                    point(t, OP_LOAD, &av.root)
                    root = lock_owner(t, av)
                unlock_walked(t, root)
                return NULL
            if moved_away(t, p, av, generation):
                unlock_walked(t, root)
                continue
            return av
        if not inc_not_zero(t, av):
            return NULL
        if not page_mapped(t, p):
            put_anon_vma(t, av)
            return NULL
        anon_vma_lock_read(t, av)
        if dec_and_test(t, av):
            anon_vma_unlock_read(t, av)
            free_unused(t, av)
            return NULL
        if moved_away(t, p, av, generation):
            anon_vma_unlock_read(t, av)
            continue
        return av


cdef void unlock_walked(Task *t, anon_vma *root) noexcept nogil:
    if kernel_of(t).algorithm.shared_walks:
        up_read(t, &root.mutex)
    else:
        mutex_unlock(t, &root.mutex)


# ---- page counters ---------------------------------------------------------------------------------------------------


cdef anon_vma *own_anon_vma(Task *t, vm_area_struct *vma) noexcept nogil:
    """The anon_vma for new pages of a vma, which has one (__page_set_anon_rmap's assertion)."""
    cdef anon_vma *av
    must_live(t, vma, TYPE_VMA)
    if by_sequence(t):
        # A writer may take it away where the vma is not locked against faults when he gives it.
        announce_vmas(t, OP_LOAD)
    av = <anon_vma *>read_link(&vma.anon_vma)
    if av == NULL:
        violate(t, BUG_ON, BUG_NO_ANON_VMA, serial_of(vma), 0)
    must_live(t, av, TYPE_ANON_VMA)
    return av


cdef void set_page_anon_vma(page *p, anon_vma *av) noexcept nogil:
    write_once64(&p.mapping, (<uint64_t>av + PAGE_MAPPING_ANON) | <uint64_t>generation_of(av) << GENERATION_SHIFT)


cdef void page_add_new_anon_rmap(Task *t, page *p, vm_area_struct *vma, uint64_t address) noexcept nogil:
    """A page that only this pte will map: it belongs to the vma's own anon_vma."""
    cdef anon_vma *av = own_anon_vma(t, vma)
    write_once32(pmd_mapcount(p), 0)
    set_page_anon_vma(p, av)
    write_onceu(&p.index, <uint32_t>index_of(t, vma, address, False))


cdef void folio_add_new_anon_rmap(Task *t, page *head, vm_area_struct *vma, uint64_t address) noexcept nogil:
    """A folio whose pages only one pte each will map, with a reference for each beside the caller's one."""
    cdef uint32_t pages = compound_nr(head)
    cdef uint32_t i
    for i in range(pages):
        write_once32(&head[i].mapcount, 0)
    write_once32(&head.count, <int>pages)
    set_page_anon_vma(head, own_anon_vma(t, vma))
    write_onceu(&head.index, <uint32_t>index_of(t, vma, address, False))


cdef uint64_t index_of(Task *t, vm_area_struct *vma, uint64_t address, bint on_list) noexcept nogil:
    """linear_page_index(), where others may change what it looks at. on_list: for whoever holds the lock of a list that
    the vma is on: where each list has a lock of its own (own_lock), vma_adjust may hold another one. Otherwise mmap_sem
    is held, for reading, and up to 6.4 a stack grows meanwhile."""
    cdef uint64_t pgoff
    cdef uint64_t start
    if vma.vm_flags & VM_GROWSDOWN and not kernel_of(t).algorithm.exclusive_growth:
        start = start_of(t, vma)
        point(t, OP_LOAD, member_of(t, &vma.vm_pgoff))
        return ((address - start) >> PAGE_SHIFT) + read_once64(&vma.vm_pgoff)
    if not on_list or not kernel_of(t).algorithm.own_lock:
        return linear_page_index(vma, address)
    point(t, OP_LOAD, member_of(t, &vma.vm_pgoff))
    pgoff = read_once64(&vma.vm_pgoff)
    point(t, OP_LOAD, member_of(t, &vma.vm_start))
    return ((address - read_once64(&vma.vm_start)) >> PAGE_SHIFT) + pgoff


cdef void page_add_anon_rmap(Task *t, page *p, vm_area_struct *vma, uint64_t address) noexcept nogil:
    """One more pte maps an anonymous page; its anon_vma and index stay as they are, and if others map it they must be
    the vma's (__page_check_anon_rmap, of kernels that are built to check themselves)."""
    cdef anon_vma *av
    cdef anon_vma *own
    cdef page *head = compound_head(t, p)
    point(t, OP_ATOMIC, &head.mapcount)
    if add_return(t, &p.mapcount, 1) == 0:
        return
    av = page_anon_vma(head)
    own = own_anon_vma(t, vma)
    if av == NULL or read_link(&av.root) != read_link(&own.root):
        violate(t, BUG_ON, BUG_RMAP_ROOT, p.pfn, <int64_t>address)
    if head.index + (p.pfn - head.pfn) != <uint32_t>index_of(t, vma, address, True):
        violate(t, BUG_ON, BUG_RMAP_INDEX, p.pfn, <int64_t>address)


cdef void page_remove_rmap(Task *t, page *p) noexcept nogil:
    if page_in_compound(p):
        page_remove_part_rmap(t, p)
        return
    point(t, OP_ATOMIC, &p.mapcount)
    if read_once32(&p.mapcount) < 0:
        violate(t, BUG_ON, BUG_MAPCOUNT, p.pfn, 0)
    add_return(t, &p.mapcount, -1)


# ---- walks -----------------------------------------------------------------------------------------------------------


cdef bint vma_address(Task *t, page *p, vm_area_struct *vma, uint64_t *address) noexcept nogil:
    """Where the page would be mapped in vma, if inside it. The three fields are read one by one, and vma_adjust may
    be changing them."""
    point(t, OP_LOAD, member_of(t, &vma.vm_pgoff))
    return address_in(t, p, vma, address)


cdef bint address_in(Task *t, page *p, vm_area_struct *vma, uint64_t *address) noexcept nogil:
    """vma_address() behind its first point."""
    cdef uint64_t pgoff = read_once64(&vma.vm_pgoff)
    cdef uint64_t start
    point(t, OP_LOAD, member_of(t, &vma.vm_start))
    start = read_once64(&vma.vm_start)
    address[0] = start + ((read_onceu(&p.index) - pgoff) << PAGE_SHIFT)
    point(t, OP_LOAD, member_of(t, &vma.vm_end))
    must_live(t, vma, TYPE_VMA)
    if start <= address[0] < read_once64(&vma.vm_end):
        return True
    note(t, NOTE_NO_LOOK, serial_of(vma), p.pfn, 0)
    return False


cdef void start_loop(rmap_walk *w) noexcept nogil:
    w.loops -= 1
    w.node = NULL
    w.cursor = list_for_each(&w.anon_vma.head)


cdef anon_vma_chain *step(rmap_walk *w) noexcept nogil:
    """The next entry in the order of the walk, or NULL."""
    cdef uint64_t last = w.page.index + w.pages - 1
    if not w.tree:
        return avc_of_same_anon_vma(w.cursor.pos) if list_step(&w.cursor) else NULL
    if w.node == NULL:
        w.node = anon_vma_interval_tree_first(w.anon_vma, w.page.index, last)
    else:
        w.node = anon_vma_interval_tree_next(w.node, w.page.index, last)
    return w.node


cdef rmap_walk rmap_walk_begin(Task *t, anon_vma *av, page *p, int walk) noexcept nogil:
    return rmap_walk_range(t, av, p, walk, 1)


cdef rmap_walk rmap_walk_range(Task *t, anon_vma *av, page *p, int walk, uint32_t pages) noexcept nogil:
    """For so many pages that lie side by side. Oldest first, or by vm_pgoff in the tree. The caller holds the root's
    lock until the walk has ended.

    Walks that must not miss anything go round twice under "double-walk".
    """
    cdef algorithm *a = &kernel_of(t).algorithm
    cdef rmap_walk w
    cdef anon_vma_chain *avc
    cdef int position = 0
    w.page = p
    w.pages = pages
    w.anon_vma = av.root if a.walk_root_list else av
    w.tree = a.tree
    w.loops = 2 if a.ordering == ORDERING_DOUBLE_WALK and (walk == WALK_RESTORE or walk == WALK_SPLIT) else 1
    if t.x.tracing:
        note(t, NOTE_WALK, walk, p.pfn, 0)
        start_loop(&w)
        w.loops += 1
        avc = step(&w)
        while avc != NULL:
            note(t, NOTE_LIST, serial_of(w.anon_vma), serial_of(avc.vma), position)
            position += 1
            avc = step(&w)
    start_loop(&w)
    return w


cdef vm_area_struct *rmap_walk_next(Task *t, rmap_walk *w) noexcept nogil:
    """The next vma, or NULL at the end."""
    cdef anon_vma_chain *avc
    cdef vm_area_struct *vma
    point(t, OP_LOAD, member_of(t, &w.anon_vma.head))
    if w.node != NULL:
        must_live(t, w.node, TYPE_AVC)
    avc = step(w)
    if avc == NULL and not w.cursor.corrupt and w.loops:
        start_loop(w)
        avc = step(w)
    if avc == NULL:
        if w.cursor.corrupt:
            violate(t, VIOLATION_LIST_CORRUPTION, w.cursor.corrupt, serial_of(w.anon_vma), 0)
        return NULL
    must_live(t, avc, TYPE_AVC)
    vma = <vm_area_struct *>read_link(&avc.vma)
    must_live(t, vma, TYPE_VMA)
    return vma


cdef void try_to_unmap_one(Task *t, page *p, vm_area_struct *vma, uint64_t address) noexcept nogil:
    """Replaces the pte by a migration entry."""
    cdef spinlock_t *ptl = NULL
    cdef pte_t *ptep = page_check_address(t, p, vma, address, &ptl)
    cdef pte_t pte
    if ptep == NULL:
        return
    pte = ptep_clear_later(t, vma.vm_mm, address, ptep, kernel_of(t).algorithm.batches != BATCHES_NO)
    if pte & PTE_DIRTY:
        change_flags(t, p, 0, PG_DIRTY)
    set_pte(t, ptep, make_pte(PTE_MIGRATION, p.pfn, pte))
    note(t, NOTE_UNMAP, serial_of(vma), <int64_t>address, p.pfn)
    page_remove_rmap(t, p)
    put_page(t, p)
    spin_unlock(t, ptl)


cdef bint try_to_unmap(Task *t, page *p, unmap_entry reclaims) noexcept nogil:
    """Walk 1 of a migration (try_to_unmap_anon with TTU_MIGRATION), or the walk of reclaim, which ends at a pte that
    has to stay; whether no pte maps the page any more.

    The page is locked. Stops as soon as the page is unmapped. A pte that it missed keeps the mapcount up, the
    migration is given up, and nothing is wrong: such misses are only counted. The stack of a program that exec still
    builds is passed over, because its ptes are about to be where no walk computes them (a8bef8ff6ea1, 2.6.35).
    """
    cdef anon_vma *av = page_lock_anon_vma(t, p)
    cdef bint skip_stacks = reclaims == NULL and kernel_of(t).algorithm.stack_flag
    cdef vm_area_struct *vma
    cdef uint64_t address
    cdef rmap_walk w
    if av != NULL:
        w = rmap_walk_begin(t, av, p, WALK_UNMAP)
        while True:
            vma = rmap_walk_next(t, &w)
            if vma == NULL:
                break
            # Its flags are announced with the first of its members that a walk looks at.
            point(t, OP_LOAD, member_of(t, &vma.vm_pgoff))
            if skip_stacks and read_onceu(&vma.vm_flags) & VM_STACK_INCOMPLETE_SETUP:
                continue
            if not address_in(t, p, vma, &address):
                continue
            if reclaims == NULL:
                try_to_unmap_one(t, p, vma, address)
            elif not reclaims(t, p, vma, address):
                break
            if not page_mapped(t, p):
                break
        note(t, NOTE_WALK, WALK_UNMAP, p.pfn, 1)
        anon_vma_unlock_read(t, av)
    if page_mapped(t, p):
        t.x.counters[<int>BENIGN_MISSES] += 1
        return False
    return True
