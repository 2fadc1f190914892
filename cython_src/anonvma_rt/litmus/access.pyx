"""Pointers that lead to no variable, and data races (see access.pxd).

A data race: two accesses of different threads to one variable, of which one is plain and one writes, that could both
come next. In a search that visits every class one of the two is made while the other thread stands before its own: when
it turns the order of the two around, the one that came first stays where it was until the other was made. That programs
without such pairs need no weaker model than SC is due to Adve and Hill, "Weak Ordering: A New Definition" (ISCA 1990).
Where stores are buffered, a plain store that waits in a buffer is not seen as one: look for races under SC.
"""

from libc.stdint cimport int64_t

from anonvma_rt.engine.base.arena cimport arena_offset
from anonvma_rt.engine.run.task cimport Task, violate
from anonvma_rt.litmus.assemble cimport (
    ADD, ADD_UNLESS, AWAIT, AWAIT_NOT, AWAIT_NO_BITS, CAS, EXCHANGE, GET, LOAD, LOAD_ACQUIRE, PLAIN_LOAD, PLAIN_STORE,
    POLL, SPIN, WORD,
)
from anonvma_rt.litmus.code cimport Code, Instruction, Operand
from anonvma_rt.litmus.world cimport world


cdef int place_of(Task *t, Code *code, int64_t address) noexcept nogil:
    """Of the variable at an address."""
    cdef int64_t place = (address - address_of(0)) // ADDRESS_STEP
    if address < address_of(0) or address != address_of(place) or place >= code.n_objects or code.kind[place] != WORD:
        violate(t, VIOLATION_BAD_POINTER, address, 0, 0)
    return <int>place


cdef void stand_at(Task *t, world *w, Code *code, Instruction *s) noexcept nogil:
    """Says to the others which access t comes to, behind all registers; NULL: none."""
    w.registers[code.n_registers + t.id] = 1 + (s - code.instruction) if s != NULL else 0


cdef inline bint is_plain(Instruction *s) noexcept nogil:
    return s.verb == PLAIN_LOAD or s.verb == PLAIN_STORE


cdef inline int64_t value_of(world *w, Operand *operand) noexcept nogil:
    return operand.number if operand.reg < 0 else w.registers[operand.reg]


cdef inline bint reads(Instruction *s) noexcept nogil:
    if s.verb == LOAD or s.verb == LOAD_ACQUIRE or s.verb == PLAIN_LOAD or s.verb == SPIN or s.verb == POLL:
        return True
    return s.verb == AWAIT or AWAIT_NOT <= s.verb <= AWAIT_NO_BITS or s.verb == GET


cdef inline bint is_update(Instruction *s) noexcept nogil:
    return s.verb == ADD or s.verb == CAS or EXCHANGE <= s.verb <= ADD_UNLESS


cdef void must_not_race(Task *t, world *w, Code *code, Instruction *s, int64_t *word) noexcept nogil:
    """Behind an access of t: a violation if another thread stands before one that races with it."""
    cdef Instruction *other
    cdef Task *u
    cdef int64_t at
    cdef int i
    cdef bint changes
    cdef bint would
    if t.x.parallel:
        return
    changes = not t.missed if is_update(s) else not reads(s)
    for i in range(t.x.bodies):
        u = &t.x.task[i]
        at = w.registers[code.n_registers + i]
        if i == t.id or at == 0 or u.object != <void *>word:
            continue
        other = &code.instruction[at - 1]
        would = not leaves(other.verb, word[0], value_of(w, &other.a), value_of(w, &other.b)) and not reads(other)
        if (is_plain(s) or is_plain(other)) and (changes or would):
            violate(t, VIOLATION_DATA_RACE, arena_offset(&t.x.arena, word), i, at - 1 - code.begin[i])
