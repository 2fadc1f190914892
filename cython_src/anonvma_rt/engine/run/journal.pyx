"""Adding to a record; finding, applying and taking back the changes of the subject's memory (see journal.pxd)."""

from libc.stdint cimport uint64_t
from libc.stdlib cimport free
from libc.string cimport memcmp, memcpy, memset

from anonvma_rt.engine.base.grow cimport grow
from anonvma_rt.engine.base.operation cimport Event
from anonvma_rt.engine.base.os cimport rt_backtrace

cdef enum:
    # Bytes that are compared at a time; most of them are as they were.
    PIECE = 512


cdef bint trace_event(Trace *trace, const Event *event) noexcept nogil:
    """Adds an event, with the calls that led to where it was announced if stacks are wanted. False: no memory."""
    if grow(<void **>&trace.events, &trace.events_room, trace.n_events + 1, sizeof(Event)) < 0:
        return False
    trace.events[trace.n_events] = event[0]
    if trace.stacks:
        if grow(<void **>&trace.frames, &trace.frames_room, trace.n_events + 1, MAX_FRAMES * sizeof(void *)) < 0:
            trace.stacks = False
            return False
        memset(trace.frames + trace.n_events * MAX_FRAMES, 0, MAX_FRAMES * sizeof(void *))
        rt_backtrace(trace.frames + trace.n_events * MAX_FRAMES, MAX_FRAMES)
    trace.n_events += 1
    return True


cdef bint trace_segment(Trace *trace, uint64_t task, uint64_t steps) noexcept nogil:
    """Adds a segment of the schedule. False: no memory."""
    if grow(<void **>&trace.segments, &trace.segments_room, trace.n_segments + 1, sizeof(Segment)) < 0:
        return False
    trace.segments[trace.n_segments].task = task
    trace.segments[trace.n_segments].steps = steps
    trace.n_segments += 1
    return True


cdef void trace_free(Trace *trace) noexcept nogil:
    free(trace.events)
    free(trace.segments)
    free(trace.frames)
    memset(trace, 0, sizeof(Trace))


cdef void journal_reset(Journal *j, uint64_t every) noexcept nogil:
    j.n = 0
    j.shadow_used = 0
    j.every = every
    j.next = 0
    j.at = 0
    j.travelled = False


cdef void journal_free(Journal *j) noexcept nogil:
    free(j.changes)
    free(j.shadow)
    memset(j, 0, sizeof(Journal))


cdef int add(Journal *j, uint64_t step, uint64_t offset, uint64_t old, uint64_t new) noexcept nogil:
    if grow(<void **>&j.changes, &j.room, j.n + 1, sizeof(Change)) < 0:
        return -1
    j.changes[j.n].step = step
    j.changes[j.n].offset = offset
    j.changes[j.n].old = old
    j.changes[j.n].new = new
    j.n += 1
    return 0


cdef int compare(Journal *j, Arena *arena, uint64_t step, uint64_t first, uint64_t end) noexcept nogil:
    """The words of one piece that have changed. The shadow follows."""
    cdef uint64_t *now = <uint64_t *>(arena.base + first)
    cdef uint64_t *before = <uint64_t *>(j.shadow + first)
    cdef uint64_t i
    for i in range((end - first) // 8):
        if now[i] != before[i]:
            if add(j, step, first + 8 * i, before[i], now[i]) < 0:
                return -1
            before[i] = now[i]
    return 0


cdef int journal_take(Journal *j, Arena *arena, uint64_t step, bint whatever) noexcept nogil:
    """Notes what has changed since the last look; -1 without memory. whatever: even where it is not yet time to
    look."""
    cdef uint64_t used = arena.now.used
    cdef uint64_t at = 0
    cdef uint64_t end
    if step < j.next and not whatever:
        return 0
    j.next = step + j.every
    if grow(<void **>&j.shadow, &j.shadow_room, used, 1) < 0:
        return -1
    if j.shadow_used == 0:
        memcpy(j.shadow, arena.base, used)
        j.shadow_used = used
        return 0
    if used != j.shadow_used:
        if add(j, step, 0, j.shadow_used, used) < 0:
            return -1
        if used > j.shadow_used:
            memset(j.shadow + j.shadow_used, 0, used - j.shadow_used)
        j.shadow_used = used
    while at < used:
        end = min(at + <uint64_t>PIECE, used)
        if memcmp(arena.base + at, j.shadow + at, end - at) and compare(j, arena, step, at, end) < 0:
            return -1
        at = end
    j.at = j.n
    return 0


cdef void journal_travel(Journal *j, Arena *arena, uint64_t step) noexcept nogil:
    """Puts the block into the state before step `step`; past the end, into the one in which the tasks left it."""
    cdef Change *c
    if not j.travelled:
        # Whoever checked the end may have written to the block.
        memcpy(arena.base, j.shadow, j.shadow_used)
        arena.now.used = j.shadow_used
        j.at = j.n
        j.travelled = True
    while j.at < j.n and j.changes[j.at].step <= step:
        c = &j.changes[j.at]
        if c.offset:
            (<uint64_t *>(arena.base + c.offset))[0] = c.new
        else:
            # What lies behind was all zero when it was first in use, and its words follow.
            memset(arena.base + c.old, 0, c.new - c.old if c.new > c.old else 0)
            arena.now.used = c.new
        j.at += 1
    while j.at and j.changes[j.at - 1].step > step:
        j.at -= 1
        c = &j.changes[j.at]
        if c.offset:
            (<uint64_t *>(arena.base + c.offset))[0] = c.old
        else:
            arena.now.used = c.old
