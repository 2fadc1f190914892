"""The threads of the carrier `parallel`, the beginning and the end of an execution on it (see parallel.pxd)."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset
from posix.stdlib cimport posix_memalign
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from anonvma_rt.engine.base.arena cimport arena_open_view, arena_reset_view, arena_restore
from anonvma_rt.engine.parallel.chaos cimport chaos_begin
from anonvma_rt.engine.parallel.locks cimport begin_alone, end_alone, pass_by
from anonvma_rt.engine.base.os cimport (
    rt_add,
    rt_join,
    rt_load,
    rt_load64,
    rt_pause,
    rt_protect,
    rt_store,
    rt_subtract,
    rt_swap,
    rt_thread,
    rt_unwind,
    rt_wait,
    rt_wake,
    rt_wake_all,
    rt_watch_stacks,
    rt_yield,
)
from anonvma_rt.engine.parallel.runner cimport (
    MARK_BITS,
    MAX_KEPT,
    SPINS,
    STRIPE_WORDS,
    STRIPES,
    Kept,
    Runner,
    Storm,
    runner_of,
    task_of,
)
from anonvma_rt.engine.base.operation cimport MAX_TASKS, NEVER, OP_START
from anonvma_rt.engine.run.task cimport (
    HALT_NONE,
    HALT_STOPPED,
    HALT_VIOLATION,
    MAX_CLASSES,
    MAX_COUNTERS,
    VIOLATION_LOCK_ORDER,
    VIOLATION_USE_AFTER_FREE,
    Execution,
    Finding,
    Task,
    found,
)


cdef enum:
    # How often a thread without work gives its core away before it sleeps: where each has a core, and where not.
    PATIENT = 4000
    IMPATIENT = 20
    NAP = 5000000
    GRANULE = 1 << 20
    # Steps of one task after which it counts as caught in a loop. A spin loop makes millions while another task waits for
    # a core, so this is no bound of the deterministic carriers.
    ENDLESS = 1 << 28


# ---- one execution -----------------------------------------------------------------------------------------------------


cdef void view_reset(Runner *r, uint64_t index) noexcept nogil:
    """Makes a runner's Execution that of a task which has not begun."""
    cdef Execution *x = &r.x
    cdef Task *t = task_of(r)
    arena_reset_view(&x.arena, r.storm.end_of_arena)
    if x.order_learned:
        memcpy(x.allowed, x.declared_allowed, sizeof(x.allowed))
        memcpy(x.after, x.declared_after, sizeof(x.after))
        x.order_learned = False
    if t.held or x.halt:
        t.held = 0
        memset(t.held_count, 0, MAX_CLASSES)
    t.op = OP_START
    t.object = NULL
    t.local = NULL
    x.steps = 1
    x.until = 0
    x.halt = HALT_NONE
    x.index = index
    x.finding.kind = 0
    memset(x.counters, 0, sizeof(x.counters))
    rt_store(&r.ended, 0)
    rt_store(&r.waiting, 0)


cdef void run_body(void *argument) noexcept nogil:
    cdef Runner *r = <Runner *>argument
    r.in_body = True
    chaos_begin(r, r.x.index)
    begin_alone(r)
    r.x.body(r.x.subject, task_of(r))


cdef void unwind(Task *t) noexcept nogil:
    """The task leaves its body. If it is the first to do so it says why, and everybody else leaves where they are."""
    cdef Runner *r = runner_of(t)
    cdef Storm *s = r.storm
    cdef uint64_t at
    cdef int i
    if rt_swap(&s.leave, 0, <uint32_t>(r.id + 1)):
        for i in range(s.n):
            if rt_load(&s.runner[i].waiting) & 1:
                at = rt_load64(&s.runner[i].at)
                rt_wake_all(<uint32_t *>at)
    rt_unwind(&r.jump)


cdef void strayed(void *argument, int stack) noexcept nogil:
    """A body has followed a pointer to nowhere: what it pointed to was freed and poisoned a moment ago. Called by the
    fault handler; a fault that is not a body's goes on to whoever wants it."""
    cdef Runner *r = <Runner *>argument
    cdef Task *t = task_of(r)
    if r.in_body:
        found(&r.x, VIOLATION_USE_AFTER_FREE, r.id, -1, 0, 0)
        r.x.halt = HALT_VIOLATION
        unwind(t)


cdef void meet(Storm *s) noexcept nogil:
    """The start barrier: spinning, because whoever sleeps at it comes too late for every race."""
    cdef uint32_t looks = 0
    rt_add(&s.ready, 1)
    while rt_load(&s.ready) != <uint32_t>s.n:
        looks += 1
        if looks < SPINS:
            rt_pause()
        else:
            rt_yield()


