"""Program: the smallest subject, threads as lists of `lock a`, `load x r`, `store x 1` and the like.

It proves that the engine knows nothing of memory management, and it is what the engine's own tests and litmus tests
are written in. Everything that an execution changes, registers included, lives in the arena.
"""

from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc, free

from anonvma_rt.engine.base.arena cimport arena_offset, arena_root
from anonvma_rt.engine.base.klist cimport INIT_LIST_HEAD
from anonvma_rt.engine.base.operation cimport MAX_TASKS, lock_word
from anonvma_rt.engine.memory.rcu cimport rcu_bytes, rcu_domain, rcu_init
from anonvma_rt.engine.run.explorer cimport Explorer
from anonvma_rt.engine.run.subject cimport Subject
from anonvma_rt.engine.run.sync cimport declare_lock_order, lock_init, lock_is_held
from anonvma_rt.engine.run.task cimport MAX_CLASSES, VIOLATION_SUBJECT, Execution, Task, found
from anonvma_rt.litmus.access cimport (
    VIOLATION_BAD_POINTER, VIOLATION_BAD_VALUE, VIOLATION_DATA_RACE, VIOLATION_LOOP_BOUND,
)
from anonvma_rt.litmus.assemble cimport DOMAIN, LOCK_WORD, PLAIN_LOAD, PLAIN_STORE, ROW, TABLE, WORD, WORLD
from anonvma_rt.litmus.code cimport Instruction
from anonvma_rt.litmus.expression cimport INT64, Term, evaluate, wrapped
from anonvma_rt.litmus.interpreter cimport run
from anonvma_rt.litmus.world cimport must_alloc, new_item, world

from anonvma_rt.litmus.assemble import compile_sections, kinds_of_names, name_of
from anonvma_rt.litmus.expression import TYPES, address, compile_outcome, number

cdef enum:
    MAX_NAMES = 1024

