"""From an address to its page (see gup.pxd)."""

from libc.errno cimport EAGAIN, EFAULT, ENOENT
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from anonvma_rt.engine.base.operation cimport OP_ATOMIC, OP_LOAD, OP_STORE
from anonvma_rt.engine.base.os cimport read_once64, read_onceu, write_onceu
from anonvma_rt.engine.run.sync cimport (
    add_return, add_unless_zero, down_read, spin_lock, spin_unlock, spinlock_t, up_read,
)
from anonvma_rt.engine.run.task cimport Task, note, point
from anonvma_rt.mm.hooks.notes cimport NOTE_DMA, NOTE_PIN, NOTE_UNPIN
from anonvma_rt.mm.pins cimport (
    GUP_PIN_COUNTING_BIAS, gup_pin, pin_given_back, pin_taken, pin_written, pins_by,
)
from anonvma_rt.mm.memory cimport do_wp_page, handle_mm_fault, unpin_entry
from anonvma_rt.mm.mm_types cimport (
    GUP_COW_5_19, GUP_COW_5_8, MAX_PROCESSES, PG_DIRTY, PMD_MIGRATION, PTE_DIRTY, PTE_EXCLUSIVE, PTE_MIGRATION,
    PTE_NONE, PTE_PRESENT, PTE_PROTNONE, PTE_WRITE, THP_3_2, THP_4_14, VM_READ, VM_WRITE, compound_head,
    is_huge_zero_pmd, is_poison, kernel_of, make_pte, mm_of, mm_struct, page, page_at, page_in_compound, pmd_huge,
    pmd_t, pmd_table, pte_pfn, pte_present, pte_t, start_of, vm_area_struct,
)
from anonvma_rt.mm.page_alloc cimport drop, get_page, isolate_lru_page, put_page
from anonvma_rt.mm.page_lock cimport lock_page, unlock_page
from anonvma_rt.mm.pgtable cimport pmd_offset, pmd_read, pte_lockptr, pte_offset, pte_read
from anonvma_rt.mm.split_huge_page cimport split_huge_page, split_huge_page_pmd, split_huge_pmd
from anonvma_rt.mm.swap cimport change_flags
from anonvma_rt.mm.vm_fault cimport vm_fault
from anonvma_rt.mm.vma_tree cimport find_vma


cdef page *take(Task *t, page *p, bint isolate) noexcept nogil:
    """A reference, and off the LRU if asked for; NULL where somebody has taken it off. The lock of an entry is held."""
    if not isolate:
        get_page(t, p)
        return p
    return p if isolate_lru_page(t, p) == 0 else NULL


cdef bint split_held(Task *t, page *p, pte_t *seen) noexcept nogil:
    """Splits the huge page of p, of which the caller has a reference that ends here; False, with an entry for "busy" in
    seen, where that cannot be."""
    cdef bint done = split_huge_page(t, p)
    put_page(t, p)
    if not done:
        seen[0] = make_pte(PTE_PRESENT, p.pfn, 0)
    return done


cdef page *follow_huge_pmd(Task *t, vm_area_struct *vma, uint64_t address, pmd_t *pmd, bint isolate,
                           pte_t *seen) noexcept nogil:
    """follow_trans_huge_pmd() since 4.5: NULL, with nothing in seen, where to look again. Who migrates takes a huge
    page as it is since 4.14."""
    cdef mm_struct *mm = mm_of(t, vma)
    cdef bint whole = isolate and kernel_of(t).algorithm.thp == THP_4_14
    cdef page *p
    cdef pmd_t value
    spin_lock(t, &mm.page_table_lock)
    value = pmd_read(t, pmd)
    if not pmd_huge(value) or value & PMD_MIGRATION:
        spin_unlock(t, &mm.page_table_lock)
        seen[0] = make_pte(PTE_MIGRATION, pte_pfn(value), 0) if pmd_huge(value) else PTE_NONE
        return NULL
    if is_huge_zero_pmd(value):
        spin_unlock(t, &mm.page_table_lock)
        if whole:
            seen[0] = make_pte(PTE_PRESENT, 0, 0)
        else:
            seen[0] = PTE_NONE
            split_huge_pmd(t, vma, pmd, address)
        return NULL
    p = page_at(t, pte_pfn(value))
    if whole:
        seen[0] = make_pte(PTE_PRESENT, p.pfn, 0)
    p = take(t, p, whole)
    spin_unlock(t, &mm.page_table_lock)
    if not whole:
        split_held(t, p, seen)
        return NULL
    return p


