"""Places: which objects several tasks touch, seen in the walks of a profile.

A place is an object that is announced, by its offset in the arena. One that several tasks touch, of which one writes
to it, is where their order can matter. Where all of them do so under one lock, which those who write do not share, the
order is that of the lock's acquisitions, and the lock is a place of its own (the locksets of Savage et al., "Eraser",
1997). Belongs to an idle explorer, whose running task alone uses it.
"""

from cython cimport final
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.stdlib cimport free

from anonvma_rt.engine.base.arena cimport arena_offset
from anonvma_rt.engine.base.grow cimport grow_filled
from anonvma_rt.engine.base.operation cimport (
    MAX_TASKS, OP_ATOMIC, OP_AWAIT, OP_DOWNGRADE, OP_LOCK, OP_NOTE, OP_READ_LOCK, OP_READ_TRYLOCK, OP_START, OP_STORE,
    OP_TAKE, OP_TRYLOCK, OP_WAIT,
)
from anonvma_rt.engine.base.table cimport Table, table_add, table_clear, table_close, table_get, table_open
from anonvma_rt.engine.order.relation cimport gives_back, would_fail
from anonvma_rt.engine.run.explorer cimport Explorer
from anonvma_rt.engine.run.task cimport AuditCalls, Execution

from anonvma_rt.engine.run.records import Place

cdef enum:
    # Locks that a task holds at once, of which more are not remembered; and objects of which a profile takes note, and
    # their rows together.
    MOST_HELD = 8
    MOST_PLACES = 1 << 16
    MOST_VISITS = 1 << 20

cdef struct Held:
    uint64_t lock[MOST_HELD]
    # Of each, whether others may share it.
    bint shared[MOST_HELD]
    int32_t n

cdef struct Seen:
    uint64_t offset
    # Who came first, whether others came too, and whether anybody wrote.
    int32_t first
    bint several
    bint written
    # Whether what is done to it is that it is acquired.
    bint acquired
    # Whether some visit was an interesting operation (mark).
    bint marked
    # The locks that were held at each visit so far, and not only shared where it was written.
    Held under


