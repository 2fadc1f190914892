"""The split of a huge page since 4.5 (see split_huge_page_to_list.pxd)."""

from libc.errno cimport EBUSY
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from anonvma_rt.engine.base.operation cimport OP_ATOMIC, OP_LOAD, OP_STORE
from anonvma_rt.engine.base.os cimport read_once64, read_onceu, write_once32, write_once64, write_onceu
from anonvma_rt.engine.run.sync cimport spin_unlock
from anonvma_rt.engine.run.task cimport Task, note, point, violate
from anonvma_rt.mm.anon_vma cimport anon_vma_lock, anon_vma_unlock, put_anon_vma
from anonvma_rt.mm.compound_rmap cimport total_mapcount
from anonvma_rt.mm.deferred_queue cimport deferred_queue, lock_deferred, take_from_queue
from anonvma_rt.mm.hooks.notes cimport BUG_ON, BUG_SPLIT_MAPPED, NOTE_HUGE_SPLIT
from anonvma_rt.mm.huge_migration cimport parts, remap_huge_page, unmap_huge_page
from anonvma_rt.mm.mm_types cimport (
    PAGE_ORDER_MASK, PG_COMPOUND, PG_HEAD, anon_vma, compound_head, compound_nr, kernel_of, page, page_compound,
    page_count,
)
from anonvma_rt.mm.page_alloc cimport put_page
from anonvma_rt.mm.page_lock cimport lock_page, unlock_page
from anonvma_rt.mm.rmap cimport page_get_anon_vma


cdef void make_parts_pages(page *head) noexcept nogil:
    """Behind the point at the head's count, which is the caller's one reference: nobody else has one, and no entry. A
    part begins with the split's own, and with the head's anon_vma. Its lock is the head's still: see give_locks()."""
    cdef uint64_t mapping = read_once64(&head.mapping)
    cdef uint32_t index = head.index
    cdef uint32_t i
    for i in range(1, compound_nr(head)):
        write_once32(&head[i].count, 1)
        write_once64(&head[i].mapping, mapping)
        write_onceu(&head[i].index, index + i)
        write_onceu(&head[i].flags, read_onceu(&head[i].flags) & ~<uint32_t>PG_COMPOUND)
    write_onceu(&head.flags, read_onceu(&head.flags) & ~<uint32_t>(PG_HEAD | PG_COMPOUND | PAGE_ORDER_MASK))


cdef bint freeze_and_split(Task *t, page *head) noexcept nogil:
    """Whether nobody but the caller had a reference. The lock of the queue keeps away who takes one there."""
    cdef deferred_queue *queue = lock_deferred(t)
    cdef bint alone
    point(t, OP_ATOMIC, &head.count)
    alone = page_count(head) == 1
    if alone:
        make_parts_pages(head)
    if queue != NULL:
        if alone:
            take_from_queue(queue, head)
        spin_unlock(t, &queue.lock)
    return alone


cdef void must_be_unmapped(Task *t, page *head) noexcept nogil:
    """Up to 5.12 what is mapped now is a BUG."""
    cdef int mapped = total_mapcount(t, head)
    if mapped:
        violate(t, BUG_ON, BUG_SPLIT_MAPPED, head.pfn, mapped)


cdef void drop_owed(Task *t, page *head, uint64_t pages, parts *owed) noexcept nogil:
    """The split's references of parts to which no entry came back."""
    cdef uint64_t i
    for i in range(pages):
        if owed.word[i >> 6] >> (i & 63) & 1:
            put_page(t, head + i)


cdef int split_under_root(Task *t, page *head, uint64_t pages, uint64_t kept, anon_vma *av) noexcept nogil:
    """kept: the part that has the caller's reference afterwards."""
    cdef parts owed
    cdef bint unmapped
    cdef bint split
    if total_mapcount(t, head) != references_but_ours(t, head):
        return -EBUSY
    note(t, NOTE_HUGE_SPLIT, head.pfn, 0, 0)
    unmapped = unmap_huge_page(t, head, av, True)
    if not unmapped and not kernel_of(t).algorithm.split_warns:
        must_be_unmapped(t, head)
    split = freeze_and_split(t, head)
    memset(&owed, 0xFF if split else 0, sizeof(owed))
    owed.word[kept >> 6] &= ~(<uint64_t>1 << (kept & 63))
    remap_huge_page(t, head, head, pages, av, &owed)
    if split:
        drop_owed(t, head, pages, &owed)
    note(t, NOTE_HUGE_SPLIT, head.pfn, 3 if split else 4, 0)
    return 0 if split else -EBUSY


cdef int references_but_ours(Task *t, page *head) noexcept nogil:
    point(t, OP_LOAD, &head.count)
    return page_count(head) - 1


cdef void give_locks(Task *t, page *head, uint32_t pages) noexcept nogil:
    """Each part has its own lock from now on."""
    cdef uint32_t i
    point(t, OP_STORE, &head.lock)
    for i in range(1, pages):
        write_onceu(&head[i].head, head[i].pfn)


cdef int split_huge_page_to_list(Task *t, page *head, page *p) noexcept nogil:
    """0, or -EBUSY. The page is locked, and stays so. p: its part that has the caller's reference afterwards."""
    cdef anon_vma *av = page_get_anon_vma(t, head)
    cdef uint32_t pages = compound_nr(head)
    cdef int result
    if av == NULL:
        return -EBUSY
    anon_vma_lock(t, av)
    result = split_under_root(t, head, pages, <uint64_t>(p - head), av)
    anon_vma_unlock(t, av)
    put_anon_vma(t, av)
    if result == 0:
        give_locks(t, head, pages)
    return result


cdef bint split_huge_page_locked(Task *t, page *p) noexcept nogil:
    """Takes the page lock for it. True where the page is small afterwards, whoever did it."""
    cdef page *head = compound_head(t, p)
    cdef bint done
    lock_page(t, head)
    done = not page_compound(head) or split_huge_page_to_list(t, head, p) == 0
    unlock_page(t, head)
    return done
