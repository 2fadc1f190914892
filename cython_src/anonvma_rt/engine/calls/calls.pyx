"""The log of calls and returns, and the thread that judges histories which were not judged before (see calls.pxd).

What judges is Python code, and no task's stack is one on which that may run. So a thread of its own waits to be asked;
whoever asks waits for the answer, and asks once for each history, which is known by two hashes.
"""

import threading

from libc.stdint cimport int16_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset, strcmp, strncpy

from anonvma_rt.engine.base.arena cimport ARENA_TYPES, arena_alloc, arena_offset
from anonvma_rt.engine.base.grow cimport grow
from anonvma_rt.engine.base.operation cimport OP_LOAD, OP_READ_TRYLOCK
from anonvma_rt.engine.base.os cimport rt_load, rt_next64, rt_store, rt_swap, rt_wait, rt_wake, rt_yield
from anonvma_rt.engine.base.rng cimport mix64
from anonvma_rt.engine.base.table cimport table_add, table_clear, table_close, table_get, table_open
from anonvma_rt.engine.run.subject cimport Subject
from anonvma_rt.engine.run.task cimport (
    HALT_NONE, HALT_NO_MEMORY, HALT_REFUSED, HALT_STOPPED, VIOLATION_BAD_CALL, VIOLATION_NOT_LINEARIZABLE, Execution,
    Task, found, halt, note, point, violate,
)

cdef enum:
    FREE = 0
    ASKED
    QUIT
    # Verdicts beside the index of a call.
    RIGHT = -1
    UNKNOWN = -2
    # Nanoseconds between two looks whether everything is to end.
    NAP = 50000000
    # Histories that are remembered; then all are forgotten.
    MOST_KNOWN = 1 << 20
    MEMORY_REFUSED = 77

CALL_NOTES = (<int>NOTE_CALL, <int>NOTE_RETURN)
BAD_CALLS = {
    <int>NESTED_CALL: "began an operation before the one that it had begun returned",
    <int>RETURN_WITHOUT_CALL: "returned from an operation that it had not begun",
}
REFUSED_BY_JUDGE = <int>REFUSED_TEXT


# ---- the log ---------------------------------------------------------------------------------------------------------


cdef int number_of(Calls *c, const char *name) noexcept nogil:
    """The number of a name from 1 on; 0 where there are too many, or it is too long."""
    cdef int i
    for i in range(c.names):
        if strcmp(c.name[i], name) == 0:
            return i + 1
    while not rt_swap(&c.naming, 0, 1):
        rt_yield()
    for i in range(c.names):
        if strcmp(c.name[i], name) == 0:
            break
    else:
        i = c.names
        if i < MOST_NAMES:
            strncpy(c.name[i], name, LONGEST_NAME + 1)
            if c.name[i][LONGEST_NAME]:
                i = MOST_NAMES
            else:
                c.names = i + 1
    rt_store(&c.naming, 0)
    return i + 1 if i < MOST_NAMES else 0


cdef void refuse(Calls *c, Task *t, const char *why) noexcept nogil:
    strncpy(c.text, why, sizeof(c.text) - 1)
    t.x.finding.task = t.id
    t.x.finding.a = REFUSED_TEXT
    t.x.finding.b = <int64_t>c.text
    halt(t, HALT_REFUSED)


cdef void add_call(Calls *c, Task *t, bint returning, const char *name, int64_t value) noexcept nogil:
    cdef CallsNow *now = c.now
    cdef int number = now.open[t.id]
    cdef uint64_t at
    # A task's own operation: this depends on nobody else.
    if returning and number == 0:
        violate(t, VIOLATION_BAD_CALL, RETURN_WITHOUT_CALL, 0, 0)
    if not returning:
        if number:
            violate(t, VIOLATION_BAD_CALL, NESTED_CALL, number, 0)
        number = number_of(c, name)
        if number == 0:
            refuse(c, t, b"there are at most 64 names of operations, of 63 bytes")
    now.open[t.id] = 0 if returning else <int16_t>number
    point(t, OP_READ_TRYLOCK if returning else OP_LOAD, &now.word)
    if t.x.parallel:
        at = rt_next64(&now.n)
    else:
        at = now.n
        now.n += 1
    if at >= MOST_CALLS:
        refuse(c, t, b"an execution has at most 65536 calls and returns")
    c.call[at].task = t.id
    c.call[at].name = <int16_t>number
    c.call[at].returns = returning
    c.call[at].value = value
    note(t, NOTE_RETURN if returning else NOTE_CALL, number, value, <int64_t>at)


