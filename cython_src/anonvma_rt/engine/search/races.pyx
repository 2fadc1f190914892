"""Races, initials and sleep sets of a search (see races.pxd).

Source: Abdulla, Aronis, Jonsson, Sagonas, "Optimal Dynamic Partial Order Reduction" (POPL 2014): the source sets of
algorithm 1. Two steps are in a race if they depend on each other, and one happens before the other by nothing else. It
is reversible if the second operation could have come first. The class in which it does begins, in the state before the
first one, with an initial of what comes after the first and does not happen after it; one initial has to be explored
there. Operations that wait are what the paper leaves open; docs/engine.md has the rule for them and its proof.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from anonvma_rt.engine.base.operation cimport MAX_TASKS, OP_LOCK, OP_READ_LOCK, OP_READ_UNLOCK, OP_UNLOCK
from anonvma_rt.engine.base.os cimport rt_unlikely
from anonvma_rt.engine.base.tasks cimport (
    TaskSet, add, anybody, clear, copy, drop, has, keep, lowest, meet, only, pop, take_away, unite,
)
from anonvma_rt.engine.order.clocks cimport clock_join
from anonvma_rt.engine.order.relation cimport CHANGES, SHARES, Group, can_go_on, group_of, groups_depend, tries, waits
from anonvma_rt.engine.search.delayed cimport is_flush, owner_at, saw_store
from anonvma_rt.engine.search.stack cimport (
    BACKTRACK, ENABLED, ESCAPED, EXPLORED, FAILED, RESTLESS, SLEEP, Pending, Search, Step, clock_of, held_before, op_of,
    pending_at, set_at,
)

# For each kind of operation, as bits, the kinds that depend on it; and the kinds of those that change their object:
# they come after all that was done to it before.
cdef uint32_t depends[2 * FAILED]
cdef uint32_t changes = 0

# The steps that are left out where what comes after step `earlier` is put before it: each is the first of its task that
# is, and with it goes all that happens after it.
cdef struct Cut:
    int32_t earlier
    int n
    int32_t step[MAX_TASKS]


cdef void tabulate() noexcept:
    global changes
    cdef uint32_t kind
    cdef uint32_t other
    for kind in range(2 * FAILED):
        depends[kind] = 0
        if kind_group(kind) == CHANGES:
            changes |= <uint32_t>1 << kind
        for other in range(2 * FAILED):
            if groups_depend(kind_group(kind), kind_group(other)):
                depends[kind] |= <uint32_t>1 << other


cdef inline Group kind_group(uint32_t kind) noexcept nogil:
    return group_of(op_of(kind), kind & FAILED != 0)


tabulate()


cdef void sleep_set(Search *s, int32_t at) noexcept nogil:
    """Who sleeps in state `at`: who slept or was explored before the last step, and does not depend on it."""
    if rt_unlikely(s.words > 1):
        sleep_set_apart(s, at)
    else:
        let_sleep(s, at, 1)


cdef void sleep_set_of_many(Search *s, int32_t at) noexcept nogil:
    let_sleep(s, at, s.words)


# By a pointer, or the compiler would make one code of both.
cdef void (*sleep_set_apart)(Search *s, int32_t at) noexcept nogil
sleep_set_apart = sleep_set_of_many


cdef inline void let_sleep(Search *s, int32_t at, int words) noexcept nogil:
    cdef Step *e = &s.step[at - 1]
    cdef Pending *p = pending_at(s, at - 1)
    cdef TaskSet sleepers
    cdef TaskSet rest
    cdef int i
    copy(sleepers, set_at(s, at - 1, SLEEP, words), words)
    unite(sleepers, set_at(s, at - 1, EXPLORED, words), words)
    take_away(sleepers, set_at(s, at - 1, RESTLESS, words), words)
    drop(sleepers, e.task, words)
    copy(rest, sleepers, words)
    while anybody(rest, words):
        i = pop(rest, words)
        if p[i].object == e.object and depends[e.kind] >> p[i].kind & 1:
            drop(sleepers, i, words)
    copy(set_at(s, at, SLEEP, words), sleepers, words)


cdef inline bint sees_own(Search *s, int task, uint32_t kind, int32_t flush) noexcept nogil:
    """Whether a look sees what its own task stored, which is the same before the flush."""
    return not changes >> kind & 1 and owner_at(s, flush) == task


cdef void join_loads(Search *s, int32_t at, int32_t flush) noexcept nogil:
    """The loads of a store by its own task happen before whatever changes the object behind its flush."""
    cdef int32_t i = saw_store(s, flush, at)
    while i >= 0:
        clock_join(clock_of(s, at), clock_of(s, i), s.tasks)
        i = saw_store(s, flush, i)


cdef int reverse_loads(Search *s, int32_t flush, int task, Pending p, uint32_t *clock, int32_t *race,
                       int n) noexcept nogil:
    """The same loads are in a race with it; returns the number of races."""
    cdef int32_t i = saw_store(s, flush, s.n)
    while i >= 0:
        if not happens_before(s, i, clock) and not hidden(s, i, race, n):
            if not waits(p.kind) or can_go_on(p.kind, &s.step[flush].after, p.test, p.want):
                explore_before(s, i, task, p, clock)
                race[n] = i
                n += 1
        i = saw_store(s, flush, i)
    return n


cdef void join_object(Search *s, int32_t at) noexcept nogil:
    """Everything that happens before step `at` through its object."""
    cdef Step *e = &s.step[at]
    cdef int32_t i = e.before
    while i >= 0:
        if depends[e.kind] >> s.step[i].kind & 1:
            if s.each and is_flush(s, i) and sees_own(s, e.task, e.kind, i):
                return
            clock_join(clock_of(s, at), clock_of(s, i), s.tasks)
            if s.each and is_flush(s, i) and changes >> e.kind & 1:
                join_loads(s, at, i)
            if changes >> s.step[i].kind & 1:
                return
        i = s.step[i].before


cdef inline bint happens_before(Search *s, int32_t at, const uint32_t *clock) noexcept nogil:
    """Whether step `at` happens before the one with this clock, or is it."""
    return clock[s.step[at].task] > <uint32_t>at


cdef inline bint left_out(Search *s, Cut *cut, const uint32_t *clock) noexcept nogil:
    """Whether the step with this clock is one of those that are left out, or happens after one."""
    cdef int i
    for i in range(cut.n):
        if happens_before(s, cut.step[i], clock):
            return True
    return False


cdef void reverse_races(Search *s, int task, Pending p, uint32_t *clock) noexcept nogil:
    """Sees to it that what `task` does next (or was about to do at the end) also comes before each step with which it
    is in a reversible race. `clock`: that of the task's last step.

    An example: tasks A, B and C.

        0  A: load x
        1  A: y = 1
        2  B: load y     happens after 1
        3  B: load x
        4  C: x = 1      is placed now

    Step 3 depends on 4 and nothing orders them: they are in a race, and 4 has to come before 3, too. Step 0 depends on
    4 as well, but it happens before 3, by way of 1 and 2. So it is in no race now; it is when 3 and 4 were reversed.

    What waits comes before the last step before which it could have gone on: it could not before those behind that one,
    whatever their order, so they hide nothing.

        0  A: x = 1
        1  A: x = 0
        2  A: x = 1
        3  B: await x == 1    is placed now: could not before 2, could before 1, which is the race
    """
    cdef Cut cut
    cdef int32_t race[MAX_TASKS]
    cdef int n = 0
    cdef int32_t i = s.object[p.object].last
    cdef bint waiter = waits(p.kind)
    cdef bint found = False
    cdef int64_t held
    cdef Step *e
    while i >= 0:
        e = &s.step[i]
        if depends[p.kind] >> e.kind & 1:
            if s.each and is_flush(s, i):
                if sees_own(s, task, p.kind, i):
                    return
                if changes >> p.kind & 1:
                    n = reverse_loads(s, i, task, p, clock, race, n)
            if happens_before(s, i, clock):
                if changes >> e.kind & 1:
                    return
            elif waiter and kind_group(e.kind) == SHARES:
                if e.kind != OP_READ_UNLOCK and before_reader(s, i, p, clock, &cut):
                    explore_initial(s, &cut, task, p, clock)
                    found = True
            else:
                held = held_before(s, i)
                if not waiter or can_go_on(p.kind, &held, p.test, p.want):
                    if not hidden(s, i, race, n):
                        explore_before(s, i, task, p, clock)
                        race[n] = i
                        n += 1
                    found = True
                if found and changes >> e.kind & 1:
                    return
        i = e.before


cdef void reverse_with_all(Search *s, int32_t at) noexcept nogil:
    """Sees to it that step `at` also comes before each step of another task that it does not happen after, and behind
    those that are still to come: for what depends on more than it announces."""
    cdef int task = s.step[at].task
    cdef int32_t i
    add(set_at(s, at, RESTLESS, s.words), task, s.words)
    for i in range(at):
        if s.step[i].task != task and not happens_before(s, i, clock_of(s, at)):
            explore_before(s, i, task, pending_at(s, at)[task], clock_of(s, at))


cdef void explore_before(Search *s, int32_t earlier, int task, Pending p, uint32_t *clock) noexcept nogil:
    """What `task` does next comes before a step, with which all goes that happens after it."""
    cdef Cut cut
    cut.earlier = earlier
    cut.n = 1
    cut.step[0] = earlier
    explore_initial(s, &cut, task, p, clock)


cdef inline bint hidden(Search *s, int32_t at, const int32_t *race, int n) noexcept nogil:
    """Whether step `at` happens before one with which the operation is in a race."""
    cdef int i
    for i in range(n):
        if happens_before(s, at, clock_of(s, race[i])):
            return True
    return False


cdef bint before_reader(Search *s, int32_t earlier, Pending p, const uint32_t *clock, Cut *cut) noexcept nogil:
    """Whether an operation that waits until nobody shares or has a lock could have come before step `earlier`, which
    takes a share: and what has to be left out for it.

        0  A: read lock l
        1  B: read lock l
        2  A: y = 1
        3  B: await y == 1
        4  B: read unlock l
        5  A: read unlock l
        6  C: lock l     is placed now

    If 6 is to come before 0, then 2, 3 and 4 are left out, which happen after it. 1 does not, but nobody would give
    that share back. So it is left out as well, and 6 comes before both.
    """
    cdef int32_t last = s.object[p.object].last
    cdef int32_t balance[MAX_TASKS]
    cdef int32_t since[MAX_TASKS]
    cdef int32_t i
    cdef int t
    cdef bint again = True
    cut.earlier = earlier
    cut.n = 1
    cut.step[0] = earlier
    while again:
        again = False
        for t in range(s.tasks):
            balance[t] = 0
        i = last
        while i >= 0:
            if i < earlier or not left_out(s, cut, clock_of(s, i)):
                balance[s.step[i].task] += share_of(s.step[i].kind)
            i = s.step[i].before
        for t in range(s.tasks):
            since[t] = 0
        i = last
        while i >= 0:
            t = s.step[i].task
            if balance[t] and (i < earlier or not left_out(s, cut, clock_of(s, i))):
                since[t] += share_of(s.step[i].kind)
                if since[t] == balance[t]:
                    # It has had the lock, or a share, since step i.
                    if i <= earlier or happens_before(s, i, clock):
                        return False
                    cut_off(s, cut, i)
                    again = True
                    break
            i = s.step[i].before
    return True


cdef inline int32_t share_of(uint32_t kind) noexcept nogil:
    """1 for a step that takes its lock, or a share of it, and -1 for one that gives that back. A downgrade keeps it."""
    cdef int op = op_of(kind)
    if op == OP_UNLOCK or op == OP_READ_UNLOCK:
        return -1
    if kind & FAILED:
        return 0
    return op == OP_LOCK or op == OP_READ_LOCK or tries(op)


cdef inline void cut_off(Search *s, Cut *cut, int32_t at) noexcept nogil:
    """Leaves step `at` out, too; it comes before whatever of its task was."""
    cdef int i
    for i in range(1, cut.n):
        if s.step[cut.step[i]].task == s.step[at].task:
            cut.step[i] = at
            return
    cut.step[cut.n] = at
    cut.n += 1


cdef inline void explore_initial(Search *s, Cut *cut, int task, Pending p, uint32_t *clock) noexcept nogil:
    """What `task` does next comes before step `cut.earlier`: adds one of the initials to the source set of the state
    before it, unless one is there.

    An example: tasks A, B and C.

        0  A: x = 1
        1  C: y = 1
        2  B: load y     happens after 1
        3  B: load x     is placed now, in a race with 0

    What does not happen after 0 is 1, 2, 3. It can begin with C only, since B's first step in it happens after C's: the
    initials are {C}, and not B, although 3 is B's. If B went first it would read another y, which is another class; the
    race of 1 and 2 asks for that one.
    """
    if rt_unlikely(s.words > 1):
        explore_initial_apart(s, cut, task, p, clock)
    else:
        explore_one(s, cut, task, p, clock, 1)


cdef void explore_initial_of_many(Search *s, Cut *cut, int task, Pending p, uint32_t *clock) noexcept nogil:
    explore_one(s, cut, task, p, clock, s.words)


cdef void (*explore_initial_apart)(Search *, Cut *, int, Pending, uint32_t *) noexcept nogil
explore_initial_apart = explore_initial_of_many


cdef inline void explore_one(Search *s, Cut *cut, int task, Pending p, uint32_t *clock, int words) noexcept nogil:
    cdef int32_t earlier = cut.earlier
    cdef TaskSet seen
    cdef TaskSet initials
    cdef int32_t i
    clear(seen, words)
    clear(initials, words)
    for i in range(earlier + 1, s.n):
        if has(seen, s.step[i].task, words) or left_out(s, cut, clock_of(s, i)):
            continue
        add(seen, s.step[i].task, words)
        if is_initial(s, clock_of(s, i), earlier, s.step[i].task):
            add(initials, s.step[i].task, words)
    if not has(seen, task, words) and is_initial(s, clock, earlier, task) and not joins_later(s, cut, p):
        add(initials, task, words)
    keep(initials, set_at(s, earlier, ENABLED, words), words)
    if meet(initials, set_at(s, earlier, BACKTRACK, words), words):
        return
    if not anybody(initials, words):
        # It waits for something that comes later: everybody has to be tried.
        also_explore(s, earlier, set_at(s, earlier, ENABLED, words), words)
        return
    only(initials, task if has(initials, task, words) else lowest(initials, words), words)
    also_explore(s, earlier, initials, words)


cdef void explore_too(Search *s, int32_t at, const uint64_t *tasks) noexcept nogil:
    """Adds tasks to those that are to be explored in the state before step `at`."""
    also_explore(s, at, tasks, s.words)


cdef inline void also_explore(Search *s, int32_t at, const uint64_t *tasks, int words) noexcept nogil:
    cdef TaskSet new
    copy(new, tasks, words)
    take_away(new, set_at(s, at, BACKTRACK, words), words)
    unite(set_at(s, at, BACKTRACK, words), new, words)
    if at < s.root:
        unite(set_at(s, at, ESCAPED, words), new, words)


cdef inline bint is_initial(Search *s, uint32_t *clock, int32_t earlier, int task) noexcept nogil:
    """Whether no other task's step after `earlier` happens before the step of `task` with this clock."""
    cdef int i
    for i in range(s.tasks):
        if i != task and clock[i] > <uint32_t>earlier + 1:
            return False
    return True


cdef bint joins_later(Search *s, Cut *cut, Pending p) noexcept nogil:
    """Whether an operation that has no clock of its own yet depends on a step that is put before cut.earlier with
    it."""
    cdef int32_t i = s.object[p.object].last
    cdef Step *e
    while i > cut.earlier:
        e = &s.step[i]
        if depends[p.kind] >> e.kind & 1 and not left_out(s, cut, clock_of(s, i)):
            return True
        i = e.before
    return False
