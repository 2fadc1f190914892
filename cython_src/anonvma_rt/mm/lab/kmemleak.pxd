"""What nothing leads to any more at the end, as the kernel's own kmemleak finds it (mm/kmemleak.c)."""

from anonvma_rt.engine.run.task cimport Execution

cdef void check_leaks(Execution *x) noexcept nogil