@final
cdef class Places:
    """Looks at whatever an idle explorer executes, until close()."""

    cdef Explorer explorer
    cdef Execution *x
    # Who was told before; it is told nothing meanwhile.
    cdef AuditCalls before
    cdef Table numbers
    cdef Seen *seen
    cdef uint64_t room
    # Of each place a row: how often each task came, in all executions.
    cdef uint64_t *visits
    cdef uint64_t visits_room
    cdef Held held[MAX_TASKS]
    # How many interesting operations each task had announced at its last visit to any place.
    cdef uint64_t marks[MAX_TASKS]
    cdef uint64_t executions

    def __cinit__(self, *args, **kwargs):
        table_open(&self.numbers)

    def __init__(self, Explorer explorer not None):
        if not explorer.idle:
            raise RuntimeError("the explorer is busy")
        self.explorer = explorer
        self.x = explorer.x
        table_clear(&self.numbers)
        self.before = self.x.audit
        self.x.audit.begin = <void (*)(void *) noexcept nogil>begin
        self.x.audit.step = <int (*)(void *, int, int, void *) noexcept nogil>visit
        self.x.audit.end = <void (*)(void *) noexcept nogil>end
        self.x.audit.self = <void *>self

    def __dealloc__(self):
        table_close(&self.numbers)
        free(self.seen)
        free(self.visits)

    def close(self):
        """Looks no longer; what was seen stays."""
        looking(self).audit = self.before

    @property
    def shared(self):
        """The places whose order can matter, by their offsets (records.Place)."""
        cdef uint32_t i
        cdef int task
        cdef int tasks = looking(self).tasks
        places = []
        for i in range(self.numbers.used):
            if self.seen[i].several and self.seen[i].written:
                rows = [self.visits[i * tasks + task] for task in range(tasks)]
                # Rounded up: a visit that is rare is one.
                means = tuple([-(-row // self.executions) for row in rows])
                lock = self.seen[i].under.lock[0] if self.seen[i].under.n else None
                how = bool(self.seen[i].acquired), bool(self.seen[i].marked)
                places.append(Place(self.seen[i].offset, *how, means, lock))
        return sorted(places)


cdef Execution *looking(Places p) except NULL:
    if p.x == NULL:  # made by __new__, and not by the class
        raise RuntimeError("there is no explorer to look at")
    return p.x


cdef void begin(Places p) noexcept nogil:
    cdef int i
    for i in range(p.x.tasks):
        p.held[i].n = 0
        p.marks[i] = 0
    p.executions += 1


cdef void end(Places p) noexcept nogil:
    pass


cdef int visit(Places p, int task, int op, void *object) noexcept nogil:
    cdef uint64_t offset = arena_offset(&p.x.arena, object)
    cdef int tasks = p.x.tasks
    cdef Seen *s
    cdef uint32_t number
    cdef bint writes
    cdef bint marked = p.marks[task] != p.x.task[task].marks
    p.marks[task] = p.x.task[task].marks
    # Whoever awaits a word comes after whoever writes what it waits for: there is no order to choose.
    if offset == 0 or op == OP_START or op == OP_NOTE or op == OP_AWAIT:
        return 0
    if op == OP_DOWNGRADE:
        share(&p.held[task], offset)
        return 0
    if gives_back(op):
        put_down(&p.held[task], offset)
        return 0
    number = table_get(&p.numbers, offset)
    if number == 0:
        if p.numbers.used == MOST_PLACES or <uint64_t>(p.numbers.used + 1) * tasks > MOST_VISITS:
            return 0
        number = table_add(&p.numbers, offset)
    if number == 0 or grow_filled(<void **>&p.seen, &p.room, number, sizeof(Seen), 0) < 0 or grow_filled(
        <void **>&p.visits, &p.visits_room, <uint64_t>number * tasks, sizeof(uint64_t), 0
    ) < 0:
        return -1
    s = &p.seen[number - 1]
    writes = op == OP_LOCK or op == OP_TRYLOCK or op == OP_STORE or op == OP_ATOMIC or op == OP_TAKE
    if s.offset == 0:
        s.offset = offset
        s.first = task
        s.under = p.held[task]
    only_those(&s.under, &p.held[task], writes)
    s.several |= s.first != task
    s.marked |= marked
    s.written |= writes
    p.visits[<uint64_t>(number - 1) * tasks + task] += 1
    if op in (OP_LOCK, OP_READ_LOCK, OP_TRYLOCK, OP_READ_TRYLOCK, OP_WAIT):
        s.acquired = True
        if op != OP_WAIT and not would_fail(op, object):
            pick_up(&p.held[task], offset, op == OP_READ_LOCK or op == OP_READ_TRYLOCK)
    return 0


cdef inline void pick_up(Held *h, uint64_t lock, bint shared) noexcept nogil:
    if h.n < MOST_HELD:
        h.lock[h.n] = lock
        h.shared[h.n] = shared
        h.n += 1


cdef inline void put_down(Held *h, uint64_t lock) noexcept nogil:
    cdef int i
    for i in range(h.n):
        if h.lock[i] == lock:
            h.n -= 1
            h.lock[i] = h.lock[h.n]
            h.shared[i] = h.shared[h.n]
            return


cdef inline void share(Held *h, uint64_t lock) noexcept nogil:
    cdef int i
    for i in range(h.n):
        h.shared[i] |= h.lock[i] == lock


cdef inline void only_those(Held *h, Held *others, bint alone) noexcept nogil:
    """What is in both; alone: and not shared in the second."""
    cdef int i = 0
    while i < h.n:
        if holds(others, h.lock[i], alone):
            i += 1
        else:
            h.n -= 1
            h.lock[i] = h.lock[h.n]


cdef inline bint holds(Held *h, uint64_t lock, bint alone) noexcept nogil:
    cdef int i
    for i in range(h.n):
        if h.lock[i] == lock:
            return not (alone and h.shared[i])
    return False
