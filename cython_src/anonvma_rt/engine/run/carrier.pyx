"""Workers that pass a baton (see carrier.pxd)."""

from time import perf_counter

from libc.errno cimport EINVAL
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset
from posix.stdlib cimport posix_memalign
from posix.unistd cimport _exit

from anonvma_rt.engine.base.arena cimport arena_on_stack
from anonvma_rt.engine.base.os cimport (
    rt_add, rt_clock, rt_exchange, rt_fiber_home, rt_fiber_make, rt_join, rt_load, rt_mutex_pairs, rt_name, rt_protect,
    rt_sample, rt_sample64, rt_stacks_map, rt_stacks_unmap, rt_store, rt_switch, rt_thread, rt_unwind, rt_wait, rt_wake,
)
from anonvma_rt.engine.base.tasks cimport has
from anonvma_rt.engine.run.block cimport Block, block_next, block_task_ended
from anonvma_rt.engine.run.fault cimport Fault, complain, crashed, guard_ask, guard_enter, guard_leave, guards_open
from anonvma_rt.engine.run.task cimport (
    HOLD_HERE, VIOLATION_CRASH, VIOLATION_STACK_OVERFLOW, VIOLATION_STUCK, Execution, Task, come_in, watch,
)

cdef enum:
    # Of a fiber: more than any body of the lab needs; what a subject's body may need is its own affair up to here.
    STACK_BYTES = 256 << 10
    GUARD_BYTES = 64 << 10
    # Nanoseconds for which a look of the watchdog counts at most.
    LOOK = 100000000


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
    cdef Worker *own = &c.worker[c.host[from_task]]
    hand_over(own, worker_of(c, to_task))
    c.running = own.id


cdef void unwind(Task *t) noexcept nogil:
    cdef Carrier *c = <Carrier *>t.x.carrier.self
    rt_unwind(&c.block.jump if c.block.checking else &c.worker[c.host[t.id]].jump)


# ---- a worker --------------------------------------------------------------------------------------------------------


cdef void run_body(void *argument) noexcept nogil:
    cdef Worker *w = <Worker *>argument
    cdef Execution *x = w.carrier.block.x
    cdef Task *t = &x.task[w.task]
    if has(x.outside, w.task, x.words):
        come_in(t)
    t.started = True
    w.in_body = True
    if x.watched:
        watch(t)
    x.subject.body(x.subject.self, t)


# ---- what goes wrong in the code under test --------------------------------------------------------------------------


cdef void faulted(void *argument, Fault *fault) noexcept nogil:
    """The worker that has the baton made a fault, or is asked to leave. Called by the handler, on another stack."""
    cdef Carrier *c = <Carrier *>argument
    cdef Worker *w = &c.worker[c.running]
    cdef Execution *x = c.block.x
    cdef uint64_t low = <uint64_t>w.fiber.bottom if c.fibers else w.guard.low
    cdef int task = -1 if c.block.checking else w.task
    if x.asking or not (w.in_body or c.block.checking):
        return
    if fault.signal == 0:
        if moved(c):
            return
        crashed(x, fault, task, VIOLATION_STUCK, 0)
    elif arena_on_stack(&x.arena, <void *>fault.address):
        crashed(x, fault, task, VIOLATION_STACK_OVERFLOW, <int64_t>x.arena.stack_bytes)
    elif low - GUARD_BYTES <= fault.address < low:
        crashed(x, fault, task, VIOLATION_STACK_OVERFLOW, STACK_BYTES if c.fibers else <int64_t>w.guard.size)
    else:
        crashed(x, fault, task, VIOLATION_CRASH, fault.signal)
    rt_unwind(&c.block.jump if c.block.checking else &w.jump)


