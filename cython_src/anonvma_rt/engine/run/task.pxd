"""Task, Execution and point(): where an interleaving is decided.

A task announces its next operation and calls point(), which comes before every operation that another task could
notice. Most points only count; where a decision is due the running task itself takes it (reschedule), and hands over
only if another task was chosen. All of an Execution belongs to the one task that runs at a time; a hand-over orders
the accesses, so nothing here is atomic. Where tasks run at once (engine/parallel) each has an Execution of its own, and
what they share are the arena's objects.
"""

from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t

from anonvma_rt.engine.base.arena cimport Arena, arena_glance, arena_live
from anonvma_rt.engine.base.operation cimport MAX_TASKS, OP_NOTE, lock_word
from anonvma_rt.engine.base.tasks cimport TASK_WORDS, TaskSet, drop
from anonvma_rt.engine.order.classes cimport Observer
from anonvma_rt.engine.run.journal cimport MAX_FRAMES, Journal, Segment, Trace

cdef enum:
    MAX_CLASSES = 16
    MAX_COUNTERS = 8
    # Locks that one task may share at a time.
    MAX_SHARED = 32
    # Words and locks that one round of a spinning task may look at.
    MAX_LOOKS = 16

# Violations that the engine itself finds; a subject numbers its own from VIOLATION_SUBJECT.
cdef enum Violation:
    VIOLATION_NONE
    VIOLATION_DEADLOCK
    VIOLATION_LIVELOCK
    VIOLATION_LOCK_ORDER
    VIOLATION_BAD_UNLOCK
    VIOLATION_USE_AFTER_FREE
    VIOLATION_LIST_CORRUPTION
    VIOLATION_STACK_OVERFLOW
    VIOLATION_LOCK_OVERFLOW
    VIOLATION_CRASH
    VIOLATION_STUCK
    VIOLATION_LOST_WAKEUP
    VIOLATION_NOT_LINEARIZABLE
    VIOLATION_BAD_CALL
    VIOLATION_SUBJECT = 16

cdef enum:
    ROUND_UNKNOWN = -1
    ROUND_OTHER = -2

# Why an execution ended early without a violation.
cdef enum Halt:
    HALT_NONE
    HALT_VIOLATION
    HALT_STOPPED
    HALT_DIVERGED
    HALT_NO_MEMORY
    HALT_UNTIL
    HALT_REFUSED
    # The strategy gave the execution up: it belongs to a class that was seen, and does not count.
    HALT_PRUNED
    # Of a block: its last execution was stuck, and the next one might be so for the same reason.
    HALT_STUCK
    # It is made again from its beginning, with something known that came up in it.
    HALT_AGAIN
    # A task ended it for all, as exit() does; finding.task is who.
    HALT_EXIT

# An execution that is stopped before a step may be held there, all tasks at their points, until somebody has looked.
cdef enum Hold:
    HOLD_NO
    HOLD_WANTED
    HOLD_HERE
    HOLD_OVER

cdef struct Finding:
    int32_t kind
    int32_t task
    uint64_t step
    int64_t a
    int64_t b
    int64_t c
    # Of a set of tasks among these numbers, the tasks from 64 on.
    uint64_t further[TASK_WORDS - 1]

# Where the code under test was when it crashed or was stuck: the innermost call first.
cdef struct Crash:
    uint64_t address
    int32_t n
    void *frames[MAX_FRAMES]

# What a task waits for before it begins, where another task begins it; op: OP_START where nobody does. It may begin
# again when it has come to its end.
cdef struct Gate:
    int32_t op
    int32_t test
    int64_t want
    void *word
    bint again

# A lock that a task shares, and how often.
cdef struct Share:
    lock_word *lock
    uint32_t times

cdef struct Task:
    Execution *x
    int32_t id
    int32_t op
    void *object
    # Of an await: TEST_* and the number that goes with it.
    int64_t want
    int32_t test
    uint32_t held
    bint started
    # Whether the operation it stands at is an interesting one (mark), as strategies that ask for marks see it.
    bint interesting
    # In this execution so far: interesting operations announced, and steps in the closed segments.
    uint64_t marks
    uint64_t made
    # A collapse locks as many pages as a huge page has.
    uint16_t held_count[MAX_CLASSES]
    int32_t shares
    Share shared[MAX_SHARED]
    # The round that spin_hint() will end: what it has looked at, one after the other (more than MAX_LOOKS is too much),
    # and as bits, to which of them somebody has written since. Looks from before the loop may come first, unless the
    # round is `whole`. `missed`: the last operation changed nothing.
    void *looks[MAX_LOOKS]
    uint32_t news
    int32_t n_looks
    bint whole
    bint missed
    # Set while it waits for some time at most. `lapsed`: it goes on because that time is over; `lapses`: how often.
    bint timed
    bint lapsed
    uint64_t lapses
    # Of what it announces: under no model does that wait for its stores.
    bint instant
    # It has ended a fruitless round, whose first look was number `first`; ROUND_UNKNOWN until it comes to its next
    # operation, ROUND_OTHER where that is no other round.
    bint spinning
    int32_t first
    # Set while the subject is built.
    Gate gate
    # The subject's own, where tasks run at once: NULL at the beginning of an execution.
    void *local

