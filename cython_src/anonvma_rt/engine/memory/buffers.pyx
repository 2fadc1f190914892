"""TSO and PSO by store buffers, whose flushes are steps of tasks without a body.

Sources: Sewell, Sarkar, Owens, Zappa Nardelli, Myreen, "x86-TSO: A Rigorous and Usable Programmer's Model for x86
Multiprocessors" (CACM 2010); "The SPARC Architecture Manual, Version 9" (1994), appendix D, for PSO; Abdulla, Aronis,
Atig, Jonsson, Leonardsson, Sagonas, "Stateless Model Checking for TSO and PSO" (TACAS 2015), for what is a class then.

A store goes into the buffer of its task, which is no step: nobody else can notice it. A load sees the newest store of
its own task to the variable that is still in a buffer, and else memory. A flush writes the oldest store of a buffer to
memory, and is a step of the buffer's own task, so strategies and the search choose it like any other. TSO has one
buffer for each body. PSO has one for each body and variable, so that stores to two variables become visible in either
order; a fence of stores, or a store that releases, keeps them in order. Whatever reads and writes at once, a full fence
and every operation on a lock come when no store of their task is in a buffer. That an unlock of a spinlock may be
delayed on x86, too, is left out: it can hide that others see a lock held for longer (docs/memory.md).
"""

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from anonvma_rt.engine.base.operation cimport (
    MAX_TASKS, OP_AWAIT, OP_FENCE, OP_LOAD, OP_START, OP_STORE,
)
from anonvma_rt.engine.base.rng cimport mix64
from anonvma_rt.engine.base.tasks cimport add, drop, has, words_for
from anonvma_rt.engine.order.classes cimport Observer, Seen, seen_of
from anonvma_rt.engine.order.chains cimport also_seen, chained, chained_apart
from anonvma_rt.engine.order.relation cimport CHANGES, can_go_on, passes
from anonvma_rt.engine.run.task cimport (
    HALT_REFUSED, MODEL_PSO, MODEL_SC, MODEL_TSO, Execution, Task, halt, must_wait, point, recheck, watch,
)

# Refusal.errno of a task that stores to more variables than it has buffers.
TOO_MANY_VARIABLES = NO_BUFFER
MODELS = {"sc": MODEL_SC, "tso": MODEL_TSO, "pso": MODEL_PSO}


