"""Objects of the heap and what is said of an access (see memory.pxd).

What is wrong has three numbers. A race: the byte (of a stack: below its beginning); both places, the earlier one in the
low half; who came before (8 bits), whose stack it is (8 bits, 0: nobody's), flags (8 bits) and in which step. A freed
object: the byte; the place of the access and that of the free; where it was made, who freed it and who made it. Beyond
an object: the byte; the place of the access and that where it was made; how far behind (negative: before) and its size.
On a stack that no call has any more: the byte; the place; whose stack. A leak: where the object begins; where it was
made; its size and, in the upper half, how many there are.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset

from anonvma_rt.engine.base.grow cimport grow
from anonvma_rt.engine.base.operation cimport (
    OP_ATOMIC, OP_LOAD, OP_READ_LOCK, OP_READ_TRYLOCK, OP_READ_UNLOCK, OP_STORE,
)
from anonvma_rt.engine.base.table cimport table_add, table_close, table_get, table_open
from anonvma_rt.engine.run.task cimport HALT_NO_MEMORY, VIOLATION_SUBJECT, Task, halt, point, violate
from anonvma_rt.programs.image cimport (
    RT_DATA_RACE, RT_DEAD_FRAME, RT_DOUBLE_FREE, RT_FREED, RT_MARKED, RT_OUT_OF_BOUNDS, RT_STACK_BYTES, RT_STACK_GUARD,
    RT_TOLD,
)
from anonvma_rt.programs.races cimport (
    ONE_OBJECT, Access, Race, races_begin, races_close, races_freed, races_give, races_join, races_open, races_touch,
)
from anonvma_rt.programs.visits cimport Visit, visits_changed, visits_look, visits_progress

cdef enum:
    # Flags of a race: what the earlier and the later access was.
    BEFORE_WRITES = 1
    NOW_WRITES = 2
    BEFORE_ANNOUNCED = 4
    NOW_ANNOUNCED = 8
    WIDE = 16
    FREES = 32
    # Of what a lock or another object of the runtime's has: enough to see it freed, and no neighbour's.
    SYNC_BYTES = 4


cdef int watch_open(Watch *w, char *base, Mode mode, points) except -1:
    """points: the places at which accesses are steps of their own; 0 among them: all on one object."""
    w.base = base
    w.mode = mode
    table_open(&w.points)
    for place in points:
        if place:
            table_add(&w.points, place)
        else:
            w.one_object = True
    return races_open(&w.races, base)


cdef void watch_close(Watch *w) noexcept nogil:
    races_close(&w.races)
    table_close(&w.points)
    free(w.block)
    memset(w, 0, sizeof(Watch))


cdef void watch_built(Watch *w) noexcept nogil:
    w.built = w.n
    w.on = True


cdef void watch_begin(Watch *w, int tasks) noexcept nogil:
    """An execution begins."""
    cdef uint64_t i
    cdef int task
    w.n = w.built
    w.last = 0
    memset(w.low, 0, tasks * sizeof(uint64_t))
    for i in range(w.built):
        w.block[i].live = True
        w.block[i].reached = False
    races_begin(&w.races, tasks)
    memset(&w.visits, 0, tasks * sizeof(Visit))
    for task in range(tasks):
        visits_changed(&w.visits, task)


cdef void watch_stack(Watch *w, int task, char *top) noexcept nogil:
    """A task begins, and its stack goes down from here."""
    w.races.top[task] = <uint64_t>top


# ---- objects of the heap ---------------------------------------------------------------------------------------------


cdef int watch_made(Watch *w, int task, void *object, uint64_t size) noexcept nogil:
    """One more object, behind all others. -1: there is no memory."""
    cdef Block *b
    if grow(<void **>&w.block, &w.room, w.n + 1, sizeof(Block)) < 0:
        return -1
    b = &w.block[w.n]
    memset(b, 0, sizeof(Block))
    b.start = <uint64_t>object - <uint64_t>w.base
    b.end = b.start + size
    b.made_by = <uint8_t>task
    b.live = True
    w.last = w.n
    w.n += 1
    return 0


cdef Block *block_before(Watch *w, uint64_t offset) noexcept nogil:
    """The last object that begins at this offset or before it; the first one where there is none."""
    cdef uint64_t low = 0
    cdef uint64_t high = w.n
    cdef uint64_t middle
    if w.block[w.last].start <= offset and (w.last + 1 == w.n or offset < w.block[w.last + 1].start):
        return &w.block[w.last]
    while high - low > 1:
        middle = (low + high) >> 1
        if w.block[middle].start <= offset:
            low = middle
        else:
            high = middle
    w.last = low
    return &w.block[low]


cdef uint32_t watch_freed(Watch *w, const void *object) noexcept nogil:
    """Where an object was freed."""
    cdef Block *b
    if w.n == 0:
        return 0
    b = block_before(w, <uint64_t>object - <uint64_t>w.base)
    return b.freed if not b.live else 0


cdef void must_be_there(Watch *w, Task *t, uint64_t offset, uint64_t size, uint32_t place) noexcept nogil:
    """An access to the heap: it is inside a live object, or the execution ends."""
    cdef Block *b
    cdef int64_t behind
    cdef int64_t beyond
    if w.n == 0:
        return
    b = block_before(w, offset)
    if b.start <= offset and offset + size <= b.end:
        if not b.live:
            violate(t, VIOLATION_SUBJECT + RT_FREED, <int64_t>offset, <int64_t>(place | <uint64_t>b.freed << 32),
                    <int64_t>(b.made | <uint64_t>b.freed_by << 32 | <uint64_t>b.made_by << 40))
        return
    behind = <int64_t>(offset - b.end)
    if behind > 0 and b + 1 < w.block + w.n and <int64_t>(b[1].start - offset) < behind:
        b += 1
    behind = <int64_t>(offset - b.start)
    beyond = max(<int64_t>(offset - b.end), <int64_t>0) if behind >= 0 else behind
    violate(t, VIOLATION_SUBJECT + RT_OUT_OF_BOUNDS, <int64_t>offset, <int64_t>(place | <uint64_t>b.made << 32),
            <int64_t>(<uint64_t><uint32_t>(b.end - b.start) << 32 | <uint32_t>beyond))


cdef void must_be_in_a_frame(Watch *w, Task *t, uint64_t p, uint32_t place) noexcept nogil:
    """An access to a stack: some call of its thread's still has it, or the execution ends."""
    cdef uint64_t offset = p - <uint64_t>t.x.arena.stacks
    cdef int owner
    if offset >= t.x.arena.stacks_size:
        return
    owner = <int>(offset // (RT_STACK_GUARD + RT_STACK_BYTES))
    if owner < t.x.tasks and p < w.low[owner]:
        violate(t, VIOLATION_SUBJECT + RT_DEAD_FRAME, <int64_t>(p - <uint64_t>w.base), place, owner)


cdef void watch_free(Watch *w, Task *t, void *object, void *place) noexcept nogil:
    """At the point of a free: the object is there, and nobody's access to it is unordered."""
    cdef Block *b = block_before(w, <uint64_t>object - <uint64_t>w.base)
    cdef Access now
    cdef Race race
    if not b.live:
        violate(t, VIOLATION_SUBJECT + RT_DOUBLE_FREE, 0, <int64_t>b.start,
                <int64_t>(place_of(w, place) | <uint64_t>b.freed << 32))
    if w.on and w.mode != RACES_IGNORE:
        now.task = <uint8_t>t.id
        now.place = place_of(w, place)
        now.writes = True
        if races_freed(&w.races, object, b.end - b.start, &now, &race):
            met(w, t, &now, &race, FREES)
    b.live = False
    b.freed = place_of(w, place)
    b.freed_by = <uint8_t>t.id


# ---- leaks -----------------------------------------------------------------------------------------------------------


cdef void watch_root(Watch *w, uint64_t offset, uint64_t size) noexcept nogil:
    """Whatever words in this memory point into is reached, and what is reached from there. Every word counts as a
    pointer, to anywhere in an object, as in LeakSanitizer."""
    cdef uint64_t list = 0
    cdef uint64_t at = offset + 7 & ~<uint64_t>7
    cdef uint64_t end = offset + size
    cdef uint64_t to
    cdef Block *b
    while True:
        while at + 8 <= end:
            to = (<uint64_t *>(w.base + at))[0] - <uint64_t>w.base
            at += 8
            if w.n == 0 or to < w.heap:
                continue
            b = block_before(w, to)
            if b.live and not b.reached and b.start <= to < max(b.end, b.start + 1):
                b.reached = True
                b.waits = list
                list = <uint64_t>(b - w.block) + 1
        if list == 0:
            return
        b = &w.block[list - 1]
        list = b.waits
        at = b.start
        end = b.end


cdef uint64_t watch_leaks(Watch *w, Block **first) noexcept nogil:
    """How many objects of the program's own are live, and were not reached; the first of them."""
    cdef uint64_t found = 0
    cdef uint64_t i
    for i in range(w.n):
        if w.block[i].live and w.block[i].made and not w.block[i].reached:
            found += 1
            if found == 1:
                first[0] = &w.block[i]
    return found


# ---- accesses --------------------------------------------------------------------------------------------------------


cdef void keep(Watch *w, uint32_t place) noexcept nogil:
    cdef int i
    if place == 0:
        w.found_unknown = True
        return
    for i in range(w.n_found):
        if w.found[i] == place:
            return
    if w.n_found < MOST_FOUND:
        w.found[w.n_found] = place
        w.n_found += 1


cdef void met(Watch *w, Task *t, const Access *now, const Race *race, int flags) noexcept nogil:
    """A race."""
    if w.mode == RACES_COLLECT:
        keep(w, race.before.place)
        if not flags & FREES:
            keep(w, now.place)
        w.found_wide |= race.wide
        return
    flags |= (BEFORE_WRITES if race.before.writes else 0) | (NOW_WRITES if now.writes else 0)
    flags |= (BEFORE_ANNOUNCED if race.before.object else 0) | (WIDE if race.wide else 0)
    violate(t, VIOLATION_SUBJECT + RT_DATA_RACE, race.byte,
            <int64_t>(race.before.place | <uint64_t>now.place << 32),
            <int64_t>(race.before.task | race.stack << 8 | flags << 16 | <uint64_t>race.before.step << 24))


cdef void touch(Watch *w, Task *t, void *p, uint64_t size, bint writes, uint32_t place, void *object) noexcept nogil:
    cdef Access now
    cdef Race race
    cdef int done
    now.place = place
    now.step = <uint32_t>t.x.steps
    now.epoch = w.races.clock[t.id * w.races.tasks + t.id]
    now.task = <uint8_t>t.id
    now.writes = writes
    done = races_touch(&w.races, p, size, t.x.arena.now.used, &now, object, &race)
    if done < 0:
        halt(t, HALT_NO_MEMORY)
    if done:
        met(w, t, &now, &race, NOW_ANNOUNCED if object != NULL else 0)


cdef inline bint on_own_stack(Watch *w, int task, const void *p) noexcept nogil:
    return w.races.top[task] - <uint64_t>p < RT_STACK_BYTES


cdef inline void announce(Watch *w, Task *t, int op, void *object) noexcept nogil:
    """The point of an access that is a step of its own."""
    cdef bint spinning = t.spinning
    point(t, op, object)
    if op == OP_STORE:
        visits_progress(&w.visits, t.id)
        return
    if spinning:
        # What it looks at is not what it was.
        visits_progress(&w.visits, t.id)
    w.visits.of[t.id].tries = op == OP_ATOMIC


cdef int watch_access(Watch *w, Task *t, void *p, uint64_t size, int how, void *place) noexcept nogil:
    """An access that is about to be made. how: whether it writes, RT_MARKED, RT_TOLD, and then the operation in the
    bits from 8 on. 1: it is a look, of which somebody has to be told first what the thread has."""
    cdef uint32_t from_here = place_of(w, place)
    cdef uint64_t offset
    cdef void *object = NULL
    cdef int op = how >> 8
    if w.points.used and table_get(&w.points, from_here):
        object = <void *>(w.base + ONE_OBJECT) if w.one_object else <void *>(<uint64_t>p & ~<uint64_t>7)
        if op == 0:
            op = OP_STORE if how & 1 else OP_LOAD
    elif how & RT_MARKED:
        object = p
    if object != NULL:
        if op != OP_STORE and not how & RT_TOLD and visits_look(&w.visits, t.id, place):
            return 1
        announce(w, t, op, object)
    elif how & 1 and not on_own_stack(w, t.id, p):
        visits_progress(&w.visits, t.id)
    if not w.on:
        return 0
    offset = <uint64_t>p - <uint64_t>w.base
    if w.heap <= offset < t.x.arena.reserved:
        must_be_there(w, t, offset, size, from_here)
    elif offset >= t.x.arena.reserved:
        must_be_in_a_frame(w, t, <uint64_t>p, from_here)
    if w.mode == RACES_IGNORE:
        return 0
    if object == NULL:
        touch(w, t, p, size, how & 1, from_here, NULL)
        return 0
    if op != OP_STORE:
        races_join(&w.races, t.id, object, True)
    touch(w, t, p, size, how & 1, from_here, object)
    if op != OP_LOAD and races_give(&w.races, t.id, object, False, op == OP_STORE) < 0:
        halt(t, HALT_NO_MEMORY)
    return 0


cdef void watch_joins(Watch *w, Task *t, int op, void *object) noexcept nogil:
    """The runtime has made an operation that comes after what was given back to the object: a lock was taken, or
    something was there that is waited for."""
    if not w.on or w.mode == RACES_IGNORE:
        return
    races_join(&w.races, t.id, object, op != OP_READ_LOCK and op != OP_READ_TRYLOCK)
    touch(w, t, object, SYNC_BYTES, True, 0, object)


cdef void watch_gives(Watch *w, Task *t, int op, void *object) noexcept nogil:
    """The runtime makes an operation after which others may come: a lock is given back, something is there."""
    if not w.on or w.mode == RACES_IGNORE:
        return
    if op == OP_ATOMIC:
        races_join(&w.races, t.id, object, True)
    touch(w, t, object, SYNC_BYTES, True, 0, object)
    if races_give(&w.races, t.id, object, op == OP_READ_UNLOCK, False) < 0:
        halt(t, HALT_NO_MEMORY)
