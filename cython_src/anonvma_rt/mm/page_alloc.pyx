"""Page frames (see page_alloc.pxd)."""

from libc.errno cimport EBUSY, ENOENT
from libc.stdint cimport int32_t, uint32_t

from anonvma_rt.engine.audit.access cimport rt_enlarge, rt_enter, rt_glance, rt_glance_link, rt_number
from anonvma_rt.engine.base.arena cimport arena_free
from anonvma_rt.engine.base.operation cimport OP_ATOMIC
from anonvma_rt.engine.base.os cimport read_once32, rt_unlikely, write_once64, write_onceu
from anonvma_rt.engine.parallel.locks cimport guard, unguard
from anonvma_rt.engine.run.sync cimport add_return, add_unless_zero, lock_init
from anonvma_rt.engine.run.task cimport Task, note, point, violate
from anonvma_rt.mm.deferred_queue cimport forget_deferred
from anonvma_rt.mm.failslab cimport should_fail_alloc
from anonvma_rt.mm.hooks.notes cimport ALLOC_PAGE, BUG_DOUBLE_FREE, BUG_ON, NOTE_FREE_PAGE
from anonvma_rt.mm.mm_types cimport (
    CLASS_PAGE, PAGES_PER_CHUNK, PAGE_ORDER_SHIFT, PG_COMPOUND, PG_HEAD, PG_ISOLATED, PMD_ORDER, THP_3_2, TYPE_PAGES,
    TYPE_SCRATCH, compound_head, compound_mapcount, kernel, kernel_of, page, page_count, page_in_compound, pfn_to_page,
)
from anonvma_rt.mm.slab cimport must_alloc
from anonvma_rt.mm.tlb cimport tlb_page_freed


cdef void add_chunks(Task *t, kernel *k, uint32_t n) noexcept nogil:
    """Enlarges mem_map by n chunks that lie side by side."""
    cdef page **larger
    cdef page **smaller
    cdef page **chunk
    cdef page *pages
    cdef uint32_t i
    # Numbers of frames, as in alloc_page: nothing depends on who gets which.
    cdef uint32_t chunks = rt_number(&k.chunks, n)
    while chunks + n > rt_glance(&k.chunk_room):
        rt_number(&k.chunk_room, rt_glance(&k.chunk_room) + 8)
        larger = <page **>must_alloc(t, rt_glance(&k.chunk_room) * sizeof(void *), TYPE_SCRATCH)
        smaller = <page **>rt_glance_link(&k.chunk)
        rt_enlarge(&k.chunk, <void **>larger, chunks)
        # Somebody may be looking into the old one at this moment; it goes with the execution.
        if chunks and not t.x.parallel:
            arena_free(&t.x.arena, smaller)
    pages = <page *>must_alloc(t, n * PAGES_PER_CHUNK * sizeof(page), TYPE_PAGES)
    for i in range(n * PAGES_PER_CHUNK):
        pages[i].pfn = chunks * PAGES_PER_CHUNK + i
        pages[i].head = pages[i].pfn
        pages[i].mapcount = -1
        lock_init(&pages[i].lock, CLASS_PAGE)
    chunk = <page **>rt_glance_link(&k.chunk)
    for i in range(n):
        rt_enter(<void **>&chunk[chunks + i], pages + i * PAGES_PER_CHUNK)


cdef void have_frames(Task *t) noexcept nogil:
    """Before tasks race: the chunk that one of them would make, after a huge page, has pages for the others as well."""
    cdef kernel *k = kernel_of(t)
    if rt_glance(&k.n_pages) == rt_glance(&k.chunks) * PAGES_PER_CHUNK:
        add_chunks(t, k, 1)


cdef page *alloc_page(Task *t) noexcept nogil:
    """A page with one reference, or NULL."""
    cdef kernel *k = kernel_of(t)
    cdef page *p
    if should_fail_alloc(t, ALLOC_PAGE):
        return NULL
    if t.x.parallel:
        return alloc_page_of_own(t, k)
    # Which frame it is depends on who comes first, and nothing depends on that: as with where an object lies.
    if rt_glance(&k.n_pages) == rt_glance(&k.chunks) * PAGES_PER_CHUNK:
        add_chunks(t, k, 1)
    p = pfn_to_page(k, rt_number(&k.n_pages, 1))
    p.count = 1
    return p


cdef page *alloc_page_of_own(Task *t, kernel *k) noexcept nogil:
    """From the task's own chunk, of which t.local is the next page."""
    cdef page *p = <page *>t.local
    if p == NULL:
        guard(t, &k.frames_guard)
        add_chunks(t, k, 1)
        p = k.chunk[k.chunks - 1]
        write_onceu(&k.n_pages, k.chunks * PAGES_PER_CHUNK)
        unguard(&k.frames_guard)
    t.local = p + 1 if (p.pfn + 1) % PAGES_PER_CHUNK else NULL
    p.count = 1
    return p


