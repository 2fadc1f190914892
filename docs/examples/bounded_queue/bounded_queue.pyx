"""A bounded queue whose consumer misses the wake-up and sleeps for ever.

Whoever finds the queue full (or empty) says that it sleeps, gives the lock back, and waits until the other side wakes it.
The bug is the order of the first two: a consumer that gives the lock back first and says that it sleeps afterwards
leaves a gap in which the producer puts an item in, sees no sleeper, and wakes nobody. That was the last item, so both
are done: one with its work, the other with its life. The fix is to say it under the lock.
"""

from libc.stdint cimport int64_t

from anonvma_rt.api cimport (
    HALT_NO_MEMORY, VIOLATION_SUBJECT, Execution, Subject, Task, arena_alloc, arena_root, await_value, found, halt,
    load, lock_init, mutex_lock, mutex_t, mutex_unlock, note, require_api, store,
)

from anonvma_rt.api import ARENA_ROOT

require_api(__name__)

cdef enum:
    QUEUE = 1  # the type of the one arena object
    QUEUE_LOCK = 1  # a lock class
    WRONG_ITEM = VIOLATION_SUBJECT
    MAX_ITEMS = 64

cdef enum:
    PRODUCER
    CONSUMER

cdef enum:
    PUT = 1
    GOT
    SLEEPS
    WAKES

cdef struct queue:
    mutex_t lock
    int64_t asleep[2]  # `gap`: without the lock
    int64_t awake[2]
    int64_t first  # under the lock, like the rest
    int64_t used
    int64_t item[MAX_ITEMS]


cdef class Queue(Subject):
    """a bounded queue: one producer, one consumer, and both sleep where they cannot go on"""

    parameters = {
        "room": {"default": 1, "min": 1, "max": 64, "about": "items that fit into the queue"},
        "items": {"default": 2, "min": 1, "max": 1000, "about": "items that go through it"},
    }
    variants = {"gap": {"under_lock": False}, "fixed": {"under_lock": True}}
    expect = {"gap": "deadlock", "fixed": "none"}
    task_names = ("producer", "consumer")

    cdef int room
    cdef int items
    cdef bint under_lock

    def __init__(self, room, items, under_lock):
        self.tasks = 2
        self.room = room
        self.items = items
        self.under_lock = under_lock

    cdef int build(self, Task *t) noexcept nogil:
        cdef queue *q = <queue *>arena_alloc(&t.x.arena, sizeof(queue), QUEUE)
        if q == NULL:
            halt(t, HALT_NO_MEMORY)
        lock_init(&q.lock, QUEUE_LOCK)
        q.first = q.used = 0
        q.asleep[:] = [0, 0]
        q.awake[:] = [0, 0]
        return 0

    cdef void body(self, Task *t) noexcept nogil:
        cdef queue *q = <queue *>arena_root(&t.x.arena)
        cdef int i
        for i in range(self.items):
            if t.id == PRODUCER:
                self.put(t, q, i)
            elif self.get(t, q) != i:
                t.x.counters[0] += 1

    cdef void put(self, Task *t, queue *q, int64_t item) noexcept nogil:
        mutex_lock(t, &q.lock)
        while q.used == self.room:
            self.sleep(t, q)
        q.item[(q.first + q.used) % MAX_ITEMS] = item
        q.used += 1
        note(t, PUT, item, 0, 0)
        wake_other(t, q)
        mutex_unlock(t, &q.lock)

    cdef int64_t get(self, Task *t, queue *q) noexcept nogil:
        cdef int64_t item
        mutex_lock(t, &q.lock)
        while q.used == 0:
            self.sleep(t, q)
        item = q.item[q.first]
        q.first = (q.first + 1) % MAX_ITEMS
        q.used -= 1
        note(t, GOT, item, 0, 0)
        wake_other(t, q)
        mutex_unlock(t, &q.lock)
        return item

    cdef void sleep(self, Task *t, queue *q) noexcept nogil:
        """Called with the lock, and returns with it; until then somebody else has called wake_other()."""
        if self.under_lock:
            store(t, &q.asleep[t.id], 1)
            mutex_unlock(t, &q.lock)
        else:
            mutex_unlock(t, &q.lock)
            store(t, &q.asleep[t.id], 1)
        note(t, SLEEPS, 0, 0, 0)
        await_value(t, &q.awake[t.id], 1)
        store(t, &q.awake[t.id], 0)
        mutex_lock(t, &q.lock)

    cdef void check(self, Execution *x) noexcept nogil:
        cdef queue *q = <queue *>arena_root(&x.arena)
        if q.used or x.counters[0]:
            found(x, WRONG_ITEM, -1, q.used, x.counters[0], 0)

    def kinds(self):
        return {**Subject.kinds(self), WRONG_ITEM: "wrong-item"}

    def counters(self):
        return ("wrong_items",)

    def note_text(self, code, a, b, c):
        return {PUT: f"puts item {a}", GOT: f"gets item {a}", SLEEPS: "sleeps", WAKES: "wakes the other"}[code]

    def object_name(self, offset):
        names = ["the queue's lock", "producer asleep", "consumer asleep", "producer awake", "consumer awake"]
        field = 0 if offset == ARENA_ROOT else (offset - ARENA_ROOT - <size_t>&(<queue *>NULL).asleep) // 8 + 1
        return names[field] if field < len(names) else None


cdef void wake_other(Task *t, queue *q) noexcept nogil:
    cdef int other = CONSUMER if t.id == PRODUCER else PRODUCER
    if load(t, &q.asleep[other]):
        store(t, &q.asleep[other], 0)
        note(t, WAKES, 0, 0, 0)
        store(t, &q.awake[other], 1)
