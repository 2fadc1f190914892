"""What a program's runtime asks of the scheduler, answered (see host.pxd). runtime/host.h says what each function is
for."""

from libc.stdint cimport int64_t, uint16_t, uint64_t
from libc.string cimport memcpy, memset

from anonvma_rt.engine.base.arena cimport (
    Arena, arena_alloc, arena_header, arena_header_at, arena_header_of, arena_size,
)
from anonvma_rt.engine.base.operation cimport (
    MAX_TASKS, OP_ATOMIC, OP_AWAIT, OP_LOAD, OP_STORE, OP_TAKE, OP_TRYLOCK, TEST_EQUAL, TEST_UNEQUAL, lock_word,
)
from anonvma_rt.engine.calls.calls cimport Calls, call as begin_call, judge_now, returns as end_call
from anonvma_rt.engine.run.subject cimport Subject
from anonvma_rt.engine.memory.words cimport wait_for
from anonvma_rt.engine.run.sync cimport acquire, release, spin_hint, spin_start, try_acquire, try_down_read
from anonvma_rt.engine.run.task cimport (
    HALT_EXIT, HALT_NO_MEMORY, HALT_REFUSED, HALT_VIOLATION, VIOLATION_SUBJECT, Execution, Task, free_object, halt,
    mark, note, point, recheck, violate,
)
from anonvma_rt.programs.family cimport family_add, family_find
from anonvma_rt.programs.image cimport (
    RT_BAD_FREE, RT_CHANCE_LATE, RT_CHANCE_SPURIOUS, RT_DOUBLE_FREE, RT_EXIT_CODE,
)
from anonvma_rt.programs.memory cimport (
    place_of, watch_access, watch_free, watch_freed, watch_gives, watch_joins, watch_made,
)
from anonvma_rt.programs.timed cimport acquire_in_time, wait_in_time
from anonvma_rt.programs.visits cimport (
    Visits, visits_changed, visits_circle, visits_moved, visits_progress, visits_rest,
)

cdef enum:
    # What size_of() says of what is no live object.
    FREED = -1
    NONE = -2
    ELSEWHERE = -3
    # Of notes: what is printed, and what the program notes (anonvma_rt.h); each has as much as three numbers hold.
    PRINTED = 1
    NOTED = 2
    # Of a chance, whose gate opens where a thread asks: it may be taken; it was.
    ASKED = 1
    TAKEN = 2
    # How often a thread may give way at one place without a progress (or as often as it may be late), and with one.
    RESTS = 3
    RESTS_IN_A_ROW = 64


cdef inline void changed(Task *t, void *object) noexcept nogil:
    if t.x.awaiting:
        recheck(t.x, object)


# ---- steps -----------------------------------------------------------------------------------------------------------


cdef int host_task(void *x) noexcept nogil:
    return (<Host *>x).x.current


cdef void host_point(void *x, int op, void *object) noexcept nogil:
    cdef Host *h = host_of(x)
    cdef Task *t = running(x, rt_frame())
    point(t, op, object)
    if op == OP_LOAD:
        watch_joins(&h.watch, t, op, object)
        return
    visits_progress(&h.watch.visits, t.id)
    watch_gives(&h.watch, t, op, object)


cdef void host_changed(void *x, void *object) noexcept nogil:
    changed(running(x, rt_frame()), object)


cdef int host_wait(void *x, int op, int64_t *word, int test, int64_t want, int timed) noexcept nogil:
    cdef Host *h = host_of(x)
    cdef Task *t = running(x, rt_frame())
    visits_progress(&h.watch.visits, t.id)
    if not timed:
        wait_for(t, op, word, test, want)
    elif not wait_in_time(t, op, word, test, want):
        return False
    watch_joins(&h.watch, t, op, word)
    if op == OP_TAKE:
        watch_gives(&h.watch, t, op, word)
    return True


