"""Chains and lists (see chains.pxd): a vma is on the lists that its chain leads to, once, and each list leads back."""

from libc.stdint cimport int64_t, uint64_t

from anonvma_rt.engine.base.arena cimport arena_live
from anonvma_rt.engine.base.klist cimport list_cursor, list_for_each, list_head, list_step
from anonvma_rt.engine.run.task cimport VIOLATION_LIST_CORRUPTION, VIOLATION_USE_AFTER_FREE, Execution, found
from anonvma_rt.mm.mm_types cimport (
    REUSE_NO, TYPE_ANON_VMA, TYPE_AVC, TYPE_VMA, anon_vma, anon_vma_chain, avc_of_same_anon_vma, avc_of_same_vma,
    kernel, mm_struct, serial_of, vm_area_struct,
)


cdef void report(Execution *x, kernel *k, int kind, int64_t a, int64_t b, int64_t c) noexcept nogil:
    found(x, kind, -1, a, b, c)
    if k.n_findings < k.findings_room:
        k.findings[k.n_findings].kind = kind
        k.findings[k.n_findings].a = a
        k.findings[k.n_findings].b = b
        k.findings[k.n_findings].c = c
        k.n_findings += 1


cdef bint listed(vm_area_struct *vma, anon_vma *av) noexcept nogil:
    """Whether av's list contains an entry of vma, looked up from the vma's side."""
    cdef list_cursor c = list_for_each(&vma.anon_vma_chain)
    while list_step(&c):
        if avc_of_same_vma(c.pos).anon_vma == av:
            return True
    return False


cdef void check_chains(Execution *x, kernel *k, mm_struct *mm) noexcept nogil:
    cdef vm_area_struct *vma = mm.mmap
    while vma != NULL:
        if not arena_live(&x.arena, vma, TYPE_VMA):
            report(x, k, VIOLATION_USE_AFTER_FREE, TYPE_VMA, mm.id, 0)
            return
        if not check_chain(x, k, mm, vma):
            return
        vma = vma.vm_next


cdef bint check_chain(Execution *x, kernel *k, mm_struct *mm, vm_area_struct *vma) noexcept nogil:
    """I1, I2 and I3 of one vma; False where nothing behind it can be trusted."""
    cdef list_cursor c = list_for_each(&vma.anon_vma_chain)
    cdef anon_vma *root = NULL
    cdef anon_vma_chain *avc
    cdef bint own = False
    cdef int links = 0
    while list_step(&c):
        avc = avc_of_same_vma(c.pos)
        if not arena_live(&x.arena, avc, TYPE_AVC) or not arena_live(&x.arena, avc.anon_vma, TYPE_ANON_VMA):
            report(x, k, VIOLATION_USE_AFTER_FREE, TYPE_AVC, serial_of(vma), 0)
            return False
        if links and chained_before(vma, c.pos):
            report(x, k, VIOLATION_LIST_CORRUPTION, serial_of(vma), serial_of(avc.anon_vma), LINKED_TWICE)
        own |= avc.anon_vma == vma.anon_vma
        # Where forks reuse anon_vmas, a vma's own one need not be the newest.
        if links == 0 and not own and k.algorithm.reuse == REUSE_NO:
            report(x, k, VIOLATION_LIST_CORRUPTION, serial_of(vma), serial_of(avc.anon_vma), I2_ORDER)
        check_list(x, k, avc.anon_vma)
        if avc.vma != vma or avc.checked_round != k.check_round:
            report(x, k, VIOLATION_LIST_CORRUPTION, serial_of(vma), serial_of(avc.anon_vma), I1_CHAIN)
        if root != NULL and avc.anon_vma.root != root:
            report(x, k, VIOLATION_LIST_CORRUPTION, serial_of(vma), serial_of(avc.anon_vma), I1_ROOT)
        root = avc.anon_vma.root
        links += 1
    if c.corrupt or own != (vma.anon_vma != NULL) or (links == 0) != (vma.anon_vma == NULL):
        report(x, k, VIOLATION_LIST_CORRUPTION, serial_of(vma), c.corrupt, I1_CHAIN)
        return not c.corrupt
    if links and avc.anon_vma != root_of_chain(vma):
        report(x, k, VIOLATION_LIST_CORRUPTION, serial_of(vma), serial_of(avc.anon_vma), I2_ORDER)
    if links:
        if vma.anon_vma.checked_mm != mm:
            vma.anon_vma.checked_mm = mm
            vma.anon_vma.checked = vma
        elif not same_chains(vma, vma.anon_vma.checked):
            report(x, k, VIOLATION_LIST_CORRUPTION, serial_of(vma.anon_vma.checked), serial_of(vma), I3_SETS)
    return True


