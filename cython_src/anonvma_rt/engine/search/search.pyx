"""The stack of an exhaustive search: placing events, their clocks, their races, and who sleeps (see search.pxd).

Source: Abdulla, Aronis, Jonsson, Sagonas, "Optimal Dynamic Partial Order Reduction" (POPL 2014), source sets, made
iterative. Clocks are copied from event to event and objects are lists of events, so taking events back copies nothing.
"""

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

from anonvma_rt.engine.base.os cimport rt_lowest
from anonvma_rt.engine.order.relation cimport dependent, on_lock, reads, tries, would_fail
from anonvma_rt.engine.base.operation cimport (
    MAX_TASKS,
    OP_LOCK,
    OP_READ_LOCK,
    OP_READ_UNLOCK,
    OP_START,
    OP_TRYLOCK,
    OP_UNLOCK,
    OP_WAIT,
    lock_word,
)
from anonvma_rt.engine.run.task cimport HALT_NO_MEMORY, HALT_PRUNED, Execution, Task

cdef enum:
    KEYS = 256

# For each kind of operation, as bits, the kinds that depend on it (relation.pxd); and the kinds of which more is to be
# known: those that come after all that was done to their object before, those among them that make a lock their own, the
# releases, those that wait for one, and the tries that failed.
cdef uint32_t depends[32]
cdef uint32_t after_all = 0
cdef uint32_t takes = bit_of(OP_LOCK) | bit_of(OP_TRYLOCK)
cdef uint32_t releases = bit_of(OP_UNLOCK) | bit_of(OP_READ_UNLOCK)
cdef uint32_t waits = bit_of(OP_LOCK) | bit_of(OP_WAIT) | bit_of(OP_READ_LOCK)


cdef inline uint32_t bit_of(uint32_t kind) noexcept nogil:
    return <uint32_t>1 << kind


cdef inline int op_of(uint32_t kind) noexcept nogil:
    return OP_TRYLOCK if kind == FAILED_BY_READERS else <int>(kind & 15)


cdef void tabulate() noexcept:
    global after_all
    cdef uint32_t kind
    cdef uint32_t other
    for kind in range(32):
        depends[kind] = 0
        for other in range(32):
            if dependent(op_of(kind), kind & FAILED != 0, op_of(other), other & FAILED != 0):
                depends[kind] |= bit_of(other)
        if not on_lock(op_of(kind)) and not reads(op_of(kind)):
            after_all |= bit_of(kind)
    after_all |= takes | bit_of(OP_UNLOCK)


tabulate()


cdef int search_open(Search *s) except -1:
    memset(s, 0, sizeof(Search))
    s.key_room = KEYS
    s.key = <void **>calloc(KEYS, sizeof(void *))
    s.number = <uint32_t *>calloc(KEYS, sizeof(uint32_t))
    s.last = <int32_t *>calloc(KEYS, sizeof(int32_t))
    if s.key == NULL or s.number == NULL or s.last == NULL:
        search_close(s)
        raise MemoryError("no memory for a search")
    return 0


cdef void search_close(Search *s) noexcept nogil:
    free(s.event)
    free(s.clock)
    free(s.pending)
    free(s.key)
    free(s.number)
    free(s.last)
    memset(s, 0, sizeof(Search))


cdef void search_clear(Search *s, int tasks) noexcept nogil:
    """Forgets all events; objects keep their numbers."""
    s.tasks = tasks
    s.n = 0
    s.prefix = 0
    s.root = 0
    memset(s.last, 0xFF, s.key_room * sizeof(int32_t))
    memset(s.latest, 0xFF, sizeof(s.latest))


cdef bint search_room(Search *s, int32_t at) noexcept nogil:
    """Room for event `at`; False where the host has no memory left."""
    cdef int32_t room = 2 * at + 256
    cdef void *event
    cdef void *clock
    cdef void *pending
    if at < s.room:
        return True
    event = realloc(s.event, room * sizeof(Event))
    if event != NULL:
        s.event = <Event *>event
    clock = realloc(s.clock, <size_t>room * s.tasks * sizeof(uint32_t))
    if clock != NULL:
        s.clock = <uint32_t *>clock
    pending = realloc(s.pending, <size_t>room * s.tasks * sizeof(Pending))
    if pending != NULL:
        s.pending = <Pending *>pending
    if event == NULL or clock == NULL or pending == NULL:
        return False
    s.room = room
    return True


