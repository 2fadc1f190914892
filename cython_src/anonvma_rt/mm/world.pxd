"""World: a look at the state of a Kernel."""

from anonvma_rt.engine.explorer cimport Explorer
from anonvma_rt.mm.types cimport kernel

cdef class World:
    cdef Explorer explorer
    cdef list objects
    cdef kernel *kernel(self) except NULL
