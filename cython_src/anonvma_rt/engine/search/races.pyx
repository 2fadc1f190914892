"""Races, initials and sleep sets of a search (see races.pxd).

Source: Abdulla, Aronis, Jonsson, Sagonas, "Optimal Dynamic Partial Order Reduction" (POPL 2014): the source sets of
algorithm 1. Two steps are in a race if they depend on each other, and one happens before the other by nothing else. It
is reversible if the second operation could have come first. The class in which it does begins, in the state before the
first one, with an initial of what comes after the first and does not happen after it; one initial has to be explored
there.
"""

from libc.stdint cimport int32_t, uint32_t, uint64_t

from anonvma_rt.engine.base.operation cimport (
    MAX_TASKS, OP_LOCK, OP_READ_LOCK, OP_READ_UNLOCK, OP_TRYLOCK, OP_UNLOCK, OP_WAIT,
)
from anonvma_rt.engine.base.os cimport rt_lowest
from anonvma_rt.engine.order.clocks cimport clock_join
from anonvma_rt.engine.order.relation cimport dependent, on_lock, reads
from anonvma_rt.engine.search.stack cimport FAILED, FAILED_BY_READERS, Step, clock_of, pending_at

# For each kind of operation, as bits, the kinds that depend on it; and the kinds of which more is to be known: those
# that come after all that was done to their object before, those among them that make a lock their own, the releases,
# and those that wait for one.
cdef uint32_t depends[32]
cdef uint32_t after_all = 0
cdef uint32_t takes = bit_of(OP_LOCK) | bit_of(OP_TRYLOCK)
cdef uint32_t releases = bit_of(OP_UNLOCK) | bit_of(OP_READ_UNLOCK)
cdef uint32_t waits = bit_of(OP_LOCK) | bit_of(OP_WAIT) | bit_of(OP_READ_LOCK)


cdef inline uint32_t bit_of(uint32_t kind) noexcept nogil:
    return <uint32_t>1 << kind


cdef inline int op_of(uint32_t kind) noexcept nogil:
    return OP_TRYLOCK if kind == FAILED_BY_READERS else <int>(kind & 15)


cdef void tabulate() noexcept:
    global after_all
    cdef uint32_t kind
    cdef uint32_t other
    for kind in range(32):
        depends[kind] = 0
        for other in range(32):
            if dependent(op_of(kind), kind & FAILED != 0, op_of(other), other & FAILED != 0):
                depends[kind] |= bit_of(other)
        if not on_lock(op_of(kind)) and not reads(op_of(kind)):
            after_all |= bit_of(kind)
    after_all |= takes | bit_of(OP_UNLOCK)


tabulate()


cdef uint64_t sleep_set(Search *s, int32_t at) noexcept nogil:
    """Who sleeps in state `at`: who slept or was explored before the last step, and does not depend on it."""
    cdef Step *e = &s.step[at - 1]
    cdef Pending *p = pending_at(s, at - 1)
    cdef uint64_t sleepers = (e.sleep | e.explored) & ~(<uint64_t>1 << e.task)
    cdef uint64_t rest = sleepers
    cdef int i
    while rest:
        i = rt_lowest(rest)
        rest &= rest - 1
        if p[i].object == e.object and depends[e.kind] >> p[i].kind & 1:
            sleepers &= ~(<uint64_t>1 << i)
    return sleepers


cdef void join_object(Search *s, int32_t at) noexcept nogil:
    """Everything that happens before step `at` through its object."""
    cdef Step *e = &s.step[at]
    cdef int32_t i = e.before
    while i >= 0:
        if depends[e.kind] >> s.step[i].kind & 1:
            clock_join(clock_of(s, at), clock_of(s, i), s.tasks)
            if after_all >> s.step[i].kind & 1:
                return
        i = s.step[i].before


