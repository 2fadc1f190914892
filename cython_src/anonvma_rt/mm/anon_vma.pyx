"""anon_vma: lifetime and lock (see anon_vma.pxd). Names and order of steps follow mm/rmap.c of Linux 3.1 to 3.3."""

from libc.stdint cimport int64_t

from anonvma_rt.engine.base.arena cimport arena_retire, arena_revive
from anonvma_rt.engine.base.klist cimport INIT_LIST_HEAD, list_empty
from anonvma_rt.engine.base.operation cimport OP_ATOMIC, OP_LOAD, OP_STORE
from anonvma_rt.engine.base.os cimport write_link, write_once32
from anonvma_rt.engine.parallel.locks cimport guard, unguard
from anonvma_rt.engine.run.sync cimport (
    add_return, add_unless_zero, down_read, lock_init, lock_is_held, mutex_lock, mutex_trylock, mutex_unlock,
    try_down_read, up_read,
)
from anonvma_rt.engine.run.task cimport (
    VIOLATION_USE_AFTER_FREE, Task, must_live, must_not_be_dead_yet, point, violate,
)
from anonvma_rt.mm.failslab cimport should_fail_alloc
from anonvma_rt.mm.hooks.notes cimport ALLOC_ANON_VMA, BUG_ON, BUG_SECOND_ROOT
from anonvma_rt.mm.hooks.root_lock cimport ROOT_LOCK_DROPPED, ROOT_LOCK_TAKEN, ROOT_LOCK_WANTED, tell_root_lock
from anonvma_rt.mm.mm_types cimport CLASS_ANON_VMA, TYPE_ANON_VMA, anon_vma, kernel, kernel_of, serial_of
from anonvma_rt.mm.slab cimport must_alloc


# ---- lifetime --------------------------------------------------------------------------------------------------------


cdef inline void announce_life(Task *t, int op, anon_vma *av) noexcept nogil:
    """That an anon_vma is freed, or in use again, matters to who has a pointer and no reference (careful_pin)."""
    if not kernel_of(t).algorithm.careful_pin:
        point(t, op, &av.refcount)


cdef anon_vma *from_pool(Task *t, kernel *k) noexcept nogil:
    """The anon_vma that was freed last, or NULL."""
    cdef anon_vma *av
    # Who is given which freed one depends on who comes first.
    point(t, OP_ATOMIC, &k.free_anon_vma)
    if t.x.parallel:
        guard(t, &k.pool_guard)
    av = k.free_anon_vma
    if av != NULL:
        k.free_anon_vma = av.next_free
    if t.x.parallel:
        unguard(&k.pool_guard)
    if av != NULL:
        announce_life(t, OP_STORE, av)
        arena_revive(&t.x.arena, av)
    return av


cdef void to_pool(Task *t, kernel *k, anon_vma *av) noexcept nogil:
    point(t, OP_ATOMIC, &k.free_anon_vma)
    if t.x.parallel:
        guard(t, &k.pool_guard)
    av.next_free = k.free_anon_vma
    k.free_anon_vma = av
    if t.x.parallel:
        unguard(&k.pool_guard)


cdef anon_vma *anon_vma_alloc(Task *t) noexcept nogil:
    """From the pool if it has one, or NULL. The mutex stays as it is: it was made when the memory became an anon_vma,
    and somebody who still believes in the former one may hold it."""
    cdef anon_vma *av
    if should_fail_alloc(t, ALLOC_ANON_VMA):
        return NULL
    av = from_pool(t, kernel_of(t))
    if av == NULL:
        av = <anon_vma *>must_alloc(t, sizeof(anon_vma), TYPE_ANON_VMA)
        lock_init(&av.mutex, CLASS_ANON_VMA)
        INIT_LIST_HEAD(&av.head)
    elif not list_empty(&av.head) or av.tree != NULL:
        # Freed while a vma was on its list, through which the next user would walk.
        violate(t, VIOLATION_USE_AFTER_FREE, TYPE_ANON_VMA, <int64_t>(<char *>av - t.x.arena.base), 0)
    point(t, OP_STORE, &av.root)
    write_link(&av.root, av)
    av.parent = av
    av.num_children = 0
    av.num_active_vmas = 0
    point(t, OP_STORE, &av.refcount)
    write_once32(&av.refcount, 1)
    return av


cdef void anon_vma_free(Task *t, anon_vma *av) noexcept nogil:
    """Waits once for a page_lock_anon_vma that got the mutex before it saw that its page is unmapped.

    It counts as freed from here on, and not only from when the pool has it: then whoever holds the mutex, or looks at
    it, and asks for a freed one is ordered with this.
    """
    cdef anon_vma *owner = lock_owner(t, av)
    must_live(t, owner, TYPE_ANON_VMA)
    point(t, OP_LOAD, &owner.mutex)
    if lock_is_held(&owner.mutex):
        mutex_lock(t, &owner.mutex)
        announce_life(t, OP_STORE, av)
        arena_retire(&t.x.arena, av)
        mutex_unlock(t, &owner.mutex)
    else:
        announce_life(t, OP_STORE, av)
        arena_retire(&t.x.arena, av)
    to_pool(t, kernel_of(t), av)


