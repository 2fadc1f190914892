"""A program that was compiled for the lab, as a subject: its threads are the tasks, main is task 0.

What its runtime (anonvma_rt/programs/runtime) asks of the scheduler is answered here. Other threads wait outside until
one begins them; a number stands for a parent and the place among its threads, whatever the interleaving.
"""

cimport cython
from libc.stdint cimport int8_t, int32_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from anonvma_rt.engine.base.arena cimport (
    ARENA_START, Arena, arena_alloc, arena_header, arena_header_at, arena_header_of, arena_size,
)
from anonvma_rt.engine.base.operation cimport (
    MAX_TASKS, OP_AWAIT, OP_LOAD, OP_STORE, OP_TAKE, OP_TRYLOCK, TEST_UNEQUAL, lock_word,
)
from anonvma_rt.engine.run.subject cimport Subject
from anonvma_rt.engine.run.sync cimport acquire, release, spin_hint, try_acquire, try_down_read, wait_for
from anonvma_rt.engine.run.task cimport (
    HALT_EXIT, HALT_NO_MEMORY, HALT_REFUSED, VIOLATION_DEADLOCK, VIOLATION_LOST_WAKEUP, VIOLATION_SUBJECT, Execution,
    Task, free_object, halt, note, point, recheck, violate,
)
from anonvma_rt.programs.image cimport (
    RT_BAD_FREE, RT_DOUBLE_FREE, RT_EXIT_CODE, RT_MOST_TASKS, Image, rt_host,
)
from anonvma_rt.programs.memory cimport (
    Watch, place_of, watch_access, watch_begin, watch_built, watch_close, watch_free, watch_freed, watch_gives,
    watch_joins, watch_made, watch_open, watch_stack,
)

cdef enum:
    # Behind each object of the heap, beside the header of the next one.
    RED_ZONE = 16
    # The types of the arena's objects: the globals, and what the program allocates.
    TYPE_GLOBALS = 1
    TYPE_HEAP
    REFUSED_MEMORY = 1
    # What size_of() says of what is no live object.
    FREED = -1
    NONE = -2
    ELSEWHERE = -3
    # Of notes: the code of what is printed, of which each has as much as three numbers hold.
    PRINTED = 1

RACES = ("report", "collect", "ignore")
KINDS_OF_PROGRAMS = (
    "assertion", "abort", "uncaught-exception", "exit-code", "double-free", "bad-free", "destroyed", "bad-call",
    "data-race", "out-of-bounds", "freed",
)

assert <int>RT_MOST_TASKS == <int>MAX_TASKS


cdef inline Task *running(void *x) noexcept nogil:
    return &(<Execution *>x).task[(<Execution *>x).current]


cdef inline Watch *watch_of(void *x) noexcept nogil:
    return (<Program>(<Execution *>x).subject.self).watch


cdef int host_task(void *x) noexcept nogil:
    return (<Execution *>x).current


cdef void host_point(void *x, int op, void *object) noexcept nogil:
    point(running(x), op, object)
    if op == OP_LOAD:
        watch_joins(watch_of(x), running(x), op, object)
    else:
        watch_gives(watch_of(x), running(x), op, object)


cdef void host_changed(void *x, void *object) noexcept nogil:
    if (<Execution *>x).awaiting:
        recheck(<Execution *>x, object)


cdef void host_wait(void *x, int op, int64_t *word, int test, int64_t want) noexcept nogil:
    wait_for(running(x), op, word, test, want)
    watch_joins(watch_of(x), running(x), op, word)
    if op == OP_TAKE:
        watch_gives(watch_of(x), running(x), op, word)


cdef void host_acquire(void *x, void *lock, int op) noexcept nogil:
    acquire(running(x), <lock_word *>lock, op, 0, True)
    watch_joins(watch_of(x), running(x), op, lock)


cdef int host_try_acquire(void *x, void *lock, int op) noexcept nogil:
    cdef int done
    if op == OP_TRYLOCK:
        done = try_acquire(running(x), <lock_word *>lock)
    else:
        done = try_down_read(running(x), <lock_word *>lock)
    if done:
        watch_joins(watch_of(x), running(x), op, lock)
    return done


