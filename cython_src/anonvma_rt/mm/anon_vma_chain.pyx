"""Chains and lists (see anon_vma_chain.pxd). Names and order of steps follow mm/rmap.c of Linux 3.1 to 3.3; the reuse
of an ancestor's anon_vma by fork is that of 3.19."""

from libc.errno cimport ENOMEM
from libc.stdint cimport uint64_t

from anonvma_rt.engine.base.arena cimport arena_free
from anonvma_rt.engine.base.klist cimport (
    LIST_ADDED_TWICE, LIST_NEXT_POISONED, list_add, list_add_tail, list_cursor, list_del, list_del_valid, list_empty,
    list_for_each, list_for_each_prev, list_for_each_safe, list_is_singular, list_step,
)
from anonvma_rt.engine.base.operation cimport OP_LOAD, OP_STORE
from anonvma_rt.engine.base.os cimport read_link, write_link
from anonvma_rt.engine.run.sync cimport lock_is_held, spin_lock, spin_unlock
from anonvma_rt.engine.run.task cimport VIOLATION_LIST_CORRUPTION, Task, must_live, note, point, violate
from anonvma_rt.mm.anon_vma cimport (
    anon_vma_alloc, anon_vma_lock, anon_vma_unlock, get_anon_vma, lock_root, put_anon_vma, unlock_root,
)
from anonvma_rt.mm.failslab cimport should_fail_alloc
from anonvma_rt.mm.hooks.notes cimport ALLOC_ANON_VMA_CHAIN, BUG_COUNTERS, BUG_ON, NOTE_TAIL
from anonvma_rt.mm.interval_tree cimport anon_vma_interval_tree_insert, anon_vma_interval_tree_remove
from anonvma_rt.mm.mm_types cimport (
    REUSE_DEGREE, REUSE_NO, TYPE_AVC, TYPE_VMA, VM_READ, VM_WRITE, announce_vmas, anon_vma, anon_vma_chain,
    avc_of_same_vma, kernel_of, member_of, mm_of, mm_struct, serial_of, vm_area_struct, vma_pages,
)
from anonvma_rt.mm.slab cimport must_alloc


cdef void insert(Task *t, anon_vma_chain *avc, bint first) noexcept nogil:
    """Puts avc on its anon_vma's list, and into the tree where the algorithm walks that."""
    if first:
        list_add(&avc.same_anon_vma, &avc.anon_vma.head)
    else:
        list_add_tail(&avc.same_anon_vma, &avc.anon_vma.head)
    if kernel_of(t).algorithm.tree:
        tree_insert(t, avc)


cdef void tree_insert(Task *t, anon_vma_chain *avc) noexcept nogil:
    """Into the tree, where it must not be yet: a node that is put in twice becomes its own child."""
    if avc.up != NULL or avc.anon_vma.tree == avc:
        violate(t, VIOLATION_LIST_CORRUPTION, LIST_ADDED_TWICE, serial_of(avc.anon_vma), 0)
    anon_vma_interval_tree_insert(avc.anon_vma, avc)


cdef void tree_remove(Task *t, anon_vma_chain *avc) noexcept nogil:
    if avc.up == NULL and avc.anon_vma.tree != avc:
        violate(t, VIOLATION_LIST_CORRUPTION, LIST_NEXT_POISONED, serial_of(avc.anon_vma), 0)
    anon_vma_interval_tree_remove(avc.anon_vma, avc)


cdef void chain(vm_area_struct *vma, anon_vma_chain *avc, anon_vma *av) noexcept nogil:
    avc.vma = vma
    avc.anon_vma = av
    list_add(&avc.same_vma, &vma.anon_vma_chain)


cdef void link_chain(Task *t, vm_area_struct *vma, anon_vma_chain *avc, anon_vma *av, bint first) noexcept nogil:
    """anon_vma_chain_link: front of the vma's chain, tail of the anon_vma's list. The root's mutex is held.

    The tail is what makes a walk meet a parent before its child, and a source before its fresh destination.
    """
    chain(vma, avc, av)
    point(t, OP_STORE, member_of(t, &av.head))
    insert(t, avc, first)


