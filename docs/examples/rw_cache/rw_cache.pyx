"""A cache under a reader-writer lock that goes on serving a value from before the update.

A reader that misses reads the value from the source and puts it into the cache, under the lock for writing. A writer
updates the source and then drops the cache's entry. The bug is that the reader asks the source before it takes the
lock: in between the writer updates and drops (nothing is there to drop yet), and then the reader puts in what it read
before. Nobody drops that any more. The fix is to ask the source under the lock, so that the drop comes afterwards.
"""

from libc.stdint cimport int64_t

from anonvma_rt.api cimport (
    HALT_NO_MEMORY, VIOLATION_SUBJECT, Execution, Subject, Task, arena_alloc, arena_root, down_read, down_write, found,
    halt, load, lock_init, note, require_api, rwsem_t, store, up_read, up_write,
)

require_api(__name__)

cdef enum:
    CACHE = 1  # the type of the one arena object
    CACHE_LOCK = 1  # a lock class
    STALE_VALUE = VIOLATION_SUBJECT
    NOTHING = 0
    WRITER = 0  # the task; all others read

cdef enum:
    MISS = 1
    HIT
    FILLED
    UPDATED
    DROPPED

cdef struct cache:
    int64_t source
    rwsem_t lock
    int64_t value  # the lock; NOTHING where the source has to be asked


cdef class Cache(Subject):
    """a cache under a reader-writer lock: readers fill it, a writer updates the source and drops the entry"""

    parameters = {"readers": {"default": 2, "min": 1, "max": 63, "about": "tasks that read; one more writes"}}
    variants = {"early": {"source_under_lock": False}, "fixed": {"source_under_lock": True}}
    expect = {"early": "stale-value", "fixed": "none"}

    cdef bint source_under_lock

    def __init__(self, readers, source_under_lock):
        self.tasks = 1 + readers
        self.source_under_lock = source_under_lock

    @property
    def task_names(self):
        return ("writer", *(f"reader {i}" for i in range(1, self.tasks)))

    cdef int build(self, Task *t) noexcept nogil:
        cdef cache *c = <cache *>arena_alloc(&t.x.arena, sizeof(cache), CACHE)
        if c == NULL:
            halt(t, HALT_NO_MEMORY)
        lock_init(&c.lock, CACHE_LOCK)
        c.source = 1
        c.value = NOTHING
        return 0

    cdef void body(self, Task *t) noexcept nogil:
        cdef cache *c = <cache *>arena_root(&t.x.arena)
        if t.id == WRITER:
            write(t, c, 2)
        else:
            read(t, c, self.source_under_lock)

    cdef void check(self, Execution *x) noexcept nogil:
        cdef cache *c = <cache *>arena_root(&x.arena)
        if c.value != NOTHING and c.value != c.source:
            found(x, STALE_VALUE, -1, c.value, c.source, 0)

    def kinds(self):
        return {**Subject.kinds(self), STALE_VALUE: "stale-value"}

    def note_text(self, code, a, b, c):
        words = {
            MISS: "finds nothing in the cache", HIT: f"finds {a} in the cache", FILLED: f"puts {a} into the cache",
            UPDATED: f"the source is {a} now", DROPPED: "drops what is in the cache",
        }
        return words[code]

    def cause(self, kind, task, step, a, b, c):
        return f"The cache says {a} for ever, and the source has {b}." if kind == "stale-value" else None


cdef int64_t read(Task *t, cache *c, bint source_under_lock) noexcept nogil:
    cdef int64_t value
    down_read(t, &c.lock)
    value = c.value
    note(t, MISS if value == NOTHING else HIT, value, 0, 0)
    up_read(t, &c.lock)
    if value != NOTHING:
        return value
    if not source_under_lock:
        value = load(t, &c.source)
    down_write(t, &c.lock)
    if source_under_lock:
        value = load(t, &c.source)
    c.value = value
    note(t, FILLED, value, 0, 0)
    up_write(t, &c.lock)
    return value


cdef void write(Task *t, cache *c, int64_t value) noexcept nogil:
    store(t, &c.source, value)
    note(t, UPDATED, value, 0, 0)
    down_write(t, &c.lock)
    c.value = NOTHING
    note(t, DROPPED, 0, 0, 0)
    up_write(t, &c.lock)
