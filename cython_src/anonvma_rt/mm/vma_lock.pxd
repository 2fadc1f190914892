"""The lock of one vma (include/linux/mmap_lock.h and mm/mmap_lock.c, since 6.4): a fault holds it for reading and goes
without mmap_sem; whoever holds mmap_sem for writing locks each vma before it changes it.

A writer writes mm_lock_seq into the vma, and whoever gives mmap_sem back counts that on, which unlocks all vmas at
once. Up to 6.14 an rwsem keeps a fault and that moment apart, and a freed vma is memory until every look under RCU is
over: here until the end of the execution. From 6.15 on a count of references does, and a freed vma may be the vma of
another process at once.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.run.sync cimport downgrade_write, glance, up_read, up_write
from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport (
    VMA_LOCKS_6_4_IMPORT, VMA_LOCKS_6_4_RELEASED, by_sequence, kernel_of, locked_vma, mm_struct, vm_area_struct,
)

cdef enum:
    # What a writer adds to vm_refcnt while it waits for readers.
    VMA_LOCK_OFFSET = 1 << 30

cdef void lock_for_writing(Task *t, vm_area_struct *vma) noexcept nogil
cdef void attach(Task *t, vm_area_struct *vma) noexcept nogil
cdef void detach(Task *t, vm_area_struct *vma) noexcept nogil
cdef void unlock_all(Task *t, mm_struct *mm) noexcept nogil
cdef void move_key(Task *t, vm_area_struct *vma) noexcept nogil
cdef void lock_all(Task *t, mm_struct *mm) noexcept nogil
cdef void detach_all(Task *t, mm_struct *mm, vm_area_struct *first) noexcept nogil
cdef vm_area_struct *locked_vma_alloc(Task *t) noexcept nogil
cdef void locked_vma_free(Task *t, vm_area_struct *vma) noexcept nogil
cdef vm_area_struct *lock_vma_under_rcu(Task *t, mm_struct *mm, uint64_t address) noexcept nogil
cdef void vma_end_read(Task *t, vm_area_struct *vma) noexcept nogil


cdef inline locked_vma *lock_of(vm_area_struct *vma) noexcept nogil:
    return <locked_vma *>vma


cdef inline void vma_start_write(Task *t, vm_area_struct *vma) noexcept nogil:
    """Before a change of a vma that is in a tree: waits for its readers, and keeps new ones out until mmap_sem is given
    back."""
    if by_sequence(t) and lock_of(vma).vm_lock_seq != vma.vm_mm.mm_lock_seq:
        lock_for_writing(t, vma)


cdef inline void vma_mark_attached(Task *t, vm_area_struct *vma) noexcept nogil:
    """Right before a vma goes into a tree, locked, since nobody else knows it."""
    if by_sequence(t):
        attach(t, vma)


cdef inline void vma_mark_detached(Task *t, vm_area_struct *vma) noexcept nogil:
    """It is in no tree any more, and nobody has it locked for reading from here on."""
    if by_sequence(t):
        detach(t, vma)


cdef inline void set_key(Task *t, vm_area_struct *vma) noexcept nogil:
    """The range under which a lookup without mmap_sem finds a vma."""
    if by_sequence(t):
        lock_of(vma).key_start = vma.vm_start
        lock_of(vma).key_end = vma.vm_end


cdef inline void rekey(Task *t, vm_area_struct *vma) noexcept nogil:
    """After a change of its range, if it is in the tree."""
    if by_sequence(t):
        move_key(t, vma)


cdef inline void vma_end_write_all(Task *t, mm_struct *mm) noexcept nogil:
    """Right before mmap_sem is given back: unlocks all vmas."""
    if by_sequence(t):
        unlock_all(t, mm)


cdef inline void mmap_write_unlock(Task *t, mm_struct *mm) noexcept nogil:
    vma_end_write_all(t, mm)
    up_write(t, &mm.mmap_sem)


cdef inline void mmap_write_downgrade(Task *t, mm_struct *mm) noexcept nogil:
    vma_end_write_all(t, mm)
    downgrade_write(t, &mm.mmap_sem)


cdef inline void mmap_unlock(Task *t, mm_struct *mm) noexcept nogil:
    """Gives mmap_sem back as it is held: for writing, or for reading where a call has downgraded it."""
    # Whether t holds it is nothing that others could change.
    if glance(&mm.mmap_sem).owner == t.id + 1:
        mmap_write_unlock(t, mm)
    else:
        up_read(t, &mm.mmap_sem)


cdef inline bint import_unlocked(Task *t) noexcept nogil:
    """6.4: a vma is given a neighbour's anon_vma before it is locked (until d8ab9f7b644a)."""
    cdef int rule = kernel_of(t).algorithm.vma_locks
    return rule == VMA_LOCKS_6_4_IMPORT or rule == VMA_LOCKS_6_4_RELEASED
