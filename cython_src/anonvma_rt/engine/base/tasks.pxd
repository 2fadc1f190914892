"""Sets of tasks: a bit for each.

A set has TASK_WORDS words, of which as many are in use as the tasks of an execution need (x.words). Every function here
is told how many. Few executions have more than 64 tasks, so what is called often is written for any number of words and
called with a plain 1 where there is one: the compiler then makes code of it that knows no other word. The call with
more stands behind a pointer or a method, or the compiler would make one code of both.
"""

from libc.stdint cimport uint32_t, uint64_t

from anonvma_rt.engine.base.operation cimport NEVER
from anonvma_rt.engine.base.os cimport rt_count, rt_lowest

cdef enum:
    TASK_WORDS = 4

ctypedef uint64_t TaskSet[TASK_WORDS]


cdef inline int words_for(int tasks) noexcept nogil:
    """How many words a set of so many tasks has."""
    return (tasks + 63) >> 6


cdef inline int word_of(int task, int words) noexcept nogil:
    return task >> 6 if words > 1 else 0


cdef inline bint has(const uint64_t *s, int task, int words) noexcept nogil:
    return s[word_of(task, words)] >> (task & 63) & 1


cdef inline void add(uint64_t *s, int task, int words) noexcept nogil:
    s[word_of(task, words)] |= <uint64_t>1 << (task & 63)


cdef inline void drop(uint64_t *s, int task, int words) noexcept nogil:
    s[word_of(task, words)] &= ~(<uint64_t>1 << (task & 63))


cdef inline void clear(uint64_t *s, int words) noexcept nogil:
    cdef int word
    s[0] = 0
    for word in range(1, words):
        s[word] = 0


cdef inline void only(uint64_t *s, int task, int words) noexcept nogil:
    """Leaves no member but this one."""
    clear(s, words)
    add(s, task, words)


cdef inline void fill(uint64_t *s, int tasks, int words) noexcept nogil:
    """Tasks 0 to tasks - 1, of which there is at least one."""
    cdef int word
    for word in range(words - 1):
        s[word] = NEVER
    s[words - 1] = NEVER >> (-tasks & 63)


cdef inline void copy(uint64_t *s, const uint64_t *other, int words) noexcept nogil:
    cdef int word
    s[0] = other[0]
    for word in range(1, words):
        s[word] = other[word]


cdef inline void unite(uint64_t *s, const uint64_t *other, int words) noexcept nogil:
    """Adds the members of another set."""
    cdef int word
    s[0] |= other[0]
    for word in range(1, words):
        s[word] |= other[word]


cdef inline void take_away(uint64_t *s, const uint64_t *other, int words) noexcept nogil:
    """Leaves those that are not in another set."""
    cdef int word
    s[0] &= ~other[0]
    for word in range(1, words):
        s[word] &= ~other[word]


cdef inline void keep(uint64_t *s, const uint64_t *other, int words) noexcept nogil:
    """Leaves those that are in another set, too."""
    cdef int word
    s[0] &= other[0]
    for word in range(1, words):
        s[word] &= other[word]


cdef inline bint anybody(const uint64_t *s, int words) noexcept nogil:
    cdef int word
    if s[0]:
        return True
    for word in range(1, words):
        if s[word]:
            return True
    return False


cdef inline bint meet(const uint64_t *s, const uint64_t *other, int words) noexcept nogil:
    """Whether anybody is in both."""
    cdef int word
    if s[0] & other[0]:
        return True
    for word in range(1, words):
        if s[word] & other[word]:
            return True
    return False


cdef inline bint beyond(const uint64_t *s, const uint64_t *other, int words) noexcept nogil:
    """Whether anybody is in `s` who is not in the other set."""
    cdef int word
    if s[0] & ~other[0]:
        return True
    for word in range(1, words):
        if s[word] & ~other[word]:
            return True
    return False


cdef inline bint equal(const uint64_t *s, const uint64_t *other, int words) noexcept nogil:
    cdef int word
    if s[0] != other[0]:
        return False
    for word in range(1, words):
        if s[word] != other[word]:
            return False
    return True


cdef inline int how_many(const uint64_t *s, int words) noexcept nogil:
    cdef int n = rt_count(s[0])
    cdef int word
    for word in range(1, words):
        n += rt_count(s[word])
    return n


cdef inline int lowest(const uint64_t *s, int words) noexcept nogil:
    """The lowest member; there is one."""
    cdef int word = 0
    if words > 1:
        while s[word] == 0:
            word += 1
    return word * 64 + rt_lowest(s[word])


cdef inline int pop(uint64_t *s, int words) noexcept nogil:
    """The lowest member, which is taken out; there is one."""
    cdef int word = 0
    cdef int task
    if words > 1:
        while s[word] == 0:
            word += 1
    task = word * 64 + rt_lowest(s[word])
    s[word] &= s[word] - 1
    return task


cdef inline bint is_alone(const uint64_t *s, int words) noexcept nogil:
    """Whether it has no more than one member."""
    return s[0] & (s[0] - 1) == 0 and (words == 1 or how_many(s, words) <= 1)


cdef inline int nth(const uint64_t *s, uint32_t n, int words) noexcept nogil:
    """The n-th member, counted from 0 in the order of ids; there is one."""
    cdef uint64_t rest = s[0]
    cdef int word = 0
    if words > 1:
        while n >= <uint32_t>rt_count(rest):
            n -= rt_count(rest)
            word += 1
            rest = s[word]
    while n:
        rest &= rest - 1
        n -= 1
    return word * 64 + rt_lowest(rest)


cdef inline int following(const uint64_t *s, int first, int words) noexcept nogil:
    """The lowest member from `first` on; -1: none."""
    cdef int word = first >> 6
    cdef uint64_t rest
    if word >= words:
        return -1
    rest = s[word] >> (first & 63) << (first & 63)
    while rest == 0:
        word += 1
        if word >= words:
            return -1
        rest = s[word]
    return word * 64 + rt_lowest(rest)


cdef inline object bits_of(const uint64_t *s, int words):
    """The set as a number, for Python: bit i is task i."""
    cdef int word
    bits = s[0]
    for word in range(1, words):
        bits |= <object>s[word] << 64 * word
    return bits


cdef inline int from_bits(uint64_t *s, int words, object bits) except -1:
    cdef int word
    for word in range(words):
        s[word] = bits >> 64 * word & 0xFFFFFFFFFFFFFFFF
    return 0
