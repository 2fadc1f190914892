"""Program: the smallest subject, threads as lists of `lock a`, `load x r`, `store x 1` and the like.

It proves that the engine knows nothing of memory management, and it is what the engine's own tests and litmus tests
are written in. Everything that an execution changes, registers included, lives in the arena.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport calloc, free

from anonvma_rt.engine.base.arena cimport arena_offset, arena_root
from anonvma_rt.engine.base.klist cimport INIT_LIST_HEAD
from anonvma_rt.engine.base.operation cimport MAX_TASKS, OP_LOAD, OP_STORE, TEST_EQUAL, TEST_UNEQUAL, lock_word
from anonvma_rt.engine.run.explorer cimport Explorer
from anonvma_rt.engine.run.subject cimport Subject
from anonvma_rt.engine.memory.words cimport await_test, compare_exchange, fetch_add, load, store, take
from anonvma_rt.engine.run.sync cimport (
    declare_lock_order, down_read, down_write, downgrade_write, lock_init, lock_is_held, lock_wait, mutex_lock,
    mutex_trylock, mutex_unlock, spin_hint, spin_start, try_down_read, up_read, up_write,
)
from anonvma_rt.engine.run.task cimport (
    MAX_CLASSES, VIOLATION_SUBJECT, Execution, Task, found, free_object, mark, must_live, note, point, recheck,
)
from anonvma_rt.litmus.assemble cimport (
    ADD, AWAIT, AWAIT_NOT, AWAIT_NO_BITS, CAS, DOWNGRADE, FREE, GET, ITEM, LOAD, LOCK, LOCK_WORD, NEW, POLL, READ_LOCK,
    READ_TRYLOCK, READ_UNLOCK, ROW, SET, SPIN, STORE, TABLE, TAKE, TRYLOCK, UNLINK, UNLOCK, USE, WAIT, WORD, WORLD,
    WRITE_LOCK, WRITE_UNLOCK,
)
from anonvma_rt.litmus.outcome cimport Term, holds
from anonvma_rt.litmus.world cimport begin_surgery, end_surgery, item, item_of, must_alloc, new_item, unlink, world


from anonvma_rt.litmus.assemble import compile_sections, kinds_of_names
from anonvma_rt.litmus.outcome import compile_outcome

cdef enum:
    MAX_NAMES = 1024


cdef class Program(Subject):
    """Threads of steps `(verb, name, operand...)` over shared locks, variables and objects.

    lock a, unlock a, trylock a r          a mutex; r becomes 1 where it was taken, else 0
    read_lock a, read_unlock a             the same lock as a read-write semaphore
    read_trylock a r                       r becomes 1 where a reader was let in, else 0
    write_lock a, write_unlock a
    downgrade a                            whoever holds it goes on as a reader, and nobody writes in between
    wait a                                 until nobody holds it, without taking it
    load x r, store x v, add x v           variables begin at 0; v is a number or a register of the thread; add is
                                           atomic, and r is what was loaded
    cas x old new r                        atomic; r becomes 1 where x was `old` and so replaced, else 0
    await x v                              blocks until x is v; await_not, await_less, await_at_least: until it is not,
                                           is less, is not less; await_bits, await_no_bits: until it has a bit of v, or
                                           none
    take x v                               blocks until x is v or more, and takes v from it, as one step: P of a
                                           semaphore
    spin x v                               loads x until it is v, and lets others go on in between (spin_hint)
    poll x v                               loads x until it is v, and cares about nobody
    free o                                 o is an object or a lock
    new o                                  o names a fresh object, at the end of the one list on which all objects begin
    use o                                  a violation where o is freed
    unlink o                               takes o off that list
    get x r, set x v                       load and store without a point: nobody comes between them and the step
                                           before. Right for what a lock protects: where no lock keeps all accesses of
                                           different threads to x apart, they are as load and store
    !lock a, ...                           any verb but these two, as an interesting operation (mark), for strategies
                                           that ask

    Each but the last two is one step, and its point comes right before it. What is done to objects is done to the one
    list that they are on, and to which object a name stands for: so all of these depend on each other. What kind of
    thing a name is follows from the verbs that use it.

    setup: steps made before the threads start, without registers. forbidden: outcomes over variables ("x") and
    registers ("0:r" is r of thread 0) at the end of an execution. One that holds is a violation named "assertion", with
    the number of the outcome. An outcome is a mapping to numbers, all of which must be right, or a condition in reverse
    Polish notation, a list of numbers, names and operators (+ - == != < <= and or; numbers wrap at 64 bits, true is 1).
    classes: the lock class, 0 to 15, of locks that have
    one. order: pairs of locks, the class of the first before that of the second.

    In a trace each step leaves a note: code is its number in its thread, a the value that it read or wrote.

    >>> step = [("load", "x", "r"), ("add", "x", 1)]
    >>> Program([step, step], forbidden=[{"0:r": 0, "1:r": 0}]).tasks
    2
    >>> Program([step, step], forbidden=[["0:r", "1:r", "+", 1, "<", "x", 2, "!=", "or"]]).tasks
    2
    """

    def __cinit__(self, *args, **kwargs):
        # Until it is compiled no Explorer takes it.
        self.tasks = 0

    def __init__(self, threads, *, setup=(), forbidden=(), classes=None, order=()):
        if self.code != NULL:
            raise RuntimeError("a Program is compiled once")
        threads = [list(thread) for thread in threads]
        if not 1 <= len(threads) <= MAX_TASKS:
            raise ValueError(f"a program has 1 to {MAX_TASKS} threads, not {len(threads)}")
        sections = [(f"thread {i}", steps) for i, steps in enumerate(threads)] + [("setup", list(setup))]
        classes = dict(classes or {})
        kinds = kinds_of_names(sections, classes)
        if len(kinds) > MAX_NAMES:
            raise ValueError(f"a program has at most {MAX_NAMES} shared names, not {len(kinds)}")
        self.names = tuple(kinds)
        compiled, self.registers = compile_sections(sections, {name: i for i, name in enumerate(kinds)})
        self.n_objects = len(self.names)
        self.n_registers = len(self.registers)
        self.keep_code(compiled)
        self.keep_locks(kinds, classes, list(order))
        self.keep_forbidden(kinds, list(forbidden))
        self.tasks = len(threads)

    cdef int keep_code(self, sections) except -1:
        cdef int i = 0
        self.code = <Instruction *>room(sum(map(len, sections)), sizeof(Instruction))
        self.begin = <int *>room(len(sections) + 1, sizeof(int))
        for section, rows in enumerate(sections):
            self.begin[section] = i
            for verb, marked, object, result, a, a_reg, b, b_reg in rows:
                self.code[i].verb = verb
                self.code[i].marked = marked
                self.code[i].object = object
                self.code[i].result = result
                self.code[i].a.number = a
                self.code[i].a.reg = a_reg
                self.code[i].b.number = b
                self.code[i].b.reg = b_reg
                i += 1
        self.begin[len(sections)] = i
        return 0

    cdef int keep_locks(self, kinds, classes, order) except -1:
        self.kind = <int32_t *>room(len(kinds), sizeof(int32_t))
        self.lock_class = <int32_t *>room(len(kinds), sizeof(int32_t))
        for i, kind in enumerate(kinds.values()):
            self.kind[i] = kind
        for name, cls in classes.items():
            if kinds.get(name) != LOCK_WORD:
                raise ValueError(f"classes: {name!r} is not a lock of this program")
            if type(cls) is not int or not 0 <= cls < MAX_CLASSES:
                raise ValueError(f"classes: the class of {name!r} is a number from 0 to {MAX_CLASSES - 1}, not {cls!r}")
            self.lock_class[self.names.index(name)] = cls
        self.n_order = len(order)
        self.before = <int *>room(len(order), sizeof(int))
        self.after = <int *>room(len(order), sizeof(int))
        for i, pair in enumerate(order):
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise ValueError(f"order: a pair of locks is needed, not {pair!r}")
            for name in pair:
                if not classes.get(name):
                    raise ValueError(f"order: {name!r} is not a lock with a class other than 0")
            if classes[pair[0]] == classes[pair[1]]:
                raise ValueError(f"order: {pair[0]!r} and {pair[1]!r} are of the same class")
            self.before[i] = classes[pair[0]]
            self.after[i] = classes[pair[1]]
        return 0

    cdef int keep_forbidden(self, kinds, outcomes) except -1:
        cdef int i = 0
        compiled = [
            compile_outcome(f"forbidden outcome {at}", outcome, self.names, kinds, self.registers)
            for at, outcome in enumerate(outcomes)
        ]
        self.n_outcomes = len(compiled)
        self.outcome = <int *>room(len(compiled) + 1, sizeof(int))
        self.terms = <Term *>room(sum(map(len, compiled)), sizeof(Term))
        for at, terms in enumerate(compiled):
            self.outcome[at] = i
            for kind, value in terms:
                self.terms[i].kind = kind
                self.terms[i].value = value
                i += 1
        self.outcome[len(compiled)] = i
        return 0

    def __dealloc__(self):
        free(self.code)
        free(self.begin)
        free(self.terms)
        free(self.outcome)
        free(self.kind)
        free(self.lock_class)
        free(self.before)
        free(self.after)

    def kinds(self):
        return {**Subject.kinds(self), VIOLATION_SUBJECT: "assertion"}

    def lock_classes(self):
        return {name: self.lock_class[i] for i, name in enumerate(self.names or ()) if self.lock_class[i]}

    def refused(self, code):
        return ValueError(f"setup ends while {self.names[code - 1]!r} is held")

    cdef int build(self, Task *t) noexcept nogil:
        """Everything in the order of the names. Returns 0, or one plus the place of a lock that setup left held."""
        cdef world *w = <world *>must_alloc(t, sizeof(world), WORLD)
        cdef int i
        INIT_LIST_HEAD(&w.items)
        w.object = <void **>must_alloc(t, self.n_objects * sizeof(void *), TABLE)
        w.registers = <int64_t *>must_alloc(t, self.n_registers * sizeof(int64_t), ROW)
        for i in range(self.n_objects):
            if self.kind[i] == LOCK_WORD:
                w.object[i] = must_alloc(t, sizeof(lock_word), LOCK_WORD)
                lock_init(<lock_word *>w.object[i], self.lock_class[i])
            elif self.kind[i] == WORD:
                w.object[i] = must_alloc(t, sizeof(int64_t), WORD)
            else:
                w.object[i] = new_item(t, w)
        for i in range(self.n_order):
            declare_lock_order(t.x, self.before[i], self.after[i])
        self.run(t, self.tasks)
        for i in range(self.n_objects):
            # A freed lock is poisoned, which looks like held: whoever takes it will be told.
            if self.kind[i] == LOCK_WORD and lock_is_held(<lock_word *>w.object[i]):
                if (<lock_word *>w.object[i]).cls < MAX_CLASSES:
                    return i + 1
        return 0

    cdef void body(self, Task *t) noexcept nogil:
        self.run(t, t.id)

    cdef void check(self, Execution *x) noexcept nogil:
        cdef world *w = <world *>arena_root(&x.arena)
        cdef int i
        for i in range(self.n_outcomes):
            if holds(self.terms + self.outcome[i], self.outcome[i + 1] - self.outcome[i], w.object, w.registers):
                found(x, VIOLATION_SUBJECT, -1, i, 0, 0)

    cdef void run(self, Task *t, int section) noexcept nogil:
        cdef world *w = <world *>arena_root(&t.x.arena)
        cdef Instruction *s
        cdef void *o
        cdef int64_t a
        cdef int64_t result
        cdef int i
        for i in range(self.begin[section], self.begin[section + 1]):
            s = &self.code[i]
            o = w.object[s.object]
            a = s.a.number if s.a.reg < 0 else w.registers[s.a.reg]
            result = a
            if s.marked:
                mark(t)
            if s.verb == LOCK:
                mutex_lock(t, <lock_word *>o)
            elif s.verb == UNLOCK:
                mutex_unlock(t, <lock_word *>o)
            elif s.verb == TRYLOCK:
                result = mutex_trylock(t, <lock_word *>o)
            elif s.verb == READ_TRYLOCK:
                result = try_down_read(t, <lock_word *>o)
            elif s.verb == READ_LOCK:
                down_read(t, <lock_word *>o)
            elif s.verb == READ_UNLOCK:
                up_read(t, <lock_word *>o)
            elif s.verb == WRITE_LOCK:
                down_write(t, <lock_word *>o)
            elif s.verb == WRITE_UNLOCK:
                up_write(t, <lock_word *>o)
            elif s.verb == DOWNGRADE:
                downgrade_write(t, <lock_word *>o)
            elif s.verb == WAIT:
                lock_wait(t, <lock_word *>o)
            elif s.verb == LOAD:
                result = load(t, <int64_t *>o)
            elif s.verb == STORE:
                store(t, <int64_t *>o, a)
            elif s.verb == ADD:
                result = <int64_t>(<uint64_t>fetch_add(t, <int64_t *>o, a) + <uint64_t>a)
            elif s.verb == CAS:
                result = compare_exchange(t, <int64_t *>o, a, s.b.number if s.b.reg < 0 else w.registers[s.b.reg])
            elif s.verb == AWAIT:
                await_test(t, <int64_t *>o, TEST_EQUAL, a)
            elif AWAIT_NOT <= s.verb <= AWAIT_NO_BITS:
                await_test(t, <int64_t *>o, TEST_UNEQUAL + s.verb - AWAIT_NOT, a)
            elif s.verb == TAKE:
                take(t, <int64_t *>o, a)
            elif s.verb == SPIN:
                spin_start(t)
                while load(t, <int64_t *>o) != a:
                    spin_hint(t)
            elif s.verb == POLL:
                while load(t, <int64_t *>o) != a:
                    pass
            elif s.verb == FREE:
                if self.kind[s.object] == ITEM:
                    o = item_of(t, w, OP_STORE, s.object)
                else:
                    point(t, OP_STORE, o)
                    begin_surgery(t, w)
                must_live(t, o, self.kind[s.object])
                free_object(t, o)
                end_surgery(t, w)
            elif s.verb == NEW:
                item_of(t, w, OP_STORE, s.object)
                w.object[s.object] = new_item(t, w)
                end_surgery(t, w)
            elif s.verb == USE:
                o = item_of(t, w, OP_LOAD, s.object)
                must_live(t, o, ITEM)
                end_surgery(t, w)
            elif s.verb == UNLINK:
                o = item_of(t, w, OP_STORE, s.object)
                must_live(t, o, ITEM)
                unlink(t, <item *>o)
                end_surgery(t, w)
            elif s.verb == SET:
                (<int64_t *>o)[0] = a
                if t.x.awaiting:
                    recheck(t.x, o)
            elif s.verb == GET:
                result = (<int64_t *>o)[0]
            if s.result >= 0:
                w.registers[s.result] = result
            note(t, i - self.begin[section], result, 0, 0)

    def values(self, Explorer explorer not None):
        """Variables ("x") and registers ("0:r") as the last execution of `explorer` left them."""
        cdef world *w = self.state(explorer)
        result = {}
        for i, name in enumerate(self.names):
            if self.kind[i] == WORD:
                result[name] = (<int64_t *>w.object[i])[0]
        for i, name in enumerate(self.registers):
            result[name] = w.registers[i]
        return result

    def ids(self, Explorer explorer not None):
        """The stable id of each shared name, by which the events of a trace name it."""
        cdef world *w = self.state(explorer)
        return {name: arena_offset(&explorer.x.arena, w.object[i]) for i, name in enumerate(self.names)}

    cdef world *state(self, Explorer explorer) except NULL:
        if explorer.subject is not self:
            raise ValueError("the explorer explores another subject")
        if not explorer.idle:
            raise RuntimeError("the explorer is busy")
        return <world *>arena_root(&explorer.x.arena)


cdef void *room(size_t n, size_t size) except NULL:
    cdef void *block = calloc(n + 1, size)
    if block == NULL:
        raise MemoryError(f"no memory for a program: {n} times {size} bytes")
    return block