cdef inline bint happens_before(Search *s, int32_t at, const uint32_t *clock) noexcept nogil:
    """Whether step `at` happens before the one with this clock, or is it."""
    return clock[s.step[at].task] > <uint32_t>at


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
    """
    cdef int32_t race[MAX_TASKS]
    cdef int n = 0
    cdef int32_t i = s.last_on[p.object]
    cdef Step *e
    cdef bint settled
    cdef int r
    if waits >> p.kind & 1:
        reverse_races_of_waiter(s, task, p, clock)
        return
    while i >= 0:
        e = &s.step[i]
        settled = happens_before(s, i, clock)
        if not settled and depends[p.kind] >> e.kind & 1:
            for r in range(n):
                if happens_before(s, i, clock_of(s, race[r])):
                    break
            else:
                explore_initial(s, i, task, p, clock)
                race[n] = i
                n += 1
            settled = True
        if after_all >> e.kind & 1 and (settled or takes >> e.kind & 1):
            return
        i = e.before


cdef void reverse_races_of_waiter(Search *s, int task, Pending p, uint32_t *clock) noexcept nogil:
    """The same for an operation that waits until it can have its lock.

        0  A: read lock l
        1  B: read lock l
        2  B: read unlock l
        3  A: read unlock l
        4  C: lock l     is placed now

    C could not have come before 2 or 3, the releases that let it go on, and not between 0 and 1. It could have come
    before the first of the readers. They do not depend on each other, so either may be the first: each is taken to be
    in a race with 4. Only whoever had the lock before all readers is left out.
    """
    cdef bint found = False
    cdef int32_t i = s.last_on[p.object]
    cdef Step *e
    cdef bint settled
    while i >= 0:
        e = &s.step[i]
        settled = happens_before(s, i, clock)
        if not settled and depends[p.kind] >> e.kind & 1 and reversible(e.kind, p.kind):
            if not (found and takes >> e.kind & 1):
                explore_initial(s, i, task, p, clock)
                found = True
            settled = True
        if after_all >> e.kind & 1 and (settled or takes >> e.kind & 1):
            return
        i = e.before


cdef inline bint reversible(uint32_t earlier, uint32_t waiter) noexcept nogil:
    """Whether what waits for a lock could have come before an earlier operation that it depends on: not before the
    release that lets it go on, nor, while somebody has the lock, before a try that fails for that reason."""
    if releases >> earlier & 1:
        return False
    return not earlier & FAILED or (earlier == FAILED_BY_READERS and waiter == OP_READ_LOCK)


cdef void explore_initial(Search *s, int32_t earlier, int task, Pending p, uint32_t *clock) noexcept nogil:
    """Step `earlier` is in a race with what `task` does next: adds one of the initials to the source set of the state
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
    cdef Step *e = &s.step[earlier]
    cdef uint64_t seen = 0
    cdef uint64_t initials = 0
    cdef uint64_t bit
    cdef uint64_t added
    cdef int32_t i
    for i in range(earlier + 1, s.n):
        bit = <uint64_t>1 << s.step[i].task
        if happens_before(s, earlier, clock_of(s, i)) or seen & bit:
            continue
        seen |= bit
        if is_initial(s, clock_of(s, i), earlier, s.step[i].task):
            initials |= bit
    bit = <uint64_t>1 << task
    if not seen & bit and is_initial(s, clock, earlier, task) and not joins_later(s, earlier, p):
        initials |= bit
    initials &= e.enabled
    if initials & e.backtrack:
        return
    if initials == 0:
        # It waits for something that comes later: everybody has to be tried.
        added = e.enabled & ~e.backtrack
    else:
        added = <uint64_t>1 << (task if initials & bit else rt_lowest(initials))
    e.backtrack |= added
    if earlier < s.root:
        e.escaped |= added


cdef inline bint is_initial(Search *s, uint32_t *clock, int32_t earlier, int task) noexcept nogil:
    """Whether no other task's step after `earlier` happens before the step of `task` with this clock."""
    cdef int i
    for i in range(s.tasks):
        if i != task and clock[i] > <uint32_t>earlier + 1:
            return False
    return True


cdef bint joins_later(Search *s, int32_t earlier, Pending p) noexcept nogil:
    """Whether an operation that has no clock of its own yet depends on a step after `earlier` that does not happen
    after that one."""
    cdef int32_t i = s.last_on[p.object]
    cdef Step *e
    while i > earlier:
        e = &s.step[i]
        if depends[p.kind] >> e.kind & 1 and not happens_before(s, earlier, clock_of(s, i)):
            return True
        i = e.before
    return False
