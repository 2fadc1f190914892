"""Threads that pass a baton (see carrier.pxd)."""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset
from posix.stdlib cimport posix_memalign

from anonvma_rt.engine.block cimport Block, block_next, block_task_ended
from anonvma_rt.engine.os cimport (
    rt_add,
    rt_exchange,
    rt_join,
    rt_load,
    rt_protect,
    rt_store,
    rt_thread,
    rt_unwind,
    rt_wait,
    rt_wake,
)
from anonvma_rt.engine.task cimport OP_START, Execution, Task, record


cdef void give(Worker *w) noexcept nogil:
    rt_store(&w.baton, 1)
    rt_wake(&w.baton)


cdef void await_baton(Worker *w) noexcept nogil:
    while rt_exchange(&w.baton, 0) == 0:
        rt_wait(&w.baton, 0, -1)


cdef void switch_to(Execution *x, int from_task, int to_task) noexcept nogil:
    cdef Threads *c = <Threads *>x.carrier
    give(&c.worker[to_task])
    await_baton(&c.worker[from_task])


cdef void unwind(Task *t) noexcept nogil:
    rt_unwind(&(<Threads *>t.x.carrier).worker[t.id].jump)


cdef void run_body(void *argument) noexcept nogil:
    cdef Worker *w = <Worker *>argument
    cdef Execution *x = w.threads.block.x
    cdef Task *t = &x.task[w.id]
    t.started = True
    if x.tracing:
        record(x, t.id, OP_START, 0, 0, 0, 0)
    x.body(x.subject, t)


cdef void *work(void *argument) noexcept nogil:
    cdef Worker *w = <Worker *>argument
    cdef Threads *c = w.threads
    cdef int next
    while True:
        await_baton(w)
        if c.quit:
            return NULL
        next = w.id
        if c.fresh:
            c.fresh = False
            next = block_next(c.block)
        while next == w.id:
            rt_protect(&w.jump, run_body, w)
            next = block_task_ended(c.block, w.id)
        if next >= 0:
            give(&c.worker[next])
        else:
            rt_store(&c.idle, 1)
            rt_add(c.bell, 1)
            rt_wake(c.bell)


cdef int threads_open(Threads *c, Block *block, int n, int cpu, uint32_t *bell) except -1:
    """Starts n threads on core `cpu` (-1: wherever). OSError where the system gives no more threads."""
    cdef void *workers = NULL
    cdef int i
    cdef int error
    memset(c, 0, sizeof(Threads))
    if posix_memalign(&workers, 128, n * sizeof(Worker)) != 0:
        raise MemoryError(f"no memory for {n} workers")
    memset(workers, 0, n * sizeof(Worker))
    c.worker = <Worker *>workers
    c.block = block
    c.bell = bell
    c.idle = 1
    block.x.carrier = c
    block.x.switch_to = switch_to
    block.x.unwind = unwind
    for i in range(n):
        c.worker[i].id = i
        c.worker[i].threads = c
        error = rt_thread(&c.worker[i].thread, cpu, work, &c.worker[i])
        if error == 22 and cpu >= 0:
            # The core went away or is not ours: unpinned is slower and just as right.
            error = rt_thread(&c.worker[i].thread, -1, work, &c.worker[i])
        if error:
            threads_close(c)
            raise OSError(error, f"thread {i + 1} of {n} could not be started")
        c.n += 1
    return 0


cdef void threads_run(Threads *c) noexcept nogil:
    """Starts the block that the caller has prepared; the bell rings at its end."""
    c.fresh = True
    rt_store(&c.idle, 0)
    give(&c.worker[0])


cdef bint threads_idle(Threads *c) noexcept nogil:
    return rt_load(&c.idle) != 0


cdef void threads_close(Threads *c) noexcept nogil:
    """Joins all threads; the block must have ended."""
    cdef int i
    c.quit = True
    for i in range(c.n):
        give(&c.worker[i])
    for i in range(c.n):
        rt_join(c.worker[i].thread)
    free(c.worker)
    c.worker = NULL
    c.n = 0
