"""mprotect (see mprotect.pxd): first the vmas are merged or split, then flags and vm_page_prot change, one after the
other, and then the entries of the range get the rights of their vma.

The right to write, of private memory, is never among these: the next write faults and copies or reuses the page. So
entries change in the same way whether the right is taken or given.
"""

from libc.errno cimport EINVAL, ENOMEM
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from anonvma_rt.engine.base.os cimport write_onceu
from anonvma_rt.engine.run.sync cimport spin_lock, spin_unlock, spinlock_t
from anonvma_rt.engine.run.task cimport Task, must_live, note
from anonvma_rt.mm.hooks.notes cimport NOTE_PROTECT
from anonvma_rt.mm.huge_memory cimport change_huge_pmd
from anonvma_rt.mm.mm_types cimport (
    CALLS_6_17, MAX_MAP_COUNT, MISSING_FLUSH_PROTECT, PAGE_SHIFT, PAGE_SIZE, PTE_PROTNONE, PTE_WRITE, TYPE_VMA,
    VM_ACCOUNT, VM_NORESERVE, VM_READ, VM_WRITE, algorithm, announce_flags, kernel_of, mm_struct, mm_walk,
    mmu_gather, noted, page_table, pte_present, pte_t, vm_area_struct, vma_set_page_prot,
)
from anonvma_rt.mm.mmap cimport TASK_SIZE_SHIFT
from anonvma_rt.mm.mmu_gather cimport tlb_remove_entry
from anonvma_rt.mm.pagewalk cimport walk_page_range
from anonvma_rt.mm.pgtable cimport pte_lockptr, pte_offset, pte_read, ptep_get_and_clear, set_pte
from anonvma_rt.mm.tlb cimport flush_tlb_batched_pending, flush_tlb_range
from anonvma_rt.mm.vma cimport split_vma, vma_merge, vma_merge_struct
from anonvma_rt.mm.vma_lock cimport vma_start_write
from anonvma_rt.mm.vma_tree cimport find_vma

cdef uint64_t TASK_SIZE = <uint64_t>1 << TASK_SIZE_SHIFT


cdef int change_pte_range(Task *t, mm_walk *walk, page_table *table, uint64_t address, uint64_t end) noexcept nogil:
    """Write-protects the ptes of one table, and gives them the vma's right to be read. A present one is none for a
    moment, even where it stays what it was; of migration entries only the writable ones change, their type."""
    cdef pte_t prot = walk.vma.vm_page_prot
    cdef mm_struct *mm = walk.vma.vm_mm
    cdef spinlock_t *ptl = pte_lockptr(t, mm, table)
    cdef pte_t *ptep
    cdef pte_t pte
    spin_lock(t, ptl)
    flush_tlb_batched_pending(t, mm)
    while address < end:
        ptep = pte_offset(table, address)
        pte = pte_read(t, ptep)
        if pte_present(pte) or pte & PTE_WRITE:
            if pte_present(pte):
                pte = ptep_get_and_clear(t, ptep) & ~<pte_t>PTE_PROTNONE | prot
                tlb_remove_entry(t, walk.tlb, address, PAGE_SIZE)
            set_pte(t, ptep, pte & ~<pte_t>PTE_WRITE)
            note(t, NOTE_PROTECT, mm.id, <int64_t>address, noted(pte & ~<pte_t>PTE_WRITE))
        address += PAGE_SIZE
    spin_unlock(t, ptl)
    return 0


cdef void change_protection(Task *t, vm_area_struct *vma, uint64_t start, uint64_t end) noexcept nogil:
    """Since 3.8 it flushes only where a present entry was among them (7da4d641c58d), with mmap_sem still held."""
    cdef algorithm *a = &kernel_of(t).algorithm
    cdef mmu_gather changed
    cdef mm_walk walk = mm_walk(vma=vma, huge=change_huge_pmd, ptes=change_pte_range, child=NULL, tlb=&changed,
                                shared=False)
    changed.start = changed.end = 0
    walk_page_range(t, &walk, start, end)
    if (changed.start < changed.end or not a.protect_counts) and a.missing_flush != MISSING_FLUSH_PROTECT:
        flush_tlb_range(t, vma.vm_mm, start, end)


