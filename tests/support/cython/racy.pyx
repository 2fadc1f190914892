"""Two tasks that share some words, each in a way of its own: what an audit must see, and what it must not."""

from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memset

from anonvma_rt.api cimport (
    OP_ATOMIC, OP_LOAD, OP_STORE, Subject, Task, arena_alloc, arena_free, arena_root, await_value, lock_init,
    lock_is_held, mutex_lock, mutex_t, mutex_unlock, must_live, point, require_api, spin_trylock, spin_unlock, store,
)

require_api(__name__)

cdef struct node:
    int64_t value

cdef struct shared:
    int64_t word
    int64_t flag
    mutex_t lock
    uint8_t bytes[8]
    int64_t row[4]
    node *node

WAYS = ("plain", "locked", "pointed", "bytes", "behind", "looked", "set", "freed", "ordered", "tried", "asked")


cdef class Racy(Subject):
    parameters = {"way": {"default": 0, "min": 0, "max": 10}}

    cdef readonly int way

    def __init__(self, way=0):
        self.tasks = 2
        self.way = way

    cdef int build(self, Task *t) noexcept nogil:
        cdef shared *s = <shared *>arena_alloc(&t.x.arena, sizeof(shared), 1)
        lock_init(&s.lock, 0)
        s.node = <node *>arena_alloc(&t.x.arena, sizeof(node), 2)
        return 0

    cdef void body(self, Task *t) noexcept nogil:
        cdef shared *s = <shared *>arena_root(&t.x.arena)
        if self.way == 0:
            point(t, OP_ATOMIC, &s.flag if t.id else &s.row)
            s.word += 1  # plain
        elif self.way == 1:
            mutex_lock(t, &s.lock)
            s.word += 1
            mutex_unlock(t, &s.lock)
        elif self.way == 2:
            point(t, OP_ATOMIC, &s.word)
            s.word += 1
        elif self.way == 3:
            s.bytes[t.id] += 1
        elif self.way == 4:
            mutex_lock(t, &s.lock)
            mutex_unlock(t, &s.lock)
            s.word += 1  # behind
        elif self.way == 5:
            if t.id:
                point(t, OP_LOAD, &s.flag)
                s.word = 1  # looked
            else:
                point(t, OP_STORE, &s.flag)
                s.flag = 1
                s.flag = s.word  # looked
        elif self.way == 6:
            if t.id:
                memset(s.row, 0, sizeof(s.row))  # set
            else:
                s.row[3] = 1  # set
        elif self.way == 7:
            if t.id:
                arena_free(&t.x.arena, s.node)  # freed
            else:
                must_live(t, s.node, 2)  # freed
        elif self.way == 8:
            if t.id:
                await_value(t, &s.flag, 1)
                s.word += 1
            else:
                s.word += 1
                store(t, &s.flag, 1)
        elif self.way == 10:
            if spin_trylock(t, &s.lock):
                point(t, OP_LOAD, &s.lock)
                if lock_is_held(&s.lock):
                    spin_unlock(t, &s.lock)
        elif spin_trylock(t, &s.lock):
            s.word += 1
            spin_unlock(t, &s.lock)