cdef void delete(Task *t, anon_vma_chain *avc) noexcept nogil:
    """list_del from an anon_vma's list, after the checks of CONFIG_DEBUG_LIST."""
    cdef int fault
    point(t, OP_STORE, member_of(t, &avc.anon_vma.head))
    fault = list_del_valid(&avc.same_anon_vma)
    if fault:
        violate(t, VIOLATION_LIST_CORRUPTION, fault, serial_of(avc.anon_vma), 0)
    list_del(&avc.same_anon_vma)
    if kernel_of(t).algorithm.tree:
        tree_remove(t, avc)


cdef anon_vma_chain *avc_alloc(Task *t) noexcept nogil:
    if should_fail_alloc(t, ALLOC_ANON_VMA_CHAIN):
        return NULL
    return <anon_vma_chain *>must_alloc(t, sizeof(anon_vma_chain), TYPE_AVC)


cdef bint anon_vma_compatible(vm_area_struct *a, vm_area_struct *b) noexcept nogil:
    """Whether a touches b from below, their pages have consecutive indexes, and mprotect alone could make
    their flags equal."""
    cdef uint64_t differing = (a.vm_flags ^ b.vm_flags) & ~<uint64_t>(VM_READ | VM_WRITE)
    return a.vm_end == b.vm_start and b.vm_pgoff == a.vm_pgoff + vma_pages(a) and not differing


cdef anon_vma *reusable_anon_vma(Task *t, vm_area_struct *old, vm_area_struct *a, vm_area_struct *b) noexcept nogil:
    """The anon_vma of `old`, which is a or b, if the two could have been one vma and old was never forked (2.6.34-rc
    did not ask that). Another thread may be giving old its anon_vma just now."""
    if not anon_vma_compatible(a, b):
        return NULL
    point(t, OP_LOAD, member_of(t, &old.anon_vma))
    must_live(t, old, TYPE_VMA)
    if read_link(&old.anon_vma) == NULL:
        return NULL
    return old.anon_vma if list_is_singular(&old.anon_vma_chain) or kernel_of(t).algorithm.reuse_forked else NULL


cdef anon_vma *find_mergeable_anon_vma(Task *t, vm_area_struct *vma) noexcept nogil:
    """An anon_vma to share with a neighbour, the next one first: this is how two vmas that never merged share one."""
    cdef anon_vma *av = NULL
    must_live(t, vma, TYPE_VMA)
    if vma.vm_next != NULL:
        must_live(t, vma.vm_next, TYPE_VMA)
        av = reusable_anon_vma(t, vma.vm_next, vma, vma.vm_next)
    must_live(t, vma, TYPE_VMA)
    if av == NULL and vma.vm_prev != NULL:
        must_live(t, vma.vm_prev, TYPE_VMA)
        av = reusable_anon_vma(t, vma.vm_prev, vma.vm_prev, vma)
    return av


