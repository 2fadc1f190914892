"""One execution at large: it begins at a barrier, and the task that ends last says how it was (see execution.pxd)."""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy, memset
from posix.unistd cimport _exit
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from anonvma_rt.engine.base.arena cimport arena_reset_view, arena_restore
from anonvma_rt.engine.base.operation cimport OP_START
from anonvma_rt.engine.base.os cimport (
    rt_add, rt_load, rt_load64, rt_pause, rt_protect, rt_store, rt_subtract, rt_swap, rt_unwind, rt_wake, rt_wake_all,
    rt_yield,
)
from anonvma_rt.engine.parallel.chaos cimport chaos_begin
from anonvma_rt.engine.parallel.log cimport begin_log, drop_stripe, keep_log
from anonvma_rt.engine.parallel.runner cimport IMPATIENT, SPINS, Runner, Storm, runner_of, task_of
from anonvma_rt.engine.run.fault cimport Fault, complain, crashed
from anonvma_rt.engine.run.task cimport (
    HALT_NONE, HALT_STOPPED, HALT_VIOLATION, MAX_CLASSES, MAX_COUNTERS, VIOLATION_CRASH, VIOLATION_LOCK_ORDER,
    VIOLATION_STUCK, VIOLATION_USE_AFTER_FREE, Execution, Finding, Task, found,
)


# ---- one execution ---------------------------------------------------------------------------------------------------


cdef void view_reset(Runner *r, uint64_t index) noexcept nogil:
    """Makes a runner's Execution that of a task which has not begun."""
    cdef Execution *x = &r.x
    cdef Task *t = task_of(r)
    arena_reset_view(&x.arena, r.storm.end_of_arena)
    if x.order.learned:
        memcpy(x.order.allowed, x.order.declared_allowed, sizeof(x.order.allowed))
        memcpy(x.order.after, x.order.declared_after, sizeof(x.order.after))
        x.order.learned = False
    t.shares = 0
    if t.held or x.halt:
        t.held = 0
        memset(t.held_count, 0, sizeof(t.held_count))
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
    begin_log(r)
    r.x.subject.body(r.x.subject.self, task_of(r))


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


cdef void strayed(void *argument, Fault *fault) noexcept nogil:
    """A body has made a fault. A pointer to no address space at all was in what was freed and poisoned a moment ago;
    whatever else is the body's own mistake. One that is not a body's goes on to whoever wants it."""
    cdef Runner *r = <Runner *>argument
    cdef Task *t = task_of(r)
    if not r.in_body:
        return
    if fault.signal == 0:
        crashed(&r.x, fault, r.id, VIOLATION_STUCK, 0)
    elif fault.nowhere:
        found(&r.x, VIOLATION_USE_AFTER_FREE, r.id, -1, 0, 0)
        r.x.halt = HALT_VIOLATION
    else:
        crashed(&r.x, fault, r.id, VIOLATION_CRASH, fault.signal)
    unwind(t)


cdef void exited(void *argument) noexcept nogil:
    cdef Runner *r = <Runner *>argument
    if r.in_body:
        complain(b"called exit()", r.x.index, r.id, r.x.steps)
        _exit(1)


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
    drop_stripe(r)
    rt_store(&r.waiting, 0)
    rt_store(&r.ended, 1)
    if rt_subtract(&s.running, 1) == 1:
        end_execution(s)


# ---- the end of an execution -----------------------------------------------------------------------------------------


cdef void check_orders(Storm *s) noexcept nogil:
    """The orders of lock classes that the tasks learned, each for itself, must fit together."""
    cdef uint32_t after[MAX_CLASSES]
    cdef uint32_t reached
    cdef int _round
    cdef int i
    cdef int a
    cdef int b
    cdef bint learned = False
    for i in range(s.n):
        learned |= s.runner[i].x.order.learned
    if not learned:
        return
    memcpy(after, s.x.order.declared_after, sizeof(after))
    for i in range(s.n):
        for a in range(MAX_CLASSES):
            after[a] |= s.runner[i].x.order.after[a]
    for _round in range(MAX_CLASSES):
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
    x.task[0].shares = 0
    memset(x.task[0].held_count, 0, sizeof(x.task[0].held_count))
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
            x.subject.check(x.subject.self, x)
    if x.halt > HALT_VIOLATION:
        s.halt = x.halt
    else:
        s.ran += 1
        s.points += steps
        if x.finding.kind:
            s.failures[s.n_failures].index = s.index
            s.failures[s.n_failures].kind = x.finding.kind
            s.n_failures += 1
            keep_log(s, x.finding.kind)
    arena_restore(&x.arena)
    s.index += 1
    time = now()
    if x.limits.stop != NULL and rt_load(x.limits.stop) and not s.halt:
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
