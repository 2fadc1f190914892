"""Counts the entries that show a page (see page_referenced.pxd)."""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.base.operation cimport OP_LOAD
from anonvma_rt.engine.base.os cimport read_once32
from anonvma_rt.engine.run.sync cimport spin_unlock, spinlock_t
from anonvma_rt.engine.run.task cimport Task, note, point
from anonvma_rt.mm.anon_vma cimport anon_vma_unlock_read
from anonvma_rt.mm.hooks.notes cimport NOTE_WALK
from anonvma_rt.mm.huge_migration cimport count_entries
from anonvma_rt.mm.mm_types cimport anon_vma, page, page_compound, page_in_compound, vm_area_struct
from anonvma_rt.mm.page_vma_mapped cimport huge_page_referenced, page_check_address
from anonvma_rt.mm.rmap cimport (
    WALK_REFERENCED, page_lock_anon_vma, rmap_walk, rmap_walk_begin, rmap_walk_next, vma_address,
)


cdef int page_referenced(Task *t, page *p) noexcept nogil:
    """How many ptes show the page, as reclaim asks it: without the page lock, and a miss does no harm.

    Ends when as many were seen as are mapped.
    """
    cdef anon_vma *av = page_lock_anon_vma(t, p)
    cdef int mapped
    cdef int seen = 0
    cdef spinlock_t *ptl = NULL
    cdef vm_area_struct *vma
    cdef uint64_t address
    cdef rmap_walk w
    if av == NULL:
        return 0
    if page_in_compound(p):
        seen = count_entries(t, p, av)
        anon_vma_unlock_read(t, av)
        return seen
    point(t, OP_LOAD, &p.mapcount)
    mapped = read_once32(&p.mapcount) + 1
    w = rmap_walk_begin(t, av, p, WALK_REFERENCED)
    while seen < mapped:
        vma = rmap_walk_next(t, &w)
        if vma == NULL:
            break
        if not vma_address(t, p, vma, &address):
            continue
        if page_compound(p):
            seen += huge_page_referenced(t, p, vma, address)
        elif page_check_address(t, p, vma, address, &ptl) != NULL:
            spin_unlock(t, ptl)
            seen += 1
    note(t, NOTE_WALK, WALK_REFERENCED, p.pfn, 1)
    anon_vma_unlock_read(t, av)
    return seen
