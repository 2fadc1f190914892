"""Orderings of one's own for copy_vma() and move_vma(), tried without a change of the project.

mremap is about to move ptes from one vma to another, and a walk of the reverse map that goes on meanwhile must not meet
the destination before the ptes have come and the source after they have left. A Rule is asked before any pte moves.
MoveToTail says the same as the patch of December 2011 (948f017b) in words of its own; MergeOnly forgets the second half
of it; UnderTheLock leaves the order alone and has each extent move under the root's lock; SourceToTail is wrong.
"""

from anonvma_rt.api cimport Task, list_cursor, list_for_each_prev, list_step
from anonvma_rt.kernel_api cimport (
    ARRIVES_BACK, ARRIVES_FRESH, Rule, anon_vma_lock, anon_vma_unlock, avc_of_same_vma, avc_to_tail, require_kernel_api,
    vm_area_struct,
)

require_kernel_api(__name__)


cdef void to_tail(Task *t, vm_area_struct *vma) noexcept nogil:
    """A walk that is under way ends first, and later ones meet vma last: in all anon_vmas of its chain, for a page may
    belong to an ancestor's. Oldest first, each under its root's lock."""
    cdef list_cursor c = list_for_each_prev(&vma.anon_vma_chain)
    while list_step(&c):
        anon_vma_lock(t, avc_of_same_vma(c.pos).anon_vma)
        avc_to_tail(t, avc_of_same_vma(c.pos))
        anon_vma_unlock(t, avc_of_same_vma(c.pos).anon_vma)


cdef class MoveToTail(Rule):
    """the destination goes to the tail, unless it is the youngest anyway; when a move is taken back, too"""

    cdef bint place(self, Task *t, vm_area_struct *source, vm_area_struct *destination, int arrival) noexcept nogil:
        if arrival != ARRIVES_FRESH:
            to_tail(t, destination)
        return False


cdef class MergeOnly(Rule):
    """the same, but nobody thinks of the move that fails half-way"""

    cdef bint place(self, Task *t, vm_area_struct *source, vm_area_struct *destination, int arrival) noexcept nogil:
        if arrival != ARRIVES_FRESH and arrival != ARRIVES_BACK:
            to_tail(t, destination)
        return False


cdef class UnderTheLock(Rule):
    """the order is left alone, and ptes move under the root's lock"""

    cdef bint place(self, Task *t, vm_area_struct *source, vm_area_struct *destination, int arrival) noexcept nogil:
        return True


cdef class SourceToTail(Rule):
    """the wrong way round"""

    cdef bint place(self, Task *t, vm_area_struct *source, vm_area_struct *destination, int arrival) noexcept nogil:
        to_tail(t, source)
        return False