# When an execution ends that does not end by itself.
cdef struct Limits:
    # Steps after which it counts as a livelock, and the last step that it is to make.
    uint64_t bound
    uint64_t stop_at
    # The last step before these two, or the stop flag, have to be looked at.
    uint64_t alarm
    uint32_t *stop

# Lock classes: `allowed[c]` are the classes under which c may be taken, `after[c]` those taken under c so far.
cdef struct LockOrder:
    uint32_t allowed[MAX_CLASSES]
    uint32_t after[MAX_CLASSES]
    uint32_t declared_allowed[MAX_CLASSES]
    uint32_t declared_after[MAX_CLASSES]
    # It is another one than was declared.
    bint learned

# Python objects as plain pointers, and their methods: no reference can be counted without the GIL.
cdef struct StrategyCalls:
    void *self
    bint sees_forced
    bint sees_marks
    bint keeps_lease
    # It visits every class. A fruitless round is the last one of its task in this execution; where that, or whoever
    # waits for a time to be over, is all that could go on, it is pruned.
    bint cuts_spins
    void (*begin)(void *self, Execution *x) noexcept nogil
    int (*pick)(void *self, Execution *x, uint64_t *hold) noexcept nogil
    # Called when an execution was checked, before anything of it is taken back; NULL where the strategy does not want
    # it.
    void (*finished)(void *self, Execution *x) noexcept nogil

cdef struct SubjectCalls:
    void *self
    int (*build)(void *self, Task *t) noexcept nogil
    void (*body)(void *self, Task *t) noexcept nogil
    void (*check)(void *self, Execution *x) noexcept nogil
    # Objects may lie outside the arena, and whatever is announced can be read (8 bytes of it).
    bint anywhere
    # Whether what a task announces is interesting, where the subject says so by looking at it; else NULL.
    bint (*marks)(void *self, Task *t) noexcept nogil
    # Nobody can go on: as what violation that is told.
    int (*stuck)(void *self, Execution *x) noexcept nogil

cdef struct CarrierCalls:
    void *self
    void (*switch_to)(Execution *x, int from_task, int to_task) noexcept nogil
    void (*unwind)(Task *task) noexcept nogil
    # Where tasks run at once: what comes instead of a decision, and the real locks.
    void (*pass_by)(Task *task) noexcept nogil
    void (*acquire)(Task *t, lock_word *lock, int op, int subclass, bint sleeps) noexcept nogil
    bint (*try_acquire)(Task *t, lock_word *lock, int op) noexcept nogil
    void (*release)(Task *t, lock_word *lock, int op, int subclass) noexcept nogil

# Rounds of spinning tasks (sync.pyx), from the first spin_hint() on. The step that was granted last, until others are
# told of it: by -1 there is none.
cdef struct Rounds:
    void (*granted)(Task *t) noexcept nogil
    void (*tell)(Execution *x) noexcept nogil
    void *object
    int32_t op
    int32_t by
    # The tasks that wait for a write; a round was fruitless; this execution is made again (HALT_AGAIN).
    TaskSet spinning
    bint fruitless
    bint again

# Who is told of every step that is granted, beside the observer, and of the end of the tasks (engine/audit).
cdef struct AuditCalls:
    void *self
    void (*begin)(void *self) noexcept nogil
    int (*step)(void *self, int task, int op, void *object) noexcept nogil
    void (*end)(void *self) noexcept nogil

# How stores become visible (engine/memory/buffers): at once under SC; by a buffer of each task under TSO, and of each
# task and variable under PSO. What flushes a buffer is a task without a body of its own.
cdef enum Model:
    MODEL_SC
    MODEL_TSO
    MODEL_PSO

cdef struct MemoryCalls:
    Model model
    void *self
    void (*begin)(Execution *x) noexcept nogil
    # Makes the step that was granted to the task of a buffer.
    void (*flush)(Execution *x, int task) noexcept nogil
    void (*store)(Task *t, int64_t *word, int64_t value, bint release) noexcept nogil
    # Whether the newest store of t to a word is in a buffer, and what it was; what its operation waits for.
    bint (*forwards)(Task *t, int64_t *word, int64_t *value) noexcept nogil
    bint (*waits)(Task *t) noexcept nogil
    void (*order_stores)(Task *t) noexcept nogil
    int (*observe)(Task *t, bint apart) noexcept nogil

