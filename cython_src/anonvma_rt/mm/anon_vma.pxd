"""anon_vma: its lifetime and its lock (the head of mm/rmap.c); anon_vma_chain.pxd has what ties it to vmas.

The reference count decides over its life. Freed ones go to a typed pool and are reused at once, as under
SLAB_DESTROY_BY_RCU: whoever has not locked the root may hold a pointer to another one than it believes.
"""

from anonvma_rt.engine.base.os cimport read_link
from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport anon_vma, kernel_of

cdef anon_vma *anon_vma_alloc(Task *t) noexcept nogil
cdef void anon_vma_lock(Task *t, anon_vma *av) noexcept nogil
cdef void anon_vma_unlock(Task *t, anon_vma *av) noexcept nogil
cdef bint anon_vma_trylock(Task *t, anon_vma *root) noexcept nogil
cdef void anon_vma_lock_read(Task *t, anon_vma *av) noexcept nogil
cdef void anon_vma_unlock_read(Task *t, anon_vma *av) noexcept nogil
cdef anon_vma *lock_root(Task *t, anon_vma *held, anon_vma *av) noexcept nogil
cdef void unlock_root(Task *t, anon_vma *held) noexcept nogil
cdef bint inc_not_zero(Task *t, anon_vma *av) noexcept nogil
cdef void get_anon_vma(Task *t, anon_vma *av) noexcept nogil
cdef void put_anon_vma(Task *t, anon_vma *av) noexcept nogil
cdef bint dec_and_test(Task *t, anon_vma *av) noexcept nogil
cdef void free_unused(Task *t, anon_vma *av) noexcept nogil


cdef inline anon_vma *lock_owner(Task *t, anon_vma *av) noexcept nogil:
    """Whose mutex protects av's list: the root's since 2.6.36."""
    return av if kernel_of(t).algorithm.own_lock else <anon_vma *>read_link(&av.root)
