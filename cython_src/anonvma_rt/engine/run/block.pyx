"""The beginning and the end of an execution, and the totals of a block (see block.pxd)."""

from libc.stdint cimport uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from anonvma_rt.engine.base.arena cimport arena_restore
from anonvma_rt.engine.base.grow cimport need
from anonvma_rt.engine.base.operation cimport NEVER, OP_START
from anonvma_rt.engine.base.os cimport rt_jump, rt_load, rt_protect, rt_unlikely, rt_unwind
from anonvma_rt.engine.base.rng cimport mix64, rng_start
from anonvma_rt.engine.base.tasks cimport add, anybody, beyond, clear, drop, fill, has, only
from anonvma_rt.engine.order.classes cimport observed_class, observer_begin, observer_close, observer_open
from anonvma_rt.engine.run.fault cimport Fault, Guard, crashed, guard_swap
from anonvma_rt.engine.run.journal cimport journal_reset, journal_take
from anonvma_rt.engine.run.task cimport (
    HALT_AGAIN, HALT_DIVERGED, HALT_EXIT, HALT_NONE, HALT_NO_MEMORY, HALT_PRUNED, HALT_STOPPED, HALT_STUCK, HALT_UNTIL,
    HALT_VIOLATION, MAX_COUNTERS, VIOLATION_CRASH, VIOLATION_STUCK, CarrierCalls, Execution, Finding,
    Limits, Task, close_segment, cut_by, decide, hold_here, set_alarm, stuck, wait_outside,
)


cdef int block_begin(Block *b, uint64_t first, uint64_t count) except -1:
    """Makes room for `count` rows and sets the totals to zero."""
    need(<void **>&b.digests, &b.digests_room, count, sizeof(uint64_t))
    need(<void **>&b.failures, &b.failures_room, count, sizeof(Failure))
    b.x.observer = NULL
    if b.observing:
        observer_open(&b.observer)
        need(<void **>&b.classes, &b.classes_room, count, sizeof(uint64_t))
        b.x.observer = &b.observer
    b.x.watched = b.x.tracing or b.observing or b.x.audit.self != NULL
    b.next = first
    b.end = first + count
    b.ran = 0
    b.n_failures = 0
    b.n_classes = 0
    b.points = 0
    b.switches = 0
    b.longest = 0
    b.pruned = 0
    b.halt = HALT_NONE
    memset(b.counters, 0, sizeof(b.counters))
    return 0


cdef void block_free(Block *b) noexcept nogil:
    observer_close(&b.observer)
    free(b.classes)
    free(b.digests)
    free(b.failures)
    memset(b, 0, sizeof(Block))


cdef void execution_reset(Execution *x, uint64_t index) noexcept nogil:
    """Makes everything as it was when the scenario had just been built, and seeds execution `index`."""
    cdef int i
    arena_restore(&x.arena)
    x.awaiting = 0
    begin_sets(x, 1)
    if rt_unlikely(x.words > 1):
        begin_sets(x, x.words)
    if x.order.learned:
        memcpy(x.order.allowed, x.order.declared_allowed, sizeof(x.order.allowed))
        memcpy(x.order.after, x.order.declared_after, sizeof(x.order.after))
        x.order.learned = False
    for i in range(x.tasks):
        x.task[i].op = OP_START
        x.task[i].object = NULL
        x.task[i].started = False
        x.task[i].interesting = False
        x.task[i].n_looks = 0
        x.task[i].news = 0
        x.task[i].whole = False
        x.task[i].spinning = False
        x.task[i].timed = False
        x.task[i].lapsed = False
        x.task[i].lapses = 0
        x.task[i].instant = False
        x.task[i].marks = 0
        x.task[i].made = 0
        x.task[i].shares = 0
        if x.task[i].gate.op != OP_START:
            wait_outside(&x.task[i])
        if x.task[i].held or x.halt:
            x.task[i].held = 0
            memset(x.task[i].held_count, 0, sizeof(x.task[i].held_count))
    if x.memory.model:
        x.memory.begin(x)
    x.steps = 1
    x.until = 0
    set_alarm(x)
    x.lease = 0
    x.halt = HALT_NONE
    x.rounds.by = -1
    x.rounds.fruitless = False
    x.current = -1
    x.index = index
    x.rng = rng_start(x.seed, index)
    x.segment = 1
    x.digest = 0
    x.switches = 0
    memset(x.counters, 0, sizeof(x.counters))
    memset(&x.finding, 0, sizeof(Finding))
    x.trace.n_events = 0
    x.trace.n_segments = 0


