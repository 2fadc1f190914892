"""fork and exit (see fork.pxd). The parent's mmap_sem is held for writing from the first vma to the last pte.

A vma of the child is on every list, behind its parent, before the first of its ptes is copied: a walk that misses the
child's pte has not yet been at the parent's when that was copied.
"""

from libc.errno cimport EEXIST, ENOMEM
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from anonvma_rt.engine.base.arena cimport arena_free
from anonvma_rt.engine.base.operation cimport OP_LOAD, OP_STORE
from anonvma_rt.engine.base.os cimport read_link, read_onceu, write_onceu
from anonvma_rt.engine.parallel.locks cimport guard, unguard
from anonvma_rt.engine.run.sync cimport (
    down_write, down_write_nested, lock_init, spin_lock, spin_lock_nested, spin_unlock, spin_unlock_nested, spinlock_t,
    up_write, up_write_nested,
)
from anonvma_rt.engine.run.task cimport Task, note, point, violate
from anonvma_rt.mm.anon_vma_chain cimport anon_vma_fork
from anonvma_rt.mm.gup cimport maybe_dma_pinned
from anonvma_rt.mm.hooks.notes cimport BUG_BAD_PMD, BUG_ON, NOTE_CHILD_VMA, NOTE_COPY, NOTE_FORK
from anonvma_rt.mm.pins cimport pins_by
from anonvma_rt.mm.huge_memory cimport copy_huge_pmd
from anonvma_rt.mm.migration_entry cimport decode_migration_entry
from anonvma_rt.mm.mm_types cimport (
    CLASS_MMAP_SEM, CLASS_PTL, COW_REUSE_5_19, MAX_PROCESSES, PAGE_SIZE, PTE_DIRTY, PTE_EXCLUSIVE, PTE_NONE,
    PTE_PRESENT, PTE_PROTNONE, PTE_WRITE, PTRS_PER_TABLE, TYPE_DIRECTORY, TYPE_MM, TYPE_SCRATCH, VMA_LOCKS_6_4_RELEASED,
    VMA_LOCKS_FORK, VM_ACCOUNT, VM_WRITE, algorithm, announce_tree, is_migration_entry, is_swap_pte, kernel, kernel_of,
    make_pte, member_of, mm_struct, mm_walk, noted, page, page_at, page_directory, page_table, pte_pfn, pte_present,
    pte_t, serial_of, vm_area_struct, vma_pages, MISSING_FLUSH_FORK,
)
from anonvma_rt.mm.mmap cimport TASK_SIZE_SHIFT, unmap_region
from anonvma_rt.mm.page_alloc cimport alloc_page, get_page
from anonvma_rt.mm.pagewalk cimport walk_page_range
from anonvma_rt.mm.pgtable cimport alloc_table, pte_lockptr, pte_offset, pte_read, set_pte
from anonvma_rt.mm.rmap cimport page_add_new_anon_rmap, page_dup_rmap
from anonvma_rt.mm.slab cimport must_alloc
from anonvma_rt.mm.swap cimport swap_duplicate
from anonvma_rt.mm.tlb cimport flush_tlb_mm
from anonvma_rt.mm.vma cimport vma_duplicate, vma_free, vma_link
from anonvma_rt.mm.vma_lock cimport detach_all, lock_all, mmap_write_unlock, vma_end_write_all, vma_start_write

cdef enum:
    # copy_pte_range drops both locks for a moment when it has done so much; an empty pte costs 1, a copied one 8.
    BATCH = 32
    COPY_COST = 8


cdef mm_struct *mm_alloc(Task *t, kernel *k) noexcept nogil:
    """An empty address space, the next in k.mm."""
    cdef mm_struct *mm = <mm_struct *>must_alloc(t, sizeof(mm_struct), TYPE_MM)
    cdef mm_struct **larger
    if k.n_mm == k.mm_room:
        k.mm_room = 2 * k.mm_room + 8
        larger = <mm_struct **>must_alloc(t, k.mm_room * sizeof(void *), TYPE_SCRATCH)
        if k.n_mm:
            memcpy(larger, k.mm, k.n_mm * sizeof(void *))
            arena_free(&t.x.arena, k.mm)
        k.mm = larger
    mm.pgd = <page_directory *>must_alloc(t, sizeof(page_directory), TYPE_DIRECTORY)
    lock_init(&mm.mmap_sem, CLASS_MMAP_SEM)
    lock_init(&mm.page_table_lock, CLASS_PTL)
    mm.id = k.n_mm
    k.mm[k.n_mm] = mm
    k.n_mm += 1
    return mm


# ---- copying ---------------------------------------------------------------------------------------------------------


