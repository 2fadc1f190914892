"""Lists of accesses, and what is kept of pairs (see shadow.pxd)."""

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from anonvma_rt.engine.base.arena cimport ARENA_START, Arena, arena_header
from anonvma_rt.engine.base.grow cimport grow, grow_filled
from anonvma_rt.engine.base.os cimport rt_backtrace


cdef int shadow_open(Shadow *s, Arena *arena) except -1:
    s.arena = arena
    s.n_access = 1
    s.pair = <Pair *>calloc(MOST_PAIRS, sizeof(Pair))
    if s.pair == NULL:
        raise MemoryError("no memory for an audit")
    return 0


cdef void shadow_close(Shadow *s) noexcept nogil:
    free(s.first)
    free(s.touched)
    free(s.access)
    free(s.pair)
    memset(s, 0, sizeof(Shadow))


cdef void shadow_begin(Shadow *s) noexcept nogil:
    """Forgets the accesses of the execution before, and no pair."""
    cdef uint64_t i
    for i in range(s.n_touched):
        s.first[s.touched[i]] = 0
    s.n_touched = 0
    s.n_access = 1


cdef inline bint conflict(int a, int b) noexcept nogil:
    return a != b or a == WRITES


cdef inline bint covers(const Access *now, const Access *before) noexcept nogil:
    """Whether whoever conflicts with `before`, an earlier access of the same task, conflicts with `now`, too."""
    return not before.bytes & ~now.bytes and (before.touch == now.touch or before.touch == READS)


cdef bint add(Shadow *s, uint64_t word, const Access *now) noexcept nogil:
    if grow(<void **>&s.access, &s.access_room, s.n_access + 1, sizeof(Access)) < 0:
        return False
    if s.first[word] == 0:
        if grow(<void **>&s.touched, &s.touched_room, s.n_touched + 1, sizeof(uint64_t)) < 0:
            return False
        s.touched[s.n_touched] = word
        s.n_touched += 1
    s.access[s.n_access] = now[0]
    s.access[s.n_access].next = s.first[word]
    s.first[word] = s.n_access
    s.n_access += 1
    return True


cdef void touch_word(Shadow *s, uint64_t word, const Access *now, const uint32_t *clock, uint64_t index) noexcept nogil:
    cdef uint32_t i = s.first[word]
    cdef Access *before
    cdef uint32_t after
    cdef bint kept = False
    while i:
        before = &s.access[i]
        if before.task == now.task:
            if not kept and covers(now, before):
                after = before.next
                before[0] = now[0]
                before.next = after
                kept = True
        elif before.bytes & now.bytes and conflict(before.touch, now.touch) and before.epoch > clock[before.task]:
            keep(s, word, before, now, index)
        i = before.next
    if not kept and not add(s, word, now):
        s.full = True


cdef void shadow_touch(Shadow *s, uint64_t offset, uint64_t size, const Access *now, const uint32_t *clock,
                       uint64_t index) noexcept nogil:
    """An access to `size` bytes at an offset of the arena. clock: what happens before it; of `now`, `bytes` and `next`
    are filled in here."""
    cdef uint64_t end = offset + size
    cdef uint64_t word = offset >> 3
    cdef uint64_t last = (end - 1) >> 3
    cdef Access one = now[0]
    cdef uint32_t mask
    if grow_filled(<void **>&s.first, &s.room, last + 1, sizeof(uint32_t), 0) < 0:
        s.full = True
        return
    while word <= last:
        mask = 0xFF
        if word == offset >> 3:
            mask &= 0xFF << (offset & 7)
        if word == last:
            mask &= 0xFF >> (7 - (end - 1 & 7))
        one.bytes = <uint8_t>mask
        touch_word(s, word, &one, clock, index)
        word += 1


# ---- pairs -----------------------------------------------------------------------------------------------------------


cdef inline Side side_of(const Access *a) noexcept nogil:
    cdef Side side
    side.place = a.place
    side.step = a.step
    side.task = a.task
    side.touch = a.touch
    return side


cdef void keep(Shadow *s, uint64_t word, const Access *before, const Access *now, uint64_t index) noexcept nogil:
    """Counts a pair by its two places, or begins to."""
    cdef Pair *p
    cdef arena_header *header
    cdef uint64_t at
    cdef int i
    for i in range(s.n_pairs):
        p = &s.pair[i]
        if p.first.place == before.place and p.second.place == now.place:
            p.count += 1
            return
    if s.n_pairs == MOST_PAIRS:
        s.unkept += 1
        return
    p = &s.pair[s.n_pairs]
    s.n_pairs += 1
    memset(p, 0, sizeof(Pair))
    p.first = side_of(before)
    p.second = side_of(now)
    p.index = index
    p.count = 1
    at = 8 * word
    i = before.bytes & now.bytes
    while not i & 1:
        i >>= 1
        at += 1
    header = <arena_header *>(s.arena.base + ARENA_START)
    while <char *>header + header.size <= s.arena.base + at:
        header = <arena_header *>(<char *>header + header.size)
    p.offset = <int32_t>(s.arena.base + at - <char *>(header + 1))
    p.serial = header.serial
    p.type = header.type
    rt_backtrace(p.frames, PAIR_FRAMES)
