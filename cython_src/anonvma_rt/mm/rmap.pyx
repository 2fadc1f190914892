"""The reverse map (see rmap.pxd). Names and order of steps follow mm/rmap.c of Linux 3.1 to 3.3."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from anonvma_rt.engine.arena cimport arena_free, arena_retire
from anonvma_rt.engine.klist cimport (
    INIT_LIST_HEAD,
    list_add,
    list_add_tail,
    list_cursor,
    list_del,
    list_del_valid,
    list_empty,
    list_for_each,
    list_for_each_prev,
    list_for_each_safe,
    list_head,
    list_is_singular,
    list_step,
)
from anonvma_rt.engine.sync cimport (
    lock_init,
    lock_is_held,
    mutex_lock,
    mutex_t,
    mutex_trylock,
    mutex_unlock,
    spin_lock,
    spin_unlock,
    spinlock_t,
)
from anonvma_rt.engine.task cimport (
    OP_ATOMIC,
    OP_LOAD,
    OP_STORE,
    Task,
    VIOLATION_LIST_CORRUPTION,
    must_live,
    note,
    point,
    violate,
)
from anonvma_rt.mm.events cimport (
    BUG_MAPCOUNT,
    NOTE_LIST,
    NOTE_LOOK,
    NOTE_NO_LOOK,
    NOTE_TAIL,
    NOTE_UNMAP,
    NOTE_WALK,
)
from anonvma_rt.mm.memory cimport (
    find_table,
    must_alloc,
    page_mapped,
    pte_lockptr,
    pte_offset,
    pte_read,
    ptep_get_and_clear,
    put_page,
    set_pte,
)
from anonvma_rt.mm.mmap cimport vmas_may_share_anon_vma
from anonvma_rt.mm.types cimport (
    BENIGN_MISSES,
    BUG_ON,
    CLASS_ANON_VMA,
    PAGE_MAPPING_ANON,
    PAGE_SHIFT,
    PTE_MIGRATION,
    PTE_WRITE,
    TYPE_ANON_VMA,
    TYPE_AVC,
    TYPE_VMA,
    anon_vma,
    anon_vma_chain,
    avc_of_same_anon_vma,
    avc_of_same_vma,
    linear_page_index,
    make_pte,
    mm_struct,
    page,
    page_anon_vma,
    page_table,
    pte_pfn,
    pte_present,
    pte_t,
    serial_of,
    vm_area_struct,
)


# ---- lifetime ----------------------------------------------------------------------------------------------------------


cdef anon_vma *anon_vma_alloc(Task *t) noexcept nogil:
    cdef anon_vma *av = <anon_vma *>must_alloc(t, sizeof(anon_vma), TYPE_ANON_VMA)
    av.root = av
    av.refcount = 1
    lock_init(&av.mutex, CLASS_ANON_VMA)
    INIT_LIST_HEAD(&av.head)
    return av


cdef void anon_vma_free(Task *t, anon_vma *av) noexcept nogil:
    """Waits once for a page_lock_anon_vma that got the mutex before it saw that its page is unmapped."""
    cdef mutex_t *mutex = &av.root.mutex
    point(t, OP_LOAD, mutex)
    if lock_is_held(mutex):
        mutex_lock(t, mutex)
        mutex_unlock(t, mutex)
    arena_retire(&t.x.arena, av)


cdef bint dec_and_test(Task *t, anon_vma *av) noexcept nogil:
    point(t, OP_ATOMIC, &av.refcount)
    av.refcount -= 1
    return av.refcount == 0


cdef void free_unused(Task *t, anon_vma *av) noexcept nogil:
    """__put_anon_vma, in its shape of 3.1 to 3.15: the root's reference is dropped before av itself is freed."""
    if av.root != av and dec_and_test(t, av.root):
        anon_vma_free(t, av.root)
    anon_vma_free(t, av)


cdef void put_anon_vma(Task *t, anon_vma *av) noexcept nogil:
    must_live(t, av, TYPE_ANON_VMA)
    if dec_and_test(t, av):
        free_unused(t, av)


cdef void anon_vma_lock(Task *t, anon_vma *av) noexcept nogil:
    must_live(t, av, TYPE_ANON_VMA)
    must_live(t, av.root, TYPE_ANON_VMA)
    mutex_lock(t, &av.root.mutex)


cdef void anon_vma_unlock(Task *t, anon_vma *av) noexcept nogil:
    must_live(t, av.root, TYPE_ANON_VMA)
    mutex_unlock(t, &av.root.mutex)


# ---- chains and lists --------------------------------------------------------------------------------------------------


