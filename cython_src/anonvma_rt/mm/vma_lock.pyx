"""The lock of one vma (see vma_lock.pxd).

The kernel looks at the two sequences before it tries the lock, too, and gives up at once where they are equal. That
look is left out: whoever makes it could as well try the lock in the same moment and give up then.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from anonvma_rt.engine.base.arena cimport ARENA_POISON, arena_retire, arena_revive
from anonvma_rt.engine.base.operation cimport OP_ATOMIC, OP_LOAD, OP_STORE, TEST_EQUAL
from anonvma_rt.engine.base.os cimport (
    read_link, read_onceu, rt_exchange_in_order, rt_load_in_order, write_once64, write_onceu,
)
from anonvma_rt.engine.parallel.locks cimport guard, unguard
from anonvma_rt.engine.memory.words cimport await_test, fetch_add, store
from anonvma_rt.engine.run.sync cimport down_write, lock_init, try_down_read, up_read, up_write
from anonvma_rt.engine.run.task cimport VIOLATION_USE_AFTER_FREE, Task, must_live, point, violate
from anonvma_rt.mm.mm_types cimport (
    TYPE_MM, TYPE_VMA, VMA_LOCKS_6_4_EARLY, VMA_LOCKS_6_4_RELEASED, VMA_LOCKS_6_15, VMA_LOCKS_6_15_ANY_MM,
    VMA_LOCKS_6_15_UNPINNED, announce_tree, announce_vmas, by_refcount, by_sequence, kernel, kernel_of, locked_vma,
    member_of, mm_struct, one_object, start_of, vm_area_struct,
)
from anonvma_rt.mm.slab cimport must_alloc
from anonvma_rt.mm.vma_tree cimport vma_tree_find, vma_tree_find_key

# What comes of an attempt to lock a vma for reading.
cdef enum Attempt:
    LOCKED
    # Somebody changes it.
    BUSY
    # It is in no tree any more: there may be another one in its place.
    DETACHED


# ---- the count of references -----------------------------------------------------------------------------------------


cdef int64_t add_between(Task *t, int64_t *count, int64_t value, int64_t most) noexcept nogil:
    """Adds `value` unless the count is 0, or above `most`; what it was."""
    cdef int64_t before
    point(t, OP_ATOMIC, count)
    if not t.x.parallel:
        before = count[0]
        if 0 < before <= most:
            count[0] = before + value
        return before
    before = rt_load_in_order(count)
    while 0 < before <= most and not rt_exchange_in_order(count, before, before + value):
        before = rt_load_in_order(count)
    return before


cdef bint wait_for_readers(Task *t, locked_vma *held, int64_t own) noexcept nogil:
    """Until only the tree's reference (own: 1) or none is left. False where there is none at all, and nobody can come;
    else leave_to_readers() follows."""
    if add_between(t, &held.vm_refcnt, VMA_LOCK_OFFSET, VMA_LOCK_OFFSET) == 0:
        return False
    await_test(t, &held.vm_refcnt, TEST_EQUAL, VMA_LOCK_OFFSET + own)
    return True


cdef void leave_to_readers(Task *t, locked_vma *held) noexcept nogil:
    fetch_add(t, &held.vm_refcnt, -<int64_t>VMA_LOCK_OFFSET)


cdef void vma_refcount_put(Task *t, vm_area_struct *vma, mm_struct *own) noexcept nogil:
    """Drops a reader's reference, and wakes a writer who waits for it: through the mm of the vma, which keeps neither
    of the two alive. That matters where it is not the mm of the task itself, and then since 9bbffee67ffd (6.17) it is
    held meanwhile. own: the task's, or NULL where the vma's mm cannot be another one, or is held."""
    cdef mm_struct *mm = vma.vm_mm
    cdef int64_t left = fetch_add(t, &lock_of(vma).vm_refcnt, -1) - 1
    if own == NULL or mm == own or left < VMA_LOCK_OFFSET or left > VMA_LOCK_OFFSET + 1:
        return
    point(t, OP_LOAD, &mm.gone)
    if read_onceu(&mm.gone):
        violate(t, VIOLATION_USE_AFTER_FREE, TYPE_MM, <int64_t>(<char *>mm - t.x.arena.base), 0)


# ---- writers ---------------------------------------------------------------------------------------------------------


cdef void lock_for_writing(Task *t, vm_area_struct *vma) noexcept nogil:
    """__vma_start_write."""
    cdef locked_vma *held = lock_of(vma)
    if not by_refcount(t):
        down_write(t, &held.lock)
        write_once64(<uint64_t *>&held.vm_lock_seq, <uint64_t>vma.vm_mm.mm_lock_seq)
        up_write(t, &held.lock)
    elif wait_for_readers(t, held, 1):
        write_once64(<uint64_t *>&held.vm_lock_seq, <uint64_t>vma.vm_mm.mm_lock_seq)
        leave_to_readers(t, held)


cdef void unlock_all(Task *t, mm_struct *mm) noexcept nogil:
    """vma_end_write_all."""
    point(t, OP_STORE, &mm.mm_lock_seq)
    write_onceu(&mm.mm_lock_seq, mm.mm_lock_seq + 1)


cdef void tell_end(Task *t, mm_struct *mm, uint32_t gone) noexcept nogil:
    """A process ended or, as in the lab it can, begins anew."""
    if mm.gone != gone:
        point(t, OP_STORE, &mm.gone)
        write_onceu(&mm.gone, gone)


cdef void attach(Task *t, vm_area_struct *vma) noexcept nogil:
    cdef locked_vma *held = lock_of(vma)
    held.vm_lock_seq = vma.vm_mm.mm_lock_seq
    if by_refcount(t):
        store(t, &held.vm_refcnt, 1)
        tell_end(t, vma.vm_mm, 0)


cdef void detach(Task *t, vm_area_struct *vma) noexcept nogil:
    """From 6.15 on a reader may have come by who is about to see that the vma is locked: it is waited for. The kernel
    detaches a vma a little before it takes it out of the tree, and readers go round in between."""
    cdef locked_vma *held = lock_of(vma)
    if not by_refcount(t):
        held.detached = True
    elif fetch_add(t, &held.vm_refcnt, -1) != 1 and wait_for_readers(t, held, 0):
        leave_to_readers(t, held)


cdef void move_key(Task *t, vm_area_struct *vma) noexcept nogil:
    cdef locked_vma *held = lock_of(vma)
    if held.key_start == vma.vm_start and held.key_end == vma.vm_end:
        return
    if not one_object(t):
        # Where all are one object a lookup goes by the range itself.
        announce_tree(t, vma.vm_mm, OP_STORE)
    write_once64(&held.key_start, vma.vm_start)
    write_once64(&held.key_end, vma.vm_end)


cdef void lock_all(Task *t, mm_struct *mm) noexcept nogil:
    """Locks all vmas of a process that ends."""
    cdef vm_area_struct *vma = mm.mmap
    while vma != NULL:
        vma_start_write(t, vma)
        vma = vma.vm_next


cdef void detach_all(Task *t, mm_struct *mm, vm_area_struct *first) noexcept nogil:
    """The tree of a process that ends is gone, and its vmas are a row that begins with `first`."""
    if not by_sequence(t):
        return
    while first != NULL:
        detach(t, first)
        first = first.vm_next
    if by_refcount(t):
        tell_end(t, mm, 1)


# ---- lifetime --------------------------------------------------------------------------------------------------------


cdef vm_area_struct *from_pool(Task *t, kernel *k) noexcept nogil:
    """The vma that was freed last, or NULL."""
    cdef vm_area_struct *vma
    # Who is given which freed one depends on who comes first.
    point(t, OP_ATOMIC, &k.free_vma)
    if t.x.parallel:
        guard(t, &k.pool_guard)
    vma = k.free_vma
    if vma != NULL:
        k.free_vma = lock_of(vma).next_free
        arena_revive(&t.x.arena, vma)
    if t.x.parallel:
        unguard(&k.pool_guard)
    return vma


cdef vm_area_struct *locked_vma_alloc(Task *t) noexcept nogil:
    """A zeroed vma that no writer has locked. What is behind one that was used before stays, because a reader may still
    look at it."""
    cdef vm_area_struct *vma = from_pool(t, kernel_of(t)) if by_refcount(t) else NULL
    if vma != NULL:
        memset(vma, 0, sizeof(vm_area_struct))
    else:
        vma = <vm_area_struct *>must_alloc(t, sizeof(locked_vma), TYPE_VMA)
        lock_init(&lock_of(vma).lock, 0)
    lock_of(vma).vm_lock_seq = -1
    return vma


cdef void locked_vma_free(Task *t, vm_area_struct *vma) noexcept nogil:
    """The vma itself is poisoned. What readers look at without its lock stays."""
    cdef kernel *k = kernel_of(t)
    arena_retire(&t.x.arena, vma)
    memset(vma, ARENA_POISON, sizeof(vm_area_struct))
    if not by_refcount(t):
        return
    point(t, OP_ATOMIC, &k.free_vma)
    if t.x.parallel:
        guard(t, &k.pool_guard)
    lock_of(vma).next_free = k.free_vma
    k.free_vma = vma
    if t.x.parallel:
        unguard(&k.pool_guard)


# ---- readers ---------------------------------------------------------------------------------------------------------


cdef vm_area_struct *find_under_rcu(Task *t, mm_struct *mm, uint64_t address) noexcept nogil:
    cdef vm_area_struct *vma
    announce_tree(t, mm, OP_LOAD)
    if t.x.parallel:
        guard(t, &mm.tree_guard)
    if one_object(t):
        vma = vma_tree_find(mm, address)
        if vma != NULL and address < vma.vm_start:
            vma = NULL
    else:
        vma = vma_tree_find_key(mm, address)
    if t.x.parallel:
        unguard(&mm.tree_guard)
    return vma


cdef vm_area_struct *lock_without_sequence(Task *t, mm_struct *mm, uint64_t address) noexcept nogil:
    """The words "racy" and "fork", in which nobody but perhaps fork takes the lock for writing."""
    cdef vm_area_struct *vma = find_under_rcu(t, mm, address)
    if vma == NULL or not try_down_read(t, &vma.vm_lock):
        return NULL
    announce_vmas(t, OP_LOAD)
    must_live(t, vma, TYPE_VMA)
    return vma


cdef Attempt read_by_rwsem(Task *t, mm_struct *mm, vm_area_struct *vma) noexcept nogil:
    """vma_start_read up to 6.14."""
    cdef locked_vma *held = lock_of(vma)
    if not try_down_read(t, &held.lock):
        return BUSY
    point(t, OP_LOAD, &mm.mm_lock_seq)
    if held.vm_lock_seq == <int64_t>read_onceu(&mm.mm_lock_seq):
        up_read(t, &held.lock)
        return BUSY
    if held.detached:
        up_read(t, &held.lock)
        return DETACHED
    return LOCKED


cdef Attempt read_by_refcount(Task *t, mm_struct *mm, vm_area_struct *vma) noexcept nogil:
    """vma_start_read from 6.15 on. The vma may be one of another process by now; since 6.17 that is seen before
    anything else."""
    cdef int rule = kernel_of(t).algorithm.vma_locks
    cdef locked_vma *held = lock_of(vma)
    cdef mm_struct *own = mm if rule == VMA_LOCKS_6_15_UNPINNED else NULL
    cdef int64_t before = add_between(t, &held.vm_refcnt, 1, VMA_LOCK_OFFSET - 1)
    cdef bint foreign
    cdef bint locked
    if before == 0:
        return DETACHED
    if before >= VMA_LOCK_OFFSET:
        return BUSY
    foreign = vma.vm_mm != mm
    if foreign and rule == VMA_LOCKS_6_15:
        vma_refcount_put(t, vma, NULL)
        return BUSY
    point(t, OP_LOAD, &mm.mm_lock_seq)
    locked = held.vm_lock_seq == <int64_t>read_onceu(&mm.mm_lock_seq)
    if locked or (foreign and rule != VMA_LOCKS_6_15_ANY_MM):
        vma_refcount_put(t, vma, own)
        return BUSY
    return LOCKED


cdef vm_area_struct *lock_vma_under_rcu(Task *t, mm_struct *mm, uint64_t address) noexcept nogil:
    """The vma at an address with its own lock held for reading and mmap_sem not held. NULL where nothing is there,
    somebody changes it, or it has no anon_vma yet, for which a fault would look at neighbours: the fault takes mmap_sem
    after all."""
    cdef int rule = kernel_of(t).algorithm.vma_locks
    cdef bint early = rule == VMA_LOCKS_6_4_EARLY or rule == VMA_LOCKS_6_4_RELEASED
    cdef vm_area_struct *vma
    cdef Attempt attempt = DETACHED
    if not by_sequence(t):
        return lock_without_sequence(t, mm, address)
    while attempt == DETACHED:
        vma = find_under_rcu(t, mm, address)
        if vma == NULL:
            return NULL
        if early:
            # Before it is locked: until 657b5146955e in 6.5.
            point(t, OP_LOAD, member_of(t, &vma.anon_vma))
            if read_link(&vma.anon_vma) == NULL:
                return NULL
        attempt = read_by_refcount(t, mm, vma) if by_refcount(t) else read_by_rwsem(t, mm, vma)
    if attempt == BUSY:
        return NULL
    announce_vmas(t, OP_LOAD)
    must_live(t, vma, TYPE_VMA)
    if start_of(t, vma) <= address < vma.vm_end:
        if early:
            return vma
        point(t, OP_LOAD, member_of(t, &vma.anon_vma))
        if read_link(&vma.anon_vma) != NULL:
            return vma
    vma_end_read(t, vma)
    return NULL


cdef void vma_end_read(Task *t, vm_area_struct *vma) noexcept nogil:
    if by_refcount(t):
        vma_refcount_put(t, vma, NULL)
    elif by_sequence(t):
        up_read(t, &lock_of(vma).lock)
    else:
        up_read(t, &vma.vm_lock)