cdef page *follow_page(Task *t, vm_area_struct *vma, uint64_t address, bint isolate, pte_t wanted,
                       pte_t *seen) noexcept nogil:
    """The page at an address with a reference, or NULL; a huge page there is split first (FOLL_SPLIT), also if ptes map
    it. mmap_sem is held for reading. wanted: bits that a present pte must have. seen: the pte that was there under its
    lock, which says why there is no page.

    isolate: takes it off the LRU as well, or gives NULL where somebody has. Since 4.14 that is for a migration of huge
    pages, too: then the page is the head of one, and not split."""
    cdef mm_struct *mm = mm_of(t, vma)
    cdef pmd_t *pmd = pmd_offset(mm, address)
    cdef pmd_t value = pmd_read(t, pmd) if pmd != NULL else 0
    cdef bint old = kernel_of(t).algorithm.thp == THP_3_2
    cdef page *p
    cdef spinlock_t *ptl
    cdef pte_t pte
    seen[0] = PTE_NONE
    while True:
        while pmd_huge(value):
            if old:
                split_huge_page_pmd(t, vma, pmd, address)
            else:
                p = follow_huge_pmd(t, vma, address, pmd, isolate, seen)
                if p != NULL or seen[0] != PTE_NONE:
                    return p
            value = pmd_read(t, pmd)
        if value == 0:
            return NULL
        ptl = pte_lockptr(t, mm, pmd_table(value))
        spin_lock(t, ptl)
        pte = pte_read(t, pte_offset(pmd_table(value), address))
        seen[0] = pte
        if not pte_present(pte) or pte_pfn(pte) == 0 or pte & wanted != wanted:
            spin_unlock(t, ptl)
            return NULL
        p = page_at(t, pte_pfn(pte))
        if not page_in_compound(p) or (isolate and kernel_of(t).algorithm.thp == THP_4_14):
            p = take(t, p, isolate)
            spin_unlock(t, ptl)
            return p
        get_page(t, p)
        spin_unlock(t, ptl)
        if not split_held(t, p, seen):
            return NULL
        seen[0] = PTE_NONE
        value = pmd_read(t, pmd)


# ---- references that outlive the look --------------------------------------------------------------------------------


cdef bint breaks_cow(Task *t, bint write) noexcept nogil:
    """Whether a reference is taken as if to write: in 5.8 also one that only reads (17839856fd58)."""
    return write or kernel_of(t).algorithm.gup_cow == GUP_COW_5_8


cdef bint must_unshare(Task *t, pte_t pte, bint write, bint pin) noexcept nogil:
    """gup_must_unshare(): since 5.19 (a7f226604170) a pin that only reads asks for a page of its own, too."""
    return kernel_of(t).algorithm.gup_cow == GUP_COW_5_19 and pin and not write and not pte & PTE_EXCLUSIVE


cdef bint shows(pte_t pte, bint write) noexcept nogil:
    return pte_present(pte) and not pte & PTE_PROTNONE and (not write or pte & PTE_WRITE != 0)


cdef uint64_t entry_without_lock(Task *t, uint64_t *entry) noexcept nogil:
    """What interrupts that are off keep from being freed: an entry of a table that is gone passes for none."""
    cdef uint64_t value
    point(t, OP_LOAD, entry)
    value = read_once64(entry)
    return 0 if is_poison(value) else value


cdef page *gup_fast(Task *t, mm_struct *mm, uint64_t address, bint write, bint pin) noexcept nogil:
    """get_user_pages_fast(): without a lock. It reads the entry, takes a reference, and reads the entry again. NULL:
    the slow way is to be tried.

    Since 5.11 (57efa1fe5957) a pin is given back as well where the mm has forked meanwhile, and since 6.1
    (70cbc3cc78a9) where the table is gone: a collapse takes it away first and then looks for references.
    """
    cdef bint counts_forks = pin and kernel_of(t).algorithm.write_protect_seq
    cdef uint32_t *seq = &pins_by(t).seq[mm.id & (MAX_PROCESSES - 1)]
    cdef uint32_t before = 0
    cdef bint same
    cdef pmd_t *pmd = pmd_offset(mm, address)
    cdef pmd_t value
    cdef pte_t *ptep
    cdef pte_t pte
    cdef page *p
    if counts_forks:
        point(t, OP_LOAD, seq)
        before = read_onceu(seq)
        if before & 1:
            return NULL
    value = entry_without_lock(t, <uint64_t *>pmd) if pmd != NULL else 0
    if pmd_table(value) == NULL:
        return NULL
    ptep = pte_offset(pmd_table(value), address)
    pte = entry_without_lock(t, ptep)
    if not shows(pte, write) or pte_pfn(pte) == 0:
        return NULL
    p = page_at(t, pte_pfn(pte))
    point(t, OP_ATOMIC, &compound_head(t, p).count)
    if not add_unless_zero(t, &compound_head(t, p).count):
        return NULL
    if pin:
        add_return(t, &compound_head(t, p).count, GUP_PIN_COUNTING_BIAS - 1)
    same = entry_without_lock(t, ptep) == pte
    if same and kernel_of(t).algorithm.gup_rechecks_pmd:
        same = entry_without_lock(t, <uint64_t *>pmd) == value
    if same and not must_unshare(t, pte, write, pin):
        if counts_forks:
            point(t, OP_LOAD, seq)
        if not counts_forks or read_onceu(seq) == before:
            return p
    drop(t, p, GUP_PIN_COUNTING_BIAS if pin else 1)
    return NULL


