"""Clocks of steps (see past.pxd)."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset

from anonvma_rt.engine.base.grow cimport grow
from anonvma_rt.engine.base.operation cimport OP_START, OPS
from anonvma_rt.engine.base.table cimport table_add, table_clear, table_close, table_open
from anonvma_rt.engine.order.clocks cimport clock_join
from anonvma_rt.engine.order.relation cimport dependent, would_fail

cdef enum:
    # An operation, and whether it is a try that failed.
    KINDS = 2 * OPS


cdef int past_open(Past *p) except -1:
    """Makes the table; nothing where it is there."""
    return table_open(&p.objects)


cdef void past_close(Past *p) noexcept nogil:
    table_close(&p.objects)
    free(p.kinds)
    free(p.rows)
    memset(p, 0, sizeof(Past))


cdef void past_begin(Past *p, int tasks) noexcept nogil:
    p.tasks = tasks
    p.n_rows = 0
    table_clear(&p.objects)
    memset(p.clock, 0, tasks * tasks * sizeof(uint32_t))


cdef uint32_t *kinds_of(Past *p, void *object) noexcept nogil:
    """The rows of an object; NULL where there is no memory for one more."""
    cdef uint32_t known = p.objects.used
    cdef uint32_t number = table_add(&p.objects, <uint64_t>object)
    if number == 0 or grow(<void **>&p.kinds, &p.kinds_room, number + 1, KINDS * sizeof(uint32_t)) < 0:
        return NULL
    if number > known:
        memset(p.kinds + number * KINDS, 0, KINDS * sizeof(uint32_t))
    return p.kinds + number * KINDS


cdef uint32_t new_row(Past *p) noexcept nogil:
    """A clock to which nothing was added yet; 0 without memory."""
    cdef uint32_t number = p.n_rows + 1
    if grow(<void **>&p.rows, &p.rows_room, (number + 1) * <uint64_t>p.tasks, sizeof(uint32_t)) < 0:
        return 0
    memset(p.rows + number * <uint64_t>p.tasks, 0, p.tasks * sizeof(uint32_t))
    p.n_rows = number
    return number


cdef int past_step(Past *p, int task, int op, void *object) noexcept nogil:
    """The task now makes the operation that it stands at. -1: there is no memory."""
    cdef uint32_t *clock = past_of(p, task)
    cdef uint32_t *kinds
    cdef bint failed
    cdef int kind
    clock[task] += 2
    if op == OP_START:
        return 0
    kinds = kinds_of(p, object)
    if kinds == NULL:
        return -1
    failed = would_fail(op, object)
    for kind in range(KINDS):
        if kinds[kind] and dependent(op, failed, kind >> 1, kind & 1):
            clock_join(clock, p.rows + kinds[kind] * <uint64_t>p.tasks, p.tasks)
    kind = 2 * op + failed
    if kinds[kind] == 0:
        kinds[kind] = new_row(p)
        if kinds[kind] == 0:
            return -1
    clock_join(p.rows + kinds[kind] * <uint64_t>p.tasks, clock, p.tasks)
    return 0
