"""The swap area and the swap cache (see swap.pxd)."""

from libc.errno cimport ENOMEM
from libc.stdint cimport int32_t, uint32_t

from anonvma_rt.engine.base.operation cimport OP_ATOMIC, OP_LOAD, OP_STORE
from anonvma_rt.engine.base.os cimport read_once32, read_onceu, write_onceu
from anonvma_rt.engine.parallel.locks cimport guard, unguard
from anonvma_rt.engine.run.sync cimport (
    add_return, lock_init, lock_wait, mutex_lock, mutex_trylock, mutex_unlock, spin_lock, spin_unlock,
)
from anonvma_rt.engine.run.task cimport Task, note, point, violate
from anonvma_rt.mm.hooks.notes cimport BUG_BAD_SWAP, BUG_ON, NOTE_SWAP
from anonvma_rt.mm.mm_types cimport (
    PAGE_SLOT_SHIFT, PG_DIRTY, PG_SWAPCACHE, TYPE_SWAP, kernel_of, page, page_at, page_count, page_slot,
)
from anonvma_rt.mm.page_alloc cimport alloc_page, get_page, put_page
from anonvma_rt.mm.slab cimport must_alloc

cdef enum:
    # What a note says of a page and its slot.
    ADDED = 0
    WRITTEN = 1
    DELETED = 2
    READ = 3


cdef void swap_open(Task *t) noexcept nogil:
    """swapon: no task runs yet."""
    if kernel_of(t).swap == NULL:
        kernel_of(t).swap = must_alloc(t, sizeof(swap_area), TYPE_SWAP)
        lock_init(&swap_of(t).lock, 0)


cdef void change_flags(Task *t, page *p, uint32_t lost, uint32_t gained) noexcept nogil:
    """Flags are changed by who has the page lock and, one of them at a time, by who has not: so each change is one
    atomic step."""
    cdef swap_area *area = swap_of(t)
    point(t, OP_ATOMIC, &p.flags)
    if t.x.parallel:
        guard(t, &area.flags_guard)
    write_onceu(&p.flags, read_onceu(&p.flags) & ~lost | gained)
    if t.x.parallel:
        unguard(&area.flags_guard)


# ---- the swap cache --------------------------------------------------------------------------------------------------


cdef void insert(Task *t, swap_area *area, uint32_t slot, page *p, uint32_t flags) noexcept nogil:
    """Under the lock: the page is the slot's, and the cache has a reference of it."""
    get_page(t, p)
    change_flags(t, p, 0, PG_SWAPCACHE | slot << PAGE_SLOT_SHIFT | flags)
    area.slot[slot].page = p.pfn


cdef void remove(Task *t, swap_area *area, page *p) noexcept nogil:
    """Under the lock: the reverse, but for the reference."""
    cdef uint32_t slot = page_slot(p)
    area.slot[slot].page = 0
    change_flags(t, p, <uint32_t>(PG_SWAPCACHE) | ~<uint32_t>0 << PAGE_SLOT_SHIFT, 0)
    note(t, NOTE_SWAP, p.pfn, slot, DELETED)


cdef bint add_to_swap(Task *t, page *p) noexcept nogil:
    """Gives a page that the caller has locked the first free slot; False where none is. It is dirty then: whatever is
    in the slot is not its content."""
    cdef swap_area *area = swap_of(t)
    cdef uint32_t slot = 1
    spin_lock(t, &area.lock)
    while slot < SWAP_SLOTS and (area.slot[slot].count or area.slot[slot].page or area.slot[slot].prepared):
        slot += 1
    if slot < SWAP_SLOTS:
        insert(t, area, slot, p, PG_DIRTY)
        note(t, NOTE_SWAP, p.pfn, slot, ADDED)
    spin_unlock(t, &area.lock)
    return slot < SWAP_SLOTS


cdef void delete_from_swap_cache(Task *t, page *p) noexcept nogil:
    """The page is locked, and differs from every slot then."""
    cdef swap_area *area = swap_of(t)
    spin_lock(t, &area.lock)
    remove(t, area, p)
    spin_unlock(t, &area.lock)
    change_flags(t, p, 0, PG_DIRTY)
    put_page(t, p)


