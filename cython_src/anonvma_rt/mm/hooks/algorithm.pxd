"""An algorithm's choices from Python, as the kernel's files read them."""

from anonvma_rt.mm.mm_types cimport algorithm

cdef algorithm read_algorithm(object fields) except *