cdef int search_state(Search *s, Execution *x, int32_t at) noexcept nogil:
    """Remembers state `at`, which is new: what everybody is about to do, who is enabled and who sleeps. -1: no memory."""
    cdef Event *e
    cdef Pending *p
    cdef Pending *before
    cdef int i
    if not search_room(s, at):
        return -1
    e = &s.event[at]
    p = &s.pending[<size_t>at * s.tasks]
    before = p - s.tasks
    e.enabled = x.enabled
    e.explored = 0
    e.backtrack = 0
    e.escaped = 0
    e.sleep = inherited(s, at) if at and s.bound < 0 else 0
    e.preemptions = s.event[at - 1].preemptions + preempts(s, at - 1) if at else 0
    for i in range(s.tasks):
        # Only who made the last step announces something new.
        if at and i != s.event[at - 1].task:
            p[i].object = before[i].object
        else:
            p[i].object = search_number(s, x.task[i].object)
            if p[i].object == 0 and x.task[i].object != NULL:
                return -1
        p[i].kind = kind_of(&x.task[i])
    return 0


cdef inline uint32_t kind_of(Task *t) noexcept nogil:
    if not tries(t.op) or not would_fail(t.op, t.object):
        return <uint32_t>t.op
    if t.op == OP_TRYLOCK and (<lock_word *>t.object).owner == 0:
        return FAILED_BY_READERS
    return <uint32_t>t.op | FAILED


cdef int search_step(Search *s, Execution *x, int32_t at) noexcept nogil:
    """A state that was never seen, and who makes the step from it: -1 with a reason where nobody does."""
    cdef Event *e
    cdef uint64_t awake
    cdef int task
    if search_state(s, x, at) < 0:
        x.halt = HALT_NO_MEMORY
        return -1
    e = &s.event[at]
    awake = e.enabled & ~e.sleep
    if awake == 0:
        x.halt = HALT_PRUNED
        return -1
    # Who ran goes on: fewer hand-overs.
    if s.bound >= 0:
        awake = e.backtrack = within_bound(s, at)
    task = x.current if x.current >= 0 and awake >> x.current & 1 else rt_lowest(awake)
    if s.bound < 0:
        e.backtrack = <uint64_t>1 << task
    search_place(s, at, task)
    return task


cdef inline uint64_t running(Search *s, int32_t at) noexcept nogil:
    """The task that would be interrupted if another one made the step from state `at`, as a bit: none where it has to
    wait, or has only begun."""
    cdef Event *before = &s.event[at - 1]
    if at == 0 or before.kind == OP_START:
        return 0
    return s.event[at].enabled & (<uint64_t>1 << before.task)


cdef inline bint preempts(Search *s, int32_t at) noexcept nogil:
    """Whether event `at` interrupted a task that could have gone on."""
    return running(s, at) & ~(<uint64_t>1 << s.event[at].task) != 0


cdef uint64_t within_bound(Search *s, int32_t at) noexcept nogil:
    """Who may make the step from state `at`, if no more tasks are to be interrupted than the bound allows. All tasks
    begin first: to begin does not depend on anything."""
    cdef Event *e = &s.event[at]
    cdef uint64_t rest = e.enabled
    cdef int i
    while rest:
        i = rt_lowest(rest)
        rest &= rest - 1
        if s.pending[<size_t>at * s.tasks + i].kind == OP_START:
            return <uint64_t>1 << i
    return running(s, at) if running(s, at) and e.preemptions >= s.bound else e.enabled


cdef uint64_t inherited(Search *s, int32_t at) noexcept nogil:
    """Who sleeps in state `at`: who slept or was explored before the last event and does not depend on it."""
    cdef Event *e = &s.event[at - 1]
    cdef Pending *p = &s.pending[<size_t>(at - 1) * s.tasks]
    cdef uint64_t sleepers = (e.sleep | e.explored) & ~(<uint64_t>1 << e.task)
    cdef uint64_t awake = 0
    cdef uint64_t rest = sleepers
    cdef int i
    while rest:
        i = rt_lowest(rest)
        rest &= rest - 1
        if p[i].object == e.object and depends[e.kind] >> p[i].kind & 1:
            awake |= <uint64_t>1 << i
    return sleepers & ~awake