# ---- judging ---------------------------------------------------------------------------------------------------------


cdef void put_in_order(Calls *c, uint64_t n) noexcept nogil:
    """Calls that follow each other may come in any order, and so may returns: they come by their tasks, so that every
    execution of a class has one and the same history, and one answer."""
    cdef uint64_t i, at
    cdef Call one
    for i in range(1, n):
        one = c.call[i]
        at = i
        while at and c.call[at - 1].returns == one.returns and c.call[at - 1].task > one.task:
            c.call[at] = c.call[at - 1]
            at -= 1
        c.call[at] = one


cdef uint64_t hash_of(Calls *c, uint64_t n, uint64_t salt) noexcept nogil:
    cdef uint64_t whole = salt
    cdef uint64_t i
    cdef Call *one
    for i in range(n):
        one = &c.call[i]
        whole = mix64(whole ^ <uint64_t>one.value)
        whole = mix64(whole ^ (<uint64_t>one.task << 32 | <uint64_t>one.name << 1 | <uint64_t>one.returns))
    return whole


cdef int64_t ask(Calls *c, Execution *x, uint64_t n) noexcept nogil:
    """What the judge says of the log. UNKNOWN with a halt: it does not."""
    cdef bint first = True
    while True:
        while rt_load(&c.state) == ASKED:
            if x.limits.stop != NULL and rt_load(x.limits.stop):
                x.halt = HALT_STOPPED
                return UNKNOWN
            rt_wait(&c.state, ASKED, NAP)
        if not first:
            return c.verdict
        # Somebody who was stopped may have left a question.
        first = False
        memcpy(c.asked, c.call, n * sizeof(Call))
        c.n_asked = n
        rt_store(&c.state, ASKED)
        rt_wake(&c.state)


cdef int64_t verdict_of(Calls *c, Execution *x, uint64_t n) noexcept nogil:
    cdef uint64_t first = hash_of(c, n, 0x9AE16A3B2F90404FULL)
    cdef uint64_t second = hash_of(c, n, 0xC2B2AE3D27D4EB4FULL)
    cdef uint32_t number = table_get(&c.known, first)
    cdef int64_t verdict
    if number and c.second[number] == second:
        return c.found[number]
    x.asking = True
    verdict = ask(c, x, n)
    x.asking = False
    if verdict == UNKNOWN or number:
        return verdict
    if c.known.used >= MOST_KNOWN:
        table_clear(&c.known)
    number = table_add(&c.known, first)
    if number == 0 or keep_room(c, number) < 0:
        x.halt = HALT_NO_MEMORY
        return UNKNOWN
    c.second[number] = second
    c.found[number] = verdict
    return verdict


cdef int keep_room(Calls *c, uint32_t number) noexcept nogil:
    cdef uint64_t room = c.room
    if grow(<void **>&c.second, &room, <uint64_t>number + 1, sizeof(uint64_t)) < 0:
        return -1
    return grow(<void **>&c.found, &c.room, <uint64_t>number + 1, sizeof(int64_t))


cdef void check(void *self, Execution *x, int task) noexcept nogil:
    """At the end of an execution; task: who ends it, -1: nobody, all have come to their end."""
    cdef Calls *c = <Calls *>self
    cdef uint64_t n = c.now.n
    cdef int64_t verdict
    if n == 0 or x.halt != HALT_NONE:
        return
    c.total += n
    put_in_order(c, n)
    verdict = verdict_of(c, x, n)
    if verdict == UNKNOWN:
        if x.halt == HALT_NONE:
            x.finding.task = 0
            x.finding.a = REFUSED_TEXT
            x.finding.b = <int64_t>c.text
            x.halt = HALT_REFUSED
    elif verdict != RIGHT:
        found(x, VIOLATION_NOT_LINEARIZABLE, task if task >= 0 else c.call[verdict].task, verdict, <int64_t>n, 0)


cdef int built(void *self, Execution *x) noexcept nogil:
    """Behind the subject's own build."""
    cdef Calls *c = <Calls *>self
    c.now = <CallsNow *>arena_alloc(&x.arena, sizeof(CallsNow), ARENA_TYPES - 1)
    if c.now == NULL:
        return MEMORY_REFUSED
    memset(c.now, 0, sizeof(CallsNow))
    c.offset = arena_offset(&x.arena, &c.now.word)
    return 0