cdef int copy_pinned(Task *t, vm_area_struct *child, pte_t *to, uint64_t address, pte_t pte) noexcept nogil:
    """copy_present_page(): since 5.9 (70e806e4e645) a page that may be pinned is the parent's, and the child gets a
    copy at once; since 5.19 if the entry had it alone. Whether it did, or -ENOMEM."""
    cdef algorithm *a = &kernel_of(t).algorithm
    cdef page *p = page_at(t, pte_pfn(pte))
    cdef page *new
    cdef pte_t rights = PTE_EXCLUSIVE | PTE_WRITE if child.vm_flags & VM_WRITE else PTE_EXCLUSIVE
    if not a.fork_copies_pinned or (a.cow_reuse == COW_REUSE_5_19 and not pte & PTE_EXCLUSIVE):
        return False
    if not maybe_dma_pinned(t, p):
        return False
    new = alloc_page(t)
    if new == NULL:
        return -ENOMEM
    point(t, OP_LOAD, &p.tag)
    new.tag = read_onceu(&p.tag)
    page_add_new_anon_rmap(t, new, child, address)
    set_pte(t, to, make_pte(PTE_PRESENT, new.pfn, rights) | pte & (PTE_DIRTY | PTE_PROTNONE))
    note(t, NOTE_COPY, serial_of(child), <int64_t>address, noted(to[0]))
    return True


cdef int copy_one_pte(Task *t, vm_area_struct *child, pte_t *to, pte_t *source, uint64_t address,
                      pte_t pte) noexcept nogil:
    """Shares one page, without the right to write on both sides. A migration entry is copied as it is, but an entry
    that would give back the right to write loses that first, in the parent too. 0 or -ENOMEM."""
    cdef kernel *k = kernel_of(t)
    cdef page *p
    cdef int copied = 0
    if k.pins != NULL and pte_present(pte) and pte_pfn(pte):
        copied = copy_pinned(t, child, to, address, pte)
        if copied:
            return 0 if copied > 0 else copied
    if is_migration_entry(pte):
        if k.algorithm.decode_in_zap:
            # For rss accounting, since 3.3.
            decode_migration_entry(t, pte, address)
        if pte & (PTE_WRITE | PTE_EXCLUSIVE):
            pte &= ~<pte_t>(PTE_WRITE | PTE_EXCLUSIVE)
            set_pte(t, source, pte)
    elif is_swap_pte(pte):
        swap_duplicate(t, <uint32_t>pte_pfn(pte))
        if pte & PTE_EXCLUSIVE:
            pte &= ~<pte_t>PTE_EXCLUSIVE
            set_pte(t, source, pte)
    elif pte_present(pte):
        if pte & (PTE_WRITE | PTE_EXCLUSIVE):
            pte &= ~<pte_t>(PTE_WRITE | PTE_EXCLUSIVE)
            set_pte(t, source, pte)
        if pte_pfn(pte):
            p = page_at(t, pte_pfn(pte))
            get_page(t, p)
            page_dup_rmap(t, p)
    set_pte(t, to, pte)
    note(t, NOTE_COPY, serial_of(child), <int64_t>address, noted(pte))
    return 0


cdef int copy_pte_range(Task *t, mm_walk *walk, page_table *source, uint64_t address, uint64_t end) noexcept nogil:
    """One table, under the child's page-table lock and inside it the parent's, in batches. 0 or -ENOMEM."""
    cdef vm_area_struct *child = walk.child
    cdef page_table *table
    cdef spinlock_t *child_ptl
    cdef spinlock_t *parent_ptl = pte_lockptr(t, walk.vma.vm_mm, source)
    cdef pte_t pte
    cdef int progress
    cdef int error = 0
    if alloc_table(t, child.vm_mm, address, &table) < 0:
        return -ENOMEM
    if table == NULL:
        violate(t, BUG_ON, BUG_BAD_PMD, 0, <int64_t>address)
    child_ptl = pte_lockptr(t, child.vm_mm, table)
    while address < end:
        spin_lock(t, child_ptl)
        spin_lock_nested(t, parent_ptl, 1)
        progress = 0
        while address < end and progress < BATCH and error == 0:
            pte = pte_read(t, pte_offset(source, address))
            if pte != PTE_NONE:
                error = copy_one_pte(t, child, pte_offset(table, address), pte_offset(source, address), address, pte)
            progress += COPY_COST if pte != PTE_NONE else 1
            address += PAGE_SIZE
        spin_unlock_nested(t, parent_ptl, 1)
        spin_unlock(t, child_ptl)
        if error < 0:
            return error
    return 0


cdef int copy_page_range(Task *t, vm_area_struct *child, vm_area_struct *parent) noexcept nogil:
    """Shares all pages of a vma with the child's. Nothing to do where the parent's was never written to. 0, or -ENOMEM
    where a table of the child's cannot be had; what was shared before that is."""
    cdef mm_walk walk = mm_walk(vma=parent, huge=copy_huge_pmd, ptes=copy_pte_range, child=child, tlb=NULL,
                                shared=False)
    cdef int result
    point(t, OP_LOAD, member_of(t, &parent.anon_vma))
    if read_link(&parent.anon_vma) == NULL:
        return 0
    write_protects(t, parent.vm_mm)
    result = walk_page_range(t, &walk, parent.vm_start, parent.vm_end)
    write_protects(t, parent.vm_mm)
    return result


