"""Mistakes made on purpose, one function each: a build that does not report them does not look.

Compiled with the flags of the sanitizer, and by nobody else.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from anonvma_rt.engine.base.arena cimport arena_alloc, arena_root
from anonvma_rt.engine.base.os cimport pthread_t, rt_join, rt_thread
from anonvma_rt.engine.run.subject cimport Subject
from anonvma_rt.engine.base.operation cimport OP_STORE
from anonvma_rt.engine.run.task cimport Execution, Task, point

cdef struct Shared:
    uint64_t plain


cdef void *count_plainly(void *argument) noexcept nogil:
    cdef Shared *shared = <Shared *>argument
    cdef int i
    for i in range(20000):
        shared.plain += 1
    return NULL


def plain_access():
    """Two threads of the lab's own make count on one word, without a lock and not atomically."""
    cdef pthread_t threads[2]
    cdef Shared shared
    shared.plain = 0
    for i in range(2):
        if rt_thread(&threads[i], -1, count_plainly, &shared):
            raise RuntimeError("no thread")
    with nogil:
        rt_join(threads[0])
        rt_join(threads[1])
    return shared.plain


def use_after_free():
    cdef uint64_t *word = <uint64_t *>malloc(sizeof(uint64_t))
    cdef uint64_t *volatile_word = word
    word[0] = 7
    free(word)
    return volatile_word[0]


def overflow(int by=0):
    """Writes one word behind a block of four."""
    cdef uint64_t *words = <uint64_t *>malloc(4 * sizeof(uint64_t))
    cdef int i
    for i in range(4 + by):
        words[i] = i
    result = words[3]
    free(words)
    return result


def leak():
    """Loses the only pointer to a block."""
    cdef char *block = <char *>malloc(4096)
    block[0] = 1
    return block[0]


def shift(int by=40):
    """Shifts an int of 32 bits by more than it has."""
    cdef int one = 1
    return one << by


def signed_overflow(int n=2147483647):
    return n + 1


cdef class Racing(Subject):
    """Tasks that add to one word of the arena without a lock: no race where one runs at a time, and one where all do."""

    def __init__(self):
        self.tasks = 2

    cdef int build(self, Task *t) noexcept nogil:
        arena_alloc(&t.x.arena, sizeof(Shared), 1)
        return 0

    cdef void body(self, Task *t) noexcept nogil:
        cdef Shared *shared = <Shared *>arena_root(&t.x.arena)
        cdef int i
        for i in range(1000):
            point(t, OP_STORE, &shared.plain)
            shared.plain += 1

    cdef void check(self, Execution *x) noexcept nogil:
        pass


cdef class Overlong(Subject):
    """A subject one of whose tasks writes behind its own object: the mistake of a user's code under the lab."""

    def __init__(self):
        self.tasks = 2

    cdef int build(self, Task *t) noexcept nogil:
        arena_alloc(&t.x.arena, sizeof(uint32_t *), 1)
        return 0

    cdef void body(self, Task *t) noexcept nogil:
        cdef char *block = <char *>malloc(16)
        point(t, OP_STORE, block)
        block[16 + t.id] = 1
        free(block)

    cdef void check(self, Execution *x) noexcept nogil:
        pass