cdef void search_place(Search *s, int32_t at, int task) noexcept nogil:
    """Makes what `task` was about to do event `at`: finds its races, and sets its clock."""
    cdef Event *e = &s.event[at]
    cdef Pending p = s.pending[<size_t>at * s.tasks + task]
    cdef uint32_t *own = &s.clock[<size_t>at * s.tasks]
    e.task = task
    e.run = s.event[at - 1].run if at and s.event[at - 1].task == task else at
    s.event[e.run].run_end = at + 1
    e.kind = p.kind
    e.object = p.object
    e.previous = s.latest[task]
    e.before = s.last[p.object]
    s.n = at
    inherit_clock(s, own, task)
    if e.kind != OP_START:
        if e.before >= 0 and s.bound < 0:
            races_of(s, task, p, own)
            join(s, own, e)
        s.last[p.object] = at
    own[task] = <uint32_t>at + 1
    s.latest[task] = at
    s.n = at + 1


cdef void search_pop(Search *s, int32_t at) noexcept nogil:
    """Takes event `at`, the last one, back; the state before it stays."""
    cdef Event *e = &s.event[at]
    if e.kind != OP_START:
        s.last[e.object] = e.before
    s.latest[e.task] = e.previous
    s.event[e.run].run_end = at
    s.n = at


cdef void search_waiting(Search *s, Execution *x, int task) noexcept nogil:
    """The races of what a task was about to do when the execution ended."""
    cdef uint32_t own[MAX_TASKS]
    cdef Pending p
    if x.task[task].op == OP_START:
        return
    p.object = search_number(s, x.task[task].object)
    p.kind = kind_of(&x.task[task])
    inherit_clock(s, own, task)
    races_of(s, task, p, own)


cdef void inherit_clock(Search *s, uint32_t *own, int task) noexcept nogil:
    cdef uint32_t *from_last
    cdef int i
    if s.latest[task] < 0:
        memset(own, 0, s.tasks * sizeof(uint32_t))
        return
    from_last = &s.clock[<size_t>s.latest[task] * s.tasks]
    for i in range(s.tasks):
        own[i] = from_last[i]


cdef void join(Search *s, uint32_t *own, Event *e) noexcept nogil:
    """Everything that happens before an event through its object."""
    cdef int32_t i = e.before
    cdef Event *other
    cdef uint32_t *clock
    cdef int t
    while i >= 0:
        other = &s.event[i]
        if depends[e.kind] >> other.kind & 1:
            clock = &s.clock[<size_t>i * s.tasks]
            for t in range(s.tasks):
                if clock[t] > own[t]:
                    own[t] = clock[t]
            if after_all >> other.kind & 1:
                return
        i = other.before


cdef inline bint reversible(uint32_t earlier, uint32_t kind) noexcept nogil:
    """Whether an operation that depends on an earlier one could have come before it: what waits for a lock cannot come
    before the release that lets it go on, nor, while somebody has the lock, before a try that fails for that reason."""
    if not waits >> kind & 1:
        return True
    if releases >> earlier & 1:
        return False
    return not earlier & FAILED or (earlier == FAILED_BY_READERS and kind == OP_READ_LOCK)


cdef void races_of(Search *s, int task, Pending p, uint32_t *own) noexcept nogil:
    """Sees to it that what `task` does (or was about to do) also comes before each event with which it races: one that
    it depends on, could have come before, and does not come after by way of something else.

    What waits for a lock could not have come before a reader who came while another one was there, but before the first
    of them: so it is taken to race with each, and only whoever had the lock before all of them is left out.
    """
    cdef bint waiting = waits >> p.kind & 1
    cdef int32_t race[MAX_TASKS]
    cdef int n = 0
    cdef int32_t i = s.last[p.object]
    cdef Event *e
    cdef bint past
    cdef int r
    while i >= 0:
        e = &s.event[i]
        past = own[e.task] > <uint32_t>i
        if not past and depends[p.kind] >> e.kind & 1 and reversible(e.kind, p.kind):
            if waiting:
                past = n > 0 and takes >> e.kind & 1
            else:
                for r in range(n):
                    if s.clock[<size_t>race[r] * s.tasks + e.task] > <uint32_t>i:
                        past = True
                        break
            if not past:
                reverse(s, i, task, p, own)
                if not waiting:
                    race[n] = i
                n += 1
                past = True
        if after_all >> e.kind & 1 and (past or takes >> e.kind & 1):
            return
        i = e.before


