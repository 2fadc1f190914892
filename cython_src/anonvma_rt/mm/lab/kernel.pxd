"""Kernel: the simulated kernel as a subject of the engine."""

from libc.stdint cimport int32_t, uint32_t

from anonvma_rt.engine.run.subject cimport Subject
from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.hooks.rule cimport Rule
from anonvma_rt.mm.lab.objects cimport object_index
from anonvma_rt.mm.lab.syscall cimport Call
from anonvma_rt.mm.mm_types cimport MOST_THREADS, algorithm, alloc_plan, rule_hook

cdef void kernel_init(Task *t, algorithm *chosen, rule_hook *rule, int processes) noexcept nogil
cdef int read_plan(object failing, alloc_plan *plan) except -1

cdef class Kernel(Subject):
    cdef algorithm algorithm
    cdef readonly Rule rule
    cdef rule_hook hook
    cdef readonly int processes
    cdef Call *calls
    # Calls begin[i] to begin[i + 1] are those of: setup, each thread, after.
    cdef int *begin
    cdef int refused_errno
    cdef bint has_tlb
    cdef int32_t cpu_of[MOST_THREADS]
    # Which operations of each task are interesting, and what is needed to recognise them; made by the first build.
    cdef uint32_t kinds_of_task[MOST_THREADS]
    cdef object_index objects
    cdef bint after_changes
    # failing: allocations of the threads may fail; can_fail: those, or those of a call that says so.
    cdef bint failing
    cdef bint can_fail
    cdef alloc_plan plan
    cdef void (*after)(Task *t, void *subject) noexcept nogil
    cdef void release(self)
    cdef int run(self, Task *t, int i) noexcept nogil
    cdef bint run_calls(self, Task *t, int section) noexcept nogil