cdef int host_acquire(void *x, void *lock, int op, int timed) noexcept nogil:
    cdef Host *h = host_of(x)
    cdef Task *t = running(x, rt_frame())
    visits_changed(&h.watch.visits, t.id)
    if not timed:
        acquire(t, <lock_word *>lock, op, 0, True)
    elif not acquire_in_time(t, <lock_word *>lock, op):
        return False
    watch_joins(&h.watch, t, op, lock)
    return True


cdef int host_try_acquire(void *x, void *lock, int op) noexcept nogil:
    cdef Host *h = host_of(x)
    cdef Task *t = running(x, rt_frame())
    cdef int done
    if op == OP_TRYLOCK:
        done = try_acquire(t, <lock_word *>lock)
    else:
        done = try_down_read(t, <lock_word *>lock)
    if done:
        visits_changed(&h.watch.visits, t.id)
        watch_joins(&h.watch, t, op, lock)
    return done


cdef void host_release(void *x, void *lock, int op) noexcept nogil:
    cdef Host *h = host_of(x)
    cdef Task *t = running(x, rt_frame())
    visits_changed(&h.watch.visits, t.id)
    release(t, <lock_word *>lock, op, 0)
    watch_gives(&h.watch, t, op, lock)


cdef int host_access(void *x, void *p, uint64_t size, int how, void *place) noexcept nogil:
    return watch_access(&host_of(x).watch, running(x, rt_frame()), p, size, how, place)


cdef void host_missed(void *x) noexcept nogil:
    cdef Task *t = running(x, rt_frame())
    t.missed = True
    host_of(x).watch.visits.of[t.id].tries = False


# ---- loops, time and chance ------------------------------------------------------------------------------------------


cdef void host_round(void *x, uint64_t state) noexcept nogil:
    cdef Visits *visits = &host_of(x).watch.visits
    cdef Task *t = running(x, rt_frame())
    if not host_of(x).circles:
        return
    if visits_circle(visits, t.id, state):
        spin_hint(t)
    elif visits_moved(visits, t.id):
        spin_start(t)


cdef void host_rest(void *x, const void *place) noexcept nogil:
    cdef Host *h = host_of(x)
    cdef Task *t = running(x, rt_frame())
    cdef uint64_t most = <uint64_t>max(<int>RESTS, h.late)
    if visits_rest(&h.watch.visits, t.id, place, most, RESTS_IN_A_ROW):
        h.limited |= t.x.strategy.cuts_spins
        wait_in_time(t, OP_AWAIT, &h.thread[t.id].never, TEST_UNEQUAL, 0)


cdef int host_chance(void *x, int kind, int taken) noexcept nogil:
    """The task of this chance waits at its gate, which opens here: it may come before the thread looks again."""
    cdef Host *h = host_of(x)
    cdef Task *t = running(x, rt_frame())
    cdef int64_t *word
    if kind == RT_CHANCE_LATE and taken >= h.late:
        h.limited |= t.x.strategy.cuts_spins
        return False
    if kind == RT_CHANCE_SPURIOUS and taken >= h.spurious:
        return False
    word = &h.thread[begin(h, t, -kind)].gate
    point(t, OP_STORE, word)
    word[0] = ASKED
    changed(t, word)
    point(t, OP_ATOMIC, word)
    taken = word[0] == TAKEN
    word[0] = 0
    changed(t, word)
    return taken


cdef bint host_runs_chance(Host *h, Task *t) noexcept nogil:
    """The body of a task that is a thread's chance: whether it is one."""
    if h.family.ordinal[t.id] >= 0 or t.id == 0:
        return False
    h.thread[t.id].gate = TAKEN
    return True


cdef void host_gate(Host *h, Task *t) noexcept nogil:
    """What a task waits for before it begins. A chance comes again and again."""
    t.gate.again = t.id < h.family.known and h.family.ordinal[t.id] < 0
    t.gate.op = OP_TAKE if t.gate.again else OP_AWAIT
    t.gate.test = TEST_EQUAL if t.gate.again else TEST_UNEQUAL
    t.gate.want = ASKED if t.gate.again else 0
    t.gate.word = &h.thread[t.id].gate