cdef void reverse(Search *s, int32_t earlier, int task, Pending p, uint32_t *own) noexcept nogil:
    """Sees to it that the state before event `earlier` also tries an execution in which task's operation comes first:
    adds one of the tasks that can begin it, unless one is there."""
    cdef Event *at = &s.event[earlier]
    cdef uint64_t seen = 0
    cdef uint64_t initials = 0
    cdef uint64_t bit
    cdef uint64_t added
    cdef uint32_t *clock
    cdef int32_t i
    for i in range(earlier + 1, s.n):
        clock = &s.clock[<size_t>i * s.tasks]
        bit = <uint64_t>1 << s.event[i].task
        if clock[at.task] > <uint32_t>earlier or seen & bit:
            continue
        seen |= bit
        if begins(s, clock, earlier, s.event[i].task):
            initials |= bit
    bit = <uint64_t>1 << task
    if not seen & bit and begins(s, own, earlier, task) and not follows(s, earlier, at.task, p):
        initials |= bit
    initials &= at.enabled
    if initials & at.backtrack:
        return
    if initials == 0:
        # It waits for something that comes later: everybody has to be tried.
        added = at.enabled & ~at.backtrack
    else:
        added = <uint64_t>1 << (task if initials & bit else rt_lowest(initials))
    at.backtrack |= added
    if earlier < s.root:
        at.escaped |= added


cdef inline bint begins(Search *s, uint32_t *clock, int32_t earlier, int task) noexcept nogil:
    """Whether nothing after `earlier` comes before an event with this clock."""
    cdef int r
    for r in range(s.tasks):
        if r != task and clock[r] > <uint32_t>earlier + 1:
            return False
    return True


cdef bint follows(Search *s, int32_t earlier, int task, Pending p) noexcept nogil:
    """Whether an operation depends on an event after `earlier` that does not itself come after that event of `task`."""
    cdef int32_t i = s.last[p.object]
    cdef Event *e
    while i > earlier:
        e = &s.event[i]
        if depends[p.kind] >> e.kind & 1 and s.clock[<size_t>i * s.tasks + task] <= <uint32_t>earlier:
            return True
        i = e.before
    return False


cdef uint32_t search_number(Search *s, void *object) noexcept nogil:
    """A number below the size of `last`; 0 for NULL, and where there is no memory for one more."""
    cdef uint32_t slot
    if object == NULL:
        return 0
    if 2 * s.keys + 2 > s.key_room and not rehash(s):
        return 0
    slot = slot_of(s.key, s.key_room, object)
    if s.key[slot] == NULL:
        s.keys += 1
        s.key[slot] = object
        s.number[slot] = s.keys
    return s.number[slot]


cdef inline uint32_t slot_of(void **key, uint32_t room, void *object) noexcept nogil:
    """Where it is, or would be."""
    cdef uint32_t slot = <uint32_t>((<uint64_t>object * 0x9E3779B97F4A7C15ULL) >> 40) & (room - 1)
    while key[slot] != NULL and key[slot] != object:
        slot = (slot + 1) & (room - 1)
    return slot


cdef bint rehash(Search *s) noexcept nogil:
    """Twice the room; False where there is no memory."""
    cdef uint32_t room = 2 * s.key_room
    cdef void **key = <void **>calloc(room, sizeof(void *))
    cdef uint32_t *number = <uint32_t *>calloc(room, sizeof(uint32_t))
    cdef int32_t *last = <int32_t *>realloc(s.last, room * sizeof(int32_t))
    cdef uint32_t slot
    cdef uint32_t i
    if last != NULL:
        s.last = last
    if key == NULL or number == NULL or last == NULL:
        free(key)
        free(number)
        return False
    memset(last + s.key_room, 0xFF, s.key_room * sizeof(int32_t))
    for i in range(s.key_room):
        if s.key[i] != NULL:
            slot = slot_of(key, room, s.key[i])
            key[slot] = s.key[i]
            number[slot] = s.number[i]
    free(s.key)
    free(s.number)
    s.key = key
    s.number = number
    s.key_room = room
    return True
