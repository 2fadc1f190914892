"""UFFDIO_MOVE of one page (see userfaultfd.pxd). mmap_sem is held for reading only.

The page gets another anon_vma, perhaps of another root, while it stays mapped: what a walker concludes from "mapped" is
not true any more. The page lock and the old root's lock are held meanwhile.
"""

from libc.errno cimport EBUSY, EEXIST, EFAULT, EINVAL, ENOENT, ENOMEM
from libc.stdint cimport uint32_t, uint64_t

from anonvma_rt.engine.base.operation cimport OP_LOAD, OP_STORE
from anonvma_rt.engine.base.os cimport read_once32, write_onceu
from anonvma_rt.engine.run.sync cimport (
    mutex_lock, mutex_unlock, spin_lock, spin_lock_nested, spin_unlock, spin_unlock_nested, spinlock_t,
)
from anonvma_rt.engine.run.task cimport Task, point
from anonvma_rt.mm.anon_vma cimport anon_vma_lock, anon_vma_unlock, put_anon_vma
from anonvma_rt.mm.anon_vma_chain cimport anon_vma_prepare
from anonvma_rt.mm.gup cimport follow_page
from anonvma_rt.mm.mm_types cimport (
    PAGE_SIZE, PTE_NONE, anon_vma, linear_page_index, mm_struct, page, page_table, pte_pfn, pte_present, pte_t,
    vm_area_struct,
)
from anonvma_rt.mm.page_alloc cimport put_page
from anonvma_rt.mm.pgtable cimport (
    alloc_table, find_table, pte_lockptr, pte_offset, pte_read, ptep_get_and_clear, set_pte,
)
from anonvma_rt.mm.rmap cimport page_get_anon_vma, set_page_anon_vma
from anonvma_rt.mm.vma_tree cimport find_vma


cdef int move_present_pte(Task *t, page *p, vm_area_struct *vma, uint64_t source, vm_area_struct *new_vma,
                          uint64_t to) noexcept nogil:
    """Both ptls, the lower address outside. 0, or an errno where the ptes are not what they were."""
    cdef mm_struct *mm = vma.vm_mm
    cdef page_table *old = find_table(t, mm, source)
    cdef page_table *new
    cdef spinlock_t *first
    cdef spinlock_t *second
    cdef pte_t pte
    cdef int result = 0
    if alloc_table(t, mm, to, &new) < 0:
        return -ENOMEM
    if old == NULL or new == NULL:
        return -EINVAL
    first = pte_lockptr(t, mm, old if source < to else new)
    second = pte_lockptr(t, mm, new if source < to else old)
    spin_lock(t, first)
    if second != first:
        spin_lock_nested(t, second, 1)
    pte = pte_read(t, pte_offset(old, source))
    if not pte_present(pte) or pte_pfn(pte) != p.pfn:
        result = -ENOENT
    elif pte_read(t, pte_offset(new, to)) != PTE_NONE:
        result = -EEXIST
    else:
        point(t, OP_LOAD, &p.mapcount)
        if read_once32(&p.mapcount) > 0:
            # Not exclusive: somebody else maps the page, too.
            result = -EBUSY
    if result == 0:
        ptep_get_and_clear(t, pte_offset(old, source))
        point(t, OP_STORE, &p.mapping)
        set_page_anon_vma(p, new_vma.anon_vma)
        write_onceu(&p.index, <uint32_t>linear_page_index(new_vma, to))
        set_pte(t, pte_offset(new, to), pte)
    if second != first:
        spin_unlock_nested(t, second, 1)
    spin_unlock(t, first)
    return result


cdef int move_pages_pte(Task *t, mm_struct *mm, uint64_t source, uint64_t to) noexcept nogil:
    """0; -EINVAL unaligned; -EFAULT outside every mapping; -ENOENT no page there; -EEXIST the destination has one;
    -EBUSY the page is shared; -ENOMEM."""
    cdef vm_area_struct *vma = find_vma(t, mm, source)
    cdef vm_area_struct *new_vma = find_vma(t, mm, to)
    cdef anon_vma *pinned
    cdef page *p
    cdef int result = -ENOENT
    if (source | to) & (PAGE_SIZE - 1):
        return -EINVAL
    if vma == NULL or vma.vm_start > source or new_vma == NULL or new_vma.vm_start > to:
        return -EFAULT
    if anon_vma_prepare(t, new_vma) < 0:
        return -ENOMEM
    p = follow_page(t, mm, source)
    if p == NULL:
        return -ENOENT
    mutex_lock(t, &p.lock)
    pinned = page_get_anon_vma(t, p)
    if pinned != NULL:
        anon_vma_lock(t, pinned)
        result = move_present_pte(t, p, vma, source, new_vma, to)
        anon_vma_unlock(t, pinned)
        put_anon_vma(t, pinned)
    mutex_unlock(t, &p.lock)
    put_page(t, p)
    return result
