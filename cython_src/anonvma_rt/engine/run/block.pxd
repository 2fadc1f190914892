"""A block: consecutive executions that run without Python, each beginning where the last task of the one before ended.

The task that ends last checks the execution, writes its row, restores the snapshot and picks the first task of the
next one; there is no controller thread.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t

from anonvma_rt.engine.base.os cimport rt_jump
from anonvma_rt.engine.order.classes cimport Observer
from anonvma_rt.engine.run.task cimport MAX_COUNTERS, Execution, Task

cdef struct Failure:
    uint64_t index
    int64_t kind

cdef struct Block:
    Execution *x
    uint64_t next
    uint64_t end
    uint64_t ran
    uint64_t digests_room
    uint64_t failures_room
    # One row per execution: the digest of its choices; and one row per violation.
    uint64_t *digests
    Failure *failures
    # Where executions are observed, a row for the class of each.
    uint64_t *classes
    uint64_t n_classes
    uint64_t classes_room
    bint observing
    Observer observer
    uint64_t n_failures
    uint64_t points
    uint64_t switches
    uint64_t longest
    # Executions that the strategy gave up, which are none of `ran`.
    uint64_t pruned
    int64_t counters[MAX_COUNTERS]
    int32_t halt
    # While the end is checked, and where to go if that goes wrong.
    bint checking
    rt_jump jump

cdef int block_begin(Block *b, uint64_t first, uint64_t count) except -1
cdef int block_next(Block *b) noexcept nogil
cdef int block_task_ended(Block *b, int task) noexcept nogil
cdef bint run_alone(Execution *x, void (*call)(Task *t, void *argument) noexcept nogil, void *argument) noexcept nogil
cdef void block_floor(Block *b) noexcept nogil
cdef void block_free(Block *b) noexcept nogil
