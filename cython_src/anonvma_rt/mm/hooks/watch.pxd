"""Which operations are interesting for a selective strategy if nobody names others (interesting.pxd): whoever takes the
page-table lock that guards a page which the threads migrate.

The mover of an entry and the two walks of a migration meet there. A page is known by its index, which its new page
inherits and a copy of the page after fork shares. All of this costs a branch unless somebody wants to know of marks.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.run.task cimport Task, mark, marking
from anonvma_rt.mm.mm_types cimport kernel, kernel_of, page, page_table, vm_area_struct

cdef void watch(kernel *k, uint64_t index) noexcept nogil
cdef bint is_watched(kernel *k, uint64_t index) noexcept nogil
cdef bint moves_watched(kernel *k, vm_area_struct *vma, page_table *table, uint64_t start, uint64_t end) noexcept nogil


cdef inline bint is_watcher(Task *t) noexcept nogil:
    return kernel_of(t).watchers >> t.id & 1


cdef inline void mark_look(Task *t, page *p) noexcept nogil:
    """Right before a walk looks for p in one place, whether p is there or not."""
    if marking(t) and is_watcher(t) and is_watched(kernel_of(t), p.index):
        mark(t)


cdef inline void mark_move(Task *t, vm_area_struct *vma, page_table *table, uint64_t start,
                           uint64_t end) noexcept nogil:
    """Right before the lock of `table` is taken, to move its entries of a range of vma."""
    if marking(t) and is_watcher(t) and moves_watched(kernel_of(t), vma, table, start, end):
        mark(t)
