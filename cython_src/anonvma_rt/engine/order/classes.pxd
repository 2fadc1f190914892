"""The class of an execution as one number: equal for two executions that order all dependent operations alike.

An observed execution tells the observer of every operation that is granted. It belongs to one explorer and is used by the
task that runs, like all of an Execution.
"""

from libc.stdint cimport int32_t, uint64_t

from anonvma_rt.engine.run.task cimport Execution, Task

# An object that an operation was made on. What was done to it falls into runs of operations that commute; `run` is the
# sum of the last one's hashes, `before` stands for all runs before it. Of another execution than the observer's: empty.
cdef struct Seen:
    uint64_t key
    uint64_t execution
    uint64_t before
    uint64_t run
    int32_t group

cdef struct Observer:
    Seen *seen
    uint64_t room
    uint64_t used
    uint64_t execution

cdef int observer_open(Observer *o) except -1
cdef void observer_close(Observer *o) noexcept nogil
cdef void observer_begin(Observer *o, Execution *x) noexcept nogil
cdef void observe(Observer *o, Task *t) noexcept nogil
cdef uint64_t observed_class(Execution *x) noexcept nogil
