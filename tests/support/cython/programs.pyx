"""Random programs over all of anonvma_rt.api, as a subject: what a thread does is data, and how an execution ended is a
hash of the words, registers, nodes and the list that it left."""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport calloc, free, realloc

from anonvma_rt.api cimport (
    HALT_NO_MEMORY, INIT_LIST_HEAD, MAX_TASKS, OP_ATOMIC, OP_LOAD, OP_STORE, VIOLATION_SUBJECT, Execution, Subject,
    Task, arena_alloc, arena_live, arena_root, await_at_least, await_bits, await_less, await_no_bits, await_not,
    await_value, compare_exchange, container_of, declare_lock_order, down_read, down_write, fetch_add, found,
    free_object, halt, list_add, list_add_tail, list_cursor, list_del, list_for_each, list_for_each_prev, list_head,
    list_move, list_move_tail, list_step, load, lock_init, lock_wait, mark, must_live, mutex_lock, mutex_t,
    mutex_trylock, mutex_unlock, note, point, require_api, spin_lock, spin_trylock, spin_unlock, store, try_down_read,
    up_read, up_write, violate,
)

require_api(__name__)

cdef enum:
    THINGS = 1
    NODE = 2
    LOCKS = 3
    WORDS = 3
    SLOTS = 2
    REGISTERS = 4
    OPERANDS = 4
    WRONG_VALUE = VIOLATION_SUBJECT
    WRONG_END = VIOLATION_SUBJECT + 1

# Verb: how many operands it has. The first one names a lock (l), a word (w), a slot for a node (s) or nothing (-); then
# come values (v) and registers (r).
VERBS = {
    "mutex_lock": "l", "mutex_unlock": "l", "mutex_trylock": "lr", "spin_lock": "l", "spin_unlock": "l",
    "spin_trylock": "lr", "down_read": "l", "up_read": "l", "down_write": "l", "up_write": "l", "try_down_read": "lr",
    "lock_wait": "l", "load": "wr", "store": "wv", "store_register": "wr", "fetch_add": "wvr",
    "compare_exchange": "wvvr", "await_value": "wv", "await_not": "wv",
    "await_less": "wv", "await_at_least": "wv", "await_bits": "wv", "await_no_bits": "wv", "alloc": "sv", "free": "s", "use": "sr", "set_node": "sv",
    "add": "s", "add_tail": "s", "move": "s", "move_tail": "s", "del": "s", "walk": "-r", "walk_back": "-r",
    "mark": "-", "note": "-v", "must_be": "rv", "free_lock": "l",
    "sneak": "wv",  # a store that nothing announces: what nobody should write
}  # fmt: skip
cdef tuple NAMES = tuple(VERBS)

cdef enum Verb:
    MUTEX_LOCK
    MUTEX_UNLOCK
    MUTEX_TRYLOCK
    SPIN_LOCK
    SPIN_UNLOCK
    SPIN_TRYLOCK
    DOWN_READ
    UP_READ
    DOWN_WRITE
    UP_WRITE
    TRY_DOWN_READ
    LOCK_WAIT
    LOAD
    STORE
    STORE_REGISTER
    FETCH_ADD
    COMPARE_EXCHANGE
    AWAIT_VALUE
    AWAIT_NOT
    AWAIT_LESS
    AWAIT_AT_LEAST
    AWAIT_BITS
    AWAIT_NO_BITS
    ALLOC
    FREE
    USE
    SET_NODE
    ADD
    ADD_TAIL
    MOVE
    MOVE_TAIL
    DEL
    WALK
    WALK_BACK
    MARK
    NOTE
    MUST_BE
    FREE_LOCK
    SNEAK


cdef struct Step:
    int32_t verb
    int64_t operand[OPERANDS]


cdef struct node:
    int64_t value
    bint listed
    list_head link


# slot: changed under `guard` and read at a point of its own; the list, and what says of a node that it is on it: guard.
cdef struct things:
    mutex_t *lock[LOCKS]
    mutex_t guard
    int64_t word[WORDS]
    node *slot[SLOTS]
    list_head head
    int64_t register[MAX_TASKS][REGISTERS]


cdef struct End:
    uint64_t index
    uint64_t hash


cdef inline uint64_t mixed(uint64_t hash, uint64_t value) noexcept nogil:
    hash = (hash ^ value) * 0x9E3779B97F4A7C15ULL
    return hash ^ hash >> 29


