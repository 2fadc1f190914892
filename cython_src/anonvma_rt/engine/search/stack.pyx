"""The memory of an exhaustive search (see stack.pxd)."""

from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset

from anonvma_rt.engine.base.grow cimport grow
from anonvma_rt.engine.base.table cimport table_add, table_close, table_open
from anonvma_rt.engine.base.tasks cimport words_for


cdef int search_open(Search *s) except -1:
    memset(s, 0, sizeof(Search))
    return table_open(&s.numbers)


cdef void search_close(Search *s) noexcept nogil:
    table_close(&s.numbers)
    free(s.step)
    free(s.sets)
    free(s.clock)
    free(s.pending)
    free(s.origin)
    free(s.object)
    memset(s, 0, sizeof(Search))


cdef void search_clear(Search *s, int tasks, int bodies) noexcept nogil:
    """Forgets all steps; objects keep their numbers."""
    cdef uint32_t i
    if tasks != s.tasks or bodies != s.bodies:
        # Four of the arrays have a row for each step, as wide as there are tasks.
        s.room = 0
    s.tasks = tasks
    s.bodies = bodies
    s.each = tasks // bodies - 1
    s.words = words_for(tasks)
    s.n = 0
    s.prefix = 0
    s.root = 0
    for i in range(1, s.numbers.used + 1):
        s.object[i].last = -1
    memset(s.last_of, 0xFF, sizeof(s.last_of))


cdef int search_room(Search *s, int32_t at) noexcept nogil:
    """Room for step `at`; -1 where the host has no memory left."""
    cdef uint64_t n = <uint64_t>at + 1
    cdef uint64_t steps = s.room
    cdef uint64_t sets = s.room
    cdef uint64_t clocks = s.room
    cdef uint64_t pendings = s.room
    cdef uint64_t origins = s.room
    if n <= s.room:
        return 0
    if (
        grow(<void **>&s.step, &steps, n, sizeof(Step)) < 0
        or grow(<void **>&s.sets, &sets, n, SETS * s.words * sizeof(uint64_t)) < 0
        or grow(<void **>&s.clock, &clocks, n, s.tasks * sizeof(uint32_t)) < 0
        or grow(<void **>&s.pending, &pendings, n, s.tasks * sizeof(Pending)) < 0
        or (s.each and grow(<void **>&s.origin, &origins, n, s.tasks * sizeof(Origin)) < 0)
    ):
        return -1
    s.room = steps
    return 0


cdef uint32_t search_number(Search *s, void *object) noexcept nogil:
    """The number of an object, from 1; 0 where there is no memory for one more."""
    cdef uint32_t known = s.numbers.used
    cdef uint32_t number = table_add(&s.numbers, <uint64_t>object)
    if number > known:
        if grow(<void **>&s.object, &s.objects_room, number + 1, sizeof(Object)) < 0:
            return 0
        s.object[number].address = object
        s.object[number].last = -1
    return number