cdef bint remove_mapping(Task *t, page *p) noexcept nogil:
    """__remove_mapping() of a page that the caller has isolated and locked: it leaves the cache if nobody else has a
    reference, and if it is clean, in that order. The count is not frozen at 0 meanwhile but goes to the caller's one:
    whoever takes a reference from now on looks again, and gives it back."""
    cdef swap_area *area = swap_of(t)
    cdef bint free
    spin_lock(t, &area.lock)
    point(t, OP_ATOMIC, &p.count)
    free = page_count(p) == 2
    if free:
        add_return(t, &p.count, -1)
        point(t, OP_LOAD, &p.flags)
        free = not read_onceu(&p.flags) & PG_DIRTY
        if free:
            remove(t, area, p)
        else:
            get_page(t, p)
    spin_unlock(t, &area.lock)
    return free


cdef bint move_in_swap_cache(Task *t, page *old, page *new) noexcept nogil:
    """migrate_page_move_mapping(): the new page takes the place of the old one, if nobody but the cache and the caller
    has a reference of that. Both are locked, and nothing maps the old one."""
    cdef swap_area *area = swap_of(t)
    cdef uint32_t slot = page_slot(old)
    cdef bint alone
    spin_lock(t, &area.lock)
    point(t, OP_LOAD, &old.count)
    alone = page_count(old) == 2
    if alone:
        remove(t, area, old)
        insert(t, area, slot, new, 0)
    spin_unlock(t, &area.lock)
    if alone:
        put_page(t, old)
    return alone


cdef page *lookup_swap_cache(Task *t, uint32_t slot) noexcept nogil:
    """The page of a slot with a reference, not locked; NULL where none is in the cache."""
    cdef swap_area *area = swap_of(t)
    cdef page *p = NULL
    spin_lock(t, &area.lock)
    if area.slot[slot].page:
        p = page_at(t, area.slot[slot].page)
        get_page(t, p)
    spin_unlock(t, &area.lock)
    return p


cdef page *read_swap_cache(Task *t, uint32_t slot, int *error) noexcept nogil:
    """read_swap_cache_async(): the page of a slot with a reference, read in if it is not in the cache; it is locked
    while it is read, which is over when this returns. NULL where nobody uses the slot any more, or without memory
    (error is -ENOMEM then)."""
    cdef swap_area *area = swap_of(t)
    cdef page *found
    cdef page *fresh
    cdef uint32_t reader
    while True:
        found = lookup_swap_cache(t, slot)
        if found != NULL:
            return found
        fresh = alloc_page(t)
        if fresh == NULL:
            error[0] = -ENOMEM
            return NULL
        mutex_lock(t, &fresh.lock)
        spin_lock(t, &area.lock)
        reader = area.slot[slot].prepared
        if area.slot[slot].count and not area.slot[slot].page and not reader:
            insert(t, area, slot, fresh, 0)
            spin_unlock(t, &area.lock)
            swap_readpage(t, slot, fresh)
            mutex_unlock(t, &fresh.lock)
            return fresh
        found = fresh if area.slot[slot].count else NULL
        spin_unlock(t, &area.lock)
        mutex_unlock(t, &fresh.lock)
        put_page(t, fresh)
        if found == NULL:
            return NULL
        if reader:
            lock_wait(t, &page_at(t, reader).lock)


# ---- without the cache -----------------------------------------------------------------------------------------------


cdef page *swapcache_prepare(Task *t, uint32_t slot, page *fresh) noexcept nogil:
    """Keeps a slot for a read into `fresh`, which the caller has locked: nobody else reads it, and it is not given to
    another page (13ddaf26be32). NULL; or the page of who was first, `fresh` where that has gone again."""
    cdef swap_area *area = swap_of(t)
    cdef page *first = NULL
    spin_lock(t, &area.lock)
    if area.slot[slot].prepared:
        first = page_at(t, area.slot[slot].prepared)
    elif area.slot[slot].page or not area.slot[slot].count:
        first = fresh
    else:
        area.slot[slot].prepared = fresh.pfn
    spin_unlock(t, &area.lock)
    return first


cdef void swapcache_clear(Task *t, uint32_t slot) noexcept nogil:
    cdef swap_area *area = swap_of(t)
    spin_lock(t, &area.lock)
    area.slot[slot].prepared = 0
    spin_unlock(t, &area.lock)


cdef bint in_swap_cache(Task *t, uint32_t slot) noexcept nogil:
    """SWAP_HAS_CACHE of the swap_map."""
    cdef swap_area *area = swap_of(t)
    cdef bint found
    spin_lock(t, &area.lock)
    found = area.slot[slot].page != 0 or area.slot[slot].prepared != 0
    spin_unlock(t, &area.lock)
    return found