cdef void run_one(Runner *r) noexcept nogil:
    cdef Storm *s = r.storm
    view_reset(r, s.index)
    meet(s)
    rt_protect(&r.jump, run_body, r)
    r.in_body = False
    end_alone(r)
    rt_store(&r.ended, 1)
    if rt_subtract(&s.running, 1) == 1:
        end_execution(s)


# ---- the end of an execution -------------------------------------------------------------------------------------------


cdef void check_orders(Storm *s) noexcept nogil:
    """The orders of lock classes that the tasks learned, each for itself, must fit together."""
    cdef uint32_t after[MAX_CLASSES]
    cdef uint32_t reached
    cdef int i
    cdef int a
    cdef int b
    cdef bint learned = False
    for i in range(s.n):
        learned |= s.runner[i].x.order_learned
    if not learned:
        return
    memcpy(after, s.x.declared_after, sizeof(after))
    for i in range(s.n):
        for a in range(MAX_CLASSES):
            after[a] |= s.runner[i].x.after[a]
    for i in range(MAX_CLASSES):
        for a in range(MAX_CLASSES):
            reached = after[a]
            for b in range(MAX_CLASSES):
                if after[a] >> b & 1:
                    reached |= after[b]
            after[a] = reached
    for a in range(MAX_CLASSES):
        if after[a] >> a & 1:
            found(s.x, VIOLATION_LOCK_ORDER, -1, a, a, 0)
            return


cdef void merge_logs(Storm *s, Kept *k) noexcept nogil:
    """The tasks' logs as one schedule, in the order of their tickets."""
    cdef uint64_t at[MAX_TASKS]
    cdef uint64_t smallest
    cdef uint64_t i
    cdef Runner *r
    cdef int next
    cdef int j
    memset(at, 0, sizeof(at))
    for i in range(k.n):
        smallest = NEVER
        next = 0
        for j in range(s.n):
            r = &s.runner[j]
            if at[j] < r.n_tickets and r.tickets[at[j]] < smallest:
                smallest = r.tickets[at[j]]
                next = j
        at[next] += 1
        k.tasks[i] = <uint8_t>next
        k.marks[i] = <uint16_t>(smallest & ((1 << MARK_BITS) - 1))


cdef void keep(Storm *s, int64_t kind) noexcept nogil:
    cdef Kept *k = &s.kept[s.n_kept]
    cdef int i
    if not s.recording or s.n_kept == s.most_kept:
        s.unkept += 1
        return
    k.index = s.index
    k.kind = kind
    k.n = 0
    for i in range(s.n):
        k.n += s.runner[i].n_tickets
    k.marks = <uint16_t *>malloc(3 * k.n + 1)
    if k.marks == NULL:
        s.unkept += 1
        return
    k.tasks = <uint8_t *>(k.marks + k.n)
    merge_logs(s, k)
    s.n_kept += 1


cdef void end_execution(Storm *s) noexcept nogil:
    """All tasks have ended: the verdict, the totals, the restored arena, and the next execution or the end."""
    cdef Execution *x = s.x
    cdef uint32_t first = rt_load(&s.leave)
    cdef uint64_t steps = 0
    cdef uint64_t time
    cdef int i
    cdef int j
    # Whoever checks acts as task 0 of the explorer's Execution, and may have left with locks the last time.
    x.task[0].held = 0
    memset(x.task[0].held_count, 0, MAX_CLASSES)
    x.halt = HALT_NONE
    x.index = s.index
    memset(&x.finding, 0, sizeof(Finding))
    memset(x.counters, 0, sizeof(x.counters))
    for i in range(s.n):
        steps += s.runner[i].x.steps
        for j in range(MAX_COUNTERS):
            s.counters[j] += s.runner[i].x.counters[j]
    x.steps = steps
    if first:
        x.halt = s.runner[first - 1].x.halt
        x.finding = s.runner[first - 1].x.finding
    else:
        check_orders(s)
        if not x.finding.kind:
            arena_reset_view(&x.arena, s.end_of_arena)
            x.check(x.subject, x)
    if x.halt > HALT_VIOLATION:
        s.halt = x.halt
    else:
        s.ran += 1
        s.points += steps
        if x.finding.kind:
            s.failed[s.n_failures] = s.index
            s.kinds[s.n_failures] = x.finding.kind
            s.n_failures += 1
            keep(s, x.finding.kind)
    arena_restore(&x.arena)
    s.index += 1
    time = now()
    if x.stop != NULL and rt_load(x.stop) and not s.halt:
        s.halt = HALT_STOPPED
    if s.index == s.end or s.halt or (s.deadline and time >= s.deadline):
        s.nanoseconds = time - s.started
        rt_store(&s.idle, 1)
        rt_add(s.bell, 1)
        rt_wake(s.bell)
        return
    next_execution(s)