cdef void host_release(void *x, void *lock, int op) noexcept nogil:
    release(running(x), <lock_word *>lock, op, 0)
    watch_gives(watch_of(x), running(x), op, lock)


cdef void host_fruitless(void *x) noexcept nogil:
    spin_hint(running(x))


cdef int host_begin(void *x) noexcept nogil:
    cdef Execution *e = <Execution *>x
    return begin(<Program>e.subject.self, running(x))


cdef void host_leave(void *x) noexcept nogil:
    cdef Execution *e = <Execution *>x
    e.carrier.unwind(running(x))


cdef void *host_allocate(void *x, uint64_t size, uint64_t align) noexcept nogil:
    """An object whose address is a multiple of `align`, which is a power of two; an object that nobody has fills the
    room before it."""
    cdef Execution *e = <Execution *>x
    cdef uint64_t at = <uint64_t>e.arena.base + e.arena.now.used + sizeof(arena_header)
    cdef void *object
    if align > 16 and at & (align - 1):
        # Two headers lie between the filler's beginning and the object.
        at = (align - (at + sizeof(arena_header) & (align - 1))) & (align - 1)
        object = arena_alloc(&e.arena, at, TYPE_HEAP)
        if object != NULL:
            arena_header_of(object).generation = 1
    object = arena_alloc(&e.arena, ((size + 15) & ~<uint64_t>15) + RED_ZONE, TYPE_HEAP)
    if object == NULL or watch_made(watch_of(x), e.current, object, size) < 0:
        halt(running(x), HALT_NO_MEMORY)
    arena_header_of(object).unused = <uint16_t>((-size & 15) + RED_ZONE)
    return object


cdef void host_made(void *x, void *place) noexcept nogil:
    """The object that was allocated last is the program's own: from where it was asked for."""
    cdef Watch *w = watch_of(x)
    w.block[w.n - 1].made = place_of(w, place)


cdef int64_t host_size_of(void *x, void *object) noexcept nogil:
    cdef Arena *arena = &(<Execution *>x).arena
    cdef uint64_t offset = <uint64_t>object - <uint64_t>arena.base
    cdef arena_header *header
    if offset >= arena.reserved:
        return ELSEWHERE
    header = arena_header_at(arena, object, TYPE_HEAP)
    if header == NULL:
        return NONE
    if header.generation & 1:
        return FREED
    return <int64_t>(arena_size(object) - header.unused)


cdef void host_free(void *x, void *object, void *place) noexcept nogil:
    cdef Task *t = running(x)
    point(t, OP_STORE, object)
    watch_free(watch_of(x), t, object, place)
    free_object(t, object)


cdef void host_wrong(void *x, int what, const void *text, const void *where, int64_t n) noexcept nogil:
    """Addresses are kept as offsets, because a program may be loaded at another place."""
    cdef Execution *e = <Execution *>x
    if what == RT_DOUBLE_FREE or what == RT_BAD_FREE:
        n = place_of(watch_of(x), <void *>n)
        if what == RT_DOUBLE_FREE:
            n |= <int64_t>watch_freed(watch_of(x), where) << 32
    violate(running(x), VIOLATION_SUBJECT + what, offset_of(e, text), offset_of(e, where), n)


cdef inline int64_t offset_of(Execution *e, const void *address) noexcept nogil:
    return <int64_t>(<uint64_t>address - <uint64_t>e.arena.base) if address != NULL else 0


cdef void host_exit(void *x, int code) noexcept nogil:
    cdef Execution *e = <Execution *>x
    if code:
        violate(running(x), VIOLATION_SUBJECT + RT_EXIT_CODE, 0, 0, code)
    e.finding.task = e.current
    halt(running(x), HALT_EXIT)


cdef void host_refuse(void *x, const char *call) noexcept nogil:
    cdef Task *t = running(x)
    t.x.finding.task = t.id
    t.x.finding.a = 0
    t.x.finding.b = <int64_t>call
    halt(t, HALT_REFUSED)


