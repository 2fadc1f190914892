"""An augmented treap (see interval_tree.pxd): every node knows the largest last index below it.

Sources: Seidel, Aragon, "Randomized Search Trees" (Algorithmica 1996); Cormen et al., "Introduction to Algorithms",
interval trees. Links go upwards too, so an entry is removed by what it is linked to and not by its key, as in Linux.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.base.rng cimport mix64
from anonvma_rt.mm.mm_types cimport anon_vma, anon_vma_chain, serial_of, vma_pages


cdef inline uint64_t first_of(anon_vma_chain *avc) noexcept nogil:
    return avc.vma.vm_pgoff


cdef inline uint64_t last_of(anon_vma_chain *avc) noexcept nogil:
    return avc.vma.vm_pgoff + vma_pages(avc.vma) - 1


cdef inline uint64_t priority(anon_vma_chain *avc) noexcept nogil:
    return mix64(<uint64_t>serial_of(avc))


cdef void update(anon_vma_chain *node) noexcept nogil:
    cdef uint64_t last = last_of(node)
    if node.left != NULL and node.left.subtree_last > last:
        last = node.left.subtree_last
    if node.right != NULL and node.right.subtree_last > last:
        last = node.right.subtree_last
    node.subtree_last = last


cdef void replace(anon_vma *av, anon_vma_chain *up, anon_vma_chain *old, anon_vma_chain *new) noexcept nogil:
    """Makes `new` the child of `up` (NULL: the root) that `old` was."""
    if up == NULL:
        av.tree = new
    elif up.left == old:
        up.left = new
    else:
        up.right = new
    if new != NULL:
        new.up = up


cdef void rotate_up(anon_vma *av, anon_vma_chain *node) noexcept nogil:
    cdef anon_vma_chain *up = node.up
    replace(av, up.up, up, node)
    if up.left == node:
        up.left = node.right
        if node.right != NULL:
            node.right.up = up
        node.right = up
    else:
        up.right = node.left
        if node.left != NULL:
            node.left.up = up
        node.left = up
    up.up = node
    update(up)
    update(node)


cdef void anon_vma_interval_tree_insert(anon_vma *av, anon_vma_chain *avc) noexcept nogil:
    """O(log n). Behind all entries of the same first index."""
    cdef anon_vma_chain *up = NULL
    cdef anon_vma_chain *node = av.tree
    avc.left = NULL
    avc.right = NULL
    avc.subtree_last = last_of(avc)
    while node != NULL:
        up = node
        if node.subtree_last < avc.subtree_last:
            node.subtree_last = avc.subtree_last
        node = node.left if first_of(avc) < first_of(node) else node.right
    avc.up = up
    if up == NULL:
        av.tree = avc
        return
    if first_of(avc) < first_of(up):
        up.left = avc
    else:
        up.right = avc
    while avc.up != NULL and priority(avc.up) < priority(avc):
        rotate_up(av, avc)


cdef void anon_vma_interval_tree_remove(anon_vma *av, anon_vma_chain *avc) noexcept nogil:
    """O(log n), whatever the key is by now."""
    cdef anon_vma_chain *up
    while avc.left != NULL and avc.right != NULL:
        rotate_up(av, avc.left if priority(avc.left) > priority(avc.right) else avc.right)
    up = avc.up
    replace(av, up, avc, avc.left if avc.left != NULL else avc.right)
    # Without a parent and not the root of its tree: it is in none.
    avc.up = NULL
    while up != NULL:
        update(up)
        up = up.up


cdef anon_vma_chain *leftmost(anon_vma_chain *node, uint64_t index, uint64_t last) noexcept nogil:
    """The first entry of the subtree whose vma contains any of index to last, or NULL."""
    while node != NULL and node.subtree_last >= index:
        if node.left != NULL and node.left.subtree_last >= index:
            node = node.left
            continue
        if first_of(node) > last:
            return NULL
        if last_of(node) >= index:
            return node
        node = node.right
    return NULL


cdef anon_vma_chain *anon_vma_interval_tree_first(anon_vma *av, uint64_t index, uint64_t last) noexcept nogil:
    """The first entry, by (vm_pgoff, insertion), whose vma contains a page index from `index` to `last`, or NULL."""
    return leftmost(av.tree, index, last)


cdef anon_vma_chain *anon_vma_interval_tree_next(anon_vma_chain *avc, uint64_t index, uint64_t last) noexcept nogil:
    """The one after avc, or NULL."""
    cdef anon_vma_chain *found = leftmost(avc.right, index, last)
    while found == NULL and avc.up != NULL:
        if avc.up.left == avc:
            avc = avc.up
            if first_of(avc) > last:
                return NULL
            if last_of(avc) >= index:
                return avc
            found = leftmost(avc.right, index, last)
        else:
            avc = avc.up
    return found
