"""Numbers that nobody has twice, compared with a class; one variant takes two steps for each."""
from libc.stdint cimport int64_t
from anonvma_rt.api cimport (
    NOTHING, Subject, Task, arena_alloc, arena_root, call, fetch_add, load, require_api, returns, store,
)

require_api(__name__)


class Count:
    def __init__(self):
        self.n = 0

    def next(self):
        self.n += 1
        return self.n


cdef class Twice(Subject):
    """numbers that nobody has twice"""

    variants = {"right": {"whole": True}, "wrong": {"whole": False}}
    expect = {"right": "none", "wrong": "not-linearizable"}
    spec = Count

    cdef bint whole

    def __init__(self, whole):
        self.tasks = 2
        self.whole = whole

    cdef int build(self, Task *t) noexcept nogil:
        return 0 if arena_alloc(&t.x.arena, 8, 1) != NULL else 1

    cdef void body(self, Task *t) noexcept nogil:
        cdef int64_t *n = <int64_t *>arena_root(&t.x.arena)
        cdef int64_t was
        call(t, b"next", NOTHING)
        if self.whole:
            was = fetch_add(t, n, 1)
        else:
            was = load(t, n)
            store(t, n, was + 1)
        returns(t, was + 1)


cdef class Silent(Subject):
    """calls nothing, so nothing is compared"""

    spec = Count


cdef class Nowhere(Subject):
    """what it names is not there"""

    spec = "nowhere.py:Count"
