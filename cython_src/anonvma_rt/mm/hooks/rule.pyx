"""The way in for orderings of somebody else's (see rule.pxd)."""

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport rule_hook, vm_area_struct


cdef class Rule:
    """An ordering of somebody else's: `Algorithm.with_rule(Mine())` puts it in the place of the field `ordering`.

    A subclass overrides `place(t, source, destination, arrival)`, which runs on a task's thread without the GIL:
    mmap_sem is held for writing, no other lock is. ptes are about to move from source to destination; arrival says why
    the destination is where it is (rule.pxd). It returns whether they must move under the root's lock. It keeps no
    state: one Rule serves all explorers. """

    cdef bint place(self, Task *t, vm_area_struct *source, vm_area_struct *destination, int arrival) noexcept nogil:
        return False

    @property
    def name(self):
        """The name under which it can be named: module:Class."""
        return f"{type(self).__module__}:{type(self).__qualname__}"


cdef bint call_place(Rule rule, Task *t, vm_area_struct *source, vm_area_struct *destination,
                     int arrival) noexcept nogil:
    return rule.place(t, source, destination, arrival)


cdef void set_rule(rule_hook *hook, Rule rule):
    """Makes `rule` the one that is asked; None: none is. The caller keeps the reference."""
    hook.rule = <void *>rule if rule is not None else NULL
    hook.place = <bint (*)(void *, Task *, vm_area_struct *, vm_area_struct *, int) noexcept nogil>call_place
