"""Source-set DPOR with sleep sets (see dpor.pxd).

Source: Abdulla, Aronis, Jonsson, Sagonas, "Optimal Dynamic Partial Order Reduction" (POPL 2014), the algorithm of its
section 4, made iterative: the stack of events is the search's whole state. Two acquisitions of a lock race although a
release lies between them, as in their treatment of locks; a release and an acquisition do not.
"""

from itertools import groupby

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memset

from anonvma_rt.engine.os cimport rt_lowest
from anonvma_rt.engine.strategy.base cimport Strategy
from anonvma_rt.engine.sync cimport lock_is_held
from anonvma_rt.engine.task cimport (
    HALT_NO_MEMORY,
    HALT_PRUNED,
    HALT_STOPPED,
    OP_AWAIT,
    OP_LOAD,
    OP_LOCK,
    OP_READ_LOCK,
    OP_READ_TRYLOCK,
    OP_READ_UNLOCK,
    OP_START,
    OP_TRYLOCK,
    OP_UNLOCK,
    OP_WAIT,
    lock_word,
)


cdef inline bint reads(int op) noexcept nogil:
    return op == OP_LOAD or op == OP_AWAIT


cdef inline bint on_lock(int op) noexcept nogil:
    return op == OP_LOCK or op == OP_READ_LOCK or op == OP_WAIT or op == OP_UNLOCK or op == OP_READ_UNLOCK or op == OP_TRYLOCK


cdef inline bint dependent(int op, int other, uint32_t object, uint32_t other_object, bint both_failed) noexcept nogil:
    """Whether the order of two operations of different tasks can matter. both_failed: two trylocks of a held lock."""
    if both_failed or object != other_object or op == OP_START or other == OP_START:
        return False
    if on_lock(op) != on_lock(other):
        return True
    if not on_lock(op):
        return not (reads(op) and reads(other))
    if op == OP_TRYLOCK or other == OP_TRYLOCK:
        return True
    # Readers of a lock do not disturb each other, and neither do those who only wait until nobody holds it.
    if op == OP_LOCK or other == OP_LOCK or op == OP_UNLOCK or other == OP_UNLOCK:
        return True
    return (op == OP_WAIT) != (other == OP_WAIT)


