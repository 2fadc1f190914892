"""World: a look at the state of a Kernel."""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.run.explorer cimport Explorer
from anonvma_rt.engine.run.task cimport Execution
from anonvma_rt.mm.lab.objects cimport object_index
from anonvma_rt.mm.mm_types cimport kernel, mm_struct

cdef tuple describe_entry(mm_struct *mm, uint64_t address)

cdef class World:
    cdef Explorer explorer
    cdef Execution *x
    # Of all objects, made when the first name is asked for.
    cdef object_index objects
    cdef bint indexed
    cdef kernel *idle_kernel(self) except NULL
    cdef mm_struct *mm(self, int process) except NULL
