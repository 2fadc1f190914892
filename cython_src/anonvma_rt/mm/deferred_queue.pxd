"""Huge pages of which only a part is still mapped, until somebody splits them (deferred_split, since 4.5).

The queue is there where a program has a task that splits what is in it; its own lock protects it. A page that is freed
or split leaves it.
"""

from libc.stdint cimport int32_t

from anonvma_rt.engine.run.sync cimport spinlock_t
from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport page

cdef enum:
    # More are not remembered, and stay as they are.
    MAX_DEFERRED = 64

cdef struct deferred_queue:
    spinlock_t lock
    int32_t n
    page *page[MAX_DEFERRED]

cdef void make_deferred_queue(Task *t) noexcept nogil
cdef void deferred_split_huge_page(Task *t, page *head) noexcept nogil
cdef void forget_deferred(Task *t, page *head) noexcept nogil
cdef deferred_queue *lock_deferred(Task *t) noexcept nogil
cdef void take_from_queue(deferred_queue *queue, page *head) noexcept nogil