# ---- counts of slots -------------------------------------------------------------------------------------------------


cdef int swap_count(Task *t, uint32_t slot) noexcept nogil:
    """How many entries name a slot."""
    cdef swap_area *area = swap_of(t)
    cdef int count
    spin_lock(t, &area.lock)
    count = area.slot[slot].count
    spin_unlock(t, &area.lock)
    return count


cdef void swap_duplicate(Task *t, uint32_t slot) noexcept nogil:
    """One more entry names a slot that is in use."""
    cdef swap_area *area = swap_of(t)
    spin_lock(t, &area.lock)
    if not area.slot[slot].count and not area.slot[slot].page:
        violate(t, BUG_ON, BUG_BAD_SWAP, slot, 1)
    area.slot[slot].count += 1
    spin_unlock(t, &area.lock)


cdef void swap_free(Task *t, uint32_t slot) noexcept nogil:
    """One entry less names it; without one, and without a page in the cache, it is free."""
    cdef swap_area *area = swap_of(t)
    spin_lock(t, &area.lock)
    if not area.slot[slot].count:
        violate(t, BUG_ON, BUG_BAD_SWAP, slot, 0)
    area.slot[slot].count -= 1
    spin_unlock(t, &area.lock)


cdef void free_swap_and_cache(Task *t, uint32_t slot) noexcept nogil:
    """An entry is gone that nobody reads in. Was it the last one, the page in the cache goes, too; where somebody else
    has that locked or maps it, it stays until reclaim meets it."""
    cdef page *p = NULL
    swap_free(t, slot)
    if swap_count(t, slot) == 0:
        p = lookup_swap_cache(t, slot)
    if p == NULL:
        return
    if mutex_trylock(t, &p.lock):
        point(t, OP_LOAD, &p.mapcount)
        if page_slot(p) == slot and read_once32(&p.mapcount) < 0:
            try_to_free_swap(t, p)
        mutex_unlock(t, &p.lock)
    put_page(t, p)


cdef bint try_to_free_swap(Task *t, page *p) noexcept nogil:
    """Takes a page that is locked out of the swap cache if no entry names its slot."""
    cdef uint32_t slot = page_slot(p)
    if slot == 0 or swap_count(t, slot):
        return False
    delete_from_swap_cache(t, p)
    return True


cdef bint reuse_swap_page(Task *t, page *p) noexcept nogil:
    """Whether a locked page belongs to at most one entry, present or swapped, up to 5.17; it then leaves the cache if
    it is in it."""
    cdef uint32_t slot = page_slot(p)
    cdef int32_t users
    point(t, OP_LOAD, &p.mapcount)
    users = read_once32(&p.mapcount) + 1
    if users > 1 or slot == 0:
        return users <= 1
    users += swap_count(t, slot)
    if users == 1:
        delete_from_swap_cache(t, p)
    return users <= 1


# ---- contents --------------------------------------------------------------------------------------------------------


cdef void swap_writepage(Task *t, page *p) noexcept nogil:
    """Writes a locked page to its slot, at once, as a disk in memory does. What it holds is ordered by the entries that
    showed it, and by itself where others write it (mm/gup)."""
    cdef swap_area *area = swap_of(t)
    cdef uint32_t slot = page_slot(p)
    cdef uint32_t tag
    if kernel_of(t).pins != NULL:
        point(t, OP_LOAD, &p.tag)
    tag = read_onceu(&p.tag)
    point(t, OP_STORE, &area.slot[slot].tag)
    write_onceu(&area.slot[slot].tag, tag)
    note(t, NOTE_SWAP, p.pfn, slot, WRITTEN)


cdef void swap_readpage(Task *t, uint32_t slot, page *p) noexcept nogil:
    """Reads a slot into a page that nothing maps yet."""
    cdef swap_area *area = swap_of(t)
    cdef uint32_t tag
    point(t, OP_LOAD, &area.slot[slot].tag)
    tag = read_onceu(&area.slot[slot].tag)
    if kernel_of(t).pins != NULL:
        point(t, OP_STORE, &p.tag)
    write_onceu(&p.tag, tag)
    note(t, NOTE_SWAP, p.pfn, slot, READ)
