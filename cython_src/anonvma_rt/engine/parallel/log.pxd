"""The log of a recorded execution at large: who made which step when, and what it was.

With recording on, a step takes a ticket while it holds the stripe of its object, and keeps the stripe until its task
comes to the next point. So two steps on one object are ordered by their tickets as they were in fact, and no step of
another task on that object falls into the middle of one. A stripe is never held by a task that waits. A task's tickets
are its own until its body has ended; then whoever ends the execution reads them all.
"""

from libc.stdint cimport int64_t, uint32_t

from anonvma_rt.engine.base.os cimport rt_store
from anonvma_rt.engine.parallel.runner cimport Runner, Storm
from anonvma_rt.engine.run.task cimport Task

cdef void look_around(Task *t) noexcept nogil
cdef void breathe(Task *t, uint32_t looks) noexcept nogil
cdef void take_stripe(Task *t, void *object) noexcept nogil
cdef void write_ticket(Runner *r) noexcept nogil
cdef void take_ticket(Task *t, void *object) noexcept nogil
cdef void begin_log(Runner *r) noexcept nogil
cdef void keep_log(Storm *s, int64_t kind) noexcept nogil
cdef void forget_logs(Storm *s) noexcept nogil


cdef inline void drop_stripe(Runner *r) noexcept nogil:
    if r.stripe != NULL:
        rt_store(r.stripe, 0)
        r.stripe = NULL
