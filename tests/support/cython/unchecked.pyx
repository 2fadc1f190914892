"""A subject, a strategy and a rule whose module does not say what it was built against."""

from anonvma_rt.api cimport Strategy, Subject
from anonvma_rt.kernel_api cimport Rule


cdef class Silent(Subject):
    pass


cdef class Mute(Strategy):
    pass


cdef class Dumb(Rule):
    pass
