"""Workers that pass a baton (see carrier.pxd)."""

from time import perf_counter

from libc.errno cimport EINVAL
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset
from posix.stdlib cimport posix_memalign

from anonvma_rt.engine.base.os cimport (
    rt_add, rt_exchange, rt_fiber_home, rt_fiber_make, rt_join, rt_load, rt_mutex_pairs, rt_name, rt_protect,
    rt_stacks_map, rt_stacks_unmap, rt_store, rt_switch, rt_thread, rt_unwind, rt_wait, rt_wake, rt_watch_stacks,
)
from anonvma_rt.engine.run.block cimport Block, block_next, block_task_ended
from anonvma_rt.engine.run.task cimport HALT_VIOLATION, VIOLATION_STACK_OVERFLOW, Execution, Task, found, watch

cdef enum:
    # Of a fiber: more than any body of the lab needs; what a subject's body may need is its own affair up to here.
    STACK_BYTES = 256 << 10
    GUARD_BYTES = 64 << 10


# ---- the baton -------------------------------------------------------------------------------------------------------


cdef void give(Worker *w) noexcept nogil:
    rt_store(&w.baton, 1)
    rt_wake(&w.baton)


cdef void await_baton(Worker *w) noexcept nogil:
    while rt_exchange(&w.baton, 0) == 0:
        rt_wait(&w.baton, 0, -1)


cdef void hand_over(Worker *own, Worker *to) noexcept nogil:
    """Gives the baton to another worker and waits until it comes back."""
    if own.carrier.fibers:
        rt_switch(&own.fiber, &to.fiber)
    else:
        give(to)
        await_baton(own)


cdef Worker *worker_of(Carrier *c, int task) noexcept nogil:
    """Who carries a task; one that has not begun gets a spare worker."""
    if c.host[task] < 0:
        c.n_spare -= 1
        c.host[task] = c.spare[c.n_spare]
        c.worker[c.host[task]].task = task
    return &c.worker[c.host[task]]


cdef void switch_to(Execution *x, int from_task, int to_task) noexcept nogil:
    cdef Carrier *c = <Carrier *>x.carrier.self
    hand_over(&c.worker[c.host[from_task]], worker_of(c, to_task))


cdef void unwind(Task *t) noexcept nogil:
    cdef Carrier *c = <Carrier *>t.x.carrier.self
    rt_unwind(&c.worker[c.host[t.id]].jump)


# ---- a worker --------------------------------------------------------------------------------------------------------


cdef void run_body(void *argument) noexcept nogil:
    cdef Worker *w = <Worker *>argument
    cdef Execution *x = w.carrier.block.x
    cdef Task *t = &x.task[w.task]
    t.started = True
    w.in_body = True
    if x.watched:
        watch(t)
    x.subject.body(x.subject.self, t)


cdef void overflowed(void *argument, int stack) noexcept nogil:
    """A body has run into the guard below its stack; called on another stack, by the fault handler."""
    cdef Worker *w = &(<Carrier *>argument).worker[stack]
    if w.in_body:
        w.overflowed = True
        rt_unwind(&w.jump)


cdef void leave_body(Worker *w) noexcept nogil:
    cdef Execution *x = w.carrier.block.x
    w.in_body = False
    if w.overflowed:
        w.overflowed = False
        found(x, VIOLATION_STACK_OVERFLOW, w.task, STACK_BYTES, 0, 0)
        x.halt = HALT_VIOLATION


cdef int carry(Worker *w) noexcept nogil:
    """Runs the body of w.task, then whatever begins next, until the baton belongs elsewhere (the task that goes on) or
    the block has ended (-1)."""
    cdef Carrier *c = w.carrier
    cdef int next
    while True:
        rt_protect(&w.jump, run_body, w)
        leave_body(w)
        c.host[w.task] = -1
        next = block_task_ended(c.block, w.task)
        if next < 0 or c.host[next] >= 0:
            break
        c.host[next] = w.id
        w.task = next
    c.spare[c.n_spare] = w.id
    c.n_spare += 1
    return next


cdef int begin_block(Worker *w) noexcept nogil:
    """The first task of a new block is this worker's: 0, or -1 where there is nothing to do."""
    cdef Carrier *c = w.carrier
    c.fresh = False
    w.task = block_next(c.block)
    if w.task < 0:
        return -1
    c.n_spare -= 1
    c.host[w.task] = w.id
    return 0


cdef void end_block(Carrier *c) noexcept nogil:
    rt_store(&c.idle, 1)
    rt_add(c.bell, 1)
    rt_wake(c.bell)


cdef void work(void *argument) noexcept nogil:
    """What a worker does from its first baton on, until the carrier is closed."""
    cdef Worker *w = <Worker *>argument
    cdef Carrier *c = w.carrier
    cdef int next
    while not c.quit:
        next = -1
        if not c.fresh or begin_block(w) == 0:
            next = carry(w)
        if next >= 0:
            hand_over(w, worker_of(c, next))
        elif c.fibers:
            rt_switch(&w.fiber, &c.worker[c.n].fiber)
        else:
            end_block(c)
            await_baton(w)


cdef void *thread_main(void *argument) noexcept nogil:
    await_baton(<Worker *>argument)
    work(argument)
    return NULL


cdef void *home_main(void *argument) noexcept nogil:
    """The one OS thread of fibers: between blocks it waits on its own stack."""
    cdef Worker *home = <Worker *>argument
    cdef Carrier *c = home.carrier
    cdef int i
    rt_fiber_home(&home.fiber)
    rt_watch_stacks(&c.watch)
    for i in range(c.n):
        rt_fiber_make(&c.worker[i].fiber, &home.fiber, work, &c.worker[i])
    while True:
        await_baton(home)
        if c.quit:
            return NULL
        rt_switch(&home.fiber, &c.worker[c.spare[c.n_spare - 1]].fiber)
        end_block(c)


