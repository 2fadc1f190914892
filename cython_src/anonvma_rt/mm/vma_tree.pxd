"""The vmas of an mm by address, in a treap: find_vma in O(log n), as the kernel's red-black tree gives it.

mmap_sem protects it. Priorities are a hash of the serial number, so that its shape depends on nothing but the order in
which vmas were made. A change of vm_start keeps the order of the vmas and so needs no change here.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.base.os cimport read_once64
from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport locked_vma, mm_struct, vm_area_struct

cdef vm_area_struct *find_vma(Task *t, mm_struct *mm, uint64_t address) noexcept nogil
cdef vm_area_struct *find_vma_prev(Task *t, mm_struct *mm, uint64_t address) noexcept nogil
cdef void vma_tree_insert(mm_struct *mm, vm_area_struct *vma) noexcept nogil
cdef void vma_tree_erase(mm_struct *mm, vm_area_struct *vma) noexcept nogil


cdef inline vm_area_struct *vma_tree_find(mm_struct *mm, uint64_t address) noexcept nogil:
    """The first vma that ends above address, or NULL. It looks at no vm_start: that of a stack may be moving."""
    cdef vm_area_struct *node = mm.tree
    cdef vm_area_struct *best = NULL
    while node != NULL:
        if read_once64(&node.vm_end) > address:
            best = node
            node = node.left
        else:
            node = node.right
    return best


cdef inline vm_area_struct *vma_tree_find_key(mm_struct *mm, uint64_t address) noexcept nogil:
    """The vma that has address in its key, or NULL: for lookups without mmap_sem, which look at no range that a writer
    is about to change."""
    cdef vm_area_struct *node = mm.tree
    while node != NULL:
        if read_once64(&(<locked_vma *>node).key_end) <= address:
            node = node.right
        elif address < read_once64(&(<locked_vma *>node).key_start):
            node = node.left
        else:
            break
    return node


cdef inline vm_area_struct *vma_tree_last(mm_struct *mm) noexcept nogil:
    cdef vm_area_struct *node = mm.tree
    while node != NULL and node.right != NULL:
        node = node.right
    return node
