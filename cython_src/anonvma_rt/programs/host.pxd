"""What a program's runtime asks of the scheduler (anonvma_rt/programs/runtime/host.h), and how it is answered.

All of it belongs to the task that runs. What an execution changes here is put back when the next one begins.
"""

from libc.stdint cimport int32_t, uint64_t

from anonvma_rt.engine.run.task cimport Execution, Task
from anonvma_rt.programs.family cimport Family
from anonvma_rt.programs.image cimport rt_host, rt_state
from anonvma_rt.programs.memory cimport Watch, watch_frame

cdef extern from *:
    """
    #include <stdint.h>
    static inline __attribute__((always_inline, unused)) uint64_t rt_frame(void)
    { return (uint64_t)__builtin_frame_address(0); }
    """
    uint64_t rt_frame() noexcept nogil

cdef enum:
    # Behind each object of the heap, beside the header of the next one.
    RED_ZONE = 16
    # What the program allocates, in the arena; its globals are type 1.
    TYPE_HEAP = 2
    # Of a host_begin() that is refused: there is no number left; this thread had never been seen before.
    TOO_MANY = 1
    UNKNOWN = 2

cdef struct Host:
    # What the runtime has, and gives back as `x` with every call.
    rt_host calls
    Execution *x
    Watch watch
    Family family
    rt_state *thread
    # How many threads each task has begun; restored with the arena. Behind the last task: whether the execution has
    # begun.
    int32_t *begun
    int tasks
    # How often a thread may be late, and may wake for no reason.
    int late
    int spurious
    # Nothing writes to memory unseen: where a thread goes round in a circle, that can be told.
    bint circles
    # Objects of the heap that nobody can free any more are a violation; an execution was ended by exit(), where that
    # cannot be told.
    bint leaks
    bint exited
    # A search met a thread that might have been late once more.
    bint limited
    # Of programs/witness.pyx, while somebody looks; else NULL. entered: the frame by which the task came to it.
    void *sight
    uint64_t entered

cdef void host_open(Host *h) noexcept
cdef void host_gate(Host *h, Task *t) noexcept nogil
cdef bint host_runs_chance(Host *h, Task *t) noexcept nogil


cdef inline Host *host_of(void *x) noexcept nogil:
    return <Host *>x


cdef inline Task *running(void *x, uint64_t frame) noexcept nogil:
    """The task that runs; frame: of the function by which it came here. What lies below on its stack is no call's."""
    cdef Execution *e = (<Host *>x).x
    watch_frame(&(<Host *>x).watch, e.current, (<Host *>x).entered if (<Host *>x).entered else frame)
    return &e.task[e.current]
