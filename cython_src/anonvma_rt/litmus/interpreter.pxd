"""What runs a compiled program."""

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.litmus.code cimport Code

cdef void run(Task *t, Code *code, int section) noexcept nogil
