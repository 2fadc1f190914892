"""Memory for the kernel's own objects (mm/slab.c): the arena's, which never ends while the host has some."""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.run.task cimport Task

cdef void *must_alloc(Task *t, uint64_t size, int type) noexcept nogil
