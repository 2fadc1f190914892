"""What happens before a step: vector clocks that advance by the dependency relation, and by nothing else.

A step happens after all steps of its task before it, and after each one before it that it depends on, as
order/relation.pxd has it. So two steps that no clock orders may come in the other order in an equivalent execution.

A clock counts two for each step: what the announced operation does, and what the task does behind it. Only the first is
before whoever depends on the operation: what stands behind an unlock is not what the lock protected, though no task
comes in between. The next step of the task has both in its past.
"""

from libc.stdint cimport uint32_t, uint64_t

from anonvma_rt.engine.base.operation cimport MAX_TASKS
from anonvma_rt.engine.base.table cimport Table

# Belongs to one explorer, and is used by the task that runs.
cdef struct Past:
    int tasks
    # Of each task, the clock of its last step, a row of `tasks` numbers: how much of each other one happens before it.
    uint32_t clock[MAX_TASKS * MAX_TASKS]
    # The objects by address. Of each, for every kind of operation, which row has what happens before all of that kind
    # (0: there was none yet).
    Table objects
    uint32_t *kinds
    uint64_t kinds_room
    uint32_t *rows
    uint64_t rows_room
    uint32_t n_rows


cdef inline uint32_t *past_of(Past *p, int task) noexcept nogil:
    """The clock of the last step of a task."""
    return &p.clock[task * p.tasks]


cdef int past_open(Past *p) except -1
cdef void past_close(Past *p) noexcept nogil
cdef void past_begin(Past *p, int tasks) noexcept nogil
cdef int past_step(Past *p, int task, int op, void *object) noexcept nogil