# Of violations that are a program's own.
KINDS = {
    VIOLATION_SUBJECT: "assertion",
    VIOLATION_DATA_RACE: "data-race",
    VIOLATION_BAD_POINTER: "bad-pointer",
    VIOLATION_BAD_VALUE: "bad-value",
    VIOLATION_LOOP_BOUND: "loop-bound",
}


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
    load_acquire x r, store_release x v    every load is an acquire, in all models of engine/memory; a release
                                           comes after all stores before it
    plain_load x r, plain_store x v        load and store, and a data race is a violation: two accesses of different
                                           threads that could both come next, of which one is plain and one writes
    exchange x v r, fetch_add x v r, fetch_and x v r, fetch_or x v r, fetch_xor x v r
                                           atomic, and full barriers, like add and cas; r becomes what x was before
    compare_exchange x old new r           the same: stores `new` where x was `old`; r becomes what x was before
    add_unless x v unless r                the same: adds v unless x is `unless`; r becomes 1 where it did, else 0
    mb, rmb, wmb                           fences: full, of loads, of stores. Under SC they are nothing, and no step
    let r = ... ("let", "r", word, ...)    r becomes the value of an expression, see below; no step
    label l, jump l, jump_if v l, jump_unless v l
                                           within the thread, also backwards; no steps. jump_if: where v is not 0
    spin_start, spin_hint                  the engine's functions, for loops that only look
    beyond                                 a violation: a loop that was unrolled to its end would have gone on
    is_locked a r                          r becomes 1 where somebody holds a, else 0
    rcu_read_lock, rcu_read_unlock, synchronize_rcu
                                           sections, and a grace period, which waits for those that are under way
    srcu_read_lock s r, srcu_read_unlock s v, synchronize_srcu s
                                           the same of a domain s of its own; r becomes 0, v is not looked at
    !lock a, ...                           any verb that is a step, as an interesting operation (mark), for strategies
                                           that ask

    Each is one step unless it says otherwise, and its point comes right before it. What is done to objects is done to
    the one list that they are on, and to which object a name stands for: so all of these depend on each other. What
    kind of thing a name is follows from the verbs that use it.

    The name of a variable may be "*r": that whose address register r holds, or else a violation. A value v is a number,
    a register or the address of a variable, "&x", a number that is the same in every execution. A register that has
    been given no value is 0 in a thread with jumps, and an error elsewhere.

    Expressions are in reverse Polish notation, lists of numbers, names and operators: + - * / % & | ^ << >>
    == != < <= > >= and or of two values, ! ~ neg and the casts int8 uint8 int16 uint16 int32 uint32 of one. Numbers
    wrap at 64 bits, division truncates, true is 1. To divide by 0, or shift by less than 0 or more than 63, is a
    violation.

    setup: steps made before the threads start, without registers. forbidden: outcomes over variables ("x") and
    registers ("0:r" is r of thread 0) at the end of an execution. One that holds is a violation named "assertion", with
    the number of the outcome. An outcome is a mapping to numbers, all of which must be right, or an expression.
    classes: the lock class, 0 to 15, of locks that have one. order: pairs of locks, the class of the first before that
    of the second. types: of variables that are smaller than 64 bits, so that what is stored there wraps. initial: what
    variables hold at the beginning, before the setup.

    In a trace each step leaves a note: code is its number in its thread, a the value that it read or wrote, or
    whether a jump was made.

    >>> step = [("load", "x", "r"), ("add", "x", 1)]
    >>> Program([step, step], forbidden=[{"0:r": 0, "1:r": 0}]).tasks
    2
    >>> Program([step, step], forbidden=[["0:r", "1:r", "+", 1, "<", "x", 2, "!=", "or"]]).tasks
    2
    """

    def __cinit__(self, *args, **kwargs):
        # Until it is compiled no Explorer takes it.
        self.tasks = 0

    def __init__(self, threads, *, setup=(), forbidden=(), classes=None, order=(), types=None, initial=None):
        if self.code.begin != NULL:
            raise RuntimeError("a Program is compiled once")
        threads = [list(thread) for thread in threads]
        if not 1 <= len(threads) <= MAX_TASKS:
            raise ValueError(f"a program has 1 to {MAX_TASKS} threads, not {len(threads)}")
        sections = [(f"thread {i}", steps) for i, steps in enumerate(threads)] + [("setup", list(setup))]
        classes = dict(classes or {})
        types, initial = dict(types or {}), dict(initial or {})
        addresses = [value[1:] for value in initial.values() if isinstance(value, str) and value[:1] == "&"]
        kinds = kinds_of_names(sections, classes, [*types, *initial, *addresses])
        if len(kinds) > MAX_NAMES:
            raise ValueError(f"a program has at most {MAX_NAMES} shared names, not {len(kinds)}")
        self.names = tuple(kinds)
        places = {name: i for i, name in enumerate(kinds)}
        pointers = any((name_of(step) or "")[:1] == "*" for _, steps in sections for step in steps)
        aliased = [name for name, kind in kinds.items() if kind == WORD] if pointers else []
        compiled, terms, self.registers = compile_sections(sections, places, aliased)
        self.code.n_objects = len(self.names)
        self.code.n_registers = len(self.registers)
        self.keep_code(compiled, terms)
        self.keep_variables(kinds, types, initial)
        self.keep_locks(kinds, classes, list(order))
        self.keep_forbidden(kinds, list(forbidden))
        self.tasks = len(threads)

    cdef int keep_code(self, sections, terms) except -1:
        cdef Instruction *s
        cdef int i = 0
        self.code.instruction = <Instruction *>room(sum(map(len, sections)), sizeof(Instruction))
        self.code.begin = <int *>room(len(sections) + 1, sizeof(int))
        self.code.terms = <Term *>room(len(terms), sizeof(Term))
        for section, rows in enumerate(sections):
            self.code.begin[section] = i
            for row in rows:
                s = &self.code.instruction[i]
                (s.verb, s.kind, s.marked, s.object, s.pointer, s.result, s.at, s.a.number, s.a.reg, s.b.number,
                 s.b.reg) = row
                if s.verb == PLAIN_LOAD or s.verb == PLAIN_STORE:
                    self.code.plain = True
                i += 1
        self.code.begin[len(sections)] = i
        keep_terms(self.code.terms, terms)
        return 0

    cdef int keep_variables(self, kinds, types, initial) except -1:
        self.code.kind = <int32_t *>room(len(kinds), sizeof(int32_t))
        self.code.type = <int32_t *>room(len(kinds), sizeof(int32_t))
        self.initial = <int64_t *>room(len(kinds), sizeof(int64_t))
        for i, (name, kind) in enumerate(kinds.items()):
            self.code.kind[i] = kind
            type = types.get(name, "int64")
            if type != "int64" and type not in TYPES:
                raise ValueError(f"types: {type!r} of {name!r} is not one of int64, {', '.join(TYPES)}")
            self.code.type[i] = TYPES.get(type, INT64)
            value = initial.get(name, 0)
            if isinstance(value, str) and value[:1] == "&":
                value = address(self.names.index(value[1:]))
            self.initial[i] = wrapped(number(f"initial: the value of {name}", value), self.code.type[i])
        return 0

    cdef int keep_locks(self, kinds, classes, order) except -1:
        self.lock_class = <int32_t *>room(len(kinds), sizeof(int32_t))
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
        variables = [name for name, kind in kinds.items() if kind == WORD]
        compiled = [
            compile_outcome(f"forbidden outcome {at}", outcome, self.names, variables, self.registers)
            for at, outcome in enumerate(outcomes)
        ]
        self.n_outcomes = len(compiled)
        self.outcome = <int *>room(len(compiled) + 1, sizeof(int))
        self.terms = <Term *>room(sum(map(len, compiled)), sizeof(Term))
        for at, terms in enumerate(compiled):
            self.outcome[at] = i
            keep_terms(self.terms + i, terms)
            i += len(terms)
        self.outcome[len(compiled)] = i
        return 0

    def __dealloc__(self):
        free(self.code.instruction)
        free(self.code.begin)
        free(self.code.terms)
        free(self.code.kind)
        free(self.code.type)
        free(self.initial)
        free(self.terms)
        free(self.outcome)
        free(self.lock_class)
        free(self.before)
        free(self.after)

    def kinds(self):
        return {**Subject.kinds(self), **KINDS}

    def lock_classes(self):
        return {name: self.lock_class[i] for i, name in enumerate(self.names or ()) if self.lock_class[i]}

    def refused(self, code):
        return ValueError(f"setup ends while {self.names[code - 1]!r} is held")

    cdef int build(self, Task *t) noexcept nogil:
        """Everything in the order of the names. Returns 0, or one plus the place of a lock that setup left held."""
        cdef world *w = <world *>must_alloc(t, sizeof(world), WORLD)
        cdef size_t n
        cdef int i
        INIT_LIST_HEAD(&w.items)
        w.object = <void **>must_alloc(t, self.code.n_objects * sizeof(void *), TABLE)
        # Behind the registers: at which access a thread stands, where there are plain ones.
        n = self.code.n_registers + (self.tasks if self.code.plain else 0)
        w.registers = <int64_t *>must_alloc(t, n * sizeof(int64_t), ROW)
        for i in range(self.code.n_objects):
            if self.code.kind[i] == LOCK_WORD:
                w.object[i] = must_alloc(t, sizeof(lock_word), LOCK_WORD)
                lock_init(<lock_word *>w.object[i], self.lock_class[i])
            elif self.code.kind[i] == WORD:
                w.object[i] = must_alloc(t, sizeof(int64_t), WORD)
                (<int64_t *>w.object[i])[0] = self.initial[i]
            elif self.code.kind[i] == DOMAIN:
                w.object[i] = must_alloc(t, rcu_bytes(t), DOMAIN)
                rcu_init(t, <rcu_domain *>w.object[i])
            else:
                w.object[i] = new_item(t, w)
        for i in range(self.n_order):
            declare_lock_order(t.x, self.before[i], self.after[i])
        run(t, &self.code, self.tasks)
        for i in range(self.code.n_objects):
            # A freed lock is poisoned, which looks like held: whoever takes it will be told.
            if self.code.kind[i] == LOCK_WORD and lock_is_held(<lock_word *>w.object[i]):
                if (<lock_word *>w.object[i]).cls < MAX_CLASSES:
                    return i + 1
        return 0

    cdef void body(self, Task *t) noexcept nogil:
        run(t, &self.code, t.id)

    cdef void check(self, Execution *x) noexcept nogil:
        cdef world *w = <world *>arena_root(&x.arena)
        cdef bint bad = False
        cdef int64_t holds
        cdef int n
        cdef int i
        for i in range(self.n_outcomes):
            n = self.outcome[i + 1] - self.outcome[i]
            holds = evaluate(self.terms + self.outcome[i], n, w.object, w.registers, &bad)
            if bad or holds:
                found(x, VIOLATION_BAD_VALUE if bad else VIOLATION_SUBJECT, -1, i, 0, 0)
                return

    def values(self, Explorer explorer not None):
        """Variables ("x") and registers ("0:r") as the last execution of `explorer` left them."""
        cdef world *w = self.state(explorer)
        result = {}
        for i, name in enumerate(self.names):
            if self.code.kind[i] == WORD:
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


cdef int keep_terms(Term *terms, rows) except -1:
    for i, (kind, value) in enumerate(rows):
        terms[i].kind = kind
        terms[i].value = value
    return 0