cdef page *alloc_folio(Task *t, int order) noexcept nogil:
    """2**order pages side by side, with one reference, which the head holds, or NULL. The frames before them in a chunk
    that was begun stay unused."""
    cdef kernel *k = kernel_of(t)
    cdef uint32_t pages = <uint32_t>1 << order
    cdef uint32_t first
    cdef page *head
    cdef uint32_t i
    if should_fail_alloc(t, ALLOC_PAGE):
        return NULL
    if t.x.parallel:
        guard(t, &k.frames_guard)
    first = rt_glance(&k.chunks) * PAGES_PER_CHUNK
    add_chunks(t, k, (pages + PAGES_PER_CHUNK - 1) // PAGES_PER_CHUNK)
    head = pfn_to_page(k, first)
    for i in range(pages):
        head[i].head = first
    write_onceu(&k.n_pages, first + pages)
    if t.x.parallel:
        write_onceu(&k.n_pages, rt_glance(&k.chunks) * PAGES_PER_CHUNK)
        unguard(&k.frames_guard)
    head.count = 1
    head.flags = PG_HEAD | <uint32_t>order << PAGE_ORDER_SHIFT
    if k.algorithm.thp != THP_3_2:
        for i in range(pages):
            head[i].flags |= PG_COMPOUND
    compound_mapcount(head)[0] = -1
    return head


cdef page *alloc_hugepage(Task *t) noexcept nogil:
    return alloc_folio(t, PMD_ORDER)


cdef bint get_page_unless_zero(Task *t, page *p) noexcept nogil:
    """Of the head, if p is a part of a huge page, which may be split before the reference is there: then it is the
    part's own that is wanted."""
    cdef page *head = compound_head(t, p)
    point(t, OP_ATOMIC, &head.count)
    while add_unless_zero(t, &head.count):
        if head == compound_head(t, p):
            return True
        drop(t, head, 1)
        head = compound_head(t, p)
        point(t, OP_ATOMIC, &head.count)
    return False


cdef void drop(Task *t, page *p, int32_t what) noexcept nogil:
    """Takes `what` off the count, one reference among it; the last one frees the page."""
    cdef int32_t left
    p = compound_head(t, p)
    point(t, OP_ATOMIC, &p.count)
    if page_count(p) == 0:
        violate(t, BUG_ON, BUG_DOUBLE_FREE, p.pfn, 0)
    left = add_return(t, &p.count, -what)
    if left < 0:
        violate(t, BUG_ON, BUG_DOUBLE_FREE, p.pfn, 0)
    if left == 0:
        note(t, NOTE_FREE_PAGE, p.pfn, 0, 0)
        write_once64(&p.mapping, 0)
        if rt_unlikely(kernel_of(t).tlb != NULL):
            tlb_page_freed(t, p)
        if page_in_compound(p):
            forget_deferred(t, p)


cdef void put_page(Task *t, page *p) noexcept nogil:
    drop(t, p, 1)


# ---- off the LRU -----------------------------------------------------------------------------------------------------


cdef page *alloc_isolated_page(Task *t) noexcept nogil:
    """A page for migration, which nobody else is to isolate before putback_lru_page(); or NULL."""
    cdef page *p = alloc_page(t)
    if p != NULL and kernel_of(t).algorithm.isolate:
        add_return(t, &p.count, PG_ISOLATED)
    return p


cdef page *alloc_isolated_folio(Task *t, int order) noexcept nogil:
    """The same for a folio."""
    cdef page *head = alloc_folio(t, order)
    if head != NULL and kernel_of(t).algorithm.isolate:
        add_return(t, &head.count, PG_ISOLATED)
    return head


cdef int isolate_lru_page(Task *t, page *p) noexcept nogil:
    """Takes a page off the LRU, and a reference of it: 0; -ENOENT if it is free; -EBUSY if somebody else has it off.

    One step, as under the lock of the LRU. A page is on the LRU from its fault on: there are no pagevecs.
    """
    cdef bint isolate = kernel_of(t).algorithm.isolate
    p = compound_head(t, p)
    point(t, OP_ATOMIC, &p.count)
    if isolate and read_once32(&p.count) >= PG_ISOLATED:
        return -EBUSY
    if not add_unless_zero(t, &p.count):
        return -ENOENT
    if isolate and add_return(t, &p.count, PG_ISOLATED) >= 2 * PG_ISOLATED:
        # Only where tasks run at once: somebody came in between.
        add_return(t, &p.count, -PG_ISOLATED)
        drop(t, p, 1)
        return -EBUSY
    return 0


cdef void putback_lru_page(Task *t, page *p) noexcept nogil:
    """Gives back what isolate_lru_page() took, in one step as well."""
    drop(t, p, 1 + PG_ISOLATED if kernel_of(t).algorithm.isolate else 1)
