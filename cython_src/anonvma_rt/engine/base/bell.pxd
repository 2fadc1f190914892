"""How Python and the engine's threads tell each other of blocks: a token that ends one, a bell that rings at its end.

Both are one atomic word, so they may be used from any thread.
"""

from libc.stdint cimport uint32_t

cdef class StopToken:
    cdef uint32_t flag

cdef class Bell:
    cdef uint32_t word