cdef void host_access(void *x, void *p, uint64_t size, int how, void *place) noexcept nogil:
    watch_access(watch_of(x), running(x), p, size, how, place)


cdef void host_missed(void *x) noexcept nogil:
    running(x).missed = True


cdef void host_print(void *x, const char *text, uint64_t n) noexcept nogil:
    """What the program prints is kept where the execution is recorded, 24 bytes a note."""
    cdef int64_t piece[3]
    cdef uint64_t at = 0
    cdef Task *t = running(x)
    if not t.x.tracing:
        return
    while at < n:
        memset(piece, 0, sizeof(piece))
        memcpy(piece, text + at, min(n - at, sizeof(piece)))
        note(t, PRINTED, piece[0], piece[1], piece[2])
        at += sizeof(piece)


cdef int begin(Program self, Task *t) noexcept nogil:
    """The number of the next thread that t begins."""
    cdef int ordinal = self.begun[t.id]
    cdef int number = self.child[t.id][ordinal] if ordinal < MAX_TASKS else 0
    self.begun[t.id] += 1
    if number == 0:
        if self.known == self.tasks or ordinal >= MAX_TASKS:
            t.x.finding.task = t.id
            t.x.finding.a = 1
            halt(t, HALT_REFUSED)
        number = self.known
        self.known += 1
        self.child[t.id][ordinal] = <int8_t>number
        self.parent[number] = t.id
        self.ordinal[number] = ordinal
    return number


