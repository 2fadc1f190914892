"""The `threads` carrier: one OS thread per task, pooled over all executions, all pinned to one core.

Only the thread that has the baton runs. Each waits at a futex word on a cache line of its own, so that a hand-over
wakes exactly one thread; pinned to one core it costs a tenth of what it costs across cores. A task that has not begun
belongs to no thread yet, so whoever has the baton begins it without a hand-over. Signals are blocked in these threads
and none of them ever touches Python.
"""

from libc.stdint cimport uint32_t, uint64_t

from anonvma_rt.engine.block cimport Block
from anonvma_rt.engine.os cimport pthread_t, rt_jump
from anonvma_rt.engine.task cimport MAX_TASKS, Execution

cdef struct Worker:
    uint32_t baton
    int id
    # The task that this thread carries, or is to carry when it gets the baton.
    int task
    Threads *threads
    pthread_t thread
    rt_jump jump
    # Away from the next worker's baton: two cache lines, because the hardware fetches them in pairs.
    char padding[128]

cdef struct Threads:
    Block *block
    Worker *worker
    int n
    bint quit
    # A block was handed in and no task of it was chosen yet.
    bint fresh
    # Which worker carries a task that has begun (-1: none), and the workers that carry none.
    int host[MAX_TASKS]
    int spare[MAX_TASKS]
    int n_spare
    # Rung when a block has ended.
    uint32_t *bell
    uint32_t idle

cdef int threads_open(Threads *c, Block *block, int n, int cpu, uint32_t *bell) except -1
cdef void threads_run(Threads *c) noexcept nogil
cdef bint threads_idle(Threads *c) noexcept nogil
cdef double handoff_seconds(int cpu, uint64_t n) except -1
cdef void threads_close(Threads *c) noexcept nogil
