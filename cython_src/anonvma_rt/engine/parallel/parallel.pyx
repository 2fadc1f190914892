"""The threads of the carrier `parallel` (see parallel.pxd)."""

from libc.errno cimport EINVAL
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset
from posix.stdlib cimport posix_memalign

from anonvma_rt.engine.base.arena cimport arena_open_view, arena_restore
from anonvma_rt.engine.base.grow cimport need
from anonvma_rt.engine.base.operation cimport NEVER
from anonvma_rt.engine.base.os cimport (
    rt_add, rt_join, rt_load, rt_pause, rt_store, rt_thread, rt_wait, rt_wake_all, rt_yield,
)
from anonvma_rt.engine.parallel.execution cimport exited, next_execution, now, run_one, strayed, unwind
from anonvma_rt.engine.parallel.locks cimport acquire_at_once, pass_by, release_at_once, try_at_once
from anonvma_rt.engine.parallel.log cimport forget_logs
from anonvma_rt.engine.parallel.runner cimport IMPATIENT, MAX_KEPT, PATIENT, SPINS, STRIPES, STRIPE_WORDS, Runner, Storm
from anonvma_rt.engine.run.block cimport Failure
from anonvma_rt.engine.run.fault cimport guard_ask, guard_enter, guard_leave, guards_open
from anonvma_rt.engine.run.task cimport HALT_NONE, Execution

cdef enum:
    NAP = 5000000
    GRANULE = 1 << 20
    # Steps of one task after which it counts as caught in a loop. A spin loop makes millions while another task waits
    # for a core, so this is no bound of the deterministic carriers.
    ENDLESS = 1 << 28


# ---- a thread --------------------------------------------------------------------------------------------------------


cdef void await_epoch(Storm *s, uint32_t seen) noexcept nogil:
    """Until a new execution begins: spins, then lets others run, and sleeps where a block has ended."""
    cdef uint32_t looks = 0
    while rt_load(&s.epoch) == seen:
        looks += 1
        if looks < SPINS:
            rt_pause()
        elif looks < SPINS + s.patience:
            rt_yield()
        else:
            rt_wait(&s.epoch, seen, NAP)


cdef void *thread_main(void *argument) noexcept nogil:
    cdef Runner *r = <Runner *>argument
    cdef Storm *s = r.storm
    cdef uint32_t epoch = 0
    guard_enter(&r.guard)
    while True:
        await_epoch(s, epoch)
        epoch += 1
        if s.quit:
            guard_leave(&r.guard)
            return NULL
        run_one(r)


# ---- opened and closed -----------------------------------------------------------------------------------------------


cdef void make_view(Storm *s, int id, uint64_t first, uint64_t end) noexcept nogil:
    """A runner's Execution: what the explorer's says of subject and lock order, and a part of its arena."""
    cdef Runner *r = &s.runner[id]
    cdef Execution *x = &r.x
    r.storm = s
    r.id = id
    r.guard.faulted = strayed
    r.guard.exited = exited
    r.guard.argument = r
    x.parallel = True
    x.long_way = True
    x.carrier.pass_by = pass_by
    x.carrier.acquire = acquire_at_once
    x.carrier.try_acquire = try_at_once
    x.carrier.release = release_at_once
    x.carrier.unwind = unwind
    x.carrier.self = r
    x.tasks = s.x.tasks
    x.bodies = s.x.bodies
    x.words = s.x.words
    # For what a subject draws by (seed, index) itself: the same as when the execution is replayed.
    x.seed = s.x.seed
    x.subject.self = s.x.subject.self
    x.subject.body = s.x.subject.body
    x.limits.stop = s.x.limits.stop
    x.limits.bound = ENDLESS
    x.limits.stop_at = NEVER
    memcpy(x.order.declared_allowed, s.x.order.declared_allowed, sizeof(x.order.allowed))
    memcpy(x.order.declared_after, s.x.order.declared_after, sizeof(x.order.after))
    x.order.learned = True
    x.task[id].x = x
    x.task[id].id = id
    arena_open_view(&x.arena, &s.x.arena, first, end)


