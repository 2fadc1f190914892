"""Which allocations fail (see failslab.pxd)."""

from libc.stdint cimport int64_t, uint64_t

from anonvma_rt.engine.base.rng cimport mix64, rng_start
from anonvma_rt.engine.run.task cimport Task, note
from anonvma_rt.mm.hooks.notes cimport FAILED_ALLOCATIONS, NOTE_ALLOC_FAILS
from anonvma_rt.mm.mm_types cimport MOST_THREADS, TYPE_SCRATCH, alloc_failure, alloc_plan, alloc_turn, kernel, kernel_of
from anonvma_rt.mm.slab cimport must_alloc

# Tells this stream from the one that strategies draw from, which begins at (seed, index) itself.
cdef uint64_t STREAM = 0xFA15AB00C0FFEE11ULL


cdef void failslab_open(Task *t, alloc_plan *plan) noexcept nogil:
    """Gives every task its row; without one nothing ever fails."""
    cdef kernel *k = kernel_of(t)
    cdef int i
    k.plan = plan[0]
    k.turn = <alloc_turn *>must_alloc(t, MOST_THREADS * sizeof(alloc_turn), TYPE_SCRATCH)
    for i in range(MOST_THREADS):
        k.turn[i].armed = -1


cdef void failslab_arm(Task *t, int kind, int64_t after) noexcept nogil:
    """For one call of t: allocations of `kind` fail once `after` of them succeeded; -1 ends that."""
    cdef alloc_turn *turn = &kernel_of(t).turn[t.id]
    turn.armed = kind if after >= 0 else -1
    turn.left = after


cdef void failslab_race(Task *t, bint racing) noexcept nogil:
    """Only what a task does while others race may fail by chance, not setup and not what comes afterwards."""
    if kernel_of(t).turn != NULL:
        kernel_of(t).turn[t.id].racing = racing


cdef uint64_t failslab_failures(kernel *k) noexcept nogil:
    """How many allocations have failed by chance or by list; for whoever looks when no task runs."""
    cdef uint64_t failures = 0
    cdef int i
    if k.turn != NULL:
        for i in range(MOST_THREADS):
            failures += k.turn[i].failed
    return failures


cdef bint listed(alloc_plan *plan, int task, uint64_t nth) noexcept nogil:
    """Whether the nth allocation of a task is one of those that a reproducer or a Machine names; the list is sorted."""
    cdef int64_t low = 0
    cdef int64_t high = plan.n_listed
    cdef int64_t middle
    cdef alloc_failure *one
    while low < high:
        middle = (low + high) >> 1
        one = &plan.listed[middle]
        if one.task < task or (one.task == task and one.nth < nth):
            low = middle + 1
        else:
            high = middle
    return low < plan.n_listed and plan.listed[low].task == task and plan.listed[low].nth == nth


cdef bint chance(Task *t, alloc_plan *plan, uint64_t nth) noexcept nogil:
    """One draw of a stream that is addressed by number, so that no task's draws depend on another's."""
    cdef uint64_t start = rng_start(t.x.seed ^ STREAM, t.x.index)
    return mix64(mix64(start + <uint64_t>t.id) + nth * 0x9E3779B97F4A7C15ULL) <= plan.limit


cdef bint failslab(Task *t, int kind) noexcept nogil:
    """The slow half of should_fail_alloc. A profile says what an execution is like where nothing fails."""
    cdef kernel *k = kernel_of(t)
    cdef alloc_turn *turn = &k.turn[t.id]
    if turn.armed == kind:
        if turn.left == 0:
            note(t, NOTE_ALLOC_FAILS, kind, 0, 0)
            return True
        turn.left -= 1
    if not turn.racing or t.x.profiling:
        return False
    turn.asked += 1
    if not k.plan.kinds >> kind & 1:
        return False
    if listed(&k.plan, t.id, turn.asked) or (k.plan.by_chance and chance(t, &k.plan, turn.asked)):
        turn.failed += 1
        t.x.counters[<int>FAILED_ALLOCATIONS] += 1
        note(t, NOTE_ALLOC_FAILS, kind, <int64_t>turn.asked, 1)
        return True
    return False
