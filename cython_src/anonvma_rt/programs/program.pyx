"""A program that was compiled for the lab, as a subject: its threads are the tasks, main is task 0.

What its runtime (anonvma_rt/programs/runtime) asks of the scheduler is answered by host.pyx. Other threads wait outside
until one begins them; a number stands for a parent and the place among its threads, whatever the interleaving.
"""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from anonvma_rt.engine.base.arena cimport ARENA_START, Arena, arena_alloc, arena_header
from anonvma_rt.engine.base.operation cimport MAX_TASKS, OP_AWAIT
from anonvma_rt.engine.run.subject cimport Subject
from anonvma_rt.engine.run.task cimport (
    VIOLATION_DEADLOCK, VIOLATION_LOST_WAKEUP, VIOLATION_SUBJECT, Execution, Task, found,
)
from anonvma_rt.programs.family cimport family_add
from anonvma_rt.programs.host cimport RED_ZONE, TYPE_HEAP, Host, host_gate, host_open, host_runs_chance
from anonvma_rt.programs.image cimport RT_LEAK, RT_MOST_TASKS, Image, rt_state
from anonvma_rt.programs.memory cimport (
    Block, Watch, watch_begin, watch_built, watch_close, watch_joins, watch_leaks, watch_made, watch_open, watch_root,
    watch_stack,
)

cdef enum:
    PAGE = 4096
    TYPE_GLOBALS = 1
    REFUSED_MEMORY = 1

RACES = ("report", "collect", "ignore")
KINDS_OF_PROGRAMS = (
    "assertion", "abort", "uncaught-exception", "exit-code", "double-free", "bad-free", "destroyed", "bad-call",
    "data-race", "out-of-bounds", "freed", "leak", "use-after-return",
)

assert <int>RT_MOST_TASKS <= <int>MAX_TASKS


cdef inline void root(Watch *w, void **pointer) noexcept nogil:
    watch_root(w, <uint64_t>(<char *>pointer - w.base), sizeof(void *))