cdef bint dec_and_test(Task *t, anon_vma *av) noexcept nogil:
    point(t, OP_ATOMIC, &av.refcount)
    return add_return(t, &av.refcount, -1) == 0


cdef bint inc_not_zero(Task *t, anon_vma *av) noexcept nogil:
    point(t, OP_ATOMIC, &av.refcount)
    return add_unless_zero(t, &av.refcount)


cdef void get_anon_vma(Task *t, anon_vma *av) noexcept nogil:
    point(t, OP_ATOMIC, &av.refcount)
    add_return(t, &av.refcount, 1)


cdef void free_unused(Task *t, anon_vma *av) noexcept nogil:
    """__put_anon_vma. Up to 3.15 the root's reference is dropped, and perhaps the root freed, before av itself, whose
    freeing looks at the root's mutex."""
    cdef anon_vma *root
    if not kernel_of(t).algorithm.careful_pin:
        point(t, OP_LOAD, &av.root)
    root = av.root
    if kernel_of(t).algorithm.free_root_first:
        if root != av and dec_and_test(t, root):
            anon_vma_free(t, root)
        anon_vma_free(t, av)
        return
    anon_vma_free(t, av)
    if root != av and dec_and_test(t, root):
        anon_vma_free(t, root)


cdef void put_anon_vma(Task *t, anon_vma *av) noexcept nogil:
    announce_life(t, OP_LOAD, av)
    must_live(t, av, TYPE_ANON_VMA)
    if dec_and_test(t, av):
        free_unused(t, av)


# ---- the lock --------------------------------------------------------------------------------------------------------


cdef void anon_vma_lock(Task *t, anon_vma *av) noexcept nogil:
    tell_root_lock(t, ROOT_LOCK_WANTED)
    must_not_be_dead_yet(t, av, TYPE_ANON_VMA)
    must_not_be_dead_yet(t, lock_owner(t, av), TYPE_ANON_VMA)
    mutex_lock(t, &lock_owner(t, av).mutex)
    must_live(t, av, TYPE_ANON_VMA)
    tell_root_lock(t, ROOT_LOCK_TAKEN)


cdef void anon_vma_unlock(Task *t, anon_vma *av) noexcept nogil:
    must_live(t, lock_owner(t, av), TYPE_ANON_VMA)
    tell_root_lock(t, ROOT_LOCK_DROPPED)
    mutex_unlock(t, &lock_owner(t, av).mutex)


cdef void announce_root(Task *t, anon_vma *av) noexcept nogil:
    """A look at the root of an anon_vma whose pin may be none: it may have been freed, and be another one by now."""
    if not kernel_of(t).algorithm.careful_pin:
        point(t, OP_LOAD, &av.root)


cdef void anon_vma_lock_read(Task *t, anon_vma *av) noexcept nogil:
    """As a walker takes it: shared since 3.8."""
    announce_root(t, av)
    if not kernel_of(t).algorithm.shared_walks:
        anon_vma_lock(t, av)
        return
    must_not_be_dead_yet(t, av, TYPE_ANON_VMA)
    must_not_be_dead_yet(t, av.root, TYPE_ANON_VMA)
    down_read(t, &av.root.mutex)
    must_live(t, av, TYPE_ANON_VMA)


cdef void anon_vma_unlock_read(Task *t, anon_vma *av) noexcept nogil:
    announce_root(t, av)
    if not kernel_of(t).algorithm.recheck_mapped:
        # Inside an RCU section still, where a freed anon_vma is memory like any other, and may have another root.
        point(t, OP_LOAD, &av.root)
        mutex_unlock(t, &lock_owner(t, av).mutex)
        return
    if not kernel_of(t).algorithm.shared_walks:
        anon_vma_unlock(t, av)
        return
    must_live(t, av.root, TYPE_ANON_VMA)
    up_read(t, &av.root.mutex)


cdef bint anon_vma_trylock(Task *t, anon_vma *root) noexcept nogil:
    """For a walker that does not know yet whether `root` still is what it was."""
    if kernel_of(t).algorithm.shared_walks:
        return try_down_read(t, &root.mutex)
    return mutex_trylock(t, &root.mutex)


cdef anon_vma *lock_root(Task *t, anon_vma *held, anon_vma *av) noexcept nogil:
    """lock_anon_vma_root: takes the root of av unless `held` is it already; returns the root that is held now."""
    must_live(t, av, TYPE_ANON_VMA)
    if held == lock_owner(t, av):
        return held
    if held != NULL and not kernel_of(t).algorithm.own_lock:
        # A chain of two fork trees. The kernel warns, and goes on.
        violate(t, BUG_ON, BUG_SECOND_ROOT, serial_of(av), 0)
    unlock_root(t, held)
    anon_vma_lock(t, av)
    return lock_owner(t, av)


cdef void unlock_root(Task *t, anon_vma *held) noexcept nogil:
    if held != NULL:
        tell_root_lock(t, ROOT_LOCK_DROPPED)
        mutex_unlock(t, &held.mutex)