cdef bint chained_before(vm_area_struct *vma, list_head *link) noexcept nogil:
    """Whether an entry of vma's chain before `link` has the same anon_vma: a vma is on a list once."""
    cdef list_cursor c = list_for_each(&vma.anon_vma_chain)
    while list_step(&c) and c.pos != link:
        if avc_of_same_vma(c.pos).anon_vma == avc_of_same_vma(link).anon_vma:
            return True
    return False


cdef void check_list(Execution *x, kernel *k, anon_vma *av) noexcept nogil:
    """I1 from the other side: a walker may follow every entry of the list. Once per anon_vma; marks what it meets."""
    cdef list_cursor c = list_for_each(&av.head)
    cdef anon_vma_chain *avc
    if av.checked_round == k.check_round:
        return
    av.checked_round = k.check_round
    av.checked_mm = NULL
    while list_step(&c):
        avc = avc_of_same_anon_vma(c.pos)
        if not arena_live(&x.arena, avc, TYPE_AVC):
            report(x, k, VIOLATION_USE_AFTER_FREE, TYPE_AVC, serial_of(av), I1_CHAIN)
            return
        if not arena_live(&x.arena, avc.vma, TYPE_VMA):
            report(x, k, VIOLATION_USE_AFTER_FREE, TYPE_VMA, serial_of(av), I1_CHAIN)
            return
        if avc.anon_vma != av:
            report(x, k, VIOLATION_LIST_CORRUPTION, serial_of(avc.vma), serial_of(av), I1_CHAIN)
        avc.checked_round = k.check_round
    if c.corrupt:
        report(x, k, VIOLATION_LIST_CORRUPTION, 0, serial_of(av), I1_CHAIN)


cdef void check_trees(Execution *x, kernel *k, mm_struct *mm) noexcept nogil:
    """Whether the interval tree finds every vma by the first index that it has; after all lists were found sound."""
    cdef vm_area_struct *vma = mm.mmap
    cdef list_cursor c
    while vma != NULL:
        c = list_for_each(&vma.anon_vma_chain)
        while list_step(&c):
            if not in_tree(avc_of_same_vma(c.pos)):
                report(x, k, VIOLATION_LIST_CORRUPTION, serial_of(vma), serial_of(avc_of_same_vma(c.pos).anon_vma),
                       TREE_ORDER)
        vma = vma.vm_next


cdef bint in_tree(anon_vma_chain *avc) noexcept nogil:
    """Whether a search by key leads to avc, whose subtrees must be in order next to it: O(depth)."""
    cdef anon_vma_chain *node = avc.up
    cdef anon_vma_chain *below = avc
    cdef uint64_t key = avc.vma.vm_pgoff
    if avc.up == NULL:
        return avc.anon_vma.tree == avc
    while node != NULL:
        if (key > node.vma.vm_pgoff) if below == node.left else (key < node.vma.vm_pgoff):
            return False
        below = node
        node = node.up
    return below == avc.anon_vma.tree


cdef anon_vma *root_of_chain(vm_area_struct *vma) noexcept nogil:
    """The anon_vma that I2 wants last: the root if the vma is on its list, else the last one there is."""
    cdef list_cursor c = list_for_each(&vma.anon_vma_chain)
    cdef anon_vma *last = NULL
    while list_step(&c):
        last = avc_of_same_vma(c.pos).anon_vma
        if last.root == last:
            return last
    return last


cdef bint same_chains(vm_area_struct *a, vm_area_struct *b) noexcept nogil:
    """I3: vmas that share their anon_vma are on the same lists, or merging them would lose pages."""
    cdef list_cursor c = list_for_each(&a.anon_vma_chain)
    cdef list_cursor d = list_for_each(&b.anon_vma_chain)
    cdef int links = 0
    # Usually in the same order, too.
    while list_step(&c) and list_step(&d) and avc_of_same_vma(c.pos).anon_vma == avc_of_same_vma(d.pos).anon_vma:
        pass
    if c.pos == &a.anon_vma_chain and not list_step(&d):
        return True
    c = list_for_each(&a.anon_vma_chain)
    while list_step(&c):
        if not listed(b, avc_of_same_vma(c.pos).anon_vma):
            return False
        links += 1
    c = list_for_each(&b.anon_vma_chain)
    while list_step(&c):
        links -= 1
    return links == 0