cdef struct Execution:
    # `steps` is the number of the step being granted; `until` the last one that needs no decision.
    uint64_t steps
    uint64_t until
    bint tracing
    # Every step is granted by reschedule(): somebody records or observes them.
    bint watched
    int32_t halt
    # Tasks run at once: this Execution is the private view of one of them, and `steps` are its own.
    bint parallel
    # Tasks run at once, or stores become visible late: accesses to words are not made at their points.
    bint long_way
    # The strategy's answer holds up to step `lease` unless the set of enabled tasks changes.
    uint64_t lease
    Limits limits
    int32_t awaiting
    int32_t current
    # How many there are, and how many words a set of them has. The first `bodies` have a body; each of the others
    # flushes a buffer.
    int32_t bodies
    int32_t tasks
    int32_t words
    TaskSet enabled
    TaskSet blocked
    # Of those that are blocked: who waits at its gate, and is not missed at the end.
    TaskSet outside
    TaskSet done
    # Of those that are done: who came to the end of its body.
    TaskSet completed
    uint64_t rng
    uint64_t seed
    uint64_t index
    # The schedule so far: the open segment began at step `segment`, `digest` covers the closed ones.
    uint64_t segment
    uint64_t digest
    uint64_t switches
    int64_t counters[MAX_COUNTERS]
    Finding finding
    Arena arena
    LockOrder order
    Trace trace
    # NULL where this execution is not observed.
    Observer *observer
    Journal journal
    # HOLD_*, a futex word.
    uint32_t hold
    Rounds rounds
    # Set while a strategy is asked: what goes wrong then is no body's fault.
    bint asking
    Crash crash
    # A profile counts marks whatever the strategy.
    bint profiling
    StrategyCalls strategy
    SubjectCalls subject
    CarrierCalls carrier
    # `self` is NULL where nobody audits.
    AuditCalls audit
    MemoryCalls memory
    Task task[MAX_TASKS]

cdef void reschedule(Task *t) noexcept nogil
cdef bint must_wait(Task *t) noexcept nogil
cdef bint goes_round(Task *t) noexcept nogil
cdef bint fails(Task *t) noexcept nogil
cdef void hold_here(Execution *x) noexcept nogil
cdef int decide(Execution *x) noexcept nogil
cdef void stuck(Execution *x, int task) noexcept nogil
cdef void violate(Task *t, int kind, int64_t a, int64_t b, int64_t c) noexcept nogil
cdef void halt(Task *t, int reason) noexcept nogil
cdef void found(Execution *x, int kind, int task, int64_t a, int64_t b, int64_t c) noexcept nogil
cdef int cut_by(Execution *x) noexcept nogil
cdef void record(Execution *x, int task, int op, int64_t code, int64_t a, int64_t b, int64_t c) noexcept nogil
cdef void close_segment(Execution *x, uint64_t at) noexcept nogil
cdef void watch(Task *t) noexcept nogil
cdef void recheck(Execution *x, void *object) noexcept nogil
cdef void free_object(Task *t, void *object) noexcept nogil
cdef void set_alarm(Execution *x) noexcept nogil
cdef void wait_outside(Task *t) noexcept nogil


cdef inline void point(Task *t, int op, void *object) noexcept nogil:
    """Announces `op` on `object` and comes right before it; another task may run in between."""
    cdef Execution *x = t.x
    t.op = op
    t.object = object
    x.steps += 1
    if x.steps > x.until:
        reschedule(t)


cdef inline void come_in(Task *t) noexcept nogil:
    """t was chosen while it waited at its gate."""
    drop(t.x.outside, t.id, t.x.words)
    t.x.awaiting -= 1


cdef inline void hold(Task *t, int cls) noexcept nogil:
    t.held_count[cls] += 1
    t.held |= 1 << cls


cdef inline void unhold(Task *t, int cls) noexcept nogil:
    t.held_count[cls] -= 1
    if t.held_count[cls] == 0:
        t.held &= ~(1 << cls)


cdef inline bint marking(Task *t) noexcept nogil:
    """Whether anybody wants to know of marks: ask first where it takes work to find out what is interesting."""
    return t.x.strategy.sees_marks or t.x.profiling


cdef inline void mark(Task *t) noexcept nogil:
    """Says that the operation which t announces next is an interesting one; come to its point right afterwards. A
    strategy that sees marks is asked there whatever its lease."""
    t.marks += 1
    if t.x.strategy.sees_marks:
        t.interesting = True
        t.x.lease = 0
        t.x.until = 0


cdef inline void note(Task *t, int64_t code, int64_t a, int64_t b, int64_t c) noexcept nogil:
    """Says what the step in progress did, for the trace of a failing execution; costs a branch otherwise."""
    if t.x.tracing:
        record(t.x, t.id, OP_NOTE, code, a, b, c)


cdef inline void must_live(Task *t, void *object, int type) noexcept nogil:
    """A violation unless `object` is a live object of `type`: call it before a pointer is followed that another
    task could have made stale."""
    if not arena_live(&t.x.arena, object, type):
        violate(t, VIOLATION_USE_AFTER_FREE, type, <int64_t>(<uint64_t>object - <uint64_t>t.x.arena.base), 0)


cdef inline void must_not_be_dead_yet(Task *t, void *object, int type) noexcept nogil:
    """The same, where it is asked again behind the next point and the order against a free is announced there: this
    look only ends the execution a little earlier."""
    if not arena_glance(&t.x.arena, object, type):
        violate(t, VIOLATION_USE_AFTER_FREE, type, <int64_t>(<uint64_t>object - <uint64_t>t.x.arena.base), 0)
