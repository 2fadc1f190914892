"""Explorer: the Python face of the engine."""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.base.bell cimport Bell, StopToken
from anonvma_rt.engine.run.block cimport Block
from anonvma_rt.engine.run.carrier cimport Carrier
from anonvma_rt.engine.run.strategy cimport Strategy
from anonvma_rt.engine.run.subject cimport Memory, Subject
from anonvma_rt.engine.run.task cimport Execution

cdef class Explorer:
    cdef Execution *x
    cdef Block block
    cdef Carrier workers
    cdef bint fibers
    cdef readonly Subject subject
    cdef readonly Strategy strategy
    cdef Memory memory
    # With those that flush buffers.
    cdef readonly int tasks
    cdef readonly StopToken stop
    cdef readonly Bell bell
    cdef readonly int cpu
    cdef int pid
    # Seconds without a point after which the watchdog ends an execution; 0 is never.
    cdef public double patience
    cdef bint was_stuck
    cdef bint opened
    cdef int use(self, Strategy strategy) except -1
    cdef object holder
    cdef int wait(self, bint signals) except -1
    cdef int check_usable(self) except -1
    cdef int check_idle(self) except -1
    cdef tuple totals(self)
    cdef int run_once(self, Strategy strategy, first, count, bound) except -1
    cdef object pending(self, int i)
    cdef tuple stack(self, uint64_t event)
    cdef object crash(self)
    cdef int hold_if_asked(self) except -1