cdef void link_chain(Task *t, vm_area_struct *vma, anon_vma_chain *avc, anon_vma *av) noexcept nogil:
    """anon_vma_chain_link: front of the vma's chain, tail of the anon_vma's list. The root's mutex is held.

    The tail is what makes a walk meet a parent before its child, and a source before its fresh destination.
    """
    avc.vma = vma
    avc.anon_vma = av
    list_add(&avc.same_vma, &vma.anon_vma_chain)
    point(t, OP_STORE, &av.head)
    list_add_tail(&avc.same_anon_vma, &av.head)


cdef void delete(Task *t, anon_vma *av, list_head *node) noexcept nogil:
    """list_del from an anon_vma's list, after the checks of CONFIG_DEBUG_LIST."""
    cdef int fault
    point(t, OP_STORE, &av.head)
    fault = list_del_valid(node)
    if fault:
        violate(t, VIOLATION_LIST_CORRUPTION, fault, serial_of(av), 0)
    list_del(node)


cdef anon_vma_chain *avc_alloc(Task *t) noexcept nogil:
    return <anon_vma_chain *>must_alloc(t, sizeof(anon_vma_chain), TYPE_AVC)


cdef anon_vma *lock_root(Task *t, anon_vma *held, anon_vma *av) noexcept nogil:
    """lock_anon_vma_root: takes the root of av unless `held` is it already; returns the root that is held now."""
    must_live(t, av, TYPE_ANON_VMA)
    if held == av.root:
        return held
    if held != NULL:
        mutex_unlock(t, &held.mutex)
    anon_vma_lock(t, av)
    return av.root


cdef void unlock_root(Task *t, anon_vma *held) noexcept nogil:
    if held != NULL:
        mutex_unlock(t, &held.mutex)


cdef anon_vma *reusable_anon_vma(Task *t, vm_area_struct *old, vm_area_struct *a, vm_area_struct *b) noexcept nogil:
    """The anon_vma of `old`, which is a or b, if the two could have been one vma and old was never forked. Another
    thread may be giving old its anon_vma just now."""
    if not vmas_may_share_anon_vma(a, b):
        return NULL
    point(t, OP_LOAD, &old.anon_vma)
    return old.anon_vma if old.anon_vma != NULL and list_is_singular(&old.anon_vma_chain) else NULL


cdef anon_vma *find_mergeable_anon_vma(Task *t, vm_area_struct *vma) noexcept nogil:
    """An anon_vma to share with a neighbour, the next one first: this is how two vmas that never merged share one."""
    cdef anon_vma *av = NULL
    if vma.vm_next != NULL:
        av = reusable_anon_vma(t, vma.vm_next, vma, vma.vm_next)
    if av == NULL and vma.vm_prev != NULL:
        av = reusable_anon_vma(t, vma.vm_prev, vma.vm_prev, vma)
    return av


cdef int anon_vma_prepare(Task *t, vm_area_struct *vma) noexcept nogil:
    """Gives a vma its anon_vma before its first page; mmap_sem is held for reading. Returns 0."""
    cdef anon_vma_chain *avc
    cdef anon_vma *av
    cdef anon_vma *allocated = NULL
    cdef bint linked = False
    point(t, OP_LOAD, &vma.anon_vma)
    if vma.anon_vma != NULL:
        return 0
    avc = avc_alloc(t)
    av = find_mergeable_anon_vma(t, vma)
    if av == NULL:
        av = allocated = anon_vma_alloc(t)
    # A new one too: somebody may still hold a pointer to the anon_vma that this memory was before.
    anon_vma_lock(t, av)
    spin_lock(t, &vma.vm_mm.page_table_lock)
    point(t, OP_LOAD, &vma.anon_vma)
    if vma.anon_vma == NULL:
        point(t, OP_STORE, &vma.anon_vma)
        vma.anon_vma = av
        link_chain(t, vma, avc, av)
        linked = True
    spin_unlock(t, &vma.vm_mm.page_table_lock)
    anon_vma_unlock(t, av)
    if not linked:
        arena_free(&t.x.arena, avc)
        if allocated != NULL:
            put_anon_vma(t, allocated)
    return 0


cdef int anon_vma_clone(Task *t, vm_area_struct *dst, vm_area_struct *src) noexcept nogil:
    """Puts dst on every list that src is on, at the tail, the oldest anon_vma first. Returns 0."""
    cdef list_cursor c = list_for_each_prev(&src.anon_vma_chain)
    cdef anon_vma_chain *old
    cdef anon_vma *root = NULL
    while list_step(&c):
        old = avc_of_same_vma(c.pos)
        root = lock_root(t, root, old.anon_vma)
        link_chain(t, dst, avc_alloc(t), old.anon_vma)
    unlock_root(t, root)
    return 0


