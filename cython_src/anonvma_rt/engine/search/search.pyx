"""The states of an exhaustive search, one after the other: who makes the step, placing it, and taking it back.

Clocks are copied from step to step and objects are lists of steps, so taking steps back copies nothing. What the steps
have to do with each other is said in races.pyx.
"""

from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from anonvma_rt.engine.base.operation cimport MAX_TASKS, OP_START, OP_STORE
from anonvma_rt.engine.base.os cimport rt_unlikely
from anonvma_rt.engine.base.tasks cimport (
    TaskSet, add, anybody, clear, copy, drop, equal, following, has, lowest, only, pop, take_away,
)
from anonvma_rt.engine.order.clocks cimport clock_inherit
from anonvma_rt.engine.run.task cimport HALT_NO_MEMORY, HALT_PRUNED, Execution, Task, fails
from anonvma_rt.engine.search.delayed cimport join_buffers, note_origins
from anonvma_rt.engine.search.races cimport join_object, reverse_races, sleep_set
from anonvma_rt.engine.search.stack cimport (
    BACKTRACK, ENABLED, ESCAPED, EXPLORED, FAILED, RESTLESS, SLEEP, Pending, Step, clock_of, pending_at, search_number,
    search_room, set_at,
)


cdef int search_state(Search *s, Execution *x, int32_t at) noexcept nogil:
    """Remembers state `at`, which is new: what everybody is about to do, who is enabled and who sleeps. -1: no
    memory."""
    cdef Step *e
    cdef Pending *p
    cdef Pending *before
    cdef int i
    if search_room(s, at) < 0:
        return -1
    e = &s.step[at]
    p = pending_at(s, at)
    before = p - s.tasks
    if rt_unlikely(s.words > 1):
        begin_apart(s, x, at)
    else:
        begin_sets(s, x, at, 1)
    e.spent = s.step[at - 1].spent + cost(s, at - 1, s.words) if at else 0
    if at:
        s.step[at - 1].after = held(x, s.object[s.step[at - 1].object].address)
    for i in range(s.tasks):
        # Only who made the last step announces something new.
        if at and i != s.step[at - 1].task and i < s.bodies:
            p[i] = before[i]
            p[i].kind = kind_of(&x.task[i])
        elif announce(s, x, &x.task[i], &p[i], before[i].object if at else 0) < 0:
            return -1
    if s.each:
        note_origins(s, x, at)
    return 0


cdef void begin_many(Search *s, Execution *x, int32_t at) noexcept nogil:
    begin_sets(s, x, at, s.words)


# By a pointer, or the compiler would make one code of both.
cdef void (*begin_apart)(Search *s, Execution *x, int32_t at) noexcept nogil
begin_apart = begin_many


cdef inline void begin_sets(Search *s, Execution *x, int32_t at, int words) noexcept nogil:
    """Who is enabled and who sleeps; nobody was explored or is to be."""
    copy(set_at(s, at, ENABLED, words), x.enabled, words)
    clear(set_at(s, at, EXPLORED, words), words)
    clear(set_at(s, at, BACKTRACK, words), words)
    clear(set_at(s, at, ESCAPED, words), words)
    clear(set_at(s, at, RESTLESS, words), words)
    if at and s.bound < 0:
        sleep_set(s, at)
    else:
        clear(set_at(s, at, SLEEP, words), words)


cdef inline bint is_number_of(Search *s, uint32_t number, void *object) noexcept nogil:
    """Whether that is the number of an object; it may be any."""
    return 0 < number <= s.numbers.used and s.object[number].address == object


cdef int announce(Search *s, Execution *x, Task *t, Pending *p, uint32_t before) noexcept nogil:
    """What a task is about to do now. -1: no memory. Mostly it is on the object `before`, that of its last step, or on
    that of this place in the last execution, which `p` still says: a look there is cheaper than into a large table."""
    if is_number_of(s, before, t.object):
        p.object = before
    elif not is_number_of(s, p.object, t.object):
        p.object = search_number(s, t.object)
    p.kind = kind_of(t)
    p.test = <uint16_t>(t.instant if t.op == OP_STORE else t.test)
    p.want = t.want
    if p.object == 0:
        return -1
    if s.object[p.object].last < 0:
        s.object[p.object].before = held(x, t.object)
    return 0