cdef int mprotect_fixup(Task *t, vm_area_struct *vma, vm_area_struct **prev, uint64_t start, uint64_t end,
                        uint64_t flags) noexcept nogil:
    """One vma's part of the range; *prev becomes the vma that holds it afterwards. Returns 0 or -ENOMEM."""
    cdef mm_struct *mm = vma.vm_mm
    cdef uint64_t pgoff = vma.vm_pgoff + ((start - vma.vm_start) >> PAGE_SHIFT)
    cdef int32_t charged = <int32_t>((end - start) >> PAGE_SHIFT)
    cdef uint64_t gained = flags & ~<uint64_t>vma.vm_flags
    cdef uint64_t lost = vma.vm_flags & ~flags
    cdef vma_merge_struct vmg
    cdef vm_area_struct *merged
    if flags == vma.vm_flags:
        prev[0] = vma
        return 0
    vmg = vma_merge_struct(mm=mm, prev=prev[0], start=start, end=end, pgoff=pgoff, flags=flags,
                           anon_vma=vma.anon_vma, source=vma, copied=False)
    merged = vma_merge(t, &vmg)
    if merged != NULL:
        vma = merged
    else:
        # A merge that failed half way has freed it (case 6 up to 4.7).
        must_live(t, vma, TYPE_VMA)
        if start != vma.vm_start:
            if mm.map_count >= MAX_MAP_COUNT:
                return -ENOMEM
            if split_vma(t, mm, vma, start, True) < 0:
                return -ENOMEM
        if end != vma.vm_end:
            if mm.map_count >= MAX_MAP_COUNT:
                return -ENOMEM
            if split_vma(t, mm, vma, end, False) < 0:
                return -ENOMEM
    prev[0] = vma
    vma_start_write(t, vma)
    announce_flags(t, vma)
    write_onceu(&vma.vm_flags, <uint32_t>flags)
    vma_set_page_prot(t, vma)
    change_protection(t, vma, start, end)
    mm.charged += charged if gained & VM_ACCOUNT else -charged if lost & VM_ACCOUNT else 0
    return 0


cdef uint64_t protected_flags(Task *t, vm_area_struct *vma, uint64_t rights) noexcept nogil:
    """The flags that a vma is to have. What becomes writable is charged for, and stays so; since 6.7 only if it was
    faulted, which is asked only where its rights change."""
    cdef uint64_t flags = vma.vm_flags & ~<uint64_t>(VM_READ | VM_WRITE) | rights
    if flags == vma.vm_flags:
        return flags
    if rights & VM_WRITE:
        return flags if vma.vm_flags & (VM_ACCOUNT | VM_WRITE | VM_NORESERVE) else flags | VM_ACCOUNT
    if kernel_of(t).algorithm.calls == CALLS_6_17 and vma.anon_vma == NULL:
        return flags & ~<uint64_t>VM_ACCOUNT
    return flags


cdef int do_mprotect(Task *t, mm_struct *mm, uint64_t start, uint64_t length, uint64_t rights) noexcept nogil:
    """rights: VM_READ and VM_WRITE, or 0. mmap_sem is held for writing. 0; -EINVAL for an unaligned start; -ENOMEM
    where the range is not all mapped (what lies before the hole is changed), at the limit of vmas, or without memory
    for a split."""
    cdef uint64_t end = start + length
    cdef uint64_t stop
    cdef vm_area_struct *vma
    cdef vm_area_struct *prev
    if start & (PAGE_SIZE - 1):
        return -EINVAL
    if length == 0:
        return 0
    if start > TASK_SIZE or length > TASK_SIZE - start:
        return -ENOMEM
    vma = find_vma(t, mm, start)
    if vma == NULL or vma.vm_start > start:
        return -ENOMEM
    prev = vma if start > vma.vm_start else vma.vm_prev
    while True:
        stop = vma.vm_end if vma.vm_end < end else end
        if mprotect_fixup(t, vma, &prev, start, stop, protected_flags(t, vma, rights)) < 0:
            return -ENOMEM
        start = prev.vm_end if prev.vm_end > stop else stop
        if start >= end:
            return 0
        vma = prev.vm_next
        if vma == NULL or vma.vm_start != start:
            return -ENOMEM