cdef void anon_vma_moveto_tail(Task *t, vm_area_struct *dst) noexcept nogil:
    """Moves the entries of dst to the tail of all their lists (948f017b, in 3.3).

    It waits for a walk that is under way, and later walks meet dst last. All anon_vmas of the chain, not only
    dst.anon_vma: after a fork a page may belong to an ancestor's.
    """
    cdef list_cursor c = list_for_each_prev(&dst.anon_vma_chain)
    cdef anon_vma_chain *avc
    cdef anon_vma *root = NULL
    while list_step(&c):
        avc = avc_of_same_vma(c.pos)
        root = lock_root(t, root, avc.anon_vma)
        delete(t, avc.anon_vma, &avc.same_anon_vma)
        list_add_tail(&avc.same_anon_vma, &avc.anon_vma.head)
    unlock_root(t, root)
    note(t, NOTE_TAIL, serial_of(dst), 0, 0)


cdef void unlink_anon_vmas(Task *t, vm_area_struct *vma) noexcept nogil:
    """Takes vma off all lists under the root's mutex, then drops the anon_vmas that became empty, without it."""
    cdef list_cursor c = list_for_each_safe(&vma.anon_vma_chain)
    cdef anon_vma_chain *avc
    cdef anon_vma *root = NULL
    while list_step(&c):
        avc = avc_of_same_vma(c.pos)
        root = lock_root(t, root, avc.anon_vma)
        delete(t, avc.anon_vma, &avc.same_anon_vma)
        if list_empty(&avc.anon_vma.head):
            continue
        list_del(&avc.same_vma)
        arena_free(&t.x.arena, avc)
    unlock_root(t, root)
    c = list_for_each_safe(&vma.anon_vma_chain)
    while list_step(&c):
        avc = avc_of_same_vma(c.pos)
        put_anon_vma(t, avc.anon_vma)
        list_del(&avc.same_vma)
        arena_free(&t.x.arena, avc)


# ---- from a page to its anon_vma -----------------------------------------------------------------------------------


cdef anon_vma *anon_vma_of(Task *t, page *p) noexcept nogil:
    """page.mapping as an anon_vma if the page is anonymous and mapped. Inside an RCU section: it may be freed."""
    cdef anon_vma *av
    point(t, OP_LOAD, &p.mapping)
    av = page_anon_vma(p)
    if av == NULL or not page_mapped(t, p):
        return NULL
    return av


cdef bint inc_not_zero(Task *t, anon_vma *av) noexcept nogil:
    point(t, OP_ATOMIC, &av.refcount)
    if av.refcount == 0:
        return False
    av.refcount += 1
    return True


cdef anon_vma *page_get_anon_vma(Task *t, page *p) noexcept nogil:
    """Pins the anon_vma of a mapped page, or NULL: mapped after the increment means that it is still the page's."""
    cdef anon_vma *av = anon_vma_of(t, p)
    if av == NULL or not inc_not_zero(t, av):
        return NULL
    if not page_mapped(t, p):
        put_anon_vma(t, av)
        return NULL
    return av


cdef anon_vma *page_lock_anon_vma(Task *t, page *p, anon_vma **root) noexcept nogil:
    """The anon_vma of a mapped page with its root locked, or NULL. root: what page_unlock_anon_vma must unlock."""
    cdef anon_vma *av = anon_vma_of(t, p)
    if av == NULL:
        return NULL
    point(t, OP_LOAD, &av.root)
    root[0] = av.root
    if mutex_trylock(t, &root[0].mutex):
        if not page_mapped(t, p):
            mutex_unlock(t, &root[0].mutex)
            return NULL
        return av
    if not inc_not_zero(t, av):
        return NULL
    if not page_mapped(t, p):
        put_anon_vma(t, av)
        return NULL
    anon_vma_lock(t, av)
    root[0] = av.root
    if dec_and_test(t, av):
        mutex_unlock(t, &root[0].mutex)
        free_unused(t, av)
        return NULL
    return av


# ---- page counters -----------------------------------------------------------------------------------------------------


cdef void page_add_new_anon_rmap(Task *t, page *p, vm_area_struct *vma, uint64_t address) noexcept nogil:
    """A page that only this pte will map: it belongs to the vma's own anon_vma."""
    p.mapcount = 0
    p.mapping = <uint64_t>vma.anon_vma + PAGE_MAPPING_ANON
    p.index = <uint32_t>linear_page_index(vma, address)


cdef void page_add_anon_rmap(Task *t, page *p) noexcept nogil:
    """One more pte maps an anonymous page; its anon_vma and index stay as they are."""
    point(t, OP_ATOMIC, &p.mapcount)
    p.mapcount += 1


cdef void page_remove_rmap(Task *t, page *p) noexcept nogil:
    point(t, OP_ATOMIC, &p.mapcount)
    if p.mapcount < 0:
        violate(t, BUG_ON, BUG_MAPCOUNT, p.pfn, 0)
    p.mapcount -= 1


