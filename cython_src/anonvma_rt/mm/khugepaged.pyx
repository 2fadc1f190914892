"""Collapse (see khugepaged.pxd), as khugepaged does it and, since 6.1, madvise(MADV_COLLAPSE).

khugepaged looks at all entries before it begins, without the locks under which every look is made once more: that look
is left out here. So is the swapping in of pages (4.8), without which a range with swapped pages is left alone.
"""

from libc.errno cimport EAGAIN, EINVAL, ENOMEM
from libc.stdint cimport int32_t, int64_t, uint64_t

from anonvma_rt.engine.base.arena cimport arena_retire
from anonvma_rt.engine.base.operation cimport OP_LOAD
from anonvma_rt.engine.base.os cimport read_link, read_once64, read_onceu
from anonvma_rt.engine.run.sync cimport (
    down_read, down_write, mutex_trylock, mutex_unlock, spin_lock, spin_unlock, spinlock_t, up_read,
)
from anonvma_rt.engine.run.task cimport Task, must_live, note, point, violate
from anonvma_rt.mm.anon_vma cimport anon_vma_lock, anon_vma_unlock
from anonvma_rt.mm.hooks.notes cimport BUG_BAD_PMD, BUG_ON, NOTE_COLLAPSE
from anonvma_rt.mm.huge_memory cimport hugepage_fits
from anonvma_rt.mm.mm_types cimport (
    COLLAPSE_3_2, COLLAPSE_5_8, HPAGE_PMD_NR, PMD_SIZE, PTE_WRITE, TYPE_VMA, VM_WRITE, anon_vma, kernel_of,
    make_huge_pmd, member_of, mm_struct, page, page_at, page_compound, page_count, page_table, pmd_huge, pmd_t,
    pmd_table, pte_pfn, pte_present, pte_t, vm_area_struct,
)
from anonvma_rt.mm.page_alloc cimport alloc_hugepage, isolate_lru_page, put_page, putback_lru_page
from anonvma_rt.mm.pgtable cimport pmd_offset, pmd_read, pte_lockptr, pte_read, ptep_get_and_clear, set_pmd
from anonvma_rt.mm.rmap cimport page_add_new_anon_rmap, page_remove_rmap
from anonvma_rt.mm.tlb cimport flush_tlb_range
from anonvma_rt.mm.vma_lock cimport mmap_write_unlock, vma_start_write
from anonvma_rt.mm.vma_tree cimport find_vma


cdef vm_area_struct *suitable_vma(Task *t, mm_struct *mm, uint64_t address) noexcept nogil:
    """hugepage_vma_revalidate(): the vma that wants a huge page at address and has one's range, or NULL. One without an
    anon_vma has nothing to collapse."""
    cdef vm_area_struct *vma = find_vma(t, mm, address)
    if vma == NULL or vma.vm_start > address or not hugepage_fits(vma, address):
        return NULL
    point(t, OP_LOAD, member_of(t, &vma.anon_vma))
    return vma if read_link(&vma.anon_vma) != NULL else NULL


# ---- taking the small pages ------------------------------------------------------------------------------------------


cdef int isolate_page(Task *t, page *p) noexcept nogil:
    """Locks one page and takes it off the LRU, if nobody but its entry has a reference: 0, -EAGAIN,
    or -EINVAL for a part of a huge page.

    A pin could not be moved along. Up to 5.7 a page that is mapped twice is left alone, too; since then its references
    are compared with its mappings (9445689f3b61)."""
    cdef int32_t expected = 1
    cdef int result = -EAGAIN
    if page_compound(p) or read_onceu(&p.head) != p.pfn:
        return -EINVAL
    if not mutex_trylock(t, &p.lock):
        return -EAGAIN
    if kernel_of(t).algorithm.collapse >= COLLAPSE_5_8:
        point(t, OP_LOAD, &p.mapcount)
        expected = p.mapcount + 1
    point(t, OP_LOAD, &p.count)
    if page_count(p) == expected and isolate_lru_page(t, p) == 0:
        result = 0
    if result < 0:
        mutex_unlock(t, &p.lock)
    return result


cdef void release_page(Task *t, page *p) noexcept nogil:
    putback_lru_page(t, p)
    mutex_unlock(t, &p.lock)


cdef bint shows_page(Task *t, pte_t pte) noexcept nogil:
    return pte_present(pte) and pte_pfn(pte) != 0


cdef int isolate_pages(Task *t, page_table *table) noexcept nogil:
    """__collapse_huge_page_isolate(), under the lock of the table: all its pages, or none. 0, or -EINVAL where an entry
    shows no page or, up to 3.19, may not be written through, or -EAGAIN."""
    cdef int32_t rule = kernel_of(t).algorithm.collapse
    cdef bint writable = False
    cdef int result = 0
    cdef int i
    cdef pte_t pte
    for i in range(HPAGE_PMD_NR):
        if read_once64(&table.pte[i]) == 0:
            continue
        pte = pte_read(t, &table.pte[i])
        if not shows_page(t, pte):
            # The zero page counts as none since 4.1.
            if pte_present(pte) and rule != COLLAPSE_3_2:
                continue
            result = -EINVAL
        elif rule == COLLAPSE_3_2 and not pte & PTE_WRITE:
            result = -EINVAL
        else:
            result = isolate_page(t, page_at(t, pte_pfn(pte)))
        if result < 0:
            release_pages(t, table, i)
            return result
        writable |= pte & PTE_WRITE != 0
    if not writable:
        release_pages(t, table, HPAGE_PMD_NR)
        return -EINVAL
    return 0


