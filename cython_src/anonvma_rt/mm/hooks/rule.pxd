"""Rule: a user's own answer to what mremap does about the order in which a walk meets source and destination.

That decision is what the 2011 mail is about. order_destination() of mm/mmap asks a Rule, where there is one, instead of
the algorithm's flags: once a destination is there, and once more before a failed move goes back.
"""

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport rule_hook, vm_area_struct

cdef enum Arrival:
    # copy_vma() let a neighbour grow, which may be older than the source,
    ARRIVES_MERGED
    # or made a vma, which is the youngest of all its lists.
    ARRIVES_FRESH
    # A move failed half-way, and the ptes go back to where they came from.
    ARRIVES_BACK

cdef class Rule:
    cdef bint place(self, Task *t, vm_area_struct *source, vm_area_struct *destination, int arrival) noexcept nogil

cdef void set_rule(rule_hook *hook, Rule rule)
