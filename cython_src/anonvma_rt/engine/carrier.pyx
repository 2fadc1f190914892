"""Threads that pass a baton (see carrier.pxd)."""

from time import perf_counter

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


cdef void pass_on(Threads *c, int task) noexcept nogil:
    """Gives the baton to the worker of a task; a task that has not begun gets a spare one."""
    cdef Worker *w
    if c.host[task] < 0:
        c.n_spare -= 1
        c.host[task] = c.spare[c.n_spare]
        c.worker[c.host[task]].task = task
    w = &c.worker[c.host[task]]
    give(w)


cdef void switch_to(Execution *x, int from_task, int to_task) noexcept nogil:
    cdef Threads *c = <Threads *>x.carrier
    cdef Worker *own = &c.worker[c.host[from_task]]
    pass_on(c, to_task)
    await_baton(own)


cdef void unwind(Task *t) noexcept nogil:
    cdef Threads *c = <Threads *>t.x.carrier
    rt_unwind(&c.worker[c.host[t.id]].jump)


cdef void run_body(void *argument) noexcept nogil:
    cdef Worker *w = <Worker *>argument
    cdef Execution *x = w.threads.block.x
    cdef Task *t = &x.task[w.task]
    t.started = True
    if x.tracing:
        record(x, t.id, OP_START, 0, 0, 0, 0)
    x.body(x.subject, t)


cdef void carry(Worker *w) noexcept nogil:
    """Runs the body of w.task, then whatever begins next, until the baton belongs elsewhere or the block has ended."""
    cdef Threads *c = w.threads
    cdef int next
    while True:
        rt_protect(&w.jump, run_body, w)
        c.host[w.task] = -1
        next = block_task_ended(c.block, w.task)
        if next < 0 or c.host[next] >= 0:
            break
        c.host[next] = w.id
        w.task = next
    c.spare[c.n_spare] = w.id
    c.n_spare += 1
    if next >= 0:
        pass_on(c, next)
    else:
        end_block(c)


cdef void end_block(Threads *c) noexcept nogil:
    rt_store(&c.idle, 1)
    rt_add(c.bell, 1)
    rt_wake(c.bell)


cdef void *work(void *argument) noexcept nogil:
    cdef Worker *w = <Worker *>argument
    cdef Threads *c = w.threads
    while True:
        await_baton(w)
        if c.quit:
            return NULL
        if c.fresh:
            c.fresh = False
            w.task = block_next(c.block)
            if w.task < 0:
                end_block(c)
                continue
            c.n_spare -= 1
            c.host[w.task] = w.id
        carry(w)


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
        c.spare[i] = n - 1 - i
        c.host[i] = -1
        error = rt_thread(&c.worker[i].thread, cpu, work, &c.worker[i])
        if error == 22 and cpu >= 0:
            # The core went away or is not ours: unpinned is slower and just as right.
            error = rt_thread(&c.worker[i].thread, -1, work, &c.worker[i])
        if error:
            threads_close(c)
            raise OSError(error, f"thread {i + 1} of {n} could not be started")
        c.n += 1
    c.n_spare = n
    return 0


cdef void threads_run(Threads *c) noexcept nogil:
    """Starts the block that the caller has prepared; the bell rings at its end."""
    c.fresh = True
    rt_store(&c.idle, 0)
    give(&c.worker[c.spare[c.n_spare - 1]])


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


# ---- the yardstick: hand-overs and nothing else --------------------------------------------------------------------------

cdef void *volley(void *argument) noexcept nogil:
    """One of two threads that only pass the baton to and fro."""
    cdef Worker *w = <Worker *>argument
    cdef Worker *other = w + (1 - 2 * w.id)
    cdef uint64_t left = <uint64_t>w.threads.n
    while left:
        await_baton(w)
        give(other)
        left -= 1
    return NULL


cdef double handoff_seconds(int cpu, uint64_t n) except -1:
    """Seconds that one hand-over takes between two threads on core `cpu`, as the mean of 2n of them."""
    cdef void *memory = NULL
    cdef Worker *w
    cdef Threads c
    cdef double start
    memset(&c, 0, sizeof(Threads))
    c.n = <int>n
    if posix_memalign(&memory, 128, 2 * sizeof(Worker)) != 0:
        raise MemoryError("no memory for two workers")
    memset(memory, 0, 2 * sizeof(Worker))
    w = <Worker *>memory
    for i in range(2):
        w[i].id = i
        w[i].threads = &c
        if rt_thread(&w[i].thread, cpu, volley, &w[i]):
            raise OSError("a thread for the measurement could not be started")
    start = perf_counter()
    with nogil:
        give(w)
        rt_join(w[0].thread)
        rt_join(w[1].thread)
    start = perf_counter() - start
    free(memory)
    return start / (2 * n)