cdef int host_begin(void *x) noexcept nogil:
    cdef Host *h = host_of(x)
    cdef Task *t = running(x, rt_frame())
    h.begun[t.id] += 1
    visits_progress(&h.watch.visits, t.id)
    return begin(h, t, h.begun[t.id] - 1)


cdef int begin(Host *h, Task *t, int ordinal) noexcept nogil:
    """The number of a thread that t begins, or of a chance of its own."""
    cdef int number = family_find(&h.family, t.id, ordinal)
    cdef Task *new
    if number:
        return number
    if h.family.known < h.tasks:
        number = family_add(&h.family, t.id, ordinal)
    if number == 0:
        t.x.finding.task = t.id
        t.x.finding.a = UNKNOWN if h.tasks < <int>MAX_TASKS and ordinal < <int>MAX_TASKS else TOO_MANY
        t.x.finding.b = ordinal
        halt(t, HALT_REFUSED)
    if ordinal < 0:
        new = &t.x.task[number]
        host_gate(h, new)
        new.op, new.test, new.want = new.gate.op, new.gate.test, new.gate.want
    return number


# ---- memory ----------------------------------------------------------------------------------------------------------


cdef void *host_allocate(void *x, uint64_t size, uint64_t align) noexcept nogil:
    """An object whose address is a multiple of `align`, which is a power of two; an object that nobody has fills the
    room before it."""
    cdef Execution *e = host_of(x).x
    cdef uint64_t at = <uint64_t>e.arena.base + e.arena.now.used + sizeof(arena_header)
    cdef void *object
    visits_progress(&host_of(x).watch.visits, e.current)
    if align > 16 and at & (align - 1):
        # Two headers lie between the filler's beginning and the object.
        at = (align - (at + sizeof(arena_header) & (align - 1))) & (align - 1)
        object = arena_alloc(&e.arena, at, TYPE_HEAP)
        if object != NULL:
            arena_header_of(object).generation = 1
    object = arena_alloc(&e.arena, ((size + 15) & ~<uint64_t>15) + RED_ZONE, TYPE_HEAP)
    if object == NULL or watch_made(&host_of(x).watch, e.current, object, size) < 0:
        halt(running(x, rt_frame()), HALT_NO_MEMORY)
    arena_header_of(object).unused = <uint16_t>((-size & 15) + RED_ZONE)
    return object


cdef void host_made(void *x, void *place) noexcept nogil:
    """The object that was allocated last is the program's own: from where it was asked for."""
    cdef Watch *w = &host_of(x).watch
    w.block[w.n - 1].made = place_of(w, place)


cdef int64_t host_size_of(void *x, void *object) noexcept nogil:
    cdef Arena *arena = &host_of(x).x.arena
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
    cdef Task *t = running(x, rt_frame())
    visits_progress(&host_of(x).watch.visits, t.id)
    point(t, OP_STORE, object)
    watch_free(&host_of(x).watch, t, object, place)
    free_object(t, object)

# ---- the end, and what is said --------------------------------------------------------------------------------------


cdef void host_leave(void *x) noexcept nogil:
    cdef Execution *e = host_of(x).x
    e.carrier.unwind(running(x, rt_frame()))


cdef void host_wrong(void *x, int what, const void *text, const void *where, int64_t n) noexcept nogil:
    """Addresses are kept as offsets, because a program may be loaded at another place."""
    cdef Execution *e = host_of(x).x
    if what == RT_DOUBLE_FREE or what == RT_BAD_FREE:
        n = place_of(&host_of(x).watch, <void *>n)
        if what == RT_DOUBLE_FREE:
            n |= <int64_t>watch_freed(&host_of(x).watch, where) << 32
    violate(running(x, rt_frame()), VIOLATION_SUBJECT + what, offset_of(e, text), offset_of(e, where), n)


