"""Search: the stack of one exhaustive search, and what DPOR asks of it.

Events 0 to n - 1 are those of the execution at hand; the first `prefix` are replayed. The first `root` belong to somebody
else (another explorer, a checkpoint): what there is to try in those states is told to whoever owns them.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

from anonvma_rt.engine.base.operation cimport MAX_TASKS
from anonvma_rt.engine.run.task cimport Execution

cdef enum:
    # The kind of an operation is its number, with this bit where it is a try that failed; a try for the whole lock that
    # failed although nobody has the whole lock is a kind of its own: readers could have come before it.
    FAILED = 16
    FAILED_BY_READERS = 31

# What a task was about to do in a state.
cdef struct Pending:
    uint32_t object
    uint32_t kind

# One event, and the state before it: who was enabled, who slept, who was explored, who is to be.
cdef struct Event:
    int32_t task
    uint32_t object
    # The event before it on the same object and of the same task; -1: none.
    int32_t before
    int32_t previous
    # Where the run of events of one task begins in which it lies; and of the first event of a run, where that ends.
    int32_t run
    int32_t run_end
    uint32_t kind
    # How many tasks were interrupted before it, although they could have gone on.
    int32_t preemptions
    uint64_t enabled
    uint64_t sleep
    uint64_t explored
    uint64_t backtrack
    # In a state of somebody else: whom this search wants to be explored there.
    uint64_t escaped

cdef struct Search:
    int tasks
    int32_t n
    int32_t prefix
    int32_t root
    int32_t room
    # Preemptions that an execution may have; -1: any number, and then classes and not schedules are told apart.
    int32_t bound
    Event *event
    # Per event: how many events of each task happen before it, itself included, as the event's number plus one.
    uint32_t *clock
    Pending *pending
    # The last event of each task; -1: none.
    int32_t latest[MAX_TASKS]
    # Objects by address, numbered as they are met; and the last event on each.
    void **key
    uint32_t *number
    uint32_t keys
    uint32_t key_room
    int32_t *last

cdef int search_open(Search *s) except -1
cdef void search_close(Search *s) noexcept nogil
cdef void search_clear(Search *s, int tasks) noexcept nogil
cdef bint search_room(Search *s, int32_t at) noexcept nogil
cdef int search_state(Search *s, Execution *x, int32_t at) noexcept nogil
cdef int search_step(Search *s, Execution *x, int32_t at) noexcept nogil
cdef void search_place(Search *s, int32_t at, int task) noexcept nogil
cdef void search_pop(Search *s, int32_t at) noexcept nogil
cdef uint32_t search_number(Search *s, void *object) noexcept nogil
cdef void search_waiting(Search *s, Execution *x, int task) noexcept nogil


cdef inline uint64_t untried(Event *e) noexcept nogil:
    """Who is still to be explored in the state before an event."""
    return e.backtrack & ~e.explored & ~e.sleep & e.enabled
