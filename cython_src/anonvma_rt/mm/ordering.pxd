"""What mremap does about the order in which a walk meets source and destination: the decision that the 2011 mail is about.

order_destination() is asked at the two moments at which the kernel can still do something, before any pte moves. The
algorithm answers by its flags, or a Rule of somebody else's answers instead.
"""

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.types cimport algorithm, vm_area_struct

cdef enum Arrival:
    # copy_vma() let a neighbour grow, which may be older than the source,
    ARRIVES_MERGED
    # or made a vma, which is the youngest of all its lists.
    ARRIVES_FRESH
    # A move failed half-way, and the ptes go back to where they came from.
    ARRIVES_BACK

cdef class Rule:
    cdef bint place(self, Task *t, vm_area_struct *source, vm_area_struct *destination, int arrival) noexcept nogil

cdef void set_rule(algorithm *a, Rule rule)
cdef bint order_destination(Task *t, vm_area_struct *source, vm_area_struct *destination, int arrival) noexcept nogil