cdef int follow_and_pin(Task *t, vm_fault *vmf, bint write, bint pin) noexcept nogil:
    """One look at the entry under its lock: 1 with a reference, 0 where a fault is needed (or one was made to unshare
    the page), 2 for the zero page, which needs none; or -ENOMEM."""
    cdef mm_struct *mm = vmf.mm
    cdef pmd_t *pmd = pmd_offset(mm, vmf.address)
    cdef pmd_t value = pmd_read(t, pmd) if pmd != NULL else 0
    cdef page *p
    cdef pte_t pte
    while pmd_huge(value):
        split_huge_pmd(t, vmf.vma, pmd, vmf.address)
        value = pmd_read(t, pmd)
    if value == 0:
        return 0
    vmf.pte = pte_offset(pmd_table(value), vmf.address)
    vmf.ptl = pte_lockptr(t, mm, pmd_table(value))
    spin_lock(t, vmf.ptl)
    pte = pte_read(t, vmf.pte)
    if not shows(pte, write):
        spin_unlock(t, vmf.ptl)
        return 0
    if must_unshare(t, pte, write, pin):
        vmf.seen = pte
        vmf.unshare = True
        return do_wp_page(t, vmf)
    if pte_pfn(pte) == 0:
        spin_unlock(t, vmf.ptl)
        return 2
    p = page_at(t, pte_pfn(pte))
    point(t, OP_ATOMIC, &compound_head(t, p).count)
    add_return(t, &compound_head(t, p).count, GUP_PIN_COUNTING_BIAS if pin else 1)
    if write and kernel_of(t).swap != NULL and not pte & PTE_DIRTY:
        # FOLL_TOUCH; the fast way leaves that to whoever writes.
        change_flags(t, p, 0, PG_DIRTY)
    note(t, NOTE_PIN, mm.id, <int64_t>vmf.address, p.pfn)
    pin_taken(t, mm, vmf.address, p, pin)
    spin_unlock(t, vmf.ptl)
    return 1


cdef int pin_user_page(Task *t, mm_struct *mm, uint64_t address, bint write, bint pin, bint fast) noexcept nogil:
    """pin_user_pages() of one page, or with pin False get_user_pages(); fast: without mmap_sem where that goes. A huge
    page is split first. 0; -EFAULT outside every mapping, or without the right to it; -ENOMEM."""
    cdef bint as_write = breaks_cow(t, write)
    cdef vm_fault vmf
    cdef vm_area_struct *vma
    cdef page *p
    cdef int result = 0
    if fast:
        p = gup_fast(t, mm, address, as_write, pin)
        if p != NULL:
            note(t, NOTE_PIN, mm.id, <int64_t>address, p.pfn)
            pin_taken(t, mm, address, p, pin)
            return 0
    memset(&vmf, 0, sizeof(vmf))
    down_read(t, &mm.mmap_sem)
    vma = find_vma(t, mm, address)
    if vma == NULL or start_of(t, vma) > address or not vma.vm_flags & (VM_WRITE if write else VM_READ):
        up_read(t, &mm.mmap_sem)
        return -EFAULT
    vmf.vma = vma
    vmf.mm = mm
    vmf.address = address
    # Memory that may not be written to has nothing to break.
    as_write = as_write and vma.vm_flags & VM_WRITE != 0
    while result == 0:
        vmf.unshare = False
        vmf.write = as_write
        result = follow_and_pin(t, &vmf, as_write, pin)
        if result == 0 and not vmf.unshare:
            result = handle_mm_fault(t, &vmf)
            unpin_entry(t, &vmf)
            if result == -EAGAIN:
                result = -EFAULT
    up_read(t, &mm.mmap_sem)
    return 0 if result > 0 else result


cdef int unpin_user_page(Task *t, mm_struct *mm, uint64_t address) noexcept nogil:
    """unpin_user_pages_dirty_lock(), or put_page(), of what the process has of an address: 0, or -ENOENT."""
    cdef gup_pin was
    cdef page *p = pin_given_back(t, mm, address, &was)
    if p == NULL:
        return -ENOENT
    if was.written and kernel_of(t).swap != NULL:
        lock_page(t, p)
        change_flags(t, p, 0, PG_DIRTY)
        unlock_page(t, p)
    note(t, NOTE_UNPIN, mm.id, <int64_t>address, p.pfn)
    drop(t, p, GUP_PIN_COUNTING_BIAS if was.promises else 1)
    return 0


cdef int dma_write(Task *t, mm_struct *mm, uint64_t address, int64_t tag) noexcept nogil:
    """A device writes to the page through the reference that the process has of an address: 0, or -ENOENT."""
    cdef page *p = pin_written(t, mm, address)
    if p == NULL:
        return -ENOENT
    point(t, OP_STORE, &p.tag)
    write_onceu(&p.tag, <uint32_t>tag)
    note(t, NOTE_DMA, p.pfn, tag, 0)
    return 0
