"""The reverse map: anon_vma, its chains and lists, and the unmap walk (mm/rmap.c).

The root's mutex protects the same_anon_vma lists of all anon_vmas of one fork tree; mmap_sem with page_table_lock
protects the same_vma chain of a vma. A walker locks the root but walks the list of the page's own anon_vma.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.klist cimport list_cursor
from anonvma_rt.engine.task cimport Task
from anonvma_rt.mm.types cimport anon_vma, page, vm_area_struct

cdef enum:
    WALK_UNMAP = 1
    WALK_RESTORE = 2

cdef void anon_vma_lock(Task *t, anon_vma *av) noexcept nogil
cdef void anon_vma_unlock(Task *t, anon_vma *av) noexcept nogil
cdef int anon_vma_prepare(Task *t, vm_area_struct *vma) noexcept nogil
cdef int anon_vma_clone(Task *t, vm_area_struct *dst, vm_area_struct *src) noexcept nogil
cdef void anon_vma_moveto_tail(Task *t, vm_area_struct *dst) noexcept nogil
cdef void unlink_anon_vmas(Task *t, vm_area_struct *vma) noexcept nogil
cdef void put_anon_vma(Task *t, anon_vma *av) noexcept nogil
cdef anon_vma *page_lock_anon_vma(Task *t, page *p, anon_vma **root) noexcept nogil
cdef anon_vma *page_get_anon_vma(Task *t, page *p) noexcept nogil
cdef bint vma_address(Task *t, page *p, vm_area_struct *vma, uint64_t *address) noexcept nogil
cdef void page_add_new_anon_rmap(Task *t, page *p, vm_area_struct *vma, uint64_t address) noexcept nogil
cdef void page_add_anon_rmap(Task *t, page *p) noexcept nogil
cdef void page_remove_rmap(Task *t, page *p) noexcept nogil
cdef bint try_to_unmap(Task *t, page *p) noexcept nogil
cdef list_cursor rmap_walk_begin(Task *t, anon_vma *av, page *p, int walk) noexcept nogil
cdef vm_area_struct *rmap_walk_next(Task *t, anon_vma *av, list_cursor *c) noexcept nogil