cdef class ApiProgram(Subject):
    """threads: lists of (verb, operand, ...). classes: of the locks, 0 for none; the order 1 before 2 is declared.
    wrong: a word that must not end with value 3, or None.

    ends(): of the executions since the last call that came to their end, (index, hash).
    """

    cdef Step *steps
    cdef int begin[MAX_TASKS + 1]
    cdef int cls[LOCKS]
    cdef int wrong
    cdef End *end
    cdef int64_t n_ends
    cdef int64_t room

    def __init__(self, threads, classes=(0, 0, 0), wrong=None):
        self.tasks = len(threads)
        self.wrong = -1 if wrong is None else wrong
        self.steps = <Step *>calloc(sum(map(len, threads)) + 1, sizeof(Step))
        if self.steps == NULL:
            raise MemoryError()
        for i in range(LOCKS):
            self.cls[i] = classes[i]
        n = 0
        for task, thread in enumerate(threads):
            self.begin[task] = n
            for verb, *operands in thread:
                if len(operands) > OPERANDS or len(operands) != len(VERBS[verb]):
                    raise ValueError(f"{verb} {operands}")
                self.steps[n].verb = NAMES.index(verb)
                for i, operand in enumerate(operands):
                    self.steps[n].operand[i] = operand
                n += 1
        self.begin[len(threads)] = n

    def __dealloc__(self):
        free(self.steps)
        free(self.end)

    def kinds(self):
        return {**Subject.kinds(self), WRONG_VALUE: "wrong-value", WRONG_END: "wrong-end"}

    def ends(self):
        ended = [(self.end[i].index, self.end[i].hash) for i in range(self.n_ends)]
        self.n_ends = 0
        return ended

    cdef int build(self, Task *t) noexcept nogil:
        cdef things *w = <things *>arena_alloc(&t.x.arena, sizeof(things), THINGS)
        cdef int i
        if w == NULL:
            halt(t, HALT_NO_MEMORY)
        for i in range(LOCKS):
            w.lock[i] = <mutex_t *>arena_alloc(&t.x.arena, sizeof(mutex_t), THINGS)
            lock_init(w.lock[i], self.cls[i])
        lock_init(&w.guard, 0)
        for i in range(WORDS):
            w.word[i] = 0
        w.slot[0] = new_node(t, 5)
        w.slot[1] = NULL
        INIT_LIST_HEAD(&w.head)
        for i in range(MAX_TASKS * REGISTERS):
            (&w.register[0][0])[i] = 0
        declare_lock_order(t.x, 1, 2)
        return 0

    cdef void body(self, Task *t) noexcept nogil:
        cdef things *w = <things *>arena_root(&t.x.arena)
        cdef int i
        for i in range(self.begin[t.id], self.begin[t.id + 1]):
            if self.steps[i].verb <= AWAIT_NO_BITS:
                make_step(t, w, &self.steps[i])
            else:
                node_step(t, w, &self.steps[i])

    cdef void check(self, Execution *x) noexcept nogil:
        cdef things *w = <things *>arena_root(&x.arena)
        cdef End *grown
        if self.wrong >= 0 and w.word[self.wrong] == 3:
            found(x, WRONG_END, -1, 0, 0, 0)
        if self.n_ends == self.room:
            self.room = 2 * self.room + 1024
            grown = <End *>realloc(self.end, self.room * sizeof(End))
            if grown == NULL:
                self.room = self.n_ends
                return
            self.end = grown
        self.end[self.n_ends].index = x.index
        self.end[self.n_ends].hash = state_of(x, w)
        self.n_ends += 1


cdef node *new_node(Task *t, int64_t value) noexcept nogil:
    cdef node *made = <node *>arena_alloc(&t.x.arena, sizeof(node), NODE)
    if made == NULL:
        halt(t, HALT_NO_MEMORY)
    made.value = value
    made.listed = False
    return made


cdef uint64_t state_of(Execution *x, things *w) noexcept nogil:
    cdef uint64_t hash = 1
    cdef list_cursor c
    cdef int i
    for i in range(WORDS):
        hash = mixed(hash, <uint64_t>w.word[i])
    for i in range(SLOTS):
        hash = mixed(hash, <uint64_t>w.slot[i].value + 2 if arena_live(&x.arena, w.slot[i], NODE) else 1)
    for i in range(MAX_TASKS * REGISTERS):
        hash = mixed(hash, <uint64_t>(&w.register[0][0])[i])
    c = list_for_each(&w.head)
    while list_step(&c) and arena_live(&x.arena, node_of(c.pos), NODE):
        hash = mixed(hash, <uint64_t>node_of(c.pos).value)
    return mixed(hash, c.corrupt) | 1


cdef inline node *node_of(list_head *link) noexcept nogil:
    return <node *>container_of(link, <size_t>&(<node *>NULL).link)


cdef void make_step(Task *t, things *w, Step *s) noexcept nogil:
    cdef int64_t *o = s.operand
    cdef int64_t *r = w.register[t.id]
    if s.verb <= LOCK_WAIT:
        lock_step(t, w.lock[o[0]], s.verb, &r[o[1]])
    elif s.verb == LOAD:
        r[o[1]] = load(t, &w.word[o[0]])
    elif s.verb == STORE:
        store(t, &w.word[o[0]], o[1])
    elif s.verb == STORE_REGISTER:
        store(t, &w.word[o[0]], r[o[1]])
    elif s.verb == FETCH_ADD:
        r[o[2]] = fetch_add(t, &w.word[o[0]], o[1])
    elif s.verb == COMPARE_EXCHANGE:
        r[o[3]] = compare_exchange(t, &w.word[o[0]], o[1], o[2])
    elif s.verb == AWAIT_VALUE:
        await_value(t, &w.word[o[0]], o[1])
    elif s.verb == AWAIT_NOT:
        await_not(t, &w.word[o[0]], o[1])
    elif s.verb == AWAIT_LESS:
        await_less(t, &w.word[o[0]], o[1])
    elif s.verb == AWAIT_AT_LEAST:
        await_at_least(t, &w.word[o[0]], o[1])
    elif s.verb == AWAIT_BITS:
        await_bits(t, &w.word[o[0]], o[1])
    else:
        await_no_bits(t, &w.word[o[0]], o[1])


