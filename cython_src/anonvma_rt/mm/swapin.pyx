"""A fault where a swap entry is (see swapin.pxd).

What makes it safe is that the slot stays in use from the look at the cache to the second look at the entry: by the
page, which cannot leave the cache while it is locked. So an entry that is what it was still means the same content.
"""

from libc.errno cimport ENOMEM
from libc.stdint cimport int64_t, uint32_t, uint64_t

from anonvma_rt.engine.base.operation cimport OP_ATOMIC, OP_LOAD, OP_STORE
from anonvma_rt.engine.base.os cimport read_link, write_onceu
from anonvma_rt.engine.run.sync cimport add_return, lock_wait, mutex_lock, mutex_unlock, spin_lock, spin_unlock
from anonvma_rt.engine.run.task cimport Task, note, point
from anonvma_rt.mm.hooks.notes cimport NOTE_SWAP_IN
from anonvma_rt.mm.mm_types cimport (
    COW_REUSE_5_19, PTE_DIRTY, PTE_EXCLUSIVE, PTE_PRESENT, PTE_WRITE, SWAPIN_CACHE, SWAPIN_PREPARED, anon_vma,
    kernel_of, make_pte, page, page_anon_vma, page_count, page_slot, pte_pfn, pte_t, vm_area_struct, vma_page_prot,
)
from anonvma_rt.mm.page_alloc cimport alloc_page, put_page
from anonvma_rt.mm.pgtable cimport pte_read, set_pte
from anonvma_rt.mm.rmap cimport index_of, own_anon_vma, page_add_anon_rmap, set_page_anon_vma
from anonvma_rt.mm.swap cimport (
    lookup_swap_cache, read_swap_cache, reuse_swap_page, swap_count, swap_free, swap_readpage, swapcache_clear,
    swapcache_prepare, try_to_free_swap,
)
from anonvma_rt.mm.vm_fault cimport vm_fault


cdef void page_add_swapped_rmap(Task *t, page *p, vm_area_struct *vma, uint64_t address, bint exclusive) noexcept nogil:
    """do_page_add_anon_rmap(), under the page lock: a page that was read in belongs to the root, to which all lead that
    may have an entry of its slot, or to the vma's own anon_vma where it is of this entry alone. One that never left the
    cache belongs where it belonged."""
    cdef anon_vma *own
    point(t, OP_LOAD, &p.mapping)
    if page_anon_vma(p) != NULL:
        page_add_anon_rmap(t, p, vma, address)
        return
    own = own_anon_vma(t, vma)
    # Nothing showed it, so nobody asks for its anon_vma before it counts as mapped.
    write_onceu(&p.index, <uint32_t>index_of(t, vma, address, False))
    point(t, OP_STORE, &p.mapping)
    set_page_anon_vma(p, own if exclusive else <anon_vma *>read_link(&own.root))
    point(t, OP_ATOMIC, &p.mapcount)
    add_return(t, &p.mapcount, 1)


cdef page *read_alone(Task *t, uint32_t slot, bint prepares, int *error) noexcept nogil:
    """Reads a slot that one entry names into a page that is in no cache, and comes back locked (0bcac06f27d7, for a
    device in memory). prepares: the slot is kept meanwhile; NULL where somebody else has it."""
    cdef page *fresh = alloc_page(t)
    cdef page *first
    if fresh == NULL:
        error[0] = -ENOMEM
        return NULL
    mutex_lock(t, &fresh.lock)
    first = swapcache_prepare(t, slot, fresh) if prepares else NULL
    if first == NULL:
        swap_readpage(t, slot, fresh)
        return fresh
    mutex_unlock(t, &fresh.lock)
    put_page(t, fresh)
    if first != fresh:
        lock_wait(t, &first.lock)
    return NULL


