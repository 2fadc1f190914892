"""Search: the stack of one exhaustive search, and its memory.

Steps 0 to n - 1 are those of the execution at hand; the first `prefix` are replayed. The first `root` belong to
somebody else (another explorer, a checkpoint): what there is to try in those states is told to whoever owns them. A
search belongs to one strategy, which belongs to one explorer.
"""

from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t

from anonvma_rt.engine.base.operation cimport MAX_TASKS
from anonvma_rt.engine.base.table cimport Table
from anonvma_rt.engine.base.tasks cimport anybody, copy, keep, take_away
from anonvma_rt.engine.order.classes cimport Seen

cdef enum:
    # The kind of an operation is its number, with this bit where the relation of operations calls it failed.
    FAILED = 16

# What a task was about to do in a state; of an await, what it waited for.
cdef struct Pending:
    uint32_t object
    uint16_t kind
    uint16_t test
    int64_t want

# In a model with buffers (engine/memory). Of a store that a buffer is about to make visible: its number, the one up to
# which others come before it, and the step in which it was made; of a load of such a store, its number.
cdef struct Origin:
    uint32_t number
    uint32_t after
    int32_t step

# The sets of tasks of the state before a step: who was enabled, who slept, who was explored, who is to be. Escaped: of
# a state of somebody else, whom this search wants to be explored there. Restless: who does not sleep although it was
# explored, because its step depends on more than it announces.
cdef enum Which:
    ENABLED
    SLEEP
    EXPLORED
    BACKTRACK
    ESCAPED
    RESTLESS
    SETS

cdef struct Step:
    int32_t task
    uint32_t object
    # The step before it on the same object and of the same task; -1: none.
    int32_t before
    int32_t previous
    # Where the run of steps of one task begins in which it lies; and of the first step of a run, where that ends.
    int32_t run
    int32_t run_end
    uint32_t kind
    # What was spent of the bound before it.
    int32_t spent
    # What its object's first 8 bytes held afterwards: what a word is, or who has a lock.
    int64_t after

# The hash of a step and its past, and what its object has seen with it.
cdef struct Link:
    uint64_t chain
    Seen seen

# An object that steps are on: where it lies, the last of them (-1: none), and what it held before the first one.
cdef struct Object:
    void *address
    int64_t before
    int32_t last

cdef struct Search:
    int tasks
    # The first so many have bodies, and each of them `each` buffers, whose tasks are the others.
    int bodies
    int each
    # Of a set of them.
    int words
    int32_t n
    int32_t prefix
    int32_t root
    # Preemptions, or delays, that an execution may have; -1: any number, and then classes and not schedules are told
    # apart. Limited: the bound left something out.
    int32_t bound
    bint by_delays
    bint limited
    uint64_t room
    Step *step
    # Per step SETS sets, of `words` words each.
    uint64_t *sets
    # Per step its vector clock (order/clocks.pxd), in numbers of steps plus one.
    uint32_t *clock
    Pending *pending
    # The same, where there are buffers.
    Origin *origin
    # The last step of each task; -1: none.
    int32_t last_of[MAX_TASKS]
    # Objects are numbered by their addresses as they are met.
    Table numbers
    Object *object
    uint64_t objects_room

cdef int search_open(Search *s) except -1
cdef void search_close(Search *s) noexcept nogil
cdef void search_clear(Search *s, int tasks, int bodies) noexcept nogil
cdef int search_room(Search *s, int32_t at) noexcept nogil
cdef uint32_t search_number(Search *s, void *object) noexcept nogil


cdef inline int op_of(uint32_t kind) noexcept nogil:
    return <int>(kind & ~<uint32_t>FAILED)


cdef inline int64_t held_before(Search *s, int32_t at) noexcept nogil:
    """What the object of step `at` held before it."""
    cdef Step *e = &s.step[at]
    return s.step[e.before].after if e.before >= 0 else s.object[e.object].before


cdef inline uint64_t *set_at(Search *s, int32_t at, int which, int words) noexcept nogil:
    """A set of the state before step `at`, good until there is room for more steps (search_room). words: s.words, or 1
    where that is known to be so."""
    return &s.sets[(<size_t>at * SETS + which) * words]


cdef inline bint untried(Search *s, int32_t at, uint64_t *tasks, int words) noexcept nogil:
    """Who is still to be explored in the state before a step, and whether that is anybody."""
    copy(tasks, set_at(s, at, BACKTRACK, words), words)
    take_away(tasks, set_at(s, at, EXPLORED, words), words)
    take_away(tasks, set_at(s, at, SLEEP, words), words)
    keep(tasks, set_at(s, at, ENABLED, words), words)
    return anybody(tasks, words)


cdef inline uint32_t *clock_of(Search *s, int32_t at) noexcept nogil:
    """The clock of step `at`; NULL where there is no such step."""
    return &s.clock[<size_t>at * s.tasks] if at >= 0 else NULL


cdef inline Origin *origin_at(Search *s, int32_t at) noexcept nogil:
    """Where the stores come from that tasks are about to make visible, or to see, in the state before step `at`."""
    return &s.origin[<size_t>at * s.tasks]


cdef inline Pending *pending_at(Search *s, int32_t at) noexcept nogil:
    """What each task was about to do in the state before step `at`."""
    return &s.pending[<size_t>at * s.tasks]
