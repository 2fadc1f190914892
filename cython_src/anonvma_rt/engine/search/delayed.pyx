"""What happens before what where stores are seen late (see delayed.pxd).

A flush happens after the step in which its store was made, and after the flushes before which it must not come; an
operation that waits for the buffers of its task happens after their flushes. None of these is a race: nothing could be
the other way round. A load of a store of its own task commutes with the flush of that store, and reads the same from
the buffer and from memory; so the two are no race, and whoever writes behind the flush comes after that load, wherever
it stands. Source: Abdulla and others, "Stateless Model Checking for TSO and PSO" (TACAS 2015), whose chronological
traces make the same executions equal.
"""

from libc.stdint cimport int32_t, uint32_t, uint64_t

from anonvma_rt.engine.base.operation cimport OP_AWAIT, OP_FENCE, OP_LOAD, OP_START
from anonvma_rt.engine.base.rng cimport mix64
from anonvma_rt.engine.memory.buffers cimport body_drains, origin_of_load, origin_of_store
from anonvma_rt.engine.order.chains cimport also_seen, chained, chained_apart, first_chain, untouched
from anonvma_rt.engine.order.classes cimport Seen
from anonvma_rt.engine.order.clocks cimport clock_join
from anonvma_rt.engine.order.relation cimport CHANGES
from anonvma_rt.engine.search.stack cimport FAILED, Origin, Step, clock_of, op_of, origin_at, pending_at


cdef void note_origins(Search *s, Execution *x, int32_t at) noexcept nogil:
    """Where the stores come from that are about to be seen in state `at`."""
    cdef Origin *o = origin_at(s, at)
    cdef uint64_t step = 1
    cdef int i
    for i in range(s.tasks):
        o[i].after = 0
        if i < s.bodies:
            o[i].number = origin_of_load(&x.task[i])
        else:
            o[i].number = origin_of_store(&x.task[i], &o[i].after, &step)
        o[i].step = <int32_t>step - 1


cdef void join_buffers(Search *s, int32_t at, int task, Pending p, uint32_t *clock) noexcept nogil:
    """What happens before what `task` is about to do in state `at` because of buffers."""
    cdef int first = s.bodies + task * s.each
    cdef Origin *o
    cdef int32_t i
    cdef int other
    if p.kind == OP_START:
        return
    if task < s.bodies:
        if body_drains(op_of(p.kind), p.test):
            for other in range(first, first + s.each):
                i = s.last_of[other]
                if i >= 0:
                    clock_join(clock, clock_of(s, i), s.tasks)
        return
    o = &origin_at(s, at)[task]
    clock_join(clock, clock_of(s, o.step), s.tasks)
    if o.after == 0:
        return
    first = s.bodies + (task - s.bodies) // s.each * s.each
    for other in range(first, first + s.each):
        i = s.last_of[other]
        while i >= 0 and origin_at(s, i)[other].number >= o.after:
            i = s.step[i].previous
        if i >= 0:
            clock_join(clock, clock_of(s, i), s.tasks)


cdef int32_t saw_store(Search *s, int32_t flush, int32_t before) noexcept nogil:
    """The last step before `before` in which its own task saw the store of step `flush` in the buffer; -1: none."""
    cdef int owner = owner_at(s, flush)
    cdef Origin *o = &origin_at(s, flush)[s.step[flush].task]
    cdef int32_t i = s.last_of[owner]
    while i > o.step:
        if i < before and s.step[i].object == s.step[flush].object and s.step[i].kind & FAILED:
            if origin_at(s, i)[owner].number == o.number:
                return i
        i = s.step[i].previous
    return -1


cdef inline int32_t last_before(Search *s, int task, int32_t at) noexcept nogil:
    cdef int32_t i = s.last_of[task]
    while i >= at:
        i = s.step[i].previous
    return i


cdef uint64_t drained_chain(Search *s, Link *link, int32_t at, uint64_t chain) noexcept nogil:
    """drained_chain() of engine/memory/buffers, of a step on the stack."""
    cdef int first = s.bodies + s.step[at].task * s.each
    cdef uint64_t sum = 0
    cdef int32_t i
    cdef int slot
    for slot in range(s.each):
        i = last_before(s, first + slot, at)
        if i >= 0:
            sum += mix64(link[i].chain + <uint64_t>slot)
    return mix64(chain + sum) if sum else chain


cdef uint64_t late_chain(Search *s, Link *link, int32_t at) noexcept nogil:
    """observe_late() of engine/memory/buffers, of a step on the stack; those before it have theirs."""
    cdef Step *e = &s.step[at]
    cdef Seen *seen = &link[at].seen
    cdef int op = op_of(e.kind)
    cdef bint looks = op == OP_LOAD or op == OP_AWAIT
    cdef bint failed = e.kind & FAILED != 0
    cdef uint64_t chain = link[e.previous].chain if e.previous >= 0 else first_chain(e.task)
    cdef uint64_t reads = 0
    cdef int32_t i
    if op == OP_START:
        return mix64(chain)
    if e.before >= 0:
        seen[0] = link[e.before].seen
    else:
        untouched(seen)
    if e.task < s.bodies and body_drains(op, pending_at(s, at)[e.task].test):
        chain = drained_chain(s, link, at, chain)
    if op == OP_FENCE or (looks and failed):
        return chained_apart(chain, op)
    if e.task >= s.bodies:
        chain = chained(seen, mix64(chain + link[origin_at(s, at)[e.task].step].chain), op, False)
        seen.by = 1 + owner_at(s, at)
        i = saw_store(s, at, at)
        while i >= 0:
            reads += link[i].chain
            i = saw_store(s, at, i)
        if reads:
            also_seen(seen, reads)
        return chain
    if looks and seen.by == e.task + 1:
        chain = chained_apart(chain, op)
        also_seen(seen, chain)
        return chain
    chain = chained(seen, chain, op, failed)
    if seen.group == CHANGES:
        seen.by = 0
    return chain
