"""Memory for the kernel's own objects (mm/slab.c): the arena's, which never ends while the host has some."""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.base.arena cimport arena_alloc
from anonvma_rt.engine.run.task cimport HALT_NO_MEMORY, Task, halt


cdef inline void *must_alloc(Task *t, uint64_t size, int type) noexcept nogil:
    """Memory of the simulated kernel; that the host has none is no event of the simulation."""
    cdef void *object = arena_alloc(&t.x.arena, size, type)
    if object == NULL:
        halt(t, HALT_NO_MEMORY)
    return object
