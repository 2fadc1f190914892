"""Migration of a page (see migrate.pxd). The steps are those of unmap_and_move in mm/migrate.c of Linux 3.2; in two
halves, because later releases make each for several pages together (move_pages.pyx).

The walker of migrate_page is compaction: it comes without any mmap_sem, so nothing keeps it apart from an mremap.
"""

from libc.errno cimport EAGAIN, EBUSY, EIO, ENOMEM
from libc.stdint cimport int64_t, uint64_t

from anonvma_rt.engine.base.arena cimport arena_glance
from anonvma_rt.engine.base.operation cimport OP_LOAD, OP_STORE
from anonvma_rt.engine.base.os cimport read_once64, read_onceu, write_once64
from anonvma_rt.engine.run.sync cimport (
    lock_wait, spin_lock, spin_unlock, spinlock_t,
)
from anonvma_rt.engine.run.task cimport VIOLATION_USE_AFTER_FREE, Task, note, point, violate
from anonvma_rt.mm.anon_vma cimport anon_vma_lock_read, anon_vma_unlock_read, put_anon_vma
from anonvma_rt.mm.hooks.notes cimport (
    ABORTED, BENIGN_MISSES, BUG_NEW_PAGE_LOCKED, BUG_ON, MIGRATED, NOTE_LOOK, NOTE_MIGRATE, NOTE_RESTORE,
    NOTE_WAIT, NOTE_WALK,
)
from anonvma_rt.mm.hooks.watch cimport mark_look
from anonvma_rt.mm.huge_migration cimport remap_huge_page, unmap_huge_page
from anonvma_rt.mm.migration_entry cimport decode_migration_entry
from anonvma_rt.mm.mm_types cimport (
    MOVE_PAGES_4_17, PG_DIRTY, PG_LAZYFREE, PTE_PRESENT, THP_3_2, THP_4_14, TYPE_ANON_VMA, anon_vma, compound_head,
    compound_nr, compound_order, is_migration_entry, kernel_of, make_pte, mm_of, mm_struct, noted, page, page_anon_vma,
    page_compound, page_count, page_slot, page_table, pte_pfn, pte_t, serial_of, vm_area_struct, vma_page_prot,
)
from anonvma_rt.mm.page_alloc cimport (
    alloc_isolated_folio, alloc_isolated_page, get_page, get_page_unless_zero, isolate_lru_page, put_page,
    putback_lru_page,
)
from anonvma_rt.mm.page_lock cimport lock_page, page_lockptr, trylock_page, unlock_page
from anonvma_rt.mm.page_vma_mapped cimport walked_table
from anonvma_rt.mm.pgtable cimport pte_lockptr, pte_offset, pte_read, set_pte
from anonvma_rt.mm.rmap cimport (
    WALK_RESTORE, must_be_its_anon_vma, page_add_anon_rmap, page_get_anon_vma, page_lock_anon_vma, page_mapped,
    rmap_walk, rmap_walk_begin, rmap_walk_next, try_to_unmap, vma_address,
)
from anonvma_rt.mm.split_huge_page cimport split_huge_page
from anonvma_rt.mm.tlb cimport announce_contents, try_to_unmap_flush

from anonvma_rt.mm.swap cimport change_flags, move_in_swap_cache


cdef void migration_entry_wait(Task *t, mm_struct *mm, pte_t *ptep, spinlock_t *ptl, uint64_t address) noexcept nogil:
    """A fault met a migration entry: sleeps until that page is unlocked; the fault is then retried."""
    cdef pte_t pte
    cdef page *p
    spin_lock(t, ptl)
    pte = pte_read(t, ptep)
    if not is_migration_entry(pte):
        spin_unlock(t, ptl)
        return
    p = decode_migration_entry(t, pte, address)
    note(t, NOTE_WAIT, p.pfn, <int64_t>address, 0)
    if kernel_of(t).algorithm.wait_without_pin:
        # Who waits keeps no migration from success: it looks at nothing of the page but the lock.
        spin_unlock(t, ptl)
        lock_wait(t, page_lockptr(t, p))
        return
    if not get_page_unless_zero(t, p):
        spin_unlock(t, ptl)
        return
    spin_unlock(t, ptl)
    lock_wait(t, page_lockptr(t, p))
    put_page(t, p)