# ---- opened and closed -----------------------------------------------------------------------------------------------


cdef int start_thread(Worker *w, int cpu, void *(*run)(void *) noexcept nogil) except -1:
    cdef int error = rt_thread(&w.thread, cpu, run, w)
    if error == EINVAL and cpu >= 0:
        # The core went away or is not ours: unpinned is slower and just as right.
        error = rt_thread(&w.thread, -1, run, w)
    if error:
        raise OSError(error, f"thread {w.id + 1} could not be started")
    return 0


cdef int map_stacks(Carrier *c) except -1:
    cdef int i
    c.watch.base = rt_stacks_map(c.n, GUARD_BYTES, STACK_BYTES)
    if c.watch.base == NULL:
        raise MemoryError(f"no memory for {c.n} stacks")
    c.watch.guard = GUARD_BYTES
    c.watch.size = STACK_BYTES
    c.watch.n = c.n
    c.watch.overflowed = overflowed
    c.watch.argument = c
    for i in range(c.n):
        c.worker[i].fiber.bottom = c.watch.base + i * (GUARD_BYTES + STACK_BYTES) + GUARD_BYTES
        c.worker[i].fiber.size = STACK_BYTES
    return 0


cdef int carrier_open(Carrier *c, Block *block, bint fibers, int n, int cpu, uint32_t *bell) except -1:
    """Makes n workers on core `cpu` (-1: wherever). OSError where the system gives no more threads."""
    cdef void *workers = NULL
    cdef int started = 0
    memset(c, 0, sizeof(Carrier))
    if posix_memalign(&workers, 128, (n + 1) * sizeof(Worker)) != 0:
        raise MemoryError(f"no memory for {n} workers")
    memset(workers, 0, (n + 1) * sizeof(Worker))
    c.worker = <Worker *>workers
    c.block = block
    c.bell = bell
    c.idle = 1
    c.fibers = fibers
    c.n = n
    c.n_spare = n
    block.x.carrier.self = c
    block.x.carrier.switch_to = switch_to
    block.x.carrier.unwind = unwind
    for i in range(n + 1):
        c.worker[i].id = i
        c.worker[i].carrier = c
    for i in range(n):
        c.spare[i] = n - 1 - i
        c.host[i] = -1
    try:
        if fibers:
            map_stacks(c)
            start_thread(&c.worker[n], cpu, home_main)
        else:
            for i in range(n):
                start_thread(&c.worker[i], cpu, thread_main)
                started += 1
    except BaseException:
        # Of fibers no thread runs then.
        c.n = started
        carrier_release(c, started if not fibers else 0)
        raise
    return 0


cdef void carrier_run(Carrier *c) noexcept nogil:
    """Starts the block that the caller has prepared; the bell rings at its end."""
    c.fresh = True
    rt_store(&c.idle, 0)
    give(&c.worker[c.n if c.fibers else c.spare[c.n_spare - 1]])


cdef bint carrier_name(Carrier *c, int task, const char *name) noexcept nogil:
    """Names the thread of a task, if it has one: while an execution is held, and not of fibers."""
    if c.host[task] < 0:
        return False
    rt_name(c.worker[c.host[task]].thread, name)
    return True


cdef bint carrier_idle(Carrier *c) noexcept nogil:
    return rt_load(&c.idle) != 0


cdef void carrier_release(Carrier *c, int threads) noexcept nogil:
    """Joins the workers from the first on, so many that are threads, and gives back all memory."""
    cdef Worker *first = &c.worker[c.n] if c.fibers else c.worker
    cdef int i
    c.quit = True
    for i in range(threads):
        give(first + i)
    for i in range(threads):
        rt_join(first[i].thread)
    if c.watch.base != NULL:
        rt_stacks_unmap(c.watch.base, c.watch.n, GUARD_BYTES, STACK_BYTES)
    free(c.worker)
    c.worker = NULL
    c.n = 0


cdef void carrier_close(Carrier *c) noexcept nogil:
    """Joins all threads; the block must have ended."""
    carrier_release(c, 1 if c.fibers else c.n)


# ---- the yardstick: hand-overs and nothing else ----------------------------------------------------------------------

cdef void *volley(void *argument) noexcept nogil:
    """One of two threads that only pass the baton to and fro."""
    cdef Worker *w = <Worker *>argument
    cdef Worker *other = w + (1 - 2 * w.id)
    cdef uint64_t left = <uint64_t>w.carrier.n
    while left:
        await_baton(w)
        give(other)
        left -= 1
    return NULL


def handoff(int cpu, uint64_t n=100_000):
    """Seconds of one hand-over between two threads on core `cpu`, the mean of 2n."""
    cdef void *memory = NULL
    cdef Worker *w
    cdef Carrier c
    cdef double start
    memset(&c, 0, sizeof(Carrier))
    c.n = <int>n
    if posix_memalign(&memory, 128, 2 * sizeof(Worker)) != 0:
        raise MemoryError("no memory for two workers")
    memset(memory, 0, 2 * sizeof(Worker))
    w = <Worker *>memory
    for i in range(2):
        w[i].id = i
        w[i].carrier = &c
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


def mutex_pairs(uint64_t n):
    """Locks and unlocks a real pthread mutex n times, which nobody else wants: what a real lock costs here."""
    with nogil:
        rt_mutex_pairs(n)