cdef inline void begin_sets(Execution *x, int words) noexcept nogil:
    fill(x.enabled, x.bodies, words)
    clear(x.blocked, words)
    clear(x.outside, words)
    clear(x.done, words)
    clear(x.completed, words)
    clear(x.rounds.spinning, words)


cdef int block_next(Block *b) noexcept nogil:
    """Begins the next execution and returns its first task; -1 where the block has ended."""
    cdef int chosen
    if b.halt or b.next == b.end:
        return -1
    if b.x.limits.stop != NULL and rt_load(b.x.limits.stop):
        b.halt = HALT_STOPPED
        return -1
    execution_reset(b.x, b.next)
    if b.x.steps > b.x.limits.stop_at:
        b.halt = HALT_UNTIL
        return -1
    if b.x.observer != NULL:
        observer_begin(&b.observer, b.x.tasks)
    if b.x.audit.self != NULL:
        b.x.audit.begin(b.x.audit.self)
    b.x.strategy.begin(b.x.strategy.self, b.x)
    b.x.rounds.again = False
    chosen = decide(b.x)
    if chosen < 0:
        b.halt = b.x.halt if b.x.halt else HALT_DIVERGED
    return chosen


cdef int block_task_ended(Block *b, int task) noexcept nogil:
    """Task `task` has left its body: who goes on, in this execution or in the next one; -1 at the block's end."""
    cdef Execution *x = b.x
    cdef int chosen
    drop(x.enabled, task, x.words)
    drop(x.blocked, task, x.words)
    if x.task[task].gate.again and not x.halt:
        wait_outside(&x.task[task])
    else:
        add(x.done, task, x.words)
        if not x.halt:
            add(x.completed, task, x.words)
    if not x.halt and (anybody(x.enabled, x.words) or beyond(x.blocked, x.outside, x.words)):
        x.steps += 1
        chosen = decide(x) if x.steps <= x.limits.stop_at else -1
        if chosen >= 0:
            return chosen
        if x.steps > x.limits.stop_at:
            hold_here(x)
            x.halt = HALT_UNTIL
        elif not x.halt and anybody(x.enabled, x.words):
            x.halt = HALT_DIVERGED
        elif not x.halt and beyond(x.blocked, x.outside, x.words):
            stuck(x, task)
        elif not x.halt:
            # The last steps flushed what the tasks had left in their buffers; none was made after them.
            x.steps -= 1
    if x.halt:
        chosen = parked_in_body(x)
        if chosen >= 0:
            return chosen
    return end_execution(b)


ctypedef void (*unwind_fn)(Task *t) noexcept nogil

cdef struct Alone:
    rt_jump jump
    Guard guard
    Guard *outer
    Execution *x
    void (*call)(Task *t, void *argument) noexcept nogil
    void *argument


cdef void call_alone(void *argument) noexcept nogil:
    cdef Alone *alone = <Alone *>argument
    alone.call(&alone.x.task[0], alone.argument)


cdef void leave_alone(Task *t) noexcept nogil:
    rt_unwind(&(<Alone *>t.x.carrier.self).jump)


cdef void faulted_alone(void *argument, Fault *fault) noexcept nogil:
    cdef Alone *alone = <Alone *>argument
    if fault.signal:
        crashed(alone.x, fault, -1, VIOLATION_CRASH, fault.signal)
        rt_unwind(&alone.jump)
    elif alone.outer != NULL:
        alone.outer.faulted(alone.outer.argument, fault)


cdef bint run_alone(Execution *x, void (*call)(Task *t, void *argument) noexcept nogil, void *argument) noexcept nogil:
    """Runs `call` as task 0 while no other task runs: for building, and after the end. Whether it was cut short.

    Points count for nothing; a violation, and a lock that nobody will release, end the call.
    """
    cdef Alone alone
    cdef uint64_t steps = x.steps
    cdef uint64_t bound = x.limits.bound
    cdef uint64_t stop_at = x.limits.stop_at
    cdef void *carrier = x.carrier.self
    cdef unwind_fn unwind = x.carrier.unwind
    cdef bint tracing = x.tracing
    cdef bint watched = x.watched
    cdef bint long_way = x.long_way
    cdef bint cut
    alone.x = x
    alone.call = call
    alone.argument = argument
    x.carrier.self = &alone
    x.carrier.unwind = leave_alone
    x.tracing = False
    x.watched = False
    x.long_way = False
    x.steps = 0
    x.until = NEVER
    x.lease = NEVER
    x.limits.bound = NEVER
    x.limits.stop_at = NEVER
    x.limits.alarm = NEVER
    only(x.enabled, 0, x.words)
    clear(x.blocked, x.words)
    x.current = 0
    x.halt = HALT_NONE
    alone.guard.faulted = faulted_alone
    alone.guard.exited = NULL
    alone.guard.argument = &alone
    alone.outer = guard_swap(&alone.guard)
    cut = rt_protect(&alone.jump, call_alone, &alone)
    guard_swap(alone.outer)
    x.carrier.self = carrier
    x.carrier.unwind = unwind
    x.tracing = tracing
    x.watched = watched
    x.long_way = long_way
    x.steps = steps
    x.limits.bound = bound
    x.limits.stop_at = stop_at
    return cut


