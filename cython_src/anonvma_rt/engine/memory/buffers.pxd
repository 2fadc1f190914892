"""Store buffers: the operational models TSO and PSO (see buffers.pyx).

All of it belongs to one explorer. It is changed by the task that runs, like all of an Execution, and is empty at the
beginning of each execution.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from anonvma_rt.engine.base.operation cimport MAX_TASKS, OP_AWAIT, OP_LOAD, OP_START, OP_STORE, OP_WAIT
from anonvma_rt.engine.run.subject cimport Memory
from anonvma_rt.engine.run.task cimport Execution, Task

cdef enum:
    # Stores that one buffer holds; the next one waits until they are visible, as in hardware.
    DEEPEST = 64
    # A task stores to more variables than it has buffers (Refusal.errno).
    NO_BUFFER = -1000

# A store that only its own task sees. `number` counts the stores of the task from 1; those below `after` have to be
# visible before it. `step`: that of the task in which it was made. For the hash of its class: the task's hash then, and
# the sum of the hashes of the loads that saw it here.
cdef struct Delayed:
    int64_t *word
    int64_t value
    uint32_t number
    uint32_t after
    uint64_t step
    uint64_t chain
    uint64_t reads

# A ring. word: under PSO the variable whose stores are in it, from its first store to the end of the execution.
cdef struct Buffer:
    int64_t *word
    int32_t first
    int32_t n
    Delayed entry[DEEPEST]

# A body's stores: how many were made and how many of them are in buffers; from which number on they come after all
# before (a fence of stores); how many of its buffers are in use.
cdef struct Owner:
    uint32_t made
    int32_t delayed
    uint32_t after
    int32_t used

# All of an execution: `each` buffers for each body, which lie together in the order of their tasks' ids.
cdef struct AllBuffers:
    int bodies
    int each
    Owner owner[MAX_TASKS]
    Buffer *buffer

cdef class Buffers(Memory):
    cdef object name
    cdef int wanted
    cdef AllBuffers all

cdef uint32_t origin_of_load(Task *t) noexcept nogil
cdef uint32_t origin_of_store(Task *t, uint32_t *after, uint64_t *step) noexcept nogil


cdef inline bint body_drains(int op, bint instant) noexcept nogil:
    """Whether an operation of a body comes when none of its stores is in a buffer. instant: of a store that its task
    makes itself, that it does not wait."""
    return not (op == OP_START or op == OP_LOAD or op == OP_AWAIT or op == OP_WAIT or (op == OP_STORE and instant))


cdef inline int owner_of(int bodies, int each, int task) noexcept nogil:
    """The body whose stores the task of a buffer flushes; itself of a body."""
    return task if task < bodies else (task - bodies) // each
