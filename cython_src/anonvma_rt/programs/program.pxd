"""The program as a subject (see program.pyx), for those who look at it while it runs."""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.base.arena cimport Arena
from anonvma_rt.engine.run.subject cimport Subject
from anonvma_rt.programs.host cimport Host
from anonvma_rt.programs.image cimport Image


cdef class Program(Subject):
    cdef readonly Image image
    cdef Host *host
    cdef int argc
    cdef char **argv
    cdef readonly list arguments

    cdef int keep_arguments(self, Arena *arena) noexcept nogil
    cdef void *keep(self, Arena *arena, uint64_t size) noexcept nogil
