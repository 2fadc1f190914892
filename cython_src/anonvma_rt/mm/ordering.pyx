"""The orderings that Linux had or was offered, and the way in for others (see ordering.pxd)."""

from anonvma_rt.mm.anon_vma cimport anon_vma_moveto_tail
from anonvma_rt.mm.types cimport kernel_of


cdef class Rule:
    """An ordering of somebody else's: `Algorithm.with_rule(Mine())` puts it in the place of the field `ordering`.

    A subclass overrides `place(t, source, destination, arrival)`, which runs on a task's thread without the GIL: mmap_sem
    is held for writing, no other lock is. ptes are about to move from source to destination; arrival says why the
    destination is where it is (ordering.pxd). It returns whether they must move under the root's lock. It keeps no
    state: one Rule serves all explorers.
    """

    cdef bint place(self, Task *t, vm_area_struct *source, vm_area_struct *destination, int arrival) noexcept nogil:
        return False

    @property
    def name(self):
        """The name under which it can be named: module:Class."""
        return f"{type(self).__module__}:{type(self).__qualname__}"


cdef bint call_place(Rule rule, Task *t, vm_area_struct *source, vm_area_struct *destination,
                     int arrival) noexcept nogil:
    return rule.place(t, source, destination, arrival)


cdef void set_rule(algorithm *a, Rule rule):
    """Makes `rule` that of an algorithm; the caller keeps the reference."""
    a.rule = <void *>rule
    a.place = <bint (*)(void *, Task *, vm_area_struct *, vm_area_struct *, int) noexcept nogil>call_place


cdef bint order_destination(Task *t, vm_area_struct *source, vm_area_struct *destination, int arrival) noexcept nogil:
    """Whether ptes have to move under the root's lock, after the order of the lists is what the algorithm wants."""
    cdef algorithm *a = &kernel_of(t).algorithm
    if a.rule != NULL:
        return a.place(a.rule, t, source, destination, arrival)
    if a.rmap_locks:
        return True
    if arrival == ARRIVES_FRESH:
        return False
    if a.tail_before_move_back if arrival == ARRIVES_BACK else a.tail_after_merge:
        anon_vma_moveto_tail(t, destination)
    # Equal is wrong, too: vma_adjust puts back what it changes behind its equals. Nobody compares on the way back.
    return a.need_rmap_locks and (arrival == ARRIVES_BACK or destination.vm_pgoff <= source.vm_pgoff)
