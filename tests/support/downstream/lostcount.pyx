"""Two tasks count in one shared word: load, then store. Without the lock an update can be lost.

The shortest subject there is, and a page to copy from: build() makes the state, body() is what a task does, check()
looks at the end. Each task also hangs a ticket on a list, so that the list of anonvma_rt is used as a user would. And a
strategy, which is one method.
"""

from libc.stdint cimport int64_t, uint64_t

from anonvma_rt.engine.base.arena cimport arena_alloc, arena_root
from anonvma_rt.engine.base.klist cimport (
    INIT_LIST_HEAD, container_of, list_add_tail, list_cursor, list_for_each, list_head, list_step,
)
from anonvma_rt.engine.run.strategy cimport Strategy
from anonvma_rt.engine.strategy.base cimport next_enabled
from anonvma_rt.engine.run.subject cimport Subject
from anonvma_rt.engine.run.sync cimport lock_init, mutex_lock, mutex_t, mutex_unlock
from anonvma_rt.engine.base.operation cimport OP_LOAD, OP_STORE
from anonvma_rt.engine.run.task cimport HALT_NO_MEMORY, VIOLATION_SUBJECT, Execution, Task, found, halt, point

cdef enum:
    COUNTER = 1  # the types of arena objects
    TICKET = 2
    LOCK_CLASS = 1
    LOST_UPDATE = VIOLATION_SUBJECT

cdef struct counter:
    mutex_t lock
    int64_t value
    list_head tickets

cdef struct ticket:
    int64_t saw
    list_head link


cdef class LostCount(Subject):
    cdef readonly bint locked

    def __init__(self, bint locked):
        self.tasks = 2
        self.locked = locked

    cdef int build(self, Task *t) noexcept nogil:
        cdef counter *shared = <counter *>arena_alloc(&t.x.arena, sizeof(counter), COUNTER)
        if shared == NULL:
            halt(t, HALT_NO_MEMORY)
        lock_init(&shared.lock, LOCK_CLASS)
        shared.value = 0
        INIT_LIST_HEAD(&shared.tickets)
        return 0

    cdef void body(self, Task *t) noexcept nogil:
        cdef counter *shared = <counter *>arena_root(&t.x.arena)
        cdef ticket *mine = <ticket *>arena_alloc(&t.x.arena, sizeof(ticket), TICKET)
        if mine == NULL:
            halt(t, HALT_NO_MEMORY)
        if self.locked:
            mutex_lock(t, &shared.lock)
        point(t, OP_LOAD, &shared.value)
        mine.saw = shared.value
        point(t, OP_STORE, &shared.value)
        shared.value = mine.saw + 1
        list_add_tail(&mine.link, &shared.tickets)
        if self.locked:
            mutex_unlock(t, &shared.lock)

    cdef void check(self, Execution *x) noexcept nogil:
        cdef counter *shared = <counter *>arena_root(&x.arena)
        cdef list_cursor c = list_for_each(&shared.tickets)
        cdef ticket *t
        cdef int64_t tickets = 0
        while list_step(&c):
            t = <ticket *>container_of(c.pos, <size_t>&(<ticket *>NULL).link)
            if t.saw != tickets:
                found(x, LOST_UPDATE, -1, t.saw, tickets, 0)
            tickets += 1
        if tickets != x.tasks or shared.value != tickets:
            found(x, LOST_UPDATE, -1, shared.value, tickets, 1)

    def kinds(self):
        return {**Subject.kinds(self), LOST_UPDATE: "lost-update"}


cdef class Turns(Strategy):
    """Everybody makes one step in turn: the one execution in which an update is always lost."""

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        cdef int first = next_enabled(x, 0)
        if first == x.current:
            first = next_enabled(x, first + 1)
        return first if first >= 0 else x.current

    def clone(self):
        return Turns()