cdef int anon_vma_prepare(Task *t, vm_area_struct *vma) noexcept nogil:
    """Gives a vma its anon_vma before its first page; mmap_sem is held for reading. Returns 0 or -ENOMEM."""
    cdef anon_vma_chain *avc
    cdef anon_vma *av
    cdef anon_vma *allocated = NULL
    cdef mm_struct *mm
    cdef bint linked = False
    cdef bint locked
    point(t, OP_LOAD, member_of(t, &vma.anon_vma))
    mm = mm_of(t, vma)
    if read_link(&vma.anon_vma) != NULL:
        return 0
    avc = avc_alloc(t)
    if avc == NULL:
        return -ENOMEM
    av = find_mergeable_anon_vma(t, vma)
    if av == NULL:
        av = allocated = anon_vma_alloc(t)
    if av == NULL:
        arena_free(&t.x.arena, avc)
        return -ENOMEM
    # A new one too: somebody may still hold a pointer to the anon_vma that this memory was before.
    locked = allocated == NULL or kernel_of(t).algorithm.lock_new
    if locked:
        anon_vma_lock(t, av)
    spin_lock(t, &mm.page_table_lock)
    point(t, OP_LOAD, member_of(t, &vma.anon_vma))
    must_live(t, vma, TYPE_VMA)
    if vma.anon_vma == NULL:
        point(t, OP_STORE, member_of(t, &vma.anon_vma))
        must_live(t, vma, TYPE_VMA)
        # The chain first: who sees the anon_vma without a lock looks at the chain (find_mergeable_anon_vma).
        chain(vma, avc, av)
        write_link(&vma.anon_vma, av)
        point(t, OP_STORE, member_of(t, &av.head))
        insert(t, avc, False)
        if not locked:
            # Whether another task has this list locked, and walks it: a look of its own, since nothing else orders the
            # two.
            point(t, OP_LOAD, &av.mutex)
            if lock_is_held(&av.mutex):
                violate(t, VIOLATION_LIST_CORRUPTION, 0, serial_of(av), 0)
        av.num_active_vmas += 1
        if allocated != NULL:
            # A root is a child of itself.
            av.num_children += 1
        linked = True
    spin_unlock(t, &mm.page_table_lock)
    if locked:
        anon_vma_unlock(t, av)
    if not linked:
        arena_free(&t.x.arena, avc)
        if allocated != NULL:
            put_anon_vma(t, allocated)
    return 0


cdef bint reusable_by_fork(Task *t, anon_vma *av, vm_area_struct *src) noexcept nogil:
    """Whether a forked vma may take an ancestor's anon_vma for its own instead of a new one (since 3.19, so that a
    chain of forks ends somewhere). The root, which is a child of itself, never is."""
    cdef int rule = kernel_of(t).algorithm.reuse
    if rule == REUSE_NO or av == src.anon_vma:
        return False
    if rule == REUSE_DEGREE:
        # 3.19 to 5.19: one number for both, which cannot tell one child without users from one user without children.
        return av.num_children + av.num_active_vmas < 2
    return av.num_children < 2 and av.num_active_vmas == 0


cdef int anon_vma_clone(Task *t, vm_area_struct *dst, vm_area_struct *src) noexcept nogil:
    """Puts dst on every list that src is on, at the tail, the oldest anon_vma first. Returns 0, or -ENOMEM with dst on
    no list and without an anon_vma.

    A dst without an anon_vma of its own (fork) may get one that nobody uses any more. An allocation under the root's
    lock may not sleep; where it fails the lock is dropped, and the next one may.
    """
    cdef list_cursor c = list_for_each_prev(&src.anon_vma_chain)
    cdef bint first = kernel_of(t).algorithm.child_first and dst.vm_mm != src.vm_mm
    cdef anon_vma_chain *old
    cdef anon_vma_chain *avc
    cdef anon_vma *root = NULL
    while list_step(&c):
        old = avc_of_same_vma(c.pos)
        avc = avc_alloc(t)
        if avc == NULL:
            unlock_root(t, root)
            root = NULL
            avc = avc_alloc(t)
        if avc == NULL:
            # It is not counted among the users of its anon_vma yet, so the unlinking must not take it off, as it did
            # in 3.19 (3fe89b3e2a7b).
            announce_vmas(t, OP_STORE)
            if not kernel_of(t).algorithm.uncounted_clone:
                dst.anon_vma = NULL
            unlink_anon_vmas(t, dst)
            return -ENOMEM
        root = lock_root(t, root, old.anon_vma)
        link_chain(t, dst, avc, old.anon_vma, first)
        if dst.anon_vma == NULL and reusable_by_fork(t, old.anon_vma, src):
            dst.anon_vma = old.anon_vma
    if dst.anon_vma != NULL:
        dst.anon_vma.num_active_vmas += 1
    unlock_root(t, root)
    return 0