@cython.final
cdef class Buffers(Memory):
    """`tso` or `pso`, for one explorer.

    variables: how many a task may store to under PSO in one execution; 0: as many as there can be tasks for. More end
    the block as refused, with the errno TOO_MANY_VARIABLES.
    """

    def __init__(self, model, variables=0):
        if MODELS.get(model, MODEL_SC) == MODEL_SC:
            raise ValueError(f"a memory model with buffers is tso or pso, not {model}")
        self.name = model
        self.wanted = variables

    def __dealloc__(self):
        free(self.all.buffer)

    @property
    def each(self):
        """Buffers of a body."""
        return self.all.each

    def tasks(self, int bodies):
        """How many tasks an execution has with so many bodies. Beyond 64 a step costs more, so PSO goes there only
        where a body would have less than four buffers."""
        each = 1
        if self.name == "pso":
            each = self.wanted or (64 // bodies - 1 if 64 // bodies > 4 else MAX_TASKS // bodies - 1)
        if each < 1 or bodies * (1 + each) > MAX_TASKS:
            raise ValueError(f"under {self.name} there are at most {MAX_TASKS // 2} tasks, not {bodies}")
        self.all.each = each
        return bodies * (1 + each)

    cdef int attach(self, Execution *x) except -1:
        self.all.bodies = x.bodies
        x.tasks = self.tasks(x.bodies)
        x.words = words_for(x.tasks)
        self.all.buffer = <Buffer *>calloc(x.bodies * self.all.each, sizeof(Buffer))
        if self.all.buffer == NULL:
            raise MemoryError("no memory for store buffers")
        x.memory.self = &self.all
        x.memory.begin = begin
        x.memory.flush = flush
        x.memory.store = delay
        x.memory.forwards = forwards
        x.memory.waits = waits
        x.memory.order_stores = order_stores
        x.memory.observe = observe_late
        x.memory.model = MODELS[self.name]
        x.long_way = True
        return 0


cdef inline Buffer *own_buffers(AllBuffers *m, int body) noexcept nogil:
    return &m.buffer[body * m.each]


cdef inline Delayed *oldest(Buffer *b) noexcept nogil:
    return &b.entry[b.first]


cdef inline Delayed *newest(Buffer *b) noexcept nogil:
    return &b.entry[(b.first + b.n - 1) % DEEPEST]


cdef void begin(Execution *x) noexcept nogil:
    cdef AllBuffers *m = <AllBuffers *>x.memory.self
    cdef int i
    memset(m.owner, 0, m.bodies * sizeof(Owner))
    for i in range(m.bodies * m.each):
        m.buffer[i].word = NULL
        m.buffer[i].first = 0
        m.buffer[i].n = 0
        add(x.outside, m.bodies + i, x.words)


cdef Delayed *seen_by_owner(AllBuffers *m, int body, int64_t *word) noexcept nogil:
    """The newest store of a body to a word that is in a buffer; NULL: none."""
    cdef Buffer *b = own_buffers(m, body)
    cdef Delayed *e
    cdef int slot
    cdef int i
    if m.owner[body].delayed == 0:
        return NULL
    for slot in range(m.owner[body].used):
        for i in range(b[slot].n - 1, -1, -1):
            e = &b[slot].entry[(b[slot].first + i) % DEEPEST]
            if e.word == word:
                return e
    return NULL


cdef bint forwards(Task *t, int64_t *word, int64_t *value) noexcept nogil:
    cdef Delayed *e
    cdef AllBuffers *m = <AllBuffers *>t.x.memory.self
    if t.id >= m.bodies:
        return False
    e = seen_by_owner(m, t.id, word)
    if e == NULL:
        return False
    value[0] = e.value
    return True


cdef bint waits(Task *t) noexcept nogil:
    cdef AllBuffers *m = <AllBuffers *>t.x.memory.self
    cdef int64_t value
    if t.id >= m.bodies:
        return not has(t.x.enabled, t.id, t.x.words)
    if m.owner[t.id].delayed and body_drains(t.op, t.instant):
        return True
    if t.op == OP_AWAIT and forwards(t, <int64_t *>t.object, &value):
        return not passes(value, t.test, t.want)
    return not can_go_on(t.op, t.object, t.test, t.want)


cdef bint is_ready(AllBuffers *m, int body, Buffer *b) noexcept nogil:
    """Whether the oldest store of a buffer may become visible now."""
    cdef Buffer *other = own_buffers(m, body)
    cdef int slot
    if b.n == 0:
        return False
    if m.each == 1:
        return True
    for slot in range(m.owner[body].used):
        if other[slot].n and oldest(&other[slot]).number < oldest(b).after:
            return False
    return True


cdef void announce(Execution *x, int body) noexcept nogil:
    """What the tasks of a body's buffers are about to do, and which of them can."""
    cdef AllBuffers *m = <AllBuffers *>x.memory.self
    cdef Buffer *b = own_buffers(m, body)
    cdef Task *t
    cdef bint ready
    cdef int slot
    for slot in range(m.owner[body].used):
        t = &x.task[m.bodies + body * m.each + slot]
        t.op = OP_STORE if b[slot].n else OP_START
        t.object = oldest(&b[slot]).word if b[slot].n else NULL
        if b[slot].n:
            drop(x.outside, t.id, x.words)
        else:
            add(x.outside, t.id, x.words)
        ready = is_ready(m, body, &b[slot])
        if ready == has(x.enabled, t.id, x.words):
            continue
        if ready:
            add(x.enabled, t.id, x.words)
        else:
            drop(x.enabled, t.id, x.words)
        if not x.strategy.keeps_lease:
            x.lease = 0


cdef Buffer *buffer_for(Task *t, int64_t *word) noexcept nogil:
    """The buffer of t that takes stores to a word; does not return where there are too many."""
    cdef AllBuffers *m = <AllBuffers *>t.x.memory.self
    cdef Buffer *b = own_buffers(m, t.id)
    cdef Owner *own = &m.owner[t.id]
    cdef int slot
    if t.x.memory.model == MODEL_TSO:
        own.used = 1
        return b
    for slot in range(own.used):
        if b[slot].word == word:
            return &b[slot]
    if own.used == m.each:
        t.x.finding.task = t.id
        t.x.finding.a = m.each
        t.x.finding.b = NO_BUFFER
        halt(t, HALT_REFUSED)
    b[own.used].word = word
    own.used += 1
    return &b[own.used - 1]


cdef void delay(Task *t, int64_t *word, int64_t value, bint release) noexcept nogil:
    cdef Execution *x = t.x
    cdef AllBuffers *m = <AllBuffers *>x.memory.self
    cdef Owner *own = &m.owner[t.id]
    cdef Buffer *b = buffer_for(t, word)
    cdef Delayed *e
    if b.n == DEEPEST:
        point(t, OP_FENCE, x.arena.base)
    b.n += 1
    e = newest(b)
    own.made += 1
    own.delayed += 1
    e.word = word
    e.value = value
    e.number = own.made
    e.after = own.made if release else own.after
    e.step = x.steps
    e.chain = x.observer.chain[t.id] if x.observer != NULL else 0
    e.reads = 0
    # A round that stores is none that only looks.
    t.n_looks = 0
    t.news = 0
    t.whole = False
    announce(x, t.id)


cdef void order_stores(Task *t) noexcept nogil:
    cdef AllBuffers *m = <AllBuffers *>t.x.memory.self
    m.owner[t.id].after = m.owner[t.id].made + 1


cdef void flush(Execution *x, int task) noexcept nogil:
    cdef AllBuffers *m = <AllBuffers *>x.memory.self
    cdef int body = owner_of(m.bodies, m.each, task)
    cdef Buffer *b = &m.buffer[task - m.bodies]
    cdef Task *owner = &x.task[body]
    cdef Delayed *e = oldest(b)
    if x.rounds.granted != NULL:
        x.rounds.granted(&x.task[task])
    if x.watched:
        watch(&x.task[task])
    if x.tracing and x.trace.n_events:
        x.trace.events[x.trace.n_events - 1].b = e.value
    e.word[0] = e.value
    b.first = (b.first + 1) % DEEPEST
    b.n -= 1
    m.owner[body].delayed -= 1
    announce(x, body)
    recheck(x, e.word)
    if m.owner[body].delayed == 0 and has(x.blocked, body, x.words) and not must_wait(owner):
        drop(x.blocked, body, x.words)
        add(x.enabled, body, x.words)
        if not x.strategy.keeps_lease:
            x.lease = 0


# ---- for a search ----------------------------------------------------------------------------------------------------


cdef uint32_t origin_of_load(Task *t) noexcept nogil:
    """The number of the store that a body is about to see in a buffer of its own; 0: none."""
    cdef Delayed *e = NULL
    if t.op == OP_LOAD or t.op == OP_AWAIT:
        e = seen_by_owner(<AllBuffers *>t.x.memory.self, t.id, <int64_t *>t.object)
    return e.number if e != NULL else 0


cdef uint32_t origin_of_store(Task *t, uint32_t *after, uint64_t *step) noexcept nogil:
    """The number of the store that the task of a buffer is about to make visible, up to which number others come before
    it, and the step in which it was made; 0: none."""
    cdef AllBuffers *m = <AllBuffers *>t.x.memory.self
    cdef Buffer *b = &m.buffer[t.id - m.bodies]
    if b.n == 0:
        return 0
    after[0] = oldest(b).after
    step[0] = oldest(b).step
    return oldest(b).number


# ---- the hash of a class ---------------------------------------------------------------------------------------------


cdef uint64_t drained_chain(AllBuffers *m, const uint64_t *chain, int body) noexcept nogil:
    """The hash of a body that waited for its buffers: of it and of all that they made."""
    cdef uint64_t sum = 0
    cdef int slot
    for slot in range(m.owner[body].used):
        sum += mix64(chain[m.bodies + body * m.each + slot] + <uint64_t>slot)
    return mix64(chain[body] + sum) if sum else chain[body]


cdef int observe_late(Task *t, bint failed) noexcept nogil:
    """observe() of engine/order/classes, in a model with buffers. A load that saw a store of its own task has the same
    hash and the same successors whether that store was still in the buffer or the last one in memory: the two commute.
    -1: no memory."""
    cdef Observer *o = t.x.observer
    cdef AllBuffers *m = <AllBuffers *>t.x.memory.self
    cdef Delayed *e
    cdef Seen *s
    cdef bint looks
    if t.op == OP_START:
        o.chain[t.id] = mix64(o.chain[t.id])
        return 0
    if t.id < m.bodies and body_drains(t.op, t.instant):
        o.chain[t.id] = drained_chain(m, o.chain, t.id)
    if t.op == OP_FENCE:
        o.chain[t.id] = chained_apart(o.chain[t.id], OP_FENCE)
        return 0
    looks = t.op == OP_LOAD or t.op == OP_AWAIT
    if looks and failed:
        o.chain[t.id] = chained_apart(o.chain[t.id], t.op)
        seen_by_owner(m, t.id, <int64_t *>t.object).reads += o.chain[t.id]
        return 0
    s = seen_of(o, t.object)
    if s == NULL:
        return -1
    if t.id >= m.bodies:
        e = oldest(&m.buffer[t.id - m.bodies])
        o.chain[t.id] = chained(s, mix64(o.chain[t.id] + e.chain), t.op, False)
        s.by = 1 + owner_of(m.bodies, m.each, t.id)
        if e.reads:
            also_seen(s, e.reads)
    elif looks and s.by == t.id + 1:
        o.chain[t.id] = chained_apart(o.chain[t.id], t.op)
        also_seen(s, o.chain[t.id])
    else:
        o.chain[t.id] = chained(s, o.chain[t.id], t.op, failed)
        if s.group == CHANGES:
            s.by = 0
    return 0