cdef int share_arena(Storm *s) except -1:
    """The block behind the snapshot, in equal parts: one for whoever checks, one for each task."""
    cdef uint64_t start = (s.x.arena.saved.used + GRANULE) & ~<uint64_t>(GRANULE - 1)
    cdef uint64_t part
    if start >= s.x.arena.reserved:
        raise MemoryError("no address space left for tasks that run at once")
    part = (s.x.arena.reserved - start) // <uint64_t>(s.n + 1) & ~<uint64_t>(GRANULE - 1)
    if part < GRANULE or s.x.arena.committed > start + part:
        raise MemoryError("no address space left for tasks that run at once")
    s.end_of_arena = s.x.arena.reserved
    for i in range(s.n):
        make_view(s, i, start + part * <uint64_t>(i + 1), start + part * <uint64_t>(i + 2))
    s.x.arena.reserved = start + part
    return 0


cdef int storm_open(Storm *s, Execution *x, object cpus, uint32_t *bell) except -1:
    """Makes a thread per task, on the cores `cpus` in turn."""
    cdef void *runners = NULL
    cdef void *stripes = NULL
    cdef int error
    cdef int i
    memset(s, 0, sizeof(Storm))
    guards_open()
    s.x = x
    s.n = x.tasks
    s.bell = bell
    s.idle = 1
    s.patience = PATIENT if s.n <= len(set(cpus)) else IMPATIENT
    if posix_memalign(&runners, 128, s.n * sizeof(Runner)) != 0:
        raise MemoryError(f"no memory for {s.n} tasks")
    memset(runners, 0, s.n * sizeof(Runner))
    s.runner = <Runner *>runners
    if posix_memalign(&stripes, 128, STRIPES * STRIPE_WORDS * sizeof(uint32_t)) != 0:
        free(runners)
        raise MemoryError("no memory for a log")
    memset(stripes, 0, STRIPES * STRIPE_WORDS * sizeof(uint32_t))
    s.stripes = <uint32_t *>stripes
    share_arena(s)
    for i in range(s.n):
        cpu = cpus[i % len(cpus)]
        error = rt_thread(&s.runner[i].thread, cpu, thread_main, &s.runner[i])
        if error == EINVAL:
            error = rt_thread(&s.runner[i].thread, -1, thread_main, &s.runner[i])
        if error:
            s.n = i
            storm_close(s)
            raise OSError(error, f"thread {i + 1} could not be started")
    return 0


cdef int storm_begin(Storm *s, uint64_t first, uint64_t count, int most_kept) except -1:
    """Makes room for `count` executions and sets the totals to zero. Up to most_kept violations keep their schedule."""
    need(<void **>&s.failures, &s.failures_room, count, sizeof(Failure))
    forget_logs(s)
    s.most_kept = min(most_kept, MAX_KEPT)
    s.index = first
    s.end = first + count
    s.ran = 0
    s.points = 0
    s.n_failures = 0
    s.unkept = 0
    s.halt = HALT_NONE
    memset(s.counters, 0, sizeof(s.counters))
    return 0


cdef void storm_go(Storm *s, uint64_t nanoseconds) noexcept nogil:
    """Starts the block that the caller has prepared; the bell rings at its end, which comes with the execution that
    passes so many nanoseconds (0: no limit)."""
    rt_store(&s.idle, 0)
    arena_restore(&s.x.arena)
    s.started = now()
    s.deadline = s.started + nanoseconds if nanoseconds else 0
    next_execution(s)
    rt_wake_all(&s.epoch)


cdef bint storm_idle(Storm *s) noexcept nogil:
    return rt_load(&s.idle) != 0


cdef void storm_ask(Storm *s) noexcept nogil:
    """Asks everybody who is still in its body to leave it at once: for a block that is given up."""
    cdef int i
    for i in range(s.n):
        if s.runner[i].in_body and not rt_load(&s.runner[i].ended):
            guard_ask(&s.runner[i].guard)


cdef void storm_close(Storm *s) noexcept nogil:
    """Joins all threads; the block must have ended."""
    cdef int i
    s.quit = True
    rt_add(&s.epoch, 1)
    rt_wake_all(&s.epoch)
    for i in range(s.n):
        rt_join(s.runner[i].thread)
        free(s.runner[i].tickets)
    forget_logs(s)
    s.x.arena.reserved = s.end_of_arena
    free(s.runner)
    free(s.stripes)
    free(s.failures)
    s.runner = NULL
    s.n = 0