cdef void exited(void *argument) noexcept nogil:
    """The code under test called exit(): said in one line, and the process must not end as if all were well."""
    cdef Carrier *c = <Carrier *>argument
    cdef Execution *x = c.block.x
    if c.worker[c.running].in_body or c.block.checking:
        complain(b"called exit()", x.index, c.worker[c.running].task, x.steps)
        _exit(1)


cdef Sight sight(Carrier *c) noexcept nogil:
    cdef Sight seen
    seen.steps = rt_sample64(&c.block.x.steps)
    seen.next = rt_sample64(&c.block.next)
    seen.checking = rt_sample(<int *>&c.block.checking)
    return seen


cdef bint moved(Carrier *c) noexcept nogil:
    """Whether the code under test has come to a point, or to an end, since it was looked at."""
    cdef Sight now = sight(c)
    return now.steps != c.seen.steps or now.next != c.seen.next or now.checking != c.seen.checking


cdef void carrier_look(Carrier *c, int64_t patience) noexcept nogil:
    """The watchdog, called again and again by whoever waits for the block: code that makes no point for `patience`
    nanoseconds is stuck, and is asked to leave. A look counts for a short time only, so that a process which was
    stopped has not waited."""
    cdef int64_t now = rt_clock()
    c.unmoved += min(now - c.seen_at, <int64_t>LOOK)
    c.seen_at = now
    if moved(c) or rt_sample(<int *>&c.block.x.asking) or rt_load(&c.block.x.hold) == HOLD_HERE:
        c.seen = sight(c)
        c.unmoved = 0
    if c.unmoved > patience:
        guard_ask(&c.worker[c.n].guard if c.fibers else &c.worker[rt_sample(&c.running)].guard)
        c.unmoved = 0


cdef int carry(Worker *w) noexcept nogil:
    """Runs the body of w.task, then whatever begins next, until the baton belongs elsewhere (the task that goes on) or
    the block has ended (-1)."""
    cdef Carrier *c = w.carrier
    cdef int next
    c.running = w.id
    while True:
        rt_protect(&w.jump, run_body, w)
        w.in_body = False
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
    cdef Worker *w = <Worker *>argument
    guard_enter(&w.guard)
    await_baton(w)
    work(w)
    guard_leave(&w.guard)
    return NULL


cdef void *home_main(void *argument) noexcept nogil:
    """The one OS thread of fibers: between blocks it waits on its own stack."""
    cdef Worker *home = <Worker *>argument
    cdef Carrier *c = home.carrier
    cdef int i
    rt_fiber_home(&home.fiber)
    guard_enter(&home.guard)
    for i in range(c.n):
        rt_fiber_make(&c.worker[i].fiber, &home.fiber, work, &c.worker[i])
    while True:
        await_baton(home)
        if c.quit:
            guard_leave(&home.guard)
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
    c.stacks = rt_stacks_map(c.n, GUARD_BYTES, STACK_BYTES)
    if c.stacks == NULL:
        raise MemoryError(f"no memory for {c.n} stacks")
    for i in range(c.n):
        c.worker[i].fiber.bottom = c.stacks + i * (GUARD_BYTES + STACK_BYTES) + GUARD_BYTES
        c.worker[i].fiber.size = STACK_BYTES
    return 0


cdef int carrier_open(Carrier *c, Block *block, bint fibers, int n, int cpu, uint32_t *bell) except -1:
    """Makes n workers on core `cpu` (-1: wherever). OSError where the system gives no more threads."""
    cdef void *workers = NULL
    cdef int started = 0
    memset(c, 0, sizeof(Carrier))
    guards_open()
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
        c.worker[i].guard.faulted = faulted
        c.worker[i].guard.exited = exited
        c.worker[i].guard.argument = c
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
    cdef int stacks = c.n
    cdef int i
    c.quit = True
    for i in range(threads):
        give(first + i)
    for i in range(threads):
        rt_join(first[i].thread)
    if c.stacks != NULL:
        rt_stacks_unmap(c.stacks, stacks, GUARD_BYTES, STACK_BYTES)
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
