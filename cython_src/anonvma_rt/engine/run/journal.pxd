"""What is kept of a recorded execution: its events, its schedule, and its journal, every change of the subject's
memory by the step before which it is there.

One recorded pass is enough to put the memory into the state before any step, forwards and backwards: the changes are
applied or taken back. What the words mean is the subject's affair. All of it belongs to the task that runs.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.base.arena cimport Arena
from anonvma_rt.engine.base.operation cimport Event

cdef enum:
    # Calls that a recorded stack has at most.
    MAX_FRAMES = 24

cdef struct Segment:
    uint64_t task
    uint64_t steps

cdef struct Trace:
    Event *events
    uint64_t n_events
    uint64_t events_room
    Segment *segments
    uint64_t n_segments
    uint64_t segments_room
    # Per event MAX_FRAMES return addresses, the innermost call first, where stacks are wanted.
    bint stacks
    void **frames
    uint64_t frames_room

# A word of the block (its offset) that has another value from step `step` on; offset 0: the number of bytes in use.
cdef struct Change:
    uint64_t step
    uint64_t offset
    uint64_t old
    uint64_t new

cdef struct Journal:
    Change *changes
    uint64_t n
    uint64_t room
    # What the block was when it was last looked at.
    char *shadow
    uint64_t shadow_used
    uint64_t shadow_room
    # It is looked at before every `every`-th step; 0: not at all.
    uint64_t every
    uint64_t next
    # Changes that the block holds at present; all of them until the first journey.
    uint64_t at
    bint travelled

cdef bint trace_event(Trace *trace, const Event *event) noexcept nogil
cdef bint trace_segment(Trace *trace, uint64_t task, uint64_t steps) noexcept nogil
cdef void trace_free(Trace *trace) noexcept nogil
cdef void journal_reset(Journal *j, uint64_t every) noexcept nogil
cdef void journal_free(Journal *j) noexcept nogil
cdef int journal_take(Journal *j, Arena *arena, uint64_t step, bint whatever) noexcept nogil
cdef void journal_travel(Journal *j, Arena *arena, uint64_t step) noexcept nogil
