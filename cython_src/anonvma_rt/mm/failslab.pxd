"""Allocations that fail on purpose, as the kernel's fault injection does (lib/fault-inject.c, mm/failslab.c).

Which ones is a pure function of (seed, execution index, task, number of the allocation in that task), drawn from a
stream of its own, so a strategy's draws are what they are without it. Each task has a row that nobody else writes. """

from libc.stdint cimport int64_t, uint64_t

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport alloc_plan, kernel, kernel_of

cdef bint failslab(Task *t, int kind) noexcept nogil
cdef void failslab_open(Task *t, alloc_plan *plan) noexcept nogil
cdef void failslab_arm(Task *t, int kind, int64_t after) noexcept nogil
cdef void failslab_race(Task *t, bint racing) noexcept nogil
cdef uint64_t failslab_failures(kernel *k) noexcept nogil


cdef inline bint should_fail_alloc(Task *t, int kind) noexcept nogil:
    """Whether the allocation that t is about to make finds no memory; asked once per allocation, before anything of it
    is done."""
    return kernel_of(t).turn != NULL and failslab(t, kind)