# ---- walks -------------------------------------------------------------------------------------------------------------


cdef bint vma_address(Task *t, page *p, vm_area_struct *vma, uint64_t *address) noexcept nogil:
    """Where the page would be mapped in vma, if inside it. The three fields are read one by one, and vma_adjust may
    be changing them."""
    cdef uint64_t pgoff
    cdef uint64_t start
    point(t, OP_LOAD, &vma.vm_pgoff)
    pgoff = vma.vm_pgoff
    point(t, OP_LOAD, &vma.vm_start)
    start = vma.vm_start
    address[0] = start + ((p.index - pgoff) << PAGE_SHIFT)
    point(t, OP_LOAD, &vma.vm_end)
    if start <= address[0] < vma.vm_end:
        return True
    note(t, NOTE_NO_LOOK, serial_of(vma), p.pfn, 0)
    return False


cdef list_cursor rmap_walk_begin(Task *t, anon_vma *av, page *p, int walk) noexcept nogil:
    """The list in its order, oldest first. The caller holds the root's mutex until the walk has ended."""
    cdef list_cursor c = list_for_each(&av.head)
    cdef int position = 0
    if t.x.tracing:
        note(t, NOTE_WALK, walk, p.pfn, 0)
        while list_step(&c):
            note(t, NOTE_LIST, serial_of(av), serial_of(avc_of_same_anon_vma(c.pos).vma), position)
            position += 1
        c = list_for_each(&av.head)
    return c


cdef vm_area_struct *rmap_walk_next(Task *t, anon_vma *av, list_cursor *c) noexcept nogil:
    """The next vma of the list, or NULL at its end."""
    cdef anon_vma_chain *avc
    point(t, OP_LOAD, &av.head)
    if not list_step(c):
        if c.corrupt:
            violate(t, VIOLATION_LIST_CORRUPTION, c.corrupt, serial_of(av), 0)
        return NULL
    avc = avc_of_same_anon_vma(c.pos)
    must_live(t, avc, TYPE_AVC)
    must_live(t, avc.vma, TYPE_VMA)
    return avc.vma


cdef void try_to_unmap_one(Task *t, page *p, vm_area_struct *vma, uint64_t address) noexcept nogil:
    """Replaces the pte by a migration entry. page_check_address looks first without the lock: a miss is benign."""
    cdef mm_struct *mm = vma.vm_mm
    cdef page_table *table = find_table(t, mm, address)
    cdef spinlock_t *ptl
    cdef pte_t *ptep
    cdef pte_t pte
    if table == NULL:
        note(t, NOTE_LOOK, serial_of(vma), <int64_t>address, 0)
        return
    ptep = pte_offset(table, address)
    pte = pte_read(t, ptep)
    if not pte_present(pte):
        note(t, NOTE_LOOK, serial_of(vma), <int64_t>address, <int64_t>pte)
        return
    ptl = pte_lockptr(t, mm, table)
    spin_lock(t, ptl)
    pte = pte_read(t, ptep)
    note(t, NOTE_LOOK, serial_of(vma), <int64_t>address, <int64_t>pte)
    if pte_present(pte) and pte_pfn(pte) == p.pfn:
        pte = ptep_get_and_clear(t, ptep)
        set_pte(t, ptep, make_pte(PTE_MIGRATION, p.pfn, pte & PTE_WRITE))
        note(t, NOTE_UNMAP, serial_of(vma), <int64_t>address, p.pfn)
        page_remove_rmap(t, p)
        put_page(t, p)
    spin_unlock(t, ptl)


cdef bint try_to_unmap(Task *t, page *p) noexcept nogil:
    """Walk 1 of a migration (try_to_unmap_anon with TTU_MIGRATION); whether no pte maps the page any more.

    The page is locked. Stops as soon as the page is unmapped. A pte that it missed keeps the mapcount up, the
    migration is given up, and nothing is wrong: such misses are only counted.
    """
    cdef anon_vma *root = NULL
    cdef anon_vma *av = page_lock_anon_vma(t, p, &root)
    cdef vm_area_struct *vma
    cdef uint64_t address
    cdef list_cursor c
    if av != NULL:
        c = rmap_walk_begin(t, av, p, WALK_UNMAP)
        while True:
            vma = rmap_walk_next(t, av, &c)
            if vma == NULL:
                break
            if not vma_address(t, p, vma, &address):
                continue
            try_to_unmap_one(t, p, vma, address)
            if not page_mapped(t, p):
                break
        note(t, NOTE_WALK, WALK_UNMAP, p.pfn, 1)
        mutex_unlock(t, &root.mutex)
    if page_mapped(t, p):
        t.x.counters[BENIGN_MISSES] += 1
        return False
    return True