cdef inline int64_t held(Execution *x, void *object) noexcept nogil:
    """What an object's first 8 bytes hold, which need not be aligned; 0 for what lies outside the subject's memory, and
    for no object."""
    cdef uint64_t offset = <uint64_t>object - <uint64_t>x.arena.base
    cdef int64_t bytes = 0
    if offset + sizeof(bytes) <= x.arena.committed or (x.subject.anywhere and object != NULL
                                                       and offset >= x.arena.reserved):
        memcpy(&bytes, object, sizeof(bytes))
    return bytes


cdef inline uint16_t kind_of(Task *t) noexcept nogil:
    return <uint16_t>t.op | (FAILED if fails(t) else 0)


cdef int search_step(Search *s, Execution *x, int32_t at) noexcept nogil:
    """A state that was never seen, and who makes the step from it: -1 with a reason where nobody does."""
    cdef int task
    if search_state(s, x, at) < 0:
        x.halt = HALT_NO_MEMORY
        return -1
    task = first_of_apart(s, x, at) if rt_unlikely(s.words > 1) else first_of(s, x, at, 1)
    if task < 0:
        x.halt = HALT_PRUNED
        return -1
    search_place(s, at, task)
    return task


cdef int first_of_many(Search *s, Execution *x, int32_t at) noexcept nogil:
    return first_of(s, x, at, s.words)


cdef int (*first_of_apart)(Search *s, Execution *x, int32_t at) noexcept nogil
first_of_apart = first_of_many


cdef inline int first_of(Search *s, Execution *x, int32_t at, int words) noexcept nogil:
    """Who makes the step from a state that is new, and is noted there; -1: all that could sleep."""
    cdef TaskSet awake
    cdef int task
    copy(awake, set_at(s, at, ENABLED, words), words)
    take_away(awake, set_at(s, at, SLEEP, words), words)
    if not anybody(awake, words):
        return -1
    if s.bound >= 0:
        within_bound(s, at, awake, words)
    # Who ran goes on: fewer hand-overs.
    task = x.current if x.current >= 0 and has(awake, x.current, words) else lowest(awake, words)
    if s.bound < 0:
        only(awake, task, words)
    copy(set_at(s, at, BACKTRACK, words), awake, words)
    return task


cdef inline int running(Search *s, int32_t at, int words) noexcept nogil:
    """The task that would be interrupted if another one made the step from state `at`; -1: none, where it has to wait,
    or has only begun. To flush a buffer interrupts nobody."""
    cdef Step *before
    cdef int32_t at_body
    at_body = at - 1
    while at_body >= 0 and s.step[at_body].task >= s.bodies:
        at_body -= 1
    before = &s.step[at_body]
    if at_body < 0 or before.kind == OP_START or not has(set_at(s, at, ENABLED, words), before.task, words):
        return -1
    return before.task


cdef inline int in_turn(const uint64_t *tasks, int first, int words) noexcept nogil:
    """The first member from `first` on, in the order of ids and round; there is one."""
    cdef int task = following(tasks, first, words)
    return task if task >= 0 else lowest(tasks, words)


cdef inline int32_t cost(Search *s, int32_t at, int words) noexcept nogil:
    """What step `at` spends: 1 if it interrupted a task that could have gone on; or the delays, which are the enabled
    tasks whose turn it was before (Emmi, Qadeer, Rakamaric, "Delay-Bounded Scheduling", POPL 2011)."""
    cdef int turn = running(s, at, words)
    cdef int32_t passed = 0
    if s.bound < 0 or s.step[at].kind == OP_START:
        return 0
    if not s.by_delays:
        return turn >= 0 and turn != s.step[at].task and s.step[at].task < s.bodies
    turn = first_in_turn(s, at, words)
    while turn != s.step[at].task:
        turn = in_turn(set_at(s, at, ENABLED, words), turn + 1, words)
        passed += 1
    return passed