@cython.no_gc_clear  # __dealloc__ needs the image
cdef class Program(Subject):
    """The program of an image, with `tasks` threads at most and the arguments of its main.

    family: (parent, ordinal) of each thread from 1 on, as far as they are known; the others get the numbers that
    follow, in the order in which they are first seen. races: "report", "collect" (in `found`) or "ignore"; points: the
    places at which an access is a step of its own (0 among them: all on one object). late, spurious: how often a wait
    of a thread may be late, and end for no reason.
    """

    def __cinit__(self, *args, **kwargs):
        self.host = <Host *>calloc(1, sizeof(Host))
        if self.host == NULL:
            raise MemoryError("no memory for the accesses of a program")

    def __init__(self, Image image not None, int tasks, arguments=("program",), family=(), races="report", points=(),
                 int late=0, int spurious=0):
        if self.image is not None:
            raise RuntimeError("a program is made once")
        if image.used:
            raise RuntimeError("another explorer has this image")
        if not 1 <= tasks <= RT_MOST_TASKS:
            raise ValueError(f"a program has 1 to {RT_MOST_TASKS} threads, not {tasks}")
        self.image = image
        image.used = True
        self.tasks = tasks
        self.arguments = [str(one).encode() for one in arguments]
        self.host.tasks = tasks
        self.host.late = late
        self.host.spurious = spurious
        host_open(self.host)
        for parent, ordinal in family:
            family_add(&self.host.family, parent, ordinal)
        watch_open(&self.host.watch, image.at.base, RACES.index(races), points)

    def __dealloc__(self):
        if self.image is not None:
            self.image.used = False
        if self.host != NULL:
            watch_close(&self.host.watch)
            free(self.host)

    @property
    def family(self):
        """(parent, ordinal) of each thread from 1 on that was begun so far."""
        return [(self.host.family.parent[i], self.host.family.ordinal[i]) for i in range(1, self.host.family.known)]

    @property
    def found(self):
        """Where accesses raced that were collected; 0 among them: one was to more than a word."""
        return [0] * self.host.watch.found_wide + sorted(
            self.host.watch.found[i] for i in range(self.host.watch.n_found)
        )

    @property
    def circles(self):
        """Whether a thread that goes round in a circle waits: only where every write to memory is told by the
        compiler, or made by the runtime."""
        return self.host.circles

    @circles.setter
    def circles(self, bint value):
        self.host.circles = value

    @property
    def leaks(self):
        """Whether an object of the heap that nobody can free any more, at the end, is a violation."""
        return self.host.leaks

    @leaks.setter
    def leaks(self, bint value):
        self.host.leaks = value

    @property
    def exited(self):
        """Whether exit() ended an execution, where nobody can look for leaks: stacks still point to objects."""
        return self.host.exited

    @property
    def limited(self):
        """Whether a search met a thread that might have been late once more."""
        return self.host.limited

    @property
    def unplaced(self):
        """Whether one of those that raced is the program's synchronisation, which has no place of its own."""
        return self.host.watch.found_unknown

    def kinds(self):
        return super().kinds() | {VIOLATION_SUBJECT + i: kind for i, kind in enumerate(KINDS_OF_PROGRAMS)}

    cdef void attach(self, Execution *x):
        Subject.attach(self, x)
        # Locks and the like lie on stacks, too.
        x.subject.anywhere = True

    cdef int place(self, Arena *arena) except -1:
        self.image.take(arena, self.tasks)
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
        self.host.thread = <rt_state *>arena_alloc(arena, (self.tasks * sizeof(rt_state) + 15) & ~<uint64_t>15,
                                                   TYPE_GLOBALS)
        if self.host.thread == NULL:
            return REFUSED_MEMORY
        self.image.at.thread[0] = self.host.thread
        self.host.watch.heap = arena.now.used
        self.host.begun = <int32_t *>(header + 1)
        self.host.x = t.x
        self.image.at.host[0] = &self.host.calls
        for i in range(1, self.tasks):
            host_gate(self.host, &t.x.task[i])
        if self.keep_arguments(arena) < 0:
            return REFUSED_MEMORY
        self.image.at.construct()
        watch_built(&self.host.watch)
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
        return NULL if object == NULL or watch_made(&self.host.watch, 0, object, size) < 0 else object

    cdef int stuck(self, Execution *x) noexcept nogil:
        return VIOLATION_LOST_WAKEUP if self.image.lost_wakeup(x) else VIOLATION_DEADLOCK

    cdef void check(self, Execution *x) noexcept nogil:
        """Threads are gone, with what they had of their own: what points to objects are the globals and main's
        thread-local variables."""
        cdef Watch *w = &self.host.watch
        cdef uint64_t lost
        cdef Block *first
        if not self.host.leaks:
            return
        watch_root(w, PAGE, <uint64_t>(self.image.at.end - x.arena.base) - PAGE)
        root(w, &self.host.thread[0].block)
        root(w, <void **>&self.host.thread[0].values)
        lost = watch_leaks(w, &first)
        if lost:
            found(x, VIOLATION_SUBJECT + RT_LEAK, first.made_by, <int64_t>first.start, first.made,
                  <int64_t>(first.end - first.start | lost << 32))

    cdef void body(self, Task *t) noexcept nogil:
        cdef char *top = self.image.stack_of(t.id)
        if not self.host.begun[MAX_TASKS]:
            self.host.begun[MAX_TASKS] = True
            watch_begin(&self.host.watch, self.tasks)
        if host_runs_chance(self.host, t):
            return
        watch_stack(&self.host.watch, t.id, top)
        if t.id:
            watch_joins(&self.host.watch, t, OP_AWAIT, t.gate.word)
        self.image.at.body(t.id, self.argc, self.argv, top)
