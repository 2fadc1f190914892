"""lock_page() and its relatives (linux/pagemap.h): one lock for all parts of a huge page, that of its head.

A split leaves page.head of its parts alone until it has put all entries back, so that their lock is the one that it
holds; in the kernel it locks the parts at once and unlocks one after the other. Whoever got a lock that is the page's
no more takes the other one.
"""

from anonvma_rt.engine.audit.access cimport rt_glance
from anonvma_rt.engine.run.sync cimport mutex_lock, mutex_t, mutex_trylock, mutex_unlock
from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport kernel_of, page, pfn_to_page


cdef inline mutex_t *page_lockptr(Task *t, page *p) noexcept nogil:
    return &pfn_to_page(kernel_of(t), rt_glance(&p.head)).lock


cdef inline void lock_page(Task *t, page *p) noexcept nogil:
    cdef mutex_t *lock = page_lockptr(t, p)
    mutex_lock(t, lock)
    while lock != page_lockptr(t, p):
        mutex_unlock(t, lock)
        lock = page_lockptr(t, p)
        mutex_lock(t, lock)


cdef inline bint trylock_page(Task *t, page *p) noexcept nogil:
    cdef mutex_t *lock = page_lockptr(t, p)
    while mutex_trylock(t, lock):
        if lock == page_lockptr(t, p):
            return True
        mutex_unlock(t, lock)
        lock = page_lockptr(t, p)
    return False


cdef inline void unlock_page(Task *t, page *p) noexcept nogil:
    mutex_unlock(t, page_lockptr(t, p))