cdef int anon_vma_fork(Task *t, vm_area_struct *child, vm_area_struct *parent) noexcept nogil:
    """Ties the child's vma to all anon_vmas of its parent's and to one of its own, before any pte is copied. Returns 0,
    or -ENOMEM with the child on no list."""
    cdef anon_vma_chain *avc
    cdef anon_vma *av
    child.anon_vma = NULL
    point(t, OP_LOAD, member_of(t, &parent.anon_vma))
    if parent.anon_vma == NULL:
        return 0
    if anon_vma_clone(t, child, parent) < 0:
        return -ENOMEM
    if child.anon_vma != NULL:
        return 0
    av = anon_vma_alloc(t)
    avc = avc_alloc(t) if av != NULL else NULL
    if avc == NULL:
        if av != NULL:
            put_anon_vma(t, av)
        unlink_anon_vmas(t, child)
        return -ENOMEM
    point(t, OP_STORE, &av.root)
    write_link(&av.root, parent.anon_vma.root)
    av.parent = parent.anon_vma
    # The root stays as long as somebody may lock it.
    get_anon_vma(t, av.root)
    child.anon_vma = av
    av.num_active_vmas = 1
    anon_vma_lock(t, av)
    link_chain(t, child, avc, av, False)
    av.parent.num_children += 1
    anon_vma_unlock(t, av)
    return 0


cdef void avc_to_tail(Task *t, anon_vma_chain *avc) noexcept nogil:
    """Takes one entry off its list and puts it at the tail; the root's lock is held."""
    delete(t, avc)
    insert(t, avc, False)


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
        if kernel_of(t).algorithm.tail_own_only and avc.anon_vma != dst.anon_vma:
            continue
        root = lock_root(t, root, avc.anon_vma)
        avc_to_tail(t, avc)
    unlock_root(t, root)
    note(t, NOTE_TAIL, serial_of(dst), 0, 0)


cdef void counters_are_zero(Task *t, anon_vma *av) noexcept nogil:
    """What the kernel asserts, since it has the counters, of an anon_vma whose list is empty."""
    if kernel_of(t).algorithm.reuse != REUSE_NO and (av.num_children != 0 or av.num_active_vmas != 0):
        violate(t, BUG_ON, BUG_COUNTERS, serial_of(av), av.num_children + av.num_active_vmas)


cdef void unlink_anon_vmas(Task *t, vm_area_struct *vma) noexcept nogil:
    """Takes vma off all lists under the root's mutex, then drops the anon_vmas that became empty, without it.

    The vma may live on (MREMAP_DONTUNMAP): then its next fault prepares a new anon_vma.
    """
    cdef list_cursor c = list_for_each_safe(&vma.anon_vma_chain)
    cdef anon_vma_chain *avc
    cdef anon_vma *root = NULL
    while list_step(&c):
        avc = avc_of_same_vma(c.pos)
        root = lock_root(t, root, avc.anon_vma)
        delete(t, avc)
        if list_empty(&avc.anon_vma.head):
            avc.anon_vma.parent.num_children -= 1
            continue
        announce_vmas(t, OP_STORE)
        list_del(&avc.same_vma)
        arena_free(&t.x.arena, avc)
    announce_vmas(t, OP_STORE)
    if vma.anon_vma != NULL:
        vma.anon_vma.num_active_vmas -= 1
        vma.anon_vma = NULL
    unlock_root(t, root)
    c = list_for_each_safe(&vma.anon_vma_chain)
    while list_step(&c):
        avc = avc_of_same_vma(c.pos)
        counters_are_zero(t, avc.anon_vma)
        put_anon_vma(t, avc.anon_vma)
        announce_vmas(t, OP_STORE)
        list_del(&avc.same_vma)
        arena_free(&t.x.arena, avc)


# ---- the tree's keys -------------------------------------------------------------------------------------------------


cdef void anon_vma_pre_update(Task *t, vm_area_struct *vma) noexcept nogil:
    """Takes a vma out of the trees before its range changes; the root's lock is held."""
    cdef list_cursor c = list_for_each(&vma.anon_vma_chain)
    while list_step(&c):
        tree_remove(t, avc_of_same_vma(c.pos))


cdef void anon_vma_post_update(Task *t, vm_area_struct *vma) noexcept nogil:
    """Puts it back, behind all vmas of the same vm_pgoff."""
    cdef list_cursor c = list_for_each(&vma.anon_vma_chain)
    while list_step(&c):
        tree_insert(t, avc_of_same_vma(c.pos))
