"""The class of an execution as one number: equal for two executions that order all dependent operations alike.

An observed execution tells the observer of every operation that is granted. It belongs to one explorer and is used by
the task that runs, like all of an Execution.
"""

from libc.stdint cimport int32_t, uint64_t

from anonvma_rt.engine.base.operation cimport MAX_TASKS
from anonvma_rt.engine.base.table cimport Table

# An object that an operation was made on. What was done to it falls into runs of operations that commute; `run` is the
# sum of the last one's hashes, `before` stands for all runs before it; `group` is that of the last one (relation.pxd).
# by: in a model with buffers, one more than the body whose buffer changed it last, or 0.
cdef struct Seen:
    uint64_t before
    uint64_t run
    int32_t group
    int32_t by

cdef struct Observer:
    int tasks
    # Of each task, the hash of its last operation and of all that it depends on.
    uint64_t chain[MAX_TASKS]
    # The objects by address, and what was done to them, both in this execution.
    Table objects
    Seen *seen
    uint64_t room

cdef enum:
    # Instead of the task that cut an execution short (observed_class).
    BY_NONE = -1
    BY_ALL = -2

cdef int observer_open(Observer *o) except -1
cdef void observer_close(Observer *o) noexcept nogil
cdef void observer_begin(Observer *o, int tasks) noexcept nogil
cdef int observe(Observer *o, int task, int op, bint failed, void *object) noexcept nogil
cdef Seen *seen_of(Observer *o, void *object) noexcept nogil
cdef uint64_t observed_class(Observer *o, int cut_by) noexcept nogil