cdef inline int64_t offset_of(Execution *e, const void *address) noexcept nogil:
    return <int64_t>(<uint64_t>address - <uint64_t>e.arena.base) if address != NULL else 0


cdef void host_exit(void *x, int code) noexcept nogil:
    cdef Execution *e = host_of(x).x
    cdef Calls *calls = <Calls *>(<Subject>e.subject.self).judging.self
    if code:
        violate(running(x, rt_frame()), VIOLATION_SUBJECT + RT_EXIT_CODE, 0, 0, code)
    host_of(x).exited = True
    # What was called until now is judged here, because nothing comes behind: so it matters what came before.
    if calls != NULL:
        point(running(x, rt_frame()), OP_STORE, &calls.now.word)
    judge_now(e, e.current)
    if e.finding.kind or e.halt:
        halt(running(x, rt_frame()), e.halt if e.halt else <int>HALT_VIOLATION)
    e.finding.task = e.current
    halt(running(x, rt_frame()), HALT_EXIT)


cdef void host_refuse(void *x, const char *call) noexcept nogil:
    cdef Task *t = running(x, rt_frame())
    t.x.finding.task = t.id
    t.x.finding.a = 0
    t.x.finding.b = <int64_t>call
    halt(t, HALT_REFUSED)


cdef void say(void *x, int64_t code, const char *text, uint64_t n) noexcept nogil:
    """What the program prints or notes is kept where the execution is recorded, 24 bytes a note."""
    cdef int64_t piece[3]
    cdef uint64_t at = 0
    cdef Task *t = running(x, rt_frame())
    if not t.x.tracing:
        return
    while at < n:
        memset(piece, 0, sizeof(piece))
        memcpy(piece, text + at, min(n - at, sizeof(piece)))
        note(t, code, piece[0], piece[1], piece[2])
        at += sizeof(piece)


cdef void host_print(void *x, const char *text, uint64_t n) noexcept nogil:
    say(x, PRINTED, text, n)


cdef void host_note(void *x, const char *text, uint64_t n) noexcept nogil:
    say(x, NOTED, text, n)


cdef void host_mark(void *x) noexcept nogil:
    mark(running(x, rt_frame()))


cdef inline void operates(Host *h, Task *t) noexcept nogil:
    """Whoever goes round with operations that are judged goes on: each round adds to the history."""
    if (<Subject>t.x.subject.self).judging.self != NULL:
        visits_progress(&h.watch.visits, t.id)


cdef void host_call(void *x, const char *name, int64_t argument) noexcept nogil:
    cdef Task *t = running(x, rt_frame())
    operates(host_of(x), t)
    begin_call(t, name, argument)


cdef void host_returns(void *x, int64_t value) noexcept nogil:
    cdef Task *t = running(x, rt_frame())
    operates(host_of(x), t)
    end_call(t, value)


cdef void host_open(Host *h) noexcept:
    h.family.known = 1
    h.calls.x = h
    h.calls.tasks = h.tasks
    h.calls.task = host_task
    h.calls.point = host_point
    h.calls.changed = host_changed
    h.calls.wait = host_wait
    h.calls.acquire = host_acquire
    h.calls.try_acquire = host_try_acquire
    h.calls.release = host_release
    h.calls.rest = host_rest
    h.calls.round = host_round
    h.calls.chance = host_chance
    h.calls.begin = host_begin
    h.calls.leave = host_leave
    h.calls.allocate = host_allocate
    h.calls.size_of = host_size_of
    h.calls.made = host_made
    h.calls.free = host_free
    h.calls.wrong = host_wrong
    h.calls.exit = host_exit
    h.calls.refuse = host_refuse
    h.calls.access = host_access
    h.calls.print = host_print
    h.calls.missed = host_missed
    h.calls.note = host_note
    h.calls.mark = host_mark
    h.calls.call = host_call
    h.calls.returns = host_returns
