"""What a program lives in: everything that an execution changes, registers included, lies in the arena."""

from libc.stdint cimport int64_t, uint32_t

from anonvma_rt.engine.base.arena cimport arena_alloc, arena_offset
from anonvma_rt.engine.base.klist cimport list_add_tail, list_add_valid, list_del, list_del_valid, list_head
from anonvma_rt.engine.parallel.locks cimport guard, unguard
from anonvma_rt.engine.run.task cimport HALT_NO_MEMORY, VIOLATION_LIST_CORRUPTION, Task, halt, point, violate
from anonvma_rt.litmus.assemble cimport ITEM

# What `free`, `use` and `unlink` act on: a member of the one list of the program.
cdef struct item:
    list_head link

# The first object of the arena: the head of that list, where everything else is, and all registers in one row.
cdef struct world:
    list_head items
    # Where threads run at once: held while one of them frees, makes or unlinks something, which is one step.
    uint32_t surgery
    void **object
    int64_t *registers


cdef inline void begin_surgery(Task *t, world *w) noexcept nogil:
    if t.x.parallel:
        guard(t, &w.surgery)


cdef inline void end_surgery(Task *t, world *w) noexcept nogil:
    if t.x.parallel:
        unguard(&w.surgery)


cdef inline void *must_alloc(Task *t, size_t size, int type) noexcept nogil:
    cdef void *object = arena_alloc(&t.x.arena, size, type)
    if object == NULL:
        halt(t, HALT_NO_MEMORY)
    return object


cdef inline void *item_of(Task *t, world *w, int op, int name) noexcept nogil:
    """Comes to the point of an operation on the list, and then sees which item a name stands for; end_surgery() ends
    the operation."""
    point(t, op, &w.items)
    begin_surgery(t, w)
    return w.object[name]


cdef inline item *new_item(Task *t, world *w) noexcept nogil:
    cdef item *it = <item *>must_alloc(t, sizeof(item), ITEM)
    cdef int fault = list_add_valid(&it.link, w.items.prev, &w.items)
    if fault:
        violate(t, VIOLATION_LIST_CORRUPTION, fault, <int64_t>arena_offset(&t.x.arena, it), 0)
    list_add_tail(&it.link, &w.items)
    return it


cdef inline void unlink(Task *t, item *it) noexcept nogil:
    """list_del as CONFIG_DEBUG_LIST has it: looks at the links before it follows them."""
    cdef int fault = list_del_valid(&it.link)
    if fault:
        violate(t, VIOLATION_LIST_CORRUPTION, fault, <int64_t>arena_offset(&t.x.arena, it), 0)
    list_del(&it.link)
