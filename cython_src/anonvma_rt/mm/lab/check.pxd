"""What must hold when every task has ended (the invariants of the reverse map)."""

from anonvma_rt.engine.run.task cimport Execution

cdef void check_world(Execution *x) noexcept nogil