@cython.no_gc_clear  # __dealloc__ needs the image
cdef class Program(Subject):
    """The program of an image, with `tasks` threads at most and the arguments of its main.

    family: (parent, ordinal) of each thread from 1 on, as far as they are known; the others get the numbers that
    follow, in the order in which they are first seen. races: "report", "collect" (in `found`) or "ignore"; points: the
    places at which an access is a step of its own (0 among them: all on one object).
    """

    cdef readonly Image image
    cdef rt_host host
    cdef int known
    cdef int8_t child[MAX_TASKS][MAX_TASKS]
    cdef int32_t parent[MAX_TASKS]
    cdef int32_t ordinal[MAX_TASKS]
    # Restored with the arena: it lies in the first page of it. Behind the last task: whether the execution has begun.
    cdef int32_t *begun
    cdef Watch *watch
    cdef int argc
    cdef char **argv
    cdef readonly list arguments

    def __cinit__(self, *args, **kwargs):
        self.watch = <Watch *>calloc(1, sizeof(Watch))
        if self.watch == NULL:
            raise MemoryError("no memory for the accesses of a program")

    def __init__(self, Image image not None, int tasks, arguments=("program",), family=(), races="report", points=()):
        if self.image is not None:
            raise RuntimeError("a program is made once")
        if image.used:
            raise RuntimeError("another explorer has this image")
        if not 1 <= tasks <= MAX_TASKS:
            raise ValueError(f"a program has 1 to {MAX_TASKS} threads, not {tasks}")
        self.image = image
        image.used = True
        self.tasks = tasks
        self.arguments = [str(one).encode() for one in arguments]
        self.known = 1
        for parent, ordinal in family:
            self.child[parent][ordinal] = <int8_t>self.known
            self.parent[self.known] = parent
            self.ordinal[self.known] = ordinal
            self.known += 1
        watch_open(self.watch, image.at.base, RACES.index(races), points)
        self.make_host()

    def __dealloc__(self):
        if self.image is not None:
            self.image.used = False
        if self.watch != NULL:
            watch_close(self.watch)
            free(self.watch)

    cdef void make_host(self):
        self.host.task = host_task
        self.host.point = host_point
        self.host.changed = host_changed
        self.host.wait = host_wait
        self.host.acquire = host_acquire
        self.host.try_acquire = host_try_acquire
        self.host.release = host_release
        self.host.fruitless = host_fruitless
        self.host.begin = host_begin
        self.host.leave = host_leave
        self.host.allocate = host_allocate
        self.host.size_of = host_size_of
        self.host.made = host_made
        self.host.free = host_free
        self.host.wrong = host_wrong
        self.host.exit = host_exit
        self.host.refuse = host_refuse
        self.host.access = host_access
        self.host.print = host_print
        self.host.missed = host_missed
        self.host.tasks = self.tasks

    @property
    def family(self):
        """(parent, ordinal) of each thread from 1 on that was begun so far."""
        return [(self.parent[i], self.ordinal[i]) for i in range(1, self.known)]

    @property
    def found(self):
        """Where accesses raced that were collected; 0 among them: one was to more than a word."""
        return [0] * self.watch.found_wide + sorted(self.watch.found[i] for i in range(self.watch.n_found))

    @property
    def unplaced(self):
        """Whether one of those that raced is the program's synchronisation, which has no place of its own."""
        return self.watch.found_unknown

    def kinds(self):
        return super().kinds() | {VIOLATION_SUBJECT + i: kind for i, kind in enumerate(KINDS_OF_PROGRAMS)}

    cdef void attach(self, Execution *x):
        Subject.attach(self, x)
        # Locks and the like lie on stacks, too.
        x.subject.anywhere = True

    cdef int place(self, Arena *arena) except -1:
        self.image.take(arena)
        return 0

    cdef int build(self, Task *t) noexcept nogil:
        cdef Arena *arena = &t.x.arena
        cdef arena_header *header = <arena_header *>(arena.base + ARENA_START)
        cdef uint64_t whole = (<uint64_t>(self.image.at.end - arena.base) - ARENA_START + 15) & ~<uint64_t>15
        cdef int i
        memset(header, 0, sizeof(arena_header))
        header.size = <uint32_t>whole
        header.serial = 1
        header.type = TYPE_GLOBALS
        arena.now.used = ARENA_START + whole
        arena.now.live = 1
        arena.now.serials[TYPE_GLOBALS] = 1
        self.watch.heap = arena.now.used
        self.begun = <int32_t *>(header + 1)
        self.host.x = t.x
        self.image.at.host[0] = &self.host
        for i in range(1, self.tasks):
            t.x.task[i].gate.op = OP_AWAIT
            t.x.task[i].gate.test = TEST_UNEQUAL
            t.x.task[i].gate.want = 0
            t.x.task[i].gate.word = &self.image.at.thread[i].gate
        if self.keep_arguments(arena) < 0:
            return REFUSED_MEMORY
        self.image.at.construct()
        watch_built(self.watch)
        return 0

    cdef int keep_arguments(self, Arena *arena) noexcept nogil:
        """The strings of argv are the program's own: it may write to them."""
        cdef int i
        with gil:
            self.argc = len(self.arguments)
            self.argv = <char **>self.keep(arena, (self.argc + 2) * sizeof(char *))
            if self.argv == NULL:
                return -1
            for i in range(self.argc):
                self.argv[i] = <char *>self.keep(arena, len(self.arguments[i]) + 1)
                if self.argv[i] == NULL:
                    return -1
                memcpy(self.argv[i], <char *>self.arguments[i], len(self.arguments[i]))
        return 0

    cdef void *keep(self, Arena *arena, uint64_t size) noexcept nogil:
        cdef void *object = arena_alloc(arena, ((size + 15) & ~<uint64_t>15) + RED_ZONE, TYPE_HEAP)
        return NULL if object == NULL or watch_made(self.watch, 0, object, size) < 0 else object

    cdef int stuck(self, Execution *x) noexcept nogil:
        return VIOLATION_LOST_WAKEUP if self.image.lost_wakeup(x.blocked & ~x.outside) else VIOLATION_DEADLOCK

    cdef void body(self, Task *t) noexcept nogil:
        cdef char *top = self.image.stack_of(t.id)
        if not self.begun[MAX_TASKS]:
            self.begun[MAX_TASKS] = True
            watch_begin(self.watch, self.tasks)
        watch_stack(self.watch, t.id, top)
        if t.id:
            watch_joins(self.watch, t, OP_AWAIT, t.gate.word)
        self.image.at.body(t.id, self.argc, self.argv, top)
