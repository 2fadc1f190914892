"""The interface of a subject (see subject.pxd), and how the engine calls it from a thread without the GIL."""

from libc.stdint cimport int64_t, uint64_t

from anonvma_rt.engine.base.arena cimport ARENA_START, Arena, arena_header, arena_open
from anonvma_rt.engine.base.operation cimport MAX_TASKS
from anonvma_rt.engine.base.tasks cimport TASK_WORDS, bits_of, words_for
from anonvma_rt.engine.run.task cimport (
    HALT_DIVERGED, HALT_NO_MEMORY, HALT_REFUSED, HALT_STOPPED, HALT_STUCK, HALT_UNTIL, MAX_COUNTERS, VIOLATION_BAD_CALL,
    VIOLATION_CRASH, VIOLATION_DEADLOCK, VIOLATION_LIVELOCK, VIOLATION_LOCK_OVERFLOW, VIOLATION_LOST_WAKEUP,
    VIOLATION_NONE, VIOLATION_NOT_LINEARIZABLE, VIOLATION_STUCK,
)

# Where the first object of every arena is.
ARENA_ROOT = ARENA_START + sizeof(arena_header)
MOST_TASKS = MAX_TASKS

KINDS = {
    1: "deadlock",
    2: "livelock",
    3: "lock-order",
    4: "bad-unlock",
    5: "use-after-free",
    6: "list-corruption",
    7: "stack-overflow",
    VIOLATION_LOCK_OVERFLOW: "lock-overflow",
    VIOLATION_CRASH: "crash",
    VIOLATION_STUCK: "stuck",
    VIOLATION_LOST_WAKEUP: "lost-wakeup",
    VIOLATION_NOT_LINEARIZABLE: "not-linearizable",
    VIOLATION_BAD_CALL: "bad-call",
}

# Why a block ended early, by number.
HALTS = {
    HALT_STOPPED: "stopped",
    HALT_DIVERGED: "diverged",
    HALT_NO_MEMORY: "no-memory",
    HALT_UNTIL: "until",
    HALT_REFUSED: "refused",
    HALT_STUCK: "stuck",
}


class BuildRefused(RuntimeError):
    """build() returned something else than 0."""


class BuildViolation(RuntimeError):
    """The subject broke one of its own rules while it was being built; `kind` names it."""

    def __init__(self, kind):
        super().__init__(f"a violation while the subject was built, before any task ran: {kind}")
        self.kind = kind