cdef pte_t rights_of(Task *t, vm_fault *vmf, page *p, bint cached, uint32_t slot) noexcept nogil:
    """What the entry of the page allows; gives the slot's share of the old entry back.

    Up to 5.17 a write used the page again that no other entry names, and everything else was left to copy on write.
    Since 5.19 (1493a1917241) the swap entry remembers whether it had the page alone; or nobody else has a reference.
    """
    cdef bint alone
    if kernel_of(t).algorithm.cow_reuse != COW_REUSE_5_19:
        alone = vmf.write and reuse_swap_page(t, p)
        return PTE_WRITE | PTE_EXCLUSIVE | PTE_DIRTY if alone else 0
    alone = not cached or vmf.seen & PTE_EXCLUSIVE
    swap_free(t, slot)
    if vmf.write and cached:
        point(t, OP_LOAD, &p.count)
        if page_count(p) == 2:
            try_to_free_swap(t, p)
    if not alone:
        point(t, OP_LOAD, &p.count)
        alone = page_count(p) == 1
    if not alone:
        return 0
    return PTE_EXCLUSIVE | PTE_WRITE | PTE_DIRTY if vmf.write else PTE_EXCLUSIVE


cdef void map_page(Task *t, vm_fault *vmf, page *p, bint cached, uint32_t slot) noexcept nogil:
    """Under the page lock and the ptl, where the entry is what it was."""
    cdef bint frees = kernel_of(t).algorithm.cow_reuse != COW_REUSE_5_19
    cdef pte_t rights
    # The one that was reused up to 5.17 is judged before its entry gives back the slot, so that this counts once.
    rights = rights_of(t, vmf, p, cached, slot)
    page_add_swapped_rmap(t, p, vmf.vma, vmf.address, rights & PTE_EXCLUSIVE != 0)
    set_pte(t, vmf.pte, make_pte(PTE_PRESENT, p.pfn, rights) | rights & PTE_DIRTY | vma_page_prot(t, vmf.vma))
    note(t, NOTE_SWAP_IN, vmf.mm.id, <int64_t>vmf.address, p.pfn)
    if frees:
        swap_free(t, slot)


cdef int do_swap_page(Task *t, vm_fault *vmf) noexcept nogil:
    """Maps what the swap entry vmf.seen names; the fault looks again afterwards, also where something else is there by
    now. Returns 0 or -ENOMEM.

    The page is looked up in the swap cache, or read into it. From 4.15 on one whose slot has a single entry is read
    past the cache where the device is memory: until 13ddaf26be32 (6.8) nothing kept the slot meanwhile, so that it
    could be freed and given to the same page again, with another content.
    """
    cdef uint32_t slot = <uint32_t>pte_pfn(vmf.seen)
    cdef int swapin = kernel_of(t).algorithm.swapin
    cdef page *p = lookup_swap_cache(t, slot)
    cdef bint cached = True
    cdef int error = 0
    if p == NULL and swapin != SWAPIN_CACHE and swap_count(t, slot) == 1:
        cached = False
        p = read_alone(t, slot, swapin == SWAPIN_PREPARED, &error)
    elif p == NULL:
        p = read_swap_cache(t, slot, &error)
    if p == NULL:
        # Who maps the page gives the slot back first, and the entry is another one when he has let go of its lock.
        spin_lock(t, vmf.ptl)
        if pte_read(t, vmf.pte) != vmf.seen:
            error = 0
        spin_unlock(t, vmf.ptl)
        return error
    if cached:
        mutex_lock(t, &p.lock)
        # It may have left the cache before it was locked, and its slot may be another page's (4969c1192d15, 2.6.36).
        if kernel_of(t).algorithm.swapin_rechecks and page_slot(p) != slot:
            mutex_unlock(t, &p.lock)
            put_page(t, p)
            return 0
    spin_lock(t, vmf.ptl)
    if pte_read(t, vmf.pte) == vmf.seen:
        map_page(t, vmf, p, cached, slot)
        spin_unlock(t, vmf.ptl)
    else:
        spin_unlock(t, vmf.ptl)
        vmf.changed = True
    if not cached and swapin == SWAPIN_PREPARED:
        swapcache_clear(t, slot)
    mutex_unlock(t, &p.lock)
    if vmf.changed:
        vmf.changed = False
        put_page(t, p)
    return 0