cdef void lock_step(Task *t, mutex_t *lock, int verb, int64_t *taken) noexcept nogil:
    if verb == MUTEX_LOCK:
        mutex_lock(t, lock)
    elif verb == MUTEX_UNLOCK:
        mutex_unlock(t, lock)
    elif verb == MUTEX_TRYLOCK:
        taken[0] = mutex_trylock(t, lock)
    elif verb == SPIN_LOCK:
        spin_lock(t, lock)
    elif verb == SPIN_UNLOCK:
        spin_unlock(t, lock)
    elif verb == SPIN_TRYLOCK:
        taken[0] = spin_trylock(t, lock)
    elif verb == DOWN_READ:
        down_read(t, lock)
    elif verb == UP_READ:
        up_read(t, lock)
    elif verb == DOWN_WRITE:
        down_write(t, lock)
    elif verb == UP_WRITE:
        up_write(t, lock)
    elif verb == TRY_DOWN_READ:
        taken[0] = try_down_read(t, lock)
    else:
        lock_wait(t, lock)


cdef node *node_in(Task *t, things *w, int64_t slot, int op) noexcept nogil:
    """The node that a slot leads to, at the moment before something is done to it; NULL where there is none."""
    cdef node *n
    point(t, OP_LOAD, &w.slot[slot])
    n = w.slot[slot]
    if n != NULL:
        point(t, op, n)
        must_live(t, n, NODE)
    return n


cdef void node_step(Task *t, things *w, Step *s) noexcept nogil:
    cdef int64_t *o = s.operand
    cdef int64_t *r = w.register[t.id]
    cdef list_cursor c
    cdef node *n
    if s.verb == ALLOC:
        n = new_node(t, o[1])
        mutex_lock(t, &w.guard)
        point(t, OP_ATOMIC, &w.slot[o[0]])
        if w.slot[o[0]] == NULL:
            w.slot[o[0]] = n
        mutex_unlock(t, &w.guard)
    elif s.verb == FREE:
        free_node(t, w, o[0])
    elif s.verb == USE:
        n = node_in(t, w, o[0], OP_LOAD)
        r[o[1]] = n.value if n != NULL else -1
    elif s.verb == SET_NODE:
        n = node_in(t, w, o[0], OP_STORE)
        if n != NULL:
            n.value = o[1]
    elif s.verb <= DEL:
        list_verb(t, w, s.verb, o[0])
    elif s.verb == WALK or s.verb == WALK_BACK:
        mutex_lock(t, &w.guard)
        c = list_for_each(&w.head) if s.verb == WALK else list_for_each_prev(&w.head)
        r[o[1]] = 0
        while list_step(&c):
            r[o[1]] = 10 * r[o[1]] + 1
        mutex_unlock(t, &w.guard)
    elif s.verb == MARK:
        mark(t)
    elif s.verb == NOTE:
        note(t, 1, o[1], 0, 0)
    elif s.verb == MUST_BE:
        if r[o[0]] != o[1]:
            violate(t, WRONG_VALUE, o[0], r[o[0]], o[1])
    elif s.verb == SNEAK:
        w.word[o[0]] = o[1]
    else:
        point(t, OP_STORE, w.lock[o[0]])
        must_live(t, w.lock[o[0]], THINGS)
        free_object(t, w.lock[o[0]])


cdef void free_node(Task *t, things *w, int64_t slot) noexcept nogil:
    cdef node *n
    mutex_lock(t, &w.guard)
    point(t, OP_ATOMIC, &w.slot[slot])
    n = w.slot[slot]
    w.slot[slot] = NULL
    if n != NULL:
        if n.listed:
            list_del(&n.link)
        point(t, OP_STORE, n)
        must_live(t, n, NODE)
        free_object(t, n)
    mutex_unlock(t, &w.guard)


cdef void list_verb(Task *t, things *w, int verb, int64_t slot) noexcept nogil:
    cdef node *n
    mutex_lock(t, &w.guard)
    n = w.slot[slot]
    if n == NULL:
        pass
    elif verb == ADD and not n.listed:
        list_add(&n.link, &w.head)
        n.listed = True
    elif verb == ADD_TAIL and not n.listed:
        list_add_tail(&n.link, &w.head)
        n.listed = True
    elif verb == MOVE and n.listed:
        list_move(&n.link, &w.head)
    elif verb == MOVE_TAIL and n.listed:
        list_move_tail(&n.link, &w.head)
    elif verb == DEL and n.listed:
        list_del(&n.link)
        n.listed = False
    mutex_unlock(t, &w.guard)
