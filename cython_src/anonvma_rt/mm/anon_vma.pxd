"""anon_vma: its lifetime, and the chains and lists that tie it to vmas (the first half of mm/rmap.c).

The root's mutex protects the lists of all anon_vmas of one fork tree; mmap_sem with page_table_lock protects the
same_vma chain of a vma. Freed anon_vmas go to a typed pool and are reused at once, as under SLAB_DESTROY_BY_RCU.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.base.os cimport read_link
from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.types cimport anon_vma, anon_vma_chain, kernel_of, vm_area_struct

cdef void anon_vma_lock(Task *t, anon_vma *av) noexcept nogil
cdef void anon_vma_unlock(Task *t, anon_vma *av) noexcept nogil
cdef bint anon_vma_trylock(Task *t, anon_vma *root) noexcept nogil
cdef void anon_vma_lock_read(Task *t, anon_vma *av) noexcept nogil
cdef void anon_vma_unlock_read(Task *t, anon_vma *av) noexcept nogil
cdef int anon_vma_prepare(Task *t, vm_area_struct *vma) noexcept nogil
cdef int anon_vma_clone(Task *t, vm_area_struct *dst, vm_area_struct *src) noexcept nogil
cdef int anon_vma_fork(Task *t, vm_area_struct *child, vm_area_struct *parent) noexcept nogil
cdef void avc_to_tail(Task *t, anon_vma_chain *avc) noexcept nogil
cdef void anon_vma_moveto_tail(Task *t, vm_area_struct *dst) noexcept nogil
cdef void unlink_anon_vmas(Task *t, vm_area_struct *vma) noexcept nogil
cdef void anon_vma_pre_update(Task *t, vm_area_struct *vma) noexcept nogil
cdef void anon_vma_post_update(Task *t, vm_area_struct *vma) noexcept nogil
cdef bint inc_not_zero(Task *t, anon_vma *av) noexcept nogil
cdef void get_anon_vma(Task *t, anon_vma *av) noexcept nogil
cdef void put_anon_vma(Task *t, anon_vma *av) noexcept nogil
cdef bint dec_and_test(Task *t, anon_vma *av) noexcept nogil
cdef void free_unused(Task *t, anon_vma *av) noexcept nogil


cdef inline anon_vma *lock_owner(Task *t, anon_vma *av) noexcept nogil:
    """Whose mutex protects av's list: the root's since 2.6.36."""
    return av if kernel_of(t).algorithm.own_lock else <anon_vma *>read_link(&av.root)