cdef void next_execution(Storm *s) noexcept nogil:
    rt_store(&s.leave, 0)
    rt_store(&s.ready, 0)
    rt_store(&s.running, <uint32_t>s.n)
    rt_add(&s.epoch, 1)
    if s.patience == IMPATIENT:
        rt_wake_all(&s.epoch)


cdef uint64_t now() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <uint64_t>t.tv_sec * 1000000000 + <uint64_t>t.tv_nsec


# ---- a thread ----------------------------------------------------------------------------------------------------------


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
    rt_watch_stacks(&r.watch)
    while True:
        await_epoch(s, epoch)
        epoch += 1
        if s.quit:
            return NULL
        run_one(r)


# ---- opened and closed -------------------------------------------------------------------------------------------------


cdef void make_view(Storm *s, int id, uint64_t first, uint64_t end) noexcept nogil:
    """A runner's Execution: what the explorer's says of subject and lock order, and a part of its arena."""
    cdef Runner *r = &s.runner[id]
    cdef Execution *x = &r.x
    r.storm = s
    r.id = id
    # Any address: a body that faults has followed a wild pointer.
    r.watch.base = NULL
    r.watch.guard = <size_t>1 << 63
    r.watch.n = 1
    r.watch.overflowed = strayed
    r.watch.argument = r
    x.parallel = True
    x.pass_by = pass_by
    x.unwind = unwind
    x.carrier = r
    x.tasks = s.x.tasks
    # For what a subject draws by (seed, index) itself: the same as when the execution is replayed.
    x.seed = s.x.seed
    x.subject = s.x.subject
    x.body = s.x.body
    x.stop = s.x.stop
    x.bound = ENDLESS
    x.stop_at = NEVER
    memcpy(x.declared_allowed, s.x.declared_allowed, sizeof(x.allowed))
    memcpy(x.declared_after, s.x.declared_after, sizeof(x.after))
    x.order_learned = True
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
    started = 0
    for i in range(s.n):
        cpu = cpus[i % len(cpus)]
        error = rt_thread(&s.runner[i].thread, cpu, thread_main, &s.runner[i])
        if error == 22:
            error = rt_thread(&s.runner[i].thread, -1, thread_main, &s.runner[i])
        if error:
            s.n = i
            storm_close(s)
            raise OSError(error, f"thread {i + 1} could not be started")
    return 0


cdef int storm_begin(Storm *s, uint64_t first, uint64_t count, int most_kept) except -1:
    """Makes room for `count` executions and sets the totals to zero. Up to most_kept violations keep their schedule."""
    cdef void *failed
    cdef void *kinds
    if count > s.room:
        failed = realloc(s.failed, count * sizeof(uint64_t))
        if failed != NULL:
            s.failed = <uint64_t *>failed
        kinds = realloc(s.kinds, count * sizeof(int64_t))
        if kinds != NULL:
            s.kinds = <int64_t *>kinds
        if failed == NULL or kinds == NULL:
            raise MemoryError(f"no memory for {count} executions")
        s.room = count
    storm_forget(s)
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
    """Starts the block that the caller has prepared; the bell rings at its end, which comes with the execution that passes
    so many nanoseconds (0: no limit)."""
    rt_store(&s.idle, 0)
    arena_restore(&s.x.arena)
    s.started = now()
    s.deadline = s.started + nanoseconds if nanoseconds else 0
    next_execution(s)
    rt_wake_all(&s.epoch)


cdef bint storm_idle(Storm *s) noexcept nogil:
    return rt_load(&s.idle) != 0


cdef void storm_forget(Storm *s) noexcept nogil:
    cdef int i
    for i in range(s.n_kept):
        free(s.kept[i].marks)
    s.n_kept = 0


cdef void storm_close(Storm *s) noexcept nogil:
    """Joins all threads; the block must have ended."""
    cdef int i
    s.quit = True
    rt_add(&s.epoch, 1)
    rt_wake_all(&s.epoch)
    for i in range(s.n):
        rt_join(s.runner[i].thread)
        free(s.runner[i].tickets)
    storm_forget(s)
    s.x.arena.reserved = s.end_of_arena
    free(s.runner)
    free(s.stripes)
    free(s.failed)
    free(s.kinds)
    s.runner = NULL
    s.n = 0
