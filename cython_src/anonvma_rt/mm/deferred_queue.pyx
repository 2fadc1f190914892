"""The queue of huge pages that are mapped in part (see deferred_queue.pxd)."""

from anonvma_rt.engine.run.sync cimport lock_init, spin_lock, spin_unlock
from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport TYPE_SCRATCH, kernel_of, page
from anonvma_rt.mm.slab cimport must_alloc


cdef void make_deferred_queue(Task *t) noexcept nogil:
    """For a program with a task that looks into it."""
    cdef deferred_queue *queue = <deferred_queue *>must_alloc(t, sizeof(deferred_queue), TYPE_SCRATCH)
    lock_init(&queue.lock, 0)
    kernel_of(t).deferred = queue


cdef deferred_queue *lock_deferred(Task *t) noexcept nogil:
    """The queue with its lock held, or NULL where there is none."""
    cdef deferred_queue *queue = <deferred_queue *>kernel_of(t).deferred
    if queue != NULL:
        spin_lock(t, &queue.lock)
    return queue


cdef int place_of(deferred_queue *queue, page *head) noexcept nogil:
    """Where it is in the queue, or -1."""
    cdef int i
    for i in range(queue.n):
        if queue.page[i] == head:
            return i
    return -1


cdef void put_in_queue(deferred_queue *queue, page *head) noexcept nogil:
    if queue.n < MAX_DEFERRED and place_of(queue, head) < 0:
        queue.page[queue.n] = head
        queue.n += 1


cdef void take_from_queue(deferred_queue *queue, page *head) noexcept nogil:
    cdef int i = place_of(queue, head)
    if i < 0:
        return
    queue.n -= 1
    while i < queue.n:
        queue.page[i] = queue.page[i + 1]
        i += 1


cdef void deferred_split_huge_page(Task *t, page *head) noexcept nogil:
    """Some of it is mapped no more."""
    cdef deferred_queue *queue = lock_deferred(t)
    if queue != NULL:
        put_in_queue(queue, head)
        spin_unlock(t, &queue.lock)


cdef void forget_deferred(Task *t, page *head) noexcept nogil:
    """free_transhuge_page()."""
    cdef deferred_queue *queue = lock_deferred(t)
    if queue != NULL:
        take_from_queue(queue, head)
        spin_unlock(t, &queue.lock)
