"""The checker of lock orders, and rounds of tasks that spin (see sync.pxd).

A task that says at the end of a round that it only looked (spin_hint) waits until somebody has written to what it
looked at: it gets a fair schedule, and rounds that change nothing make no executions of their own. Under a search that
visits every class (cuts_spins) such a round is the last one of its task in this execution. Nothing is lost by that:
what it looked at are steps like others, so that another execution makes them after the write is explored because of
the race of the two. An execution that can only go on where such a task would have gone on is pruned.

Rounds are followed from the first spin_hint() of an explorer on, at a decision per step; the execution in which it came
is made again, so that every execution depends on nothing but seed and index.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t

from anonvma_rt.engine.base.arena cimport arena_offset
from anonvma_rt.engine.base.operation cimport (
    OP_ATOMIC, OP_AWAIT, OP_LOAD, OP_READ_TRYLOCK, OP_TRYLOCK, OP_WAIT, lock_word,
)
from anonvma_rt.engine.base.os cimport rt_lowest
from anonvma_rt.engine.base.tasks cimport add, drop, has
from anonvma_rt.engine.run.task cimport (
    HALT_AGAIN, MAX_LOOKS, MAX_SHARED, ROUND_UNKNOWN, VIOLATION_LOCK_ORDER, VIOLATION_LOCK_OVERFLOW, Execution, Task,
    halt, must_wait, violate,
)


cdef bint reaches(uint32_t *after, int start, int goal) noexcept nogil:
    cdef uint32_t seen = 1 << start
    cdef uint32_t todo = seen
    cdef int cls
    while todo:
        cls = rt_lowest(todo)
        todo &= todo - 1
        if cls == goal:
            return True
        todo |= after[cls] & ~seen
        seen |= after[cls]
    return False


cdef void check_lock_order(Task *t, int cls) noexcept nogil:
    """Taking `cls` with t.held held: a violation if the opposite order was declared, or seen in this execution."""
    cdef Execution *x = t.x
    cdef uint32_t unknown = t.held & ~x.order.allowed[cls]
    cdef int holding
    while unknown:
        holding = rt_lowest(unknown)
        unknown &= unknown - 1
        if reaches(x.order.after, cls, holding):
            violate(t, VIOLATION_LOCK_ORDER, holding, cls, 0)
        x.order.after[holding] |= 1 << cls
        x.order.allowed[cls] |= 1 << holding
        x.order.learned = True


cdef void declare_lock_order(Execution *x, int before, int after) noexcept nogil:
    """`after` may be taken under `before`, never the other way round."""
    x.order.declared_after[before] |= 1 << after
    x.order.declared_allowed[after] |= 1 << before
    x.order.learned = True


cdef void share_more(Task *t, lock_word *lock) noexcept nogil:
    """share() where it is not the only one. A task's own number of shares is limited, so that all tasks together cannot
    make `readers` wrap, and whether it is exceeded depends on nobody else."""
    cdef int i
    for i in range(t.shares):
        if t.shared[i].lock == lock:
            break
    else:
        i = t.shares
        if i == MAX_SHARED:
            violate(t, VIOLATION_LOCK_OVERFLOW, t.shares, 0, <int64_t>arena_offset(&t.x.arena, lock))
        t.shares += 1
        t.shared[i].lock = lock
        t.shared[i].times = 0
    t.shared[i].times += 1
    if <int>t.shared[i].times > 255 // t.x.bodies:
        violate(t, VIOLATION_LOCK_OVERFLOW, t.shared[i].times, 1, <int64_t>arena_offset(&t.x.arena, lock))


cdef bint unshare_one(Task *t, lock_word *lock) noexcept nogil:
    cdef int i
    for i in range(t.shares):
        if t.shared[i].lock == lock:
            t.shared[i].times -= 1
            if t.shared[i].times == 0:
                t.shares -= 1
                t.shared[i] = t.shared[t.shares]
            return True
    return False


# ---- rounds ----------------------------------------------------------------------------------------------------------


cdef inline bint may_miss(int op) noexcept nogil:
    """Whether an operation of this kind may change nothing, which is known when it was made."""
    return op == OP_ATOMIC or op == OP_TRYLOCK or op == OP_READ_TRYLOCK


cdef inline void begin_round(Task *t, bint whole) noexcept nogil:
    t.n_looks = 0
    t.news = 0
    t.whole = whole


cdef void granted(Task *t) noexcept nogil:
    """The operation that t announced is made now. A round only looks: it begins behind whatever changes something."""
    cdef Execution *x = t.x
    if t.spinning:
        t.spinning = False
        drop(x.rounds.spinning, t.id, x.words)
        begin_round(t, True)
    t.missed = False
    x.rounds.by = t.id
    x.rounds.op = t.op
    x.rounds.object = t.object
    if t.op != OP_LOAD and not may_miss(t.op):
        begin_round(t, False)
        return
    if t.n_looks < MAX_LOOKS:
        t.looks[t.n_looks] = t.object
    t.n_looks += 1


cdef bint is_hidden(Task *t, int by, int64_t *word) noexcept nogil:
    """Whether a change of a word is none to t, where stores are buffered: what its own buffer flushes it knows already;
    what others write there it sees only when its own store was flushed, and that is then what it sees."""
    cdef Execution *x = t.x
    cdef int64_t value
    if by >= x.bodies and (by - x.bodies) // (x.tasks // x.bodies - 1) == t.id:
        return True
    return x.memory.forwards(t, word, &value)


cdef void tell(Execution *x) noexcept nogil:
    """Whoever looked at what the last step changed can go on, or need not wait."""
    cdef Task *t
    cdef int by = x.rounds.by
    cdef int op = x.rounds.op
    cdef int i
    cdef int look
    x.rounds.by = -1
    if by < 0 or op == OP_LOAD or op == OP_WAIT or op == OP_AWAIT or (may_miss(op) and x.task[by].missed):
        return
    begin_round(&x.task[by], False)
    for i in range(x.bodies):
        t = &x.task[i]
        if i == by or (x.memory.model and is_hidden(t, by, <int64_t *>x.rounds.object)):
            continue
        for look in range(min(t.n_looks, <int32_t>MAX_LOOKS)):
            if t.looks[look] == x.rounds.object:
                t.news |= <uint32_t>1 << look
        if t.spinning and has(x.blocked, i, x.words) and not must_wait(t):
            drop(x.blocked, i, x.words)
            add(x.enabled, i, x.words)
            if not x.strategy.keeps_lease:
                x.lease = 0


cdef void end_round(Task *t) noexcept nogil:
    cdef Execution *x = t.x
    if not t.started:
        return
    if x.rounds.tell == NULL:
        x.rounds.granted = granted
        x.rounds.tell = tell
        x.rounds.again = True
        halt(t, HALT_AGAIN)
    tell(x)
    if t.n_looks == 0 or t.n_looks > MAX_LOOKS:
        begin_round(t, True)
        return
    x.rounds.fruitless = True
    add(x.rounds.spinning, t.id, x.words)
    t.spinning = True
    t.first = ROUND_UNKNOWN
    x.until = 0