cdef class Subject:
    """Code under test.

    A subclass overrides three nogil methods. `build(t)` makes the state before the tasks start, in the arena of
    t.x (arena_alloc), declares the order of its lock classes, and returns 0, or a code that `refused` explains.
    `body(t)` is what task t.id does; it runs on a thread of its own and has no state but t and the arena.
    `check(x)` looks at the state when every task has ended and calls found() for what is wrong. None of them may
    touch a Python object. `self.tasks` (1 to 255) is set before the subject is explored.

    Which operations are interesting (for SURW) its code says right before it announces them (mark), or, if
    `self.sees_points` is set, `marks(t)` says of t.op and t.object at every point.

    What follows is for people, and optional: parameters, variants and expect say what the arguments of __init__ are
    (anonvma_rt.subject explains them), the methods below give names to what is in a history.
    """

    parameters = {}
    variants = {}
    expect = {}
    strategy = ""
    task_names = ()
    # What the operations that call() and returns() tell of are to be like, one after the other: anonvma_rt.subject.
    spec = None
    # Seconds without a point after which a body counts as stuck; 0 is never.
    patience = 5.0

    def __cinit__(self, *args, **kwargs):
        self.tasks = 1

    cdef int place(self, Arena *arena) except -1:
        """Opens the arena of an explorer, before build(): somewhere, or where the subject's memory must be."""
        return arena_open(arena)

    cdef int build(self, Task *t) noexcept nogil:
        return 0

    cdef void body(self, Task *t) noexcept nogil:
        pass

    cdef void check(self, Execution *x) noexcept nogil:
        pass

    cdef bint marks(self, Task *t) noexcept nogil:
        return False

    cdef int stuck(self, Execution *x) noexcept nogil:
        """Nobody can go on: the number of the violation that this is."""
        return VIOLATION_DEADLOCK

    def kinds(self):
        """The names of violations by number: the engine's own, and the subject's from 16 on."""
        return dict(KINDS)

    def counters(self):
        """The names of x.counters, in order."""
        return ()

    def lock_classes(self):
        """The names of its lock classes, {name: number}, by which a user may choose one."""
        return {}

    def refused(self, code):
        """The exception for a build() that returned `code`."""
        return BuildRefused(f"{type(self).__name__}.build returned {code}")

    def note_text(self, code, a, b, c):
        """The words for a note() of body(), or None."""

    def object_name(self, offset):
        """The words for the object of a point, by its offset into the arena (ARENA_ROOT: the first object), or None."""

    def member_name(self, type, serial, offset):
        """The words for the byte at `offset` of object number `serial` of a type (arena_alloc), or None: how an audit
        says where two accesses met. Negative offsets are of the header in front of it."""

    def cause(self, kind, task, step, a, b, c):
        """What the violation `kind` with the numbers of found() or violate() means, in a sentence, or None."""

    def values(self, explorer):
        """The state in the arena of an explorer, as numbers by name: what `--until`, `show` and `step` show of it."""
        return {}

    cdef void attach(self, Execution *x):
        """Makes this the subject of x; the caller keeps the reference."""
        if self.spec is not None and self.judge is None:
            # What it calls would be compared with nothing.
            raise ValueError(f"{type(self).__name__} has a spec, and nobody who judges: it goes through subject()")
        x.subject.self = <void *>self
        x.bodies = self.tasks
        x.tasks = self.tasks
        x.words = words_for(self.tasks)
        x.subject.build = <int (*)(void *, Task *) noexcept nogil>call_build
        x.subject.body = <void (*)(void *, Task *) noexcept nogil>call_body
        x.subject.check = <void (*)(void *, Execution *) noexcept nogil>call_check
        x.subject.stuck = <int (*)(void *, Execution *) noexcept nogil>call_stuck
        x.subject.marks = <bint (*)(void *, Task *) noexcept nogil>call_marks if self.sees_points else NULL


cdef class Memory:
    """How stores become visible, where that is not at once."""

    def tasks(self, int bodies):
        """How many tasks an execution has with so many bodies."""
        return bodies

    cdef int attach(self, Execution *x) except -1:
        """Adds its tasks to an execution whose subject is attached; the caller keeps the reference."""
        return 0


cdef dict count_by_name(Subject subject, int64_t *counters):
    return {name: counters[i] for i, name in enumerate(subject.counters()[:MAX_COUNTERS])}


cdef tuple found_numbers(Execution *x):
    """(kind, task, step, a, b, c) of what was found; a set of tasks among them is one number."""
    f = x.finding
    further = bits_of(f.further, TASK_WORDS - 1) << 64
    a, b = f.a, f.b
    # Of more tasks than 64 the first word is no signed number.
    if x.words > 1 and f.kind == VIOLATION_LIVELOCK:
        b = further | <uint64_t>f.b
    elif further or x.words > 1 and f.kind in (VIOLATION_DEADLOCK, VIOLATION_LOST_WAKEUP):
        a = further | <uint64_t>f.a
    return f.kind, f.task, f.step, a, b, f.c


cdef int call_build(Subject subject, Task *t) noexcept nogil:
    cdef int code = subject.build(t)
    if code == 0 and subject.judging.self != NULL:
        code = subject.judging.built(subject.judging.self, t.x)
    return code


cdef void call_body(Subject subject, Task *t) noexcept nogil:
    subject.body(t)


cdef void call_check(Subject subject, Execution *x) noexcept nogil:
    subject.check(x)
    if subject.judging.self != NULL and x.finding.kind == VIOLATION_NONE:
        subject.judging.check(subject.judging.self, x, -1)


cdef int call_stuck(Subject subject, Execution *x) noexcept nogil:
    return subject.stuck(x)


cdef bint call_marks(Subject subject, Task *t) noexcept nogil:
    return subject.marks(t)
