"""Runner: a task that runs on an OS thread of its own, at the same time as all others, and what it shares with them.

A Runner belongs to its thread, with the task's private Execution in it. Others read of it only what is under `waiting`,
which says what it waits for, and all of that is atomic. Storm is what they share: read-mostly, but for the words of the
barrier, each on a cache line of its own.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from anonvma_rt.engine.base.os cimport pthread_t, rt_jump
from anonvma_rt.engine.run.block cimport Failure
from anonvma_rt.engine.run.fault cimport Guard
from anonvma_rt.engine.run.task cimport MAX_COUNTERS, Execution, Task

cdef enum:
    # How many pauses a waiting task makes before it lets others have its core.
    SPINS = 400
    # How often a thread without work gives its core away before it sleeps: where each has a core, and where not.
    PATIENT = 4000
    IMPATIENT = 20
    # Points at which a task does not look whether it is to leave.
    UNSEEN_POINTS = 512
    STRIPES = 1024
    STRIPE_WORDS = 16
    MAX_KEPT = 64

# Where and how long a task is delayed, a function of (seed, execution, task, its own points): see chaos.pxd. Lengths
# are in pauses, distances in points or acquisitions.
cdef struct Delays:
    uint32_t every
    uint32_t most
    bint rare
    uint32_t skew
    uint32_t window
    uint32_t stall_every
    uint32_t stall_most
    uint32_t stall_class

cdef struct Runner:
    # First, so that it begins on a cache line.
    Execution x
    Storm *storm
    int id
    pthread_t thread
    rt_jump jump
    bint in_body
    # Chaos: the task's own draws, its next delay and the next stall.
    uint64_t rng
    uint64_t next_delay
    uint64_t next_window
    uint32_t to_stall
    # The log: a ticket and a signature of each step, and the stripe that the step in progress holds.
    uint64_t *tickets
    uint64_t n_tickets
    uint64_t tickets_room
    uint32_t *stripe
    Guard guard
    char padding[128]
    # Odd while it waits for `wanted` on `at`.
    uint32_t waiting
    uint32_t ended
    int32_t wanted
    int32_t test
    int64_t want
    uint64_t at
    char padding_behind[128]

# A violation whose log was kept: who made each step, and what it announced (order/signature).
cdef struct Kept:
    uint64_t index
    int64_t kind
    uint8_t *tasks
    uint16_t *signatures
    uint64_t n

cdef struct Storm:
    # The deterministic Execution of the explorer: its arena is the one that is shared, its subject the one that runs.
    Execution *x
    Runner *runner
    int n
    bint recording
    bint quit
    Delays delays
    uint64_t seed
    uint32_t *stripes
    uint64_t end_of_arena
    uint32_t *bell
    # The block in progress.
    uint64_t index
    uint64_t end
    uint64_t ran
    uint64_t points
    int64_t counters[MAX_COUNTERS]
    int32_t halt
    Failure *failures
    uint64_t failures_room
    uint64_t n_failures
    int n_kept
    int most_kept
    uint64_t unkept
    Kept kept[MAX_KEPT]
    # Of its executions; when it began, and when it is to end if it has not (0: never).
    uint64_t nanoseconds
    uint64_t started
    uint64_t deadline
    # How often a task that has ended gives its core away before it sleeps.
    uint32_t patience
    char padding0[128]
    uint32_t epoch
    char padding1[128]
    uint32_t ready
    char padding2[128]
    uint32_t running
    char padding3[128]
    # Everybody leaves: 1 plus the id of the task that said so first.
    uint32_t leave
    char padding4[128]
    uint64_t ticket
    char padding5[128]
    uint32_t idle


cdef inline Runner *runner_of(Task *t) noexcept nogil:
    return <Runner *>t.x.carrier.self


cdef inline Task *task_of(Runner *r) noexcept nogil:
    return &r.x.task[r.id]