cdef bint is_entry_of(Task *t, pte_t pte, page *old, uint64_t address) noexcept nogil:
    """Whether a pte is a migration entry for `old`. Up to 4.14 whatever entry is met is decoded for that; since
    then frames are compared (0d665e7b109d), and the entry of a migration that has ended is passed over."""
    if not is_migration_entry(pte):
        return False
    if kernel_of(t).algorithm.restore_compares:
        return pte_pfn(pte) == old.pfn
    return decode_migration_entry(t, pte, address) == old


cdef void remove_migration_pte(Task *t, page *new, vm_area_struct *vma, uint64_t address, page *old) noexcept nogil:
    """Turns a migration entry for `old` back into a pte of `new`.

    Since 486cf46f3f9b (3.1) the page-table lock is taken before the look; before it, an entry between clear and set
    of a move was missed.
    """
    cdef mm_struct *mm = mm_of(t, vma)
    cdef page_table *table = walked_table(t, vma, address)
    cdef spinlock_t *ptl
    cdef pte_t *ptep
    cdef pte_t pte
    if table == NULL:
        note(t, NOTE_LOOK, serial_of(vma), <int64_t>address, 0)
        return
    ptep = pte_offset(table, address)
    if kernel_of(t).algorithm.restore_peeks:
        pte = pte_read(t, ptep)
        if not is_migration_entry(pte):
            note(t, NOTE_LOOK, serial_of(vma), <int64_t>address, noted(pte))
            return
    ptl = pte_lockptr(t, mm, table)
    mark_look(t, new)
    spin_lock(t, ptl)
    pte = pte_read(t, ptep)
    note(t, NOTE_LOOK, serial_of(vma), <int64_t>address, noted(pte))
    if is_entry_of(t, pte, old, address):
        get_page(t, new)
        set_pte(t, ptep, make_pte(PTE_PRESENT, new.pfn, pte) | vma_page_prot(t, vma))
        note(t, NOTE_RESTORE, serial_of(vma), <int64_t>address, new.pfn)
        page_add_anon_rmap(t, new, vma, address)
    spin_unlock(t, ptl)


cdef void unmap_whole(Task *t, page *head) noexcept nogil:
    """Walk 1 for a huge page that migrates as such (4.14)."""
    cdef anon_vma *av = page_lock_anon_vma(t, head)
    if av == NULL:
        return
    if not unmap_huge_page(t, head, av, False):
        t.x.counters[<int>BENIGN_MISSES] += 1
    anon_vma_unlock_read(t, av)


cdef void remove_migration_ptes(Task *t, page *old, page *new) noexcept nogil:
    """Walk 2 (rmap_walk_anon with remove_migration_pte): the whole list, no early end.

    The page is locked and its anon_vma pinned, which is why its mapping may be followed although nothing maps it. A
    pte that this walk misses stays a migration entry for ever: the bug.
    """
    cdef anon_vma *av
    cdef vm_area_struct *vma
    cdef uint64_t address
    cdef rmap_walk w
    point(t, OP_LOAD, &new.mapping)
    if page_anon_vma(new) == NULL:
        return
    av = page_anon_vma(new)
    # Asked again behind the lock: here it only ends the execution a little earlier.
    if not arena_glance(&t.x.arena, av, TYPE_ANON_VMA):
        violate(t, VIOLATION_USE_AFTER_FREE, TYPE_ANON_VMA, <int64_t>(<char *>av - t.x.arena.base), new.pfn)
    anon_vma_lock_read(t, av)
    if page_compound(old):
        remap_huge_page(t, old, new, compound_nr(old), av, NULL)
        anon_vma_unlock_read(t, av)
        return
    # Now and at the end of the walk: nothing but the migration's own reference has kept it alive meanwhile.
    must_be_its_anon_vma(t, new)
    w = rmap_walk_begin(t, av, old, WALK_RESTORE)
    while True:
        vma = rmap_walk_next(t, &w)
        if vma == NULL:
            break
        if vma_address(t, new, vma, &address):
            remove_migration_pte(t, new, vma, address, old)
    note(t, NOTE_WALK, WALK_RESTORE, old.pfn, 1)
    must_be_its_anon_vma(t, new)
    anon_vma_unlock_read(t, av)