cdef int parked_in_body(Execution *x) noexcept nogil:
    """After a halt: a task that stands at a point inside its body and still has to leave it."""
    cdef int i
    for i in range(x.bodies):
        if x.task[i].started and not has(x.done, i, x.words):
            return i
    return -1


cdef void call_check(void *argument) noexcept nogil:
    cdef Execution *x = (<Block *>argument).x
    x.subject.check(x.subject.self, x)


cdef void check_end(Block *b) noexcept nogil:
    """Asks the subject about the end. It may crash or never come back, like a body (carrier.pyx)."""
    cdef CarrierCalls carrier = b.x.carrier
    cdef Limits limits = b.x.limits
    cdef uint64_t steps = b.x.steps
    cdef bint tracing = b.x.tracing
    cdef bint watched = b.x.watched
    cdef bint long_way = b.x.long_way
    b.checking = True
    if rt_protect(&b.jump, call_check, b):
        # Perhaps out of a run_alone(), which had put other things there.
        b.x.carrier = carrier
        b.x.limits = limits
        b.x.steps = steps
        b.x.tracing = tracing
        b.x.watched = watched
        b.x.long_way = long_way
    b.checking = False


cdef int end_execution(Block *b) noexcept nogil:
    cdef Execution *x = b.x
    cdef int i
    # Asked to stop before a step, nobody makes it; whatever else ends an execution happens in one.
    close_segment(x, x.steps if x.halt == HALT_UNTIL else x.steps + 1)
    if x.journal.every:
        if journal_take(&x.journal, &x.arena, x.steps if x.halt == HALT_UNTIL else x.steps + 1, True) < 0:
            x.halt = HALT_NO_MEMORY
    if x.audit.self != NULL:
        x.audit.end(x.audit.self)
    if x.halt == HALT_NONE:
        check_end(b)
    if x.strategy.finished != NULL:
        x.strategy.finished(x.strategy.self, x)
    if x.halt == HALT_AGAIN:
        if x.journal.every:
            journal_reset(&x.journal, x.journal.every)
        return block_next(b)
    if x.halt == HALT_PRUNED:
        b.pruned += 1
        b.next += 1
        return block_next(b)
    if x.halt > HALT_VIOLATION and x.halt != HALT_EXIT:
        b.halt = x.halt
        return -1
    # Rounds that changed nothing would make classes of their own.
    if x.observer != NULL and (x.strategy.cuts_spins or not x.rounds.fruitless):
        b.classes[b.n_classes] = observed_class(x.observer, cut_by(x))
        b.n_classes += 1
    b.digests[b.ran] = mix64(x.digest ^ x.steps)
    if x.finding.kind:
        b.failures[b.n_failures].index = x.index
        b.failures[b.n_failures].kind = x.finding.kind
        b.n_failures += 1
    b.points += x.steps
    b.switches += x.switches
    if x.steps > b.longest:
        b.longest = x.steps
    for i in range(MAX_COUNTERS):
        b.counters[i] += x.counters[i]
    b.ran += 1
    b.next += 1
    if x.finding.kind == VIOLATION_STUCK:
        b.halt = HALT_STUCK
    return block_next(b)


cdef void bodies(Task *t, void *unused) noexcept nogil:
    cdef Execution *x = t.x
    cdef int i
    for i in range(x.bodies):
        x.current = i
        x.subject.body(x.subject.self, &x.task[i])


cdef void block_floor(Block *b) noexcept nogil:
    """The block without scheduler and carrier: restore, all bodies in turn on this thread, check. The yardstick of what
    an execution costs by itself; only for subjects whose bodies can run one after the other."""
    while b.next < b.end:
        execution_reset(b.x, b.next)
        run_alone(b.x, bodies, NULL)
        b.x.subject.check(b.x.subject.self, b.x)
        b.next += 1
        b.ran += 1