cdef void write_protects(Task *t, mm_struct *mm) noexcept nogil:
    """write_protect_seq: odd from the first entry to the last (57efa1fe5957, 5.11), for gup_fast()."""
    cdef uint32_t *seq
    if kernel_of(t).pins == NULL or not kernel_of(t).algorithm.write_protect_seq:
        return
    seq = &pins_by(t).seq[mm.id & (MAX_PROCESSES - 1)]
    point(t, OP_STORE, seq)
    write_onceu(seq, read_onceu(seq) + 1)


cdef int dup_mmap(Task *t, mm_struct *mm, mm_struct *parent) noexcept nogil:
    """Makes `mm`, which is empty, a copy of the parent's address space: vma after vma, each with its ptes. 0, -EEXIST,
    or -ENOMEM: then whatever was copied is unmapped again when both locks are free, as the end of a process is.

    Since 6.5 every vma of the parent is locked before it is looked at, where faults go without mmap_sem.
    """
    cdef bint lock_vmas = kernel_of(t).algorithm.vma_locks == VMA_LOCKS_FORK
    cdef vm_area_struct *vma
    cdef vm_area_struct *new
    cdef vm_area_struct *last = NULL
    cdef int result = 0
    if mm == parent:
        return -EEXIST
    down_write(t, &parent.mmap_sem)
    down_write_nested(t, &mm.mmap_sem, 1)
    if mm.mmap != NULL:
        up_write_nested(t, &mm.mmap_sem, 1)
        up_write(t, &parent.mmap_sem)
        return -EEXIST
    note(t, NOTE_FORK, parent.id, mm.id, 0)
    vma = parent.mmap
    while lock_vmas and vma != NULL:
        down_write(t, &vma.vm_lock)
        vma = vma.vm_next
    vma = parent.mmap
    while vma != NULL:
        if kernel_of(t).algorithm.vma_locks != VMA_LOCKS_6_4_RELEASED:
            vma_start_write(t, vma)
        new = vma_duplicate(t, vma, mm)
        if new == NULL:
            result = -ENOMEM
            break
        if anon_vma_fork(t, new, vma) < 0:
            vma_free(t, new)
            result = -ENOMEM
            break
        vma_link(t, mm, new, last)
        if new.vm_flags & VM_ACCOUNT:
            mm.charged += <int32_t>vma_pages(new)
        last = new
        note(t, NOTE_CHILD_VMA, serial_of(new), <int64_t>new.vm_start, serial_of(vma))
        result = copy_page_range(t, new, vma)
        if result < 0:
            break
        vma = vma.vm_next
    vma = parent.mmap
    while lock_vmas and vma != NULL:
        up_write(t, &vma.vm_lock)
        vma = vma.vm_next
    note(t, NOTE_FORK, parent.id, mm.id, 1)
    vma_end_write_all(t, mm)
    up_write_nested(t, &mm.mmap_sem, 1)
    if kernel_of(t).algorithm.missing_flush != MISSING_FLUSH_FORK:
        flush_tlb_mm(t, parent)
    mmap_write_unlock(t, parent)
    if result < 0:
        exit_mmap(t, mm)
    return result


cdef void exit_mmap(Task *t, mm_struct *mm) noexcept nogil:
    """The end of a process: everything is unmapped, and the tables of its tables go too. mmap_sem is taken only to keep
    a user of the same mm out who, in the kernel, would be gone by now."""
    cdef vm_area_struct *all
    cdef vm_area_struct *vma
    cdef int i
    down_write(t, &mm.mmap_sem)
    all = mm.mmap
    vma = all
    while vma != NULL:
        if vma.vm_flags & VM_ACCOUNT:
            mm.charged -= <int32_t>vma_pages(vma)
        vma = vma.vm_next
    lock_all(t, mm)
    announce_tree(t, mm, OP_STORE)
    mm.mmap = NULL
    if t.x.parallel:
        guard(t, &mm.tree_guard)
    mm.tree = NULL
    if t.x.parallel:
        unguard(&mm.tree_guard)
    mm.map_count = 0
    detach_all(t, mm, all)
    if all != NULL:
        unmap_region(t, all, 0, <uint64_t>1 << TASK_SIZE_SHIFT, False)
    for i in range(PTRS_PER_TABLE):
        if mm.pgd.entry[i]:
            arena_free(&t.x.arena, <void *>mm.pgd.entry[i])
            mm.pgd.entry[i] = 0
    mmap_write_unlock(t, mm)