cdef void release_pages(Task *t, page_table *table, int n) noexcept nogil:
    """Gives the pages of the first n entries back."""
    cdef int i
    cdef pte_t pte
    for i in range(n):
        pte = read_once64(&table.pte[i])
        if shows_page(t, pte):
            release_page(t, page_at(t, pte_pfn(pte)))


cdef void copy_pages(Task *t, page_table *table, spinlock_t *ptl, page *new) noexcept nogil:
    """__collapse_huge_page_copy(): all that the table showed is in the huge page afterwards, and the table is empty."""
    cdef page *p
    cdef pte_t pte
    cdef int i
    for i in range(HPAGE_PMD_NR):
        pte = read_once64(&table.pte[i])
        if pte == 0:
            continue
        p = NULL
        if shows_page(t, pte):
            p = page_at(t, pte_pfn(pte))
            if kernel_of(t).pins != NULL:
                point(t, OP_LOAD, &p.tag)
            new[i].tag = read_onceu(&p.tag)
            release_page(t, p)
        spin_lock(t, ptl)
        ptep_get_and_clear(t, &table.pte[i])
        if p != NULL:
            page_remove_rmap(t, p)
        spin_unlock(t, ptl)
        if p != NULL:
            put_page(t, p)


# ---- the collapse ----------------------------------------------------------------------------------------------------


cdef void put_pmd(Task *t, mm_struct *mm, uint64_t address, pmd_t *pmd, pmd_t value) noexcept nogil:
    """Where the pmd was taken away; page_table_lock is held."""
    if pmd_read(t, pmd) != 0:
        violate(t, BUG_ON, BUG_BAD_PMD, 0, <int64_t>address)
    set_pmd(t, pmd, value)


cdef int collapse_table(Task *t, vm_area_struct *vma, uint64_t address, pmd_t *pmd, page *new) noexcept nogil:
    """The table at pmd becomes the huge page `new`: 0, or an errno, and nothing has changed."""
    cdef mm_struct *mm = vma.vm_mm
    cdef bint unlocked = kernel_of(t).algorithm.collapse_unlocked
    cdef page_table *table = pmd_table(pmd_read(t, pmd))
    cdef anon_vma *av = vma.anon_vma
    cdef spinlock_t *ptl
    cdef int result
    if table == NULL:
        return -EINVAL
    ptl = pte_lockptr(t, mm, table)
    if not unlocked:
        anon_vma_lock(t, av)
    spin_lock(t, &mm.page_table_lock)
    set_pmd(t, pmd, 0)
    flush_tlb_range(t, mm, address, address + PMD_SIZE)
    spin_unlock(t, &mm.page_table_lock)
    spin_lock(t, ptl)
    result = isolate_pages(t, table)
    spin_unlock(t, ptl)
    if result < 0:
        spin_lock(t, &mm.page_table_lock)
        put_pmd(t, mm, address, pmd, <pmd_t>table)
        spin_unlock(t, &mm.page_table_lock)
    # From here on the locks of the pages keep walks away that would change something.
    if not unlocked:
        anon_vma_unlock(t, av)
    if result < 0:
        return result
    copy_pages(t, table, ptl, new)
    spin_lock(t, &mm.page_table_lock)
    page_add_new_anon_rmap(t, new, vma, address)
    put_pmd(t, mm, address, pmd, make_huge_pmd(new.pfn, vma.vm_flags & VM_WRITE) | vma.vm_page_prot)
    note(t, NOTE_COLLAPSE, mm.id, <int64_t>address, new.pfn)
    spin_unlock(t, &mm.page_table_lock)
    # The kernel keeps it for the split that may come: who walks without a lock may still be in it, and finds nothing.
    arena_retire(&t.x.arena, table)
    return 0


cdef int collapse_huge_page(Task *t, mm_struct *mm, uint64_t address) noexcept nogil:
    """Makes a huge page of what is mapped around address. 0, also where one is; -EINVAL where no vma wants one
    there or an entry is in the way; -EAGAIN where a page is locked, isolated or pinned; -ENOMEM.

    mmap_sem is dropped to find memory, and the vma is looked up again afterwards; in 4.8-rc only whether there is one,
    and the old one was gone on with (c131f751ab1a)."""
    cdef vm_area_struct *vma
    cdef vm_area_struct *again
    cdef pmd_t *pmd
    cdef pmd_t value
    cdef page *new
    cdef int result = -EINVAL
    address &= ~<uint64_t>(PMD_SIZE - 1)
    down_read(t, &mm.mmap_sem)
    vma = suitable_vma(t, mm, address)
    up_read(t, &mm.mmap_sem)
    if vma == NULL:
        return -EINVAL
    new = alloc_hugepage(t)
    if new == NULL:
        return -ENOMEM
    down_write(t, &mm.mmap_sem)
    again = suitable_vma(t, mm, address)
    if again != NULL:
        if not kernel_of(t).algorithm.collapse_stale_vma:
            vma = again
        must_live(t, vma, TYPE_VMA)
        pmd = pmd_offset(mm, address)
        value = pmd_read(t, pmd) if pmd != NULL else 0
        if pmd_huge(value):
            result = 0
        elif pmd != NULL:
            vma_start_write(t, vma)
            result = collapse_table(t, vma, address, pmd, new)
            if result == 0:
                new = NULL
    mmap_write_unlock(t, mm)
    if new != NULL:
        put_page(t, new)
    return result
