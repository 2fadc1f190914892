"""anon_vma_chain: the links that put a vma on the lists of anon_vmas (the part of mm/rmap.c between a vma and them).

The root's mutex protects the lists of all anon_vmas of one fork tree; mmap_sem with page_table_lock protects the
same_vma chain of a vma. A list's order, oldest first, is what the race is about.
"""

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport anon_vma_chain, vm_area_struct

cdef int anon_vma_prepare(Task *t, vm_area_struct *vma) noexcept nogil
cdef int anon_vma_clone(Task *t, vm_area_struct *dst, vm_area_struct *src) noexcept nogil
cdef int anon_vma_fork(Task *t, vm_area_struct *child, vm_area_struct *parent) noexcept nogil
cdef void avc_to_tail(Task *t, anon_vma_chain *avc) noexcept nogil
cdef void anon_vma_moveto_tail(Task *t, vm_area_struct *dst) noexcept nogil
cdef void unlink_anon_vmas(Task *t, vm_area_struct *vma) noexcept nogil
cdef void anon_vma_pre_update(Task *t, vm_area_struct *vma) noexcept nogil
cdef void anon_vma_post_update(Task *t, vm_area_struct *vma) noexcept nogil
