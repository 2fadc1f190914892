"""Stripes, tickets, and the logs of all tasks as one schedule (see log.pxd)."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from anonvma_rt.engine.base.grow cimport grow
from anonvma_rt.engine.base.operation cimport MAX_TASKS, NEVER
from anonvma_rt.engine.base.os cimport rt_exchange, rt_next64, rt_pause, rt_peek, rt_unwind, rt_yield
from anonvma_rt.engine.base.rng cimport mix64
from anonvma_rt.engine.order.signature cimport SIGNATURE_BITS, step_signature
from anonvma_rt.engine.parallel.runner cimport SPINS, STRIPES, STRIPE_WORDS, Kept, Runner, Storm, runner_of, task_of
from anonvma_rt.engine.run.task cimport HALT_STOPPED, HALT_UNTIL, Execution, Task, halt

cdef enum:
    MOST_TICKETS = 1 << 24


# ---- leaving ---------------------------------------------------------------------------------------------------------


cdef void look_around(Task *t) noexcept nogil:
    """Leaves the body where somebody said so, or where the storm is to stop. Does not return then."""
    cdef Execution *x = t.x
    if rt_peek(&runner_of(t).storm.leave):
        x.halt = HALT_UNTIL
        rt_unwind(&runner_of(t).jump)
    if x.limits.stop != NULL and rt_peek(x.limits.stop):
        halt(t, HALT_STOPPED)


cdef void breathe(Task *t, uint32_t looks) noexcept nogil:
    """Between two looks at a word that another task will change."""
    if looks < SPINS:
        rt_pause()
        return
    look_around(t)
    rt_yield()


# ---- stripes and tickets ---------------------------------------------------------------------------------------------


cdef void hold_stripe(Task *t, void *object) noexcept nogil:
    cdef Runner *r = runner_of(t)
    cdef uint32_t *stripe = r.storm.stripes + mix64(<uint64_t>object >> 2) % STRIPES * STRIPE_WORDS
    cdef uint32_t looks = 0
    drop_stripe(r)
    while rt_peek(stripe) or rt_exchange(stripe, 1):
        looks += 1
        breathe(t, looks)
    r.stripe = stripe


cdef void write_ticket(Runner *r) noexcept nogil:
    cdef uint64_t signature
    # Without a log the violation still counts; it cannot be replayed.
    if r.n_tickets == r.tickets_room and r.tickets_room >= MOST_TICKETS:
        return
    if grow(<void **>&r.tickets, &r.tickets_room, r.n_tickets + 1, sizeof(uint64_t)) < 0:
        return
    signature = step_signature(&r.x.arena, task_of(r).op, task_of(r).object)
    r.tickets[r.n_tickets] = rt_next64(&r.storm.ticket) << SIGNATURE_BITS | signature
    r.n_tickets += 1


cdef void take_ticket(Task *t, void *object) noexcept nogil:
    """The step that t announced on `object` happens now; it lasts until its next point."""
    if runner_of(t).storm.recording:
        hold_stripe(t, object)
        write_ticket(runner_of(t))


cdef void take_stripe(Task *t, void *object) noexcept nogil:
    if runner_of(t).storm.recording:
        hold_stripe(t, object)


cdef void begin_log(Runner *r) noexcept nogil:
    """The first step of a task, which has no object."""
    r.n_tickets = 0
    r.stripe = NULL
    if r.storm.recording:
        write_ticket(r)


# ---- kept ------------------------------------------------------------------------------------------------------------


cdef void merge_logs(Storm *s, Kept *k) noexcept nogil:
    """The tasks' logs as one schedule, in the order of their tickets."""
    cdef uint64_t at[MAX_TASKS]
    cdef uint64_t smallest
    cdef uint64_t i
    cdef Runner *r
    cdef int next
    cdef int j
    memset(at, 0, sizeof(at))
    for i in range(k.n):
        smallest = NEVER
        next = 0
        for j in range(s.n):
            r = &s.runner[j]
            if at[j] < r.n_tickets and r.tickets[at[j]] < smallest:
                smallest = r.tickets[at[j]]
                next = j
        at[next] += 1
        k.tasks[i] = <uint8_t>next
        k.signatures[i] = <uint16_t>(smallest & ((1 << SIGNATURE_BITS) - 1))


cdef void keep_log(Storm *s, int64_t kind) noexcept nogil:
    cdef Kept *k = &s.kept[s.n_kept]
    cdef int i
    if not s.recording or s.n_kept == s.most_kept:
        s.unkept += 1
        return
    k.index = s.index
    k.kind = kind
    k.n = 0
    for i in range(s.n):
        k.n += s.runner[i].n_tickets
    k.signatures = <uint16_t *>malloc(3 * k.n + 1)
    if k.signatures == NULL:
        s.unkept += 1
        return
    k.tasks = <uint8_t *>(k.signatures + k.n)
    merge_logs(s, k)
    s.n_kept += 1


cdef void forget_logs(Storm *s) noexcept nogil:
    cdef int i
    for i in range(s.n_kept):
        free(s.kept[i].signatures)
    s.n_kept = 0
