"""One execution at large, from the barrier at which its tasks meet to its verdict.

A runner's own view belongs to its thread; the explorer's Execution, the totals and the next index belong to the task
that ends last, which nobody runs beside.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.parallel.runner cimport Runner, Storm
from anonvma_rt.engine.run.fault cimport Fault
from anonvma_rt.engine.run.task cimport Task

cdef void run_one(Runner *r) noexcept nogil
cdef void next_execution(Storm *s) noexcept nogil
cdef uint64_t now() noexcept nogil
cdef void strayed(void *argument, Fault *fault) noexcept nogil
cdef void exited(void *argument) noexcept nogil
cdef void unwind(Task *t) noexcept nogil