cdef class Dpor(Strategy):
    """`dpor`: not for hunting; verify drives it until it is exhausted.

    pruned: executions that were given up because every continuation belongs to a class that was seen.
    """

    def __init__(self):
        self.sees_forced = True
        self.key_room = 4096
        self.key = <void **>calloc(self.key_room, sizeof(void *))
        self.number = <uint32_t *>calloc(self.key_room, sizeof(uint32_t))
        self.last = <int32_t *>calloc(self.key_room, sizeof(int32_t))
        self.uses = <uint8_t *>calloc(self.key_room, 1)
        if self.key == NULL or self.number == NULL or self.last == NULL or self.uses == NULL:
            raise MemoryError()
        memset(self.last, 0xFF, self.key_room * sizeof(int32_t))
        self.n = 0
        self.prefix = -1

    def __dealloc__(self):
        free(self.event)
        free(self.clock)
        free(self.pending)
        free(self.key)
        free(self.number)
        free(self.last)
        free(self.uses)

    def clone(self):
        return Dpor()

    @property
    def depth(self):
        """Events of the last execution."""
        return self.n

    @property
    def segments(self):
        """The schedule of the last execution: (task, steps) one after the other."""
        tasks = []
        for i in range(self.n):
            tasks.append(self.event[i].task)
        return [(task, len(list(steps))) for task, steps in groupby(tasks)]

    cdef void begin(self, Execution *x) noexcept nogil:
        """Takes back the last execution down to the deepest state that has something left to try."""
        self.tasks = x.tasks
        if self.prefix < 0:
            self.prefix = 0
        else:
            self.prefix = self.rewind()
            if self.prefix == 0:
                self.exhausted = True
        self.n = 0

    cdef int pick(self, Execution *x, uint64_t *hold) noexcept nogil:
        cdef int32_t at = <int32_t>x.steps - 1
        cdef int32_t end = at
        cdef int task
        if self.exhausted:
            x.halt = HALT_STOPPED
            return -1
        if at < self.prefix:
            task = self.event[at].task
            while end < self.prefix and self.event[end].task == task:
                end += 1
            hold[0] = <uint64_t>(end - at)
            self.n = end
            return task
        return self.extend(x, at)

    cdef int extend(self, Execution *x, int32_t at) noexcept nogil:
        """A new state: remembers what everybody is about to do, and lets somebody who is awake do it."""
        cdef Event *e
        cdef Pending *p
        cdef uint64_t awake
        cdef int i
        if at >= self.room and not self.grow():
            x.halt = HALT_NO_MEMORY
            return -1
        if at == self.prefix:
            self.recall(at)
        e = &self.event[at]
        p = &self.pending[at * self.tasks]
        e.enabled = x.enabled
        e.sleep = self.inherited(at)
        e.explored = 0
        for i in range(self.tasks):
            p[i].op = x.task[i].op
            p[i].object = self.object_number(x.task[i].object)
        awake = x.enabled & ~e.sleep
        if awake == 0:
            self.n = at
            x.halt = HALT_PRUNED
            return -1
        # Who ran goes on: fewer hand-overs.
        i = x.current if x.current >= 0 and awake >> x.current & 1 else rt_lowest(awake)
        e.backtrack = <uint64_t>1 << i
        self.place(at, i, p[i].op == OP_TRYLOCK and lock_is_held(<lock_word *>x.task[i].object))
        return i

    cdef void recall(self, int32_t at) noexcept nogil:
        """After a replayed prefix: the clocks of all tasks as its last events left them."""
        cdef uint64_t missing = (<uint64_t>1 << self.tasks) - 1 if self.tasks < 64 else <uint64_t>-1
        cdef int32_t i = at - 1
        memset(self.now, 0, sizeof(self.now))
        while i >= 0 and missing:
            if missing >> self.event[i].task & 1:
                missing &= ~(<uint64_t>1 << self.event[i].task)
                memcpy(&self.now[self.event[i].task * self.tasks], &self.clock[i * self.tasks], self.tasks * 4)
            i -= 1

    cdef uint64_t inherited(self, int32_t at) noexcept nogil:
        """Who sleeps in state `at`: who slept or was explored before the last event and does not depend on it."""
        cdef Event *e
        cdef Pending *p
        cdef uint64_t sleepers
        cdef uint64_t result = 0
        cdef int i
        if at == 0:
            return 0
        e = &self.event[at - 1]
        p = &self.pending[(at - 1) * self.tasks]
        sleepers = (e.sleep | e.explored) & ~(<uint64_t>1 << e.task)
        while sleepers:
            i = rt_lowest(sleepers)
            sleepers &= sleepers - 1
            if not dependent(p[i].op, e.op, p[i].object, e.object, e.failed and p[i].op == OP_TRYLOCK):
                result |= <uint64_t>1 << i
        return result

    cdef void place(self, int32_t at, int task, bint failed) noexcept nogil:
        """Makes task's pending operation event `at`: finds its races, and sets its clock."""
        cdef Event *e = &self.event[at]
        cdef uint32_t *own = &self.now[task * self.tasks]
        e.task = task
        e.op = self.pending[at * self.tasks + task].op
        e.object = self.pending[at * self.tasks + task].object
        e.failed = failed
        self.use(e.op, e.object)
        self.n = at
        self.races(task, e.op, e.object, failed, e.enabled)
        self.join(own, e.op, e.object, failed)
        own[task] = <uint32_t>at + 1
        memcpy(&self.clock[at * self.tasks], own, self.tasks * 4)
        e.before = self.last[e.object]
        if e.op != OP_START:
            self.last[e.object] = at
        self.n = at + 1

    cdef void use(self, int op, uint32_t object) noexcept nogil:
        if op == OP_TRYLOCK:
            self.uses[object] |= 1
        elif op == OP_READ_LOCK:
            self.uses[object] |= 2
        self.unsure |= op == OP_READ_TRYLOCK or self.uses[object] == 3

    cdef void join(self, uint32_t *own, int op, uint32_t object, bint failed) noexcept nogil:
        """Everything that happens before an operation through its object."""
        cdef int32_t i = self.last[object]
        cdef Event *e
        if op == OP_START:
            return
        while i >= 0:
            e = &self.event[i]
            if dependent(op, e.op, object, e.object, failed and e.failed):
                merge(own, &self.clock[i * self.tasks], self.tasks)
                # Whatever changes an object comes after all that was done to it before.
                if not reads(e.op) and not on_lock(e.op):
                    return
                if e.op == OP_LOCK or e.op == OP_UNLOCK:
                    return
            i = e.before

    cdef void races(self, int task, int op, uint32_t object, bint failed, uint64_t enabled) noexcept nogil:
        """The events that an operation of `task` could have come before, and nothing forces it to come after."""
        cdef uint32_t *own = &self.now[task * self.tasks]
        cdef uint64_t met = <uint64_t>1 << task
        cdef int32_t i = self.last[object]
        cdef bint between = False
        cdef Event *e
        if op == OP_START:
            return
        while i >= 0:
            e = &self.event[i]
            if on_lock(op):
                if self.lock_race(op, e.op, failed, e.failed):
                    # Of several readers none is the other's affair; what lies before them is.
                    if not met >> e.task & 1 and own[e.task] <= <uint32_t>i and not (between and acquires(e.op, e.failed)
                                                                                     and e.op != OP_READ_LOCK
                                                                                     and e.op != OP_WAIT):
                        self.reverse(i, task, op, object)
                    met |= <uint64_t>1 << e.task
                    between = True
                if acquires(e.op, e.failed) and e.op != OP_READ_LOCK and e.op != OP_WAIT:
                    return
            elif not (reads(op) and reads(e.op)):
                if not met >> e.task & 1 and own[e.task] <= <uint32_t>i and not (between and not reads(e.op)):
                    self.reverse(i, task, op, object)
                met |= <uint64_t>1 << e.task
                between = True
                if not reads(e.op):
                    return
            elif not reads(e.op):
                return
            i = e.before

    cdef bint lock_race(self, int op, int other, bint failed, bint other_failed) noexcept nogil:
        """Whether two operations on one lock can come in either order. A release and an acquisition cannot; nor can what
        acquires it come before a trylock that failed, because somebody had it then."""
        cdef bint tries = op == OP_TRYLOCK or other == OP_TRYLOCK
        if other_failed and (failed or op == OP_LOCK or op == OP_WAIT or op == OP_TRYLOCK):
            return False
        if acquires(op, failed) and acquires(other, other_failed):
            return op == OP_LOCK or other == OP_LOCK or tries or (op == OP_WAIT) != (other == OP_WAIT)
        return tries

    cdef void reverse(self, int32_t earlier, int task, int op, uint32_t object) noexcept nogil:
        """Sees to it that the state before event `earlier` also tries an execution in which task's next operation comes
        first: adds one of the tasks that can begin it, unless one is there."""
        cdef Event *at = &self.event[earlier]
        cdef uint64_t seen = 0
        cdef uint64_t initials = 0
        cdef uint64_t bit
        cdef uint32_t *c
        cdef int32_t i
        cdef int r
        cdef bint first
        for i in range(earlier + 1, self.n):
            c = &self.clock[i * self.tasks]
            bit = <uint64_t>1 << self.event[i].task
            if c[at.task] > <uint32_t>earlier or seen & bit:
                continue
            seen |= bit
            first = True
            for r in range(self.tasks):
                if r != self.event[i].task and c[r] > <uint32_t>earlier + 1:
                    first = False
                    break
            if first:
                initials |= bit
        bit = <uint64_t>1 << task
        if not seen & bit:
            c = &self.now[task * self.tasks]
            first = not self.follows(earlier, at.task, op, object)
            for r in range(self.tasks):
                if r != task and c[r] > <uint32_t>earlier + 1:
                    first = False
                    break
            if first:
                initials |= bit
        initials &= at.enabled
        if initials == 0:
            # It waits for something that comes later: everybody has to be tried.
            at.backtrack |= at.enabled
        elif not initials & at.backtrack:
            at.backtrack |= <uint64_t>1 << (task if initials & bit else rt_lowest(initials))

    cdef void attach(self, Execution *x):
        Strategy.attach(self, x)
        x.finished = <void (*)(void *, Execution *) noexcept nogil>call_finished

    cdef bint follows(self, int32_t earlier, int task, int op, uint32_t object) noexcept nogil:
        """Whether an operation depends on an event after `earlier` that does not itself come after that event of `task`."""
        cdef int32_t i = self.last[object]
        while i > earlier:
            if dependent(op, self.event[i].op, object, object, False) and self.clock[i * self.tasks + task] <= <uint32_t>earlier:
                return True
            i = self.event[i].before
        return False

    cdef void finished(self, Execution *x) noexcept nogil:
        """Who never made the operation it was about to make might have made it earlier, too."""
        cdef uint32_t object
        cdef int i
        if self.exhausted:
            return
        for i in range(self.tasks):
            if not x.completed >> i & 1 and x.task[i].op != OP_START:
                self.races(i, x.task[i].op, self.object_number(x.task[i].object), False, x.enabled)

    cdef int32_t rewind(self) noexcept nogil:
        """The number of events to replay, the last one another than before; 0 where nothing is left."""
        cdef int32_t at = self.n
        cdef Event *e
        cdef Pending *p
        cdef uint64_t left
        cdef int i
        if self.n < self.prefix:
            at = self.prefix
        while at > 0:
            at -= 1
            e = &self.event[at]
            if e.op != OP_START:
                self.last[e.object] = e.before
            e.explored |= <uint64_t>1 << e.task
            left = e.backtrack & ~e.explored & ~e.sleep & e.enabled
            if left:
                # Another task makes this event; the state before it is the old one.
                i = rt_lowest(left)
                p = &self.pending[at * self.tasks]
                self.recall(at)
                self.place(at, i, p[i].op == OP_TRYLOCK and self.held(at, p[i].object))
                return at + 1
        return 0

    cdef bint held(self, int32_t at, uint32_t object) noexcept nogil:
        """Whether a lock was held before event `at`, by what was done to it until then."""
        cdef int32_t i = self.last[object]
        cdef int readers = 0
        while i >= 0:
            if acquires(self.event[i].op, self.event[i].failed):
                if self.event[i].op == OP_READ_LOCK:
                    readers += 1
                elif self.event[i].op != OP_WAIT:
                    return True
            elif self.event[i].op == OP_READ_UNLOCK:
                readers -= 1
            elif self.event[i].op == OP_UNLOCK:
                return readers > 0
            i = self.event[i].before
        return readers > 0

    cdef bint grow(self) noexcept nogil:
        cdef int32_t room = 2 * self.room + 1024
        cdef void *event = realloc(self.event, room * sizeof(Event))
        cdef void *clock = realloc(self.clock, <size_t>room * self.tasks * 4)
        cdef void *pending = realloc(self.pending, <size_t>room * self.tasks * sizeof(Pending))
        if event != NULL:
            self.event = <Event *>event
        if clock != NULL:
            self.clock = <uint32_t *>clock
        if pending != NULL:
            self.pending = <Pending *>pending
        if event == NULL or clock == NULL or pending == NULL:
            return False
        self.room = room
        return True

    cdef uint32_t object_number(self, void *object) noexcept nogil:
        """A number below the size of `last`; NULL is 0."""
        cdef uint64_t hash = <uint64_t>object * 0x9E3779B97F4A7C15ULL
        cdef uint32_t slot = <uint32_t>(hash >> 40) & (self.key_room - 1)
        if object == NULL:
            return 0
        while self.key[slot] != NULL:
            if self.key[slot] == object:
                return self.number[slot]
            slot = (slot + 1) & (self.key_room - 1)
        if 2 * self.keys + 2 > self.key_room and self.rehash():
            return self.object_number(object)
        if self.keys + 2 > self.key_room:
            # No memory for more: what cannot be told apart proves nothing.
            self.unsure = True
            return 0
        self.keys += 1
        self.key[slot] = object
        self.number[slot] = self.keys
        return self.keys

    cdef bint rehash(self) noexcept nogil:
        """Twice the room. Without memory the table gets slower, and the lab says so before it is full."""
        cdef uint32_t room = 2 * self.key_room
        cdef void **key = <void **>calloc(room, sizeof(void *))
        cdef uint32_t *number = <uint32_t *>calloc(room, sizeof(uint32_t))
        cdef int32_t *last = <int32_t *>realloc(self.last, room * sizeof(int32_t))
        cdef uint8_t *uses = <uint8_t *>realloc(self.uses, room)
        cdef uint32_t i
        cdef uint32_t slot
        if last != NULL:
            self.last = last
        if uses != NULL:
            self.uses = uses
        if key == NULL or number == NULL or last == NULL or uses == NULL:
            free(key)
            free(number)
            return False
        memset(last + self.key_room, 0xFF, self.key_room * sizeof(int32_t))
        memset(uses + self.key_room, 0, self.key_room)
        for i in range(self.key_room):
            if self.key[i] == NULL:
                continue
            slot = <uint32_t>((<uint64_t>self.key[i] * 0x9E3779B97F4A7C15ULL) >> 40) & (room - 1)
            while key[slot] != NULL:
                slot = (slot + 1) & (room - 1)
            key[slot] = self.key[i]
            number[slot] = self.number[i]
        free(self.key)
        free(self.number)
        self.key = key
        self.number = number
        self.key_room = room
        return True


cdef inline bint acquires(int op, bint failed) noexcept nogil:
    return op == OP_LOCK or op == OP_READ_LOCK or op == OP_WAIT or (op == OP_TRYLOCK and not failed)


cdef inline void merge(uint32_t *own, uint32_t *other, int n) noexcept nogil:
    cdef int i
    for i in range(n):
        if other[i] > own[i]:
            own[i] = other[i]


cdef void call_finished(Dpor strategy, Execution *x) noexcept nogil:
    strategy.finished(x)