cdef bint replace_page(Task *t, page *old, page *new) noexcept nogil:
    """migrate_page_move_mapping(): whether nobody but the caller and the swap cache, in which the new page takes the
    old one's place, has a reference of that."""
    if page_slot(old):
        if not move_in_swap_cache(t, old, new):
            return False
    else:
        point(t, OP_LOAD, &old.count)
        if page_count(old) != 1:
            return False
    if kernel_of(t).swap != NULL:
        point(t, OP_LOAD, &old.flags)
        change_flags(t, new, 0, read_onceu(&old.flags) & (PG_DIRTY | PG_LAZYFREE))
    return True


cdef int move_to_new_page(Task *t, migration *m, bint fail_copy) noexcept nogil:
    """0 when the new page took the place of the old one everywhere, and in the swap cache; -EAGAIN if somebody else
    holds a reference; -EIO if the copy fails."""
    cdef page *new = m.new
    cdef page *old = m.old
    cdef int result = 0
    cdef int i
    if not trylock_page(t, new):
        violate(t, BUG_ON, BUG_NEW_PAGE_LOCKED, new.pfn, 0)
    new.index = old.index
    point(t, OP_STORE, &new.mapping)
    write_once64(&new.mapping, read_once64(&old.mapping))
    if fail_copy and page_slot(old):
        result = -EIO
    elif not replace_page(t, old, new):
        result = -EAGAIN
    elif fail_copy:
        result = -EIO
    else:
        announce_contents(t)
        for i in range(<int>compound_nr(old)):
            new[i].tag = read_onceu(&old[i].tag)
        point(t, OP_STORE, &old.mapping)
        write_once64(&old.mapping, 0)
        if m.mapped:
            remove_migration_ptes(t, old, new)
    if result < 0:
        point(t, OP_STORE, &new.mapping)
        write_once64(&new.mapping, 0)
    unlock_page(t, new)
    return result


cdef int begin_migration(Task *t, migration *m, bint force) noexcept nogil:
    """The first half of a pass over a page that the caller has isolated: a new page, the lock, the pin, the unmap walk.

    UNMAPPED: nothing maps the page, whose lock and pin are held until end_migration(). Otherwise it is over: 0 where
    nobody uses the page any more, -EAGAIN, -ENOMEM. force: wait for the page lock.

    The pin keeps the anon_vma alive while no pte maps the page; without it (up to 2.6.23, Z16) the restore walk follows
    page.mapping to whatever is there by then.
    """
    cdef page *old = m.old
    cdef bint pin = kernel_of(t).algorithm.pin
    m.pinned = NULL
    cdef bint whole = page_compound(old) and kernel_of(t).algorithm.thp == THP_4_14
    m.new = alloc_isolated_folio(t, compound_order(old)) if whole else alloc_isolated_page(t)
    if m.new == NULL:
        return -ENOMEM
    note(t, NOTE_MIGRATE, old.pfn, m.new.pfn, 0)
    m.pfn = m.new.pfn
    point(t, OP_LOAD, &old.count)
    if page_count(old) == 1:
        # Freed by its last user; only the isolation holds it.
        putback_lru_page(t, m.new)
        return 0
    if not whole and page_compound(old) and not split_huge_page(t, old):
        putback_lru_page(t, m.new)
        m.pfn = old.pfn
        if kernel_of(t).algorithm.thp != THP_3_2:
            return -EBUSY
        # Nothing maps it any more. Up to 4.16 that passes for done.
        return -EAGAIN if kernel_of(t).algorithm.move_pages == MOVE_PAGES_4_17 else 0
    if not trylock_page(t, old):
        if not force:
            putback_lru_page(t, m.new)
            return -EAGAIN
        lock_page(t, old)
    if whole != page_compound(old):
        # It was split meanwhile.
        unlock_page(t, old)
        putback_lru_page(t, m.new)
        return -EAGAIN
    m.mapped = True
    if pin:
        m.pinned = page_get_anon_vma(t, old)
        if m.pinned == NULL:
            if page_slot(old):
                # Nothing keeps its anon_vma alive, and nothing shows it.
                m.mapped = False
                return UNMAPPED
            unlock_page(t, old)
            putback_lru_page(t, m.new)
            return -EAGAIN
    if whole:
        unmap_whole(t, old)
    else:
        try_to_unmap(t, old, NULL)
    if not page_mapped(t, old):
        return UNMAPPED
    end_migration(t, m, -EAGAIN)
    return -EAGAIN