cdef inline int first_in_turn(Search *s, int32_t at, int words) noexcept nogil:
    """Who makes the step from state `at` without a delay: whoever made the last one, or the next one by ids."""
    cdef bint begins = at == 0 or s.step[at - 1].kind == OP_START
    return in_turn(set_at(s, at, ENABLED, words), 0 if begins else s.step[at - 1].task, words)


cdef inline void within_bound(Search *s, int32_t at, uint64_t *tasks, int words) noexcept nogil:
    """Of all that are enabled, leaves those that may make the step from state `at` with what is left of the bound. All
    tasks begin first: to begin does not depend on anything."""
    cdef int32_t left = s.bound - s.step[at].spent
    cdef int task = running(s, at, words)
    cdef TaskSet rest
    cdef int i
    copy(rest, tasks, words)
    while anybody(rest, words):
        i = pop(rest, words)
        if pending_at(s, at)[i].kind == OP_START:
            only(tasks, i, words)
            return
    if s.by_delays:
        copy(rest, tasks, words)
        clear(tasks, words)
        task = first_in_turn(s, at, words)
        while left >= 0 and anybody(rest, words):
            add(tasks, task, words)
            drop(rest, task, words)
            task = in_turn(set_at(s, at, ENABLED, words), task + 1, words)
            left -= 1
        s.limited = s.limited or anybody(rest, words)
    elif task >= 0 and left <= 0:
        copy(rest, tasks, words)
        only(tasks, task, words)
        for i in range(s.bodies, s.tasks):
            if has(rest, i, words):
                add(tasks, i, words)
        s.limited = s.limited or not equal(rest, tasks, words)


cdef void search_place(Search *s, int32_t at, int task) noexcept nogil:
    """Makes what `task` was about to do step `at`: reverses its races, and sets its clock."""
    cdef Step *e = &s.step[at]
    cdef Pending p = pending_at(s, at)[task]
    cdef uint32_t *clock = clock_of(s, at)
    e.task = task
    e.run = s.step[at - 1].run if at and s.step[at - 1].task == task else at
    s.step[e.run].run_end = at + 1
    e.kind = p.kind
    e.object = p.object
    e.previous = s.last_of[task]
    e.before = s.object[p.object].last
    s.n = at
    clock_inherit(clock, clock_of(s, e.previous), s.tasks)
    if s.each:
        join_buffers(s, at, task, p, clock)
    if e.kind != OP_START:
        if e.before >= 0 and s.bound < 0:
            reverse_races(s, task, p, clock)
            join_object(s, at)
        s.object[p.object].last = at
    clock[task] = <uint32_t>at + 1
    s.last_of[task] = at
    s.n = at + 1


cdef void search_pop(Search *s, int32_t at) noexcept nogil:
    """Takes step `at`, the last one, back; the state before it stays."""
    cdef Step *e = &s.step[at]
    if e.kind != OP_START:
        s.object[e.object].last = e.before
    s.last_of[e.task] = e.previous
    s.step[e.run].run_end = at
    s.n = at


cdef int search_waiting(Search *s, Execution *x, int task) noexcept nogil:
    """Reverses the races of what a task was about to do when the execution ended. -1: no memory."""
    cdef uint32_t clock[MAX_TASKS]
    cdef Pending p
    if x.task[task].op == OP_START:
        return 0
    p.object = 0
    if announce(s, x, &x.task[task], &p, 0) < 0:
        return -1
    clock_inherit(clock, clock_of(s, s.last_of[task]), s.tasks)
    if s.each:
        if search_room(s, s.n) < 0:
            return -1
        note_origins(s, x, s.n)
        join_buffers(s, s.n, task, p, clock)
    reverse_races(s, task, p, clock)
    return 0