cdef class _Desk:
    """What the asked and the asking share, and keeps no judge alive."""

    cdef Calls calls
    cdef object judge

    def __cinit__(self):
        self.calls.call = <Call *>malloc(MOST_CALLS * sizeof(Call))
        self.calls.asked = <Call *>malloc(MOST_CALLS * sizeof(Call))
        if self.calls.call == NULL or self.calls.asked == NULL:
            raise MemoryError("no memory for a log of calls")
        table_open(&self.calls.known)

    def __dealloc__(self):
        free(self.calls.call)
        free(self.calls.asked)
        free(self.calls.second)
        free(self.calls.found)
        table_close(&self.calls.known)

    cdef list history(self, Call *call, uint64_t n):
        names = [(<bytes>self.calls.name[i]).decode(errors="replace") for i in range(self.calls.names)]
        return [
            (call[i].task, names[call[i].name - 1], call[i].returns != 0,
             call[i].value if call[i].value != NOTHING else None)
            for i in range(n)
        ]

    cdef int64_t judged(self):
        cdef bytes text
        try:
            at = self.judge.check(self.history(self.calls.asked, self.calls.n_asked))
            return RIGHT if at is None else at
        except BaseException as error:
            # What the user has to mend is said in words; a mistake of the judge's own has its name, too.
            known = type(error).__module__ == "anonvma_rt.errors"
            text = (str(error) if known else f"{type(error).__name__}: {error}").encode()[:sizeof(self.calls.text) - 1]
        memset(self.calls.text, 0, sizeof(self.calls.text))
        memcpy(self.calls.text, <char *>text, len(text))
        return UNKNOWN


def _serve(_Desk desk):
    """What the thread does until its judging is over."""
    cdef Calls *c = &desk.calls
    while True:
        with nogil:
            while rt_load(&c.state) == FREE:
                rt_wait(&c.state, FREE, -1)
        if rt_load(&c.state) == QUIT:
            return
        c.verdict = desk.judged()
        rt_swap(&c.state, ASKED, FREE)
        rt_wake(&c.state)


cdef class Judging:
    """Has what the tasks of `subject` call judged by `judge`: an object whose check(history) returns the index of the
    first return that cannot be, or None, and raises where it cannot say; and whose why(history, tasks) is a
    text. A history is a list of (task, name of the operation, whether it returns, argument or value, None for none).
    """

    cdef _Desk desk
    cdef readonly object judge

    def __init__(self, Subject subject, judge):
        if subject.judge is not None:
            raise RuntimeError("a subject has one judge")
        self.desk = _Desk()
        self.desk.judge = judge
        self.judge = judge
        threading.Thread(target=_serve, args=(self.desk,), name="judge", daemon=True).start()
        subject.judging.self = &self.desk.calls
        subject.judging.built = built
        subject.judging.check = check
        subject.judge = self

    def __dealloc__(self):
        if self.desk is not None:
            rt_store(&self.desk.calls.state, QUIT)
            rt_wake(&self.desk.calls.state)

    cdef Calls *calls(self) except NULL:
        if self.desk is None:  # made by __new__, and not by the class
            raise RuntimeError("the judging was never begun")
        return &self.desk.calls

    @property
    def histories(self):
        """How many different ones were judged."""
        return self.calls().known.used

    @property
    def total(self):
        """Calls and returns that were judged, of all executions."""
        return self.calls().total

    def history(self):
        """Of the last execution of the subject's explorer."""
        cdef Calls *c = self.calls()
        return self.desk.history(c.call, c.now.n) if c.now != NULL else []

    def why(self, tasks):
        return self.judge.why(self.history(), tasks)

    def note_text(self, code, number, value):
        """The words for a note of a call or a return."""
        cdef Calls *c = self.calls()
        if not 0 < number <= c.names:
            return None
        name = (<bytes>c.name[number - 1]).decode(errors="replace")
        shown = "" if value == NOTHING else str(value)
        return f"calls {name}({shown})" if code == NOTE_CALL else f"returns{f' {shown}' if shown else ''} from {name}"

    @property
    def word(self):
        """The offset into the arena of what calls and returns are announced at."""
        return self.calls().offset
