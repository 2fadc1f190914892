"""The split of what is in the queue (see deferred_split.pxd)."""

from anonvma_rt.engine.run.sync cimport spin_unlock
from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.deferred_queue cimport MAX_DEFERRED, deferred_queue, deferred_split_huge_page, lock_deferred
from anonvma_rt.mm.mm_types cimport page, page_compound
from anonvma_rt.mm.page_alloc cimport get_page_unless_zero, put_page
from anonvma_rt.mm.page_lock cimport trylock_page, unlock_page
from anonvma_rt.mm.split_huge_page_to_list cimport split_huge_page_to_list


cdef int deferred_split_scan(Task *t) noexcept nogil:
    """Splits what is in the queue, as the shrinker does: whose lock is not to be had at once, or who cannot be split
    now, goes back. How many were split."""
    cdef page *taken[MAX_DEFERRED]
    cdef deferred_queue *queue = lock_deferred(t)
    cdef int n = 0
    cdef int split = 0
    cdef int i
    cdef bint done
    if queue == NULL:
        return 0
    for i in range(queue.n):
        # One that is being freed waits for the lock of the queue.
        if get_page_unless_zero(t, queue.page[i]):
            taken[n] = queue.page[i]
            n += 1
    queue.n = 0
    spin_unlock(t, &queue.lock)
    for i in range(n):
        done = False
        if trylock_page(t, taken[i]):
            done = not page_compound(taken[i]) or split_huge_page_to_list(t, taken[i], taken[i]) == 0
            unlock_page(t, taken[i])
        split += done
        if not done:
            deferred_split_huge_page(t, taken[i])
        put_page(t, taken[i])
    return split
