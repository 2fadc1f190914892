"""Who runs the tasks: the carriers `threads` and `fibers`. Both make the same executions, hash for hash.

Only the worker that has the baton runs. A worker of `threads` is an OS thread that waits at a futex word on a cache
line of its own; all are pinned to one core, where a hand-over costs a tenth of what it costs across cores. A worker of
`fibers` is a stack, and one OS thread jumps between all of them. A task that has not begun belongs to no worker yet, so
whoever has the baton begins it without a hand-over. Signals are blocked in these threads and none of them ever touches
Python.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from anonvma_rt.engine.base.operation cimport MAX_TASKS
from anonvma_rt.engine.base.os cimport pthread_t, rt_fiber, rt_jump
from anonvma_rt.engine.run.block cimport Block
from anonvma_rt.engine.run.fault cimport Guard
from anonvma_rt.engine.run.task cimport Execution

cdef struct Worker:
    uint32_t baton
    int id
    # The task that this worker carries, or is to carry when it gets the baton.
    int task
    Carrier *carrier
    pthread_t thread
    rt_fiber fiber
    rt_jump jump
    bint in_body
    # Of the thread, and of fibers only that at home has one.
    Guard guard
    # Away from the next worker's baton: two cache lines, because the hardware fetches them in pairs.
    char padding[128]

# What moves as long as the code under test does: executions, steps, and the check.
cdef struct Sight:
    uint64_t next
    uint64_t steps
    bint checking

cdef struct Carrier:
    Block *block
    # Of fibers there is one worker more: the OS thread at home, which waits for blocks.
    Worker *worker
    int n
    bint quit
    bint fibers
    # Below each stack of a fiber lies a guard.
    char *stacks
    # Who has the baton.
    int running
    # The watchdog: what it saw the last time, when, and for how many nanoseconds it has seen nothing else.
    Sight seen
    int64_t seen_at
    int64_t unmoved
    # A block was handed in and no task of it was chosen yet.
    bint fresh
    # Which worker carries a task that has begun (-1: none), and the workers that carry none.
    int host[MAX_TASKS]
    int spare[MAX_TASKS]
    int n_spare
    # Rung when a block has ended.
    uint32_t *bell
    uint32_t idle

cdef int carrier_open(Carrier *c, Block *block, bint fibers, int n, int cpu, uint32_t *bell) except -1
cdef void carrier_run(Carrier *c) noexcept nogil
cdef bint carrier_name(Carrier *c, int task, const char *name) noexcept nogil
cdef bint carrier_idle(Carrier *c) noexcept nogil
cdef void carrier_look(Carrier *c, int64_t patience) noexcept nogil
cdef void carrier_close(Carrier *c) noexcept nogil
