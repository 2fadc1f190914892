"""Subjects and a strategy of somebody else's, for tests/test_embedding.py: as plain as can be, and as wrong as can be."""

from libc.stdint cimport int64_t, uint64_t

from anonvma_rt.api cimport (
    HALT_NO_MEMORY, Execution, Explorer, Strategy, Subject, Task, VIOLATION_SUBJECT, arena_alloc, arena_free,
    arena_root, count_enabled, found, halt, load, lock_init, mutex_lock, mutex_t, mutex_unlock, must_live, nth_enabled, require_api,
    rng_below, store,
)

require_api(__name__)

cdef enum:
    WORDS = 1
    NODE = 2

cdef struct words:
    int64_t sum
    mutex_t lock[2]
    void *node


cdef words *make(Task *t) noexcept nogil:
    cdef words *w = <words *>arena_alloc(&t.x.arena, sizeof(words), WORDS)
    if w == NULL:
        halt(t, HALT_NO_MEMORY)
    w.sum = 0
    lock_init(&w.lock[0], 1)
    lock_init(&w.lock[1], 2)
    w.node = arena_alloc(&t.x.arena, 8, NODE)
    return w


cdef class Plain(Subject):
    """It says nothing of itself: two tasks add to one word without a lock."""

    def __init__(self):
        self.tasks = 2

    cdef int build(self, Task *t) noexcept nogil:
        make(t)
        return 0

    cdef void body(self, Task *t) noexcept nogil:
        cdef words *w = <words *>arena_root(&t.x.arena)
        store(t, &w.sum, load(t, &w.sum) + 1)

    cdef void check(self, Execution *x) noexcept nogil:
        cdef words *w = <words *>arena_root(&x.arena)
        if w.sum != x.tasks:
            found(x, VIOLATION_SUBJECT, -1, w.sum, x.tasks, 0)

    def kinds(self):
        return {**Subject.kinds(self), VIOLATION_SUBJECT: "lost-update"}


cdef class Wrong(Subject):
    """each way in which a subject can go wrong by itself"""

    parameters = {"how": {"default": 0, "min": 0, "max": 9}}
    cdef int how

    def __init__(self, how):
        if how == 9:
            raise ValueError("nine is too many")
        self.tasks = 300 if how == 8 else 2
        self.how = how

    cdef int build(self, Task *t) noexcept nogil:
        cdef words *w = make(t)
        if self.how == 1:
            return 42
        if self.how == 2:
            arena_free(&t.x.arena, w.node)
            must_live(t, w.node, NODE)
        if self.how == 7:
            # Of no class, so that nothing but the deadlock itself tells of their order.
            lock_init(&w.lock[0], 0)
            lock_init(&w.lock[1], 0)
        return 0

    cdef void body(self, Task *t) noexcept nogil:
        cdef words *w = <words *>arena_root(&t.x.arena)
        if self.how == 3 or self.how == 7:
            mutex_lock(t, &w.lock[t.id])
            mutex_lock(t, &w.lock[1 - t.id])
            mutex_unlock(t, &w.lock[1 - t.id])
            mutex_unlock(t, &w.lock[t.id])
        if self.how == 4:
            mutex_unlock(t, &w.lock[0])
        if self.how == 5:
            must_live(t, w.node, NODE)
            load(t, &w.sum)
            if t.id == 1:
                arena_free(&t.x.arena, w.node)
            store(t, &w.sum, 1)
            must_live(t, w.node, NODE)
        while self.how == 6:
            load(t, &w.sum)

    def values(self, Explorer explorer):
        return {"sum": (<words *>arena_root(&explorer.x.arena)).sum}


cdef class Toss(Strategy):
    """the same as `random`, with a parameter that means nothing"""

    cdef int sides

    def __init__(self, sides=2):
        self.sides = sides

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        return nth_enabled(x, rng_below(&x.rng, count_enabled(x)))

    def clone(self):
        return Toss(self.sides)

    def parameters(self):
        return {"sides": self.sides}
