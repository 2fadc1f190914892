"""The treap of an mm's vmas (see vma_tree.pxd).

Source: Seidel, Aragon, "Randomized Search Trees" (Algorithmica 1996).
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.base.rng cimport mix64
from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport mm_struct, serial_of, vm_area_struct


cdef inline uint64_t priority(vm_area_struct *vma) noexcept nogil:
    return mix64(<uint64_t>serial_of(vma))


cdef void vma_tree_insert(mm_struct *mm, vm_area_struct *vma) noexcept nogil:
    """Goes down to where the priority belongs and splits what is below by address."""
    cdef vm_area_struct **link = &mm.tree
    cdef vm_area_struct **below = &vma.left
    cdef vm_area_struct **above = &vma.right
    cdef vm_area_struct *node
    while link[0] != NULL and priority(link[0]) > priority(vma):
        link = &link[0].left if vma.vm_start < link[0].vm_start else &link[0].right
    node = link[0]
    link[0] = vma
    while node != NULL:
        if node.vm_start < vma.vm_start:
            below[0] = node
            below = &node.right
            node = node.right
        else:
            above[0] = node
            above = &node.left
            node = node.left
    below[0] = NULL
    above[0] = NULL


cdef void vma_tree_erase(mm_struct *mm, vm_area_struct *vma) noexcept nogil:
    """Joins the two subtrees in the place of vma."""
    cdef vm_area_struct **link = &mm.tree
    cdef vm_area_struct *left = vma.left
    cdef vm_area_struct *right = vma.right
    while link[0] != vma:
        link = &link[0].left if vma.vm_start < link[0].vm_start else &link[0].right
    while left != NULL and right != NULL:
        if priority(left) > priority(right):
            link[0] = left
            link = &left.right
            left = left.right
        else:
            link[0] = right
            link = &right.left
            right = right.left
    link[0] = left if left != NULL else right


cdef vm_area_struct *find_vma(Task *t, mm_struct *mm, uint64_t address) noexcept nogil:
    """The first vma that ends above address, or NULL; mmap_sem is held."""
    return vma_tree_find(mm, address)


cdef vm_area_struct *find_vma_prev(Task *t, mm_struct *mm, uint64_t address) noexcept nogil:
    """The last vma that starts at or below `address` and is not the one that contains it, or NULL."""
    cdef vm_area_struct *vma = find_vma(t, mm, address)
    if vma != NULL:
        return vma.vm_prev
    return vma_tree_last(mm)
