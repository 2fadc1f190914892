"""Clocks of synchronisation, and lists of accesses (see races.pxd)."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from anonvma_rt.engine.base.grow cimport grow, grow_filled
from anonvma_rt.engine.base.table cimport table_add, table_clear, table_close, table_get, table_open
from anonvma_rt.engine.order.clocks cimport clock_join


cdef int races_open(Races *r, char *base) except -1:
    r.base = base
    return table_open(&r.objects)


cdef void races_close(Races *r) noexcept nogil:
    table_close(&r.objects)
    free(r.rows)
    free(r.memory.first)
    free(r.memory.touched)
    free(r.stacks.first)
    free(r.stacks.touched)
    free(r.access)
    memset(r, 0, sizeof(Races))


cdef void forget(Words *w) noexcept nogil:
    cdef uint64_t i
    for i in range(w.n_touched):
        w.first[w.touched[i]] = 0
    w.n_touched = 0


cdef void races_begin(Races *r, int tasks) noexcept nogil:
    """Forgets the execution before. A clock counts what its task has given back, from 1 on."""
    cdef int i
    r.tasks = tasks
    memset(r.clock, 0, tasks * tasks * sizeof(uint32_t))
    for i in range(tasks):
        r.clock[i * tasks + i] = 1
        r.top[i] = 0
    table_clear(&r.objects)
    forget(&r.memory)
    forget(&r.stacks)
    r.n_access = 1


# ---- what synchronises -----------------------------------------------------------------------------------------------


cdef int races_join(Races *r, int task, void *object, bint all) noexcept nogil:
    """What was given back to the object happens before what the task does from now on; `all`: also by those who shared
    it."""
    cdef uint32_t number = table_get(&r.objects, <uint64_t>object)
    cdef uint32_t *row
    if number:
        row = r.rows + 2 * number * <uint64_t>r.tasks
        clock_join(r.clock + task * r.tasks, row, r.tasks)
        if all:
            clock_join(r.clock + task * r.tasks, row + r.tasks, r.tasks)
    return 0


cdef int races_give(Races *r, int task, void *object, bint shared, bint replaces) noexcept nogil:
    """What the task has done happens before what others do after they have joined the object. replaces: what was
    given before is no longer there, as with a value that another one has overwritten. -1: there is no memory."""
    cdef uint32_t known = r.objects.used
    cdef uint32_t number = table_add(&r.objects, <uint64_t>object)
    cdef uint32_t *row
    cdef uint32_t *clock = r.clock + task * r.tasks
    if number == 0 or grow(<void **>&r.rows, &r.rows_room, 2 * (number + 1) * <uint64_t>r.tasks, sizeof(uint32_t)) < 0:
        return -1
    row = r.rows + 2 * number * <uint64_t>r.tasks
    if number > known:
        memset(row, 0, 2 * r.tasks * sizeof(uint32_t))
    if shared:
        clock_join(row + r.tasks, clock, r.tasks)
    elif replaces:
        memcpy(row, clock, r.tasks * sizeof(uint32_t))
    else:
        clock_join(row, clock, r.tasks)
    clock[task] += 1
    return 0


# ---- accesses --------------------------------------------------------------------------------------------------------


cdef inline bint conflict(const Access *a, const Access *b) noexcept nogil:
    return a.bytes & b.bytes and (a.writes or b.writes) and (a.object == 0 or a.object != b.object)


cdef inline bint stands_for(const Access *a, const Access *b) noexcept nogil:
    """Whether whoever conflicts with b conflicts with a, too."""
    return not b.bytes & ~a.bytes and a.writes >= b.writes and (a.object == 0 or a.object == b.object)


cdef int touch_word(Races *r, Words *w, uint64_t word, const Access *now, Access *race) noexcept nogil:
    """One access to one word: 1, and what it races with, where it does; -1: there is no memory."""
    cdef const uint32_t *clock = r.clock + now.task * r.tasks
    cdef uint32_t i = w.first[word]
    cdef uint32_t last = 0
    cdef uint32_t after
    cdef uint32_t place = 0
    cdef Access *before
    if i:
        before = &r.access[i]
        if before.task == now.task and before.epoch == now.epoch and stands_for(before, now):
            return 0
    while i:
        before = &r.access[i]
        after = before.next
        if before.epoch > clock[before.task]:
            if conflict(before, now):
                race[0] = before[0]
                return 1
            last = i
        elif stands_for(now, before):
            # Taken out; its place serves the new one.
            place = i
            if last:
                r.access[last].next = after
            else:
                w.first[word] = after
        else:
            last = i
        i = after
    if place == 0:
        if grow(<void **>&r.access, &r.access_room, r.n_access + 1, sizeof(Access)) < 0:
            return -1
        place = r.n_access
        r.n_access += 1
        if w.first[word] == 0:
            if grow(<void **>&w.touched, &w.touched_room, w.n_touched + 1, sizeof(uint64_t)) < 0:
                return -1
            w.touched[w.n_touched] = word
            w.n_touched += 1
    r.access[place] = now[0]
    r.access[place].next = w.first[word]
    w.first[word] = place
    return 0


cdef inline int lowest(int bits) noexcept nogil:
    cdef int i = 0
    while not bits >> i & 1:
        i += 1
    return i


cdef inline int owner_of(Races *r, uint64_t p, int task) noexcept nogil:
    """On whose stack an address is: -1 where it is on none."""
    cdef int i
    if 0 < r.top[task] - p <= STACK_LOOKED_AT:
        return task
    for i in range(r.tasks):
        if r.top[i] and 0 < r.top[i] - p <= STACK_LOOKED_AT:
            return i
    return -1


cdef int races_touch(Races *r, void *p, uint64_t size, uint64_t used, Access *now, void *object,
                     Race *race) noexcept nogil:
    """An access to `size` bytes. used: how far the memory goes that is followed beside the stacks; object: on which it
    was announced (NULL: it was not). Of `now`, `bytes`, `object` and `next` are filled in here. 1: there is a race; -1:
    no memory."""
    cdef uint64_t at = <uint64_t>p & ~<uint64_t>7
    cdef uint64_t end = <uint64_t>p + size
    cdef uint64_t word
    cdef Words *w = &r.memory
    cdef int stack = -1
    cdef int done
    cdef uint32_t mask
    if size == 0:
        return 0
    if <uint64_t>p - <uint64_t>r.base >= used:
        w = &r.stacks
        stack = owner_of(r, <uint64_t>p, now.task)
        if stack < 0:
            return 0
    while at < end:
        mask = 0xFF
        if at < <uint64_t>p:
            mask &= 0xFF << (<uint64_t>p - at)
        if end - at < 8:
            mask &= 0xFF >> (8 - (end - at))
        now.bytes = <uint8_t>mask
        now.object = 0
        if object != NULL:
            now.object = <uint8_t>(1 + (<uint64_t>object & 7)) if <uint64_t>object - at < 8 else BEGAN_BEFORE
            if <char *>object == r.base + ONE_OBJECT:
                now.object = ONE_OBJECT
        # Words of stacks lie side by side, so that shallow ones take little.
        word = (at - <uint64_t>r.base) >> 3
        if stack >= 0:
            if r.top[stack] <= at:
                break
            word = ((r.top[stack] - at) >> 3) * r.tasks + stack
        if grow_filled(<void **>&w.first, &w.room, word + 1, sizeof(uint32_t), 0) < 0:
            return -1
        done = touch_word(r, w, word, now, &race.before)
        if done:
            race.byte = <int64_t>(at + lowest(now.bytes & race.before.bytes if done > 0 else 1))
            race.byte = <int64_t>r.top[stack] - race.byte if stack >= 0 else race.byte - <int64_t>r.base
            race.stack = stack + 1
            race.wide = size > 8 or end - (<uint64_t>p & ~<uint64_t>7) > 8 or race.before.object == BEGAN_BEFORE
            return done
        at += 8
    return 0


cdef bint races_freed(Races *r, void *p, uint64_t size, const Access *now, Race *race) noexcept nogil:
    """An object of the heap is freed: whether an access to it is not ordered before. Nobody comes there again, so
    nothing is noted."""
    cdef const uint32_t *clock = r.clock + now.task * r.tasks
    cdef uint64_t word = (<uint64_t>p - <uint64_t>r.base) >> 3
    cdef uint64_t end = min(word + (size + 7 >> 3), r.memory.room)
    cdef uint32_t i
    while word < end:
        i = r.memory.first[word]
        while i:
            if r.access[i].epoch > clock[r.access[i].task]:
                race.before = r.access[i]
                race.byte = <int64_t>(8 * word + lowest(r.access[i].bytes))
                race.stack = 0
                race.wide = True
                return True
            i = r.access[i].next
        word += 1
    return False