cdef void end_migration(Task *t, migration *m, int result) noexcept nogil:
    """The end of a pass that unmapped the page. result: whether the new page is there, or the old one comes back."""
    if result < 0 and m.mapped:
        remove_migration_ptes(t, m.old, m.old)
    if m.pinned != NULL:
        put_anon_vma(t, m.pinned)
    unlock_page(t, m.old)
    putback_lru_page(t, m.new)


cdef void told(Task *t, page *old, int result) noexcept nogil:
    """A pass has ended: 0, -EAGAIN for now, or for good."""
    note(t, NOTE_MIGRATE, old.pfn, 0, 1 if result == 0 else 2 if result == -EAGAIN else 3)


cdef void finished(Task *t, page *old, int result) noexcept nogil:
    """No pass comes any more; the caller's reference is given back."""
    t.x.counters[<int>(MIGRATED if result == 0 else ABORTED)] += 1
    putback_lru_page(t, old)


cdef int migrate_isolated(Task *t, page *p, bint fail_copy, uint64_t *pfn) noexcept nogil:
    """migrate_pages for one page that the caller has isolated: up to ten passes. 0, -EAGAIN, -EIO or -ENOMEM; pfn:
    where it is now."""
    cdef migration m
    cdef int tries = 0
    cdef int result = -EAGAIN
    m.old = p
    m.pfn = pfn[0]
    while result == -EAGAIN and tries < MAX_PASSES:
        result = begin_migration(t, &m, tries >= FORCE_PASS)
        try_to_unmap_flush(t)
        if result == UNMAPPED:
            result = move_to_new_page(t, &m, fail_copy)
            end_migration(t, &m, result)
        tries += 1
        told(t, p, result)
    pfn[0] = m.pfn
    finished(t, p, result)
    return result


cdef int migrate_page(Task *t, page *p, bint fail_copy, uint64_t *pfn) noexcept nogil:
    """Compaction moves one page. 0; -EAGAIN given up after ten passes; -EIO where the copy fails for good (fail_copy),
    so that the restore walk puts the old page back; -ENOENT a page that is free; -EBUSY one that somebody else has
    isolated; -ENOMEM. pfn: where it is now. A huge page migrates as a whole since 4.14."""
    cdef page *head = compound_head(t, p)
    cdef int result = isolate_lru_page(t, head)
    while result == 0 and head != compound_head(t, p):
        # It was split before there was a reference.
        putback_lru_page(t, head)
        head = compound_head(t, p)
        result = isolate_lru_page(t, head)
    if result == 0:
        result = migrate_isolated(t, head, fail_copy, pfn)
    if result == 0:
        pfn[0] += p.pfn - head.pfn
    return result
