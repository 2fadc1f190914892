"""Vector clocks: of a step, how many steps of each task happen before it, itself included.

Sources: Fidge, "Timestamps in message-passing systems that preserve the partial ordering" (1988); Mattern, "Virtual
Time and Global States of Distributed Systems" (1989). A clock is a row of `tasks` numbers. Whoever keeps one may count
the steps of a task by themselves, or number all steps of the execution: only the order of the numbers matters here.
"""

from libc.stdint cimport uint32_t
from libc.string cimport memcpy, memset


cdef inline void clock_inherit(uint32_t *clock, const uint32_t *previous, int tasks) noexcept nogil:
    """Begins the clock of a step with that of the step of the same task before it; NULL: it is the first one."""
    if previous == NULL:
        memset(clock, 0, tasks * sizeof(uint32_t))
    else:
        memcpy(clock, previous, tasks * sizeof(uint32_t))


cdef inline void clock_join(uint32_t *clock, const uint32_t *earlier, int tasks) noexcept nogil:
    """A step with clock `earlier` happens before, and so does all that happens before that."""
    cdef int i
    for i in range(tasks):
        if earlier[i] > clock[i]:
            clock[i] = earlier[i]
