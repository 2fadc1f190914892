"""Mapcounts of huge pages (see compound_rmap.pxd)."""

from libc.stdint cimport int32_t

from anonvma_rt.engine.base.operation cimport OP_ATOMIC, OP_LOAD
from anonvma_rt.engine.base.os cimport read_once32
from anonvma_rt.engine.run.sync cimport add_return
from anonvma_rt.engine.run.task cimport Task, point, violate
from anonvma_rt.mm.deferred_queue cimport deferred_split_huge_page
from anonvma_rt.mm.hooks.notes cimport BUG_MAPCOUNT, BUG_ON
from anonvma_rt.mm.mm_types cimport (
    compound_head, compound_mapcount, compound_nr, kernel_of, page, page_in_compound, pmd_mapcount,
)


cdef int32_t pmds_of(Task *t, page *head) noexcept nogil:
    point(t, OP_LOAD, compound_mapcount(head))
    return read_once32(compound_mapcount(head)) + 1


cdef int ptes_of(Task *t, page *head, int *most) noexcept nogil:
    """Of all parts; most: of the one that has most."""
    cdef int total = 0
    cdef int mapped
    cdef int i
    most[0] = 0
    point(t, OP_LOAD, &head.mapcount)
    for i in range(<int>compound_nr(head)):
        mapped = read_once32(&head[i].mapcount) + 1
        total += mapped
        if mapped > most[0]:
            most[0] = mapped
    return total


cdef bint compound_mapped(Task *t, page *p) noexcept nogil:
    """page_mapped(), of the whole. A split of a pmd counts its ptes before it uncounts the pmd, so that this misses
    nothing."""
    cdef page *head = compound_head(t, p)
    cdef int most
    return pmds_of(t, head) > 0 or ptes_of(t, head, &most) > 0


cdef int total_mapcount(Task *t, page *head) noexcept nogil:
    """How many entries show the page or a part of it."""
    cdef int most
    cdef int pmds = pmds_of(t, head)
    return pmds + ptes_of(t, head, &most)


cdef int page_trans_huge_mapcount(Task *t, page *head, int *total) noexcept nogil:
    """How many processes show the same part, at most; 1: nobody else sees what is written. The parts are looked at
    first and the pmds then, without anything that keeps a split of a pmd away in between (c444eb564fb1)."""
    cdef int most
    cdef int pmds
    total[0] = ptes_of(t, head, &most)
    pmds = pmds_of(t, head)
    total[0] += pmds
    return most + pmds


cdef void page_dup_part_rmap(Task *t, page *p) noexcept nogil:
    """One more pte maps a part."""
    point(t, OP_ATOMIC, &compound_head(t, p).mapcount)
    add_return(t, &p.mapcount, 1)


cdef void page_remove_part_rmap(Task *t, page *p) noexcept nogil:
    """The last pte of a part is gone: the page is one to be split."""
    cdef page *head = compound_head(t, p)
    point(t, OP_ATOMIC, &head.mapcount)
    if read_once32(&p.mapcount) < 0:
        violate(t, BUG_ON, BUG_MAPCOUNT, p.pfn, 0)
    if add_return(t, &p.mapcount, -1) < 0:
        deferred_split_huge_page(t, head)


cdef void page_dup_pmd_rmap(Task *t, page *head) noexcept nogil:
    """One more pmd maps a huge page, in any release."""
    point(t, OP_ATOMIC, pmd_mapcount(head))
    add_return(t, pmd_mapcount(head), 1)


cdef void page_remove_pmd_rmap(Task *t, page *head) noexcept nogil:
    """One pmd less, in any release. The last one, where ptes show a part: the page is one to be split."""
    cdef int most
    cdef int left
    point(t, OP_ATOMIC, pmd_mapcount(head))
    if read_once32(pmd_mapcount(head)) < 0:
        violate(t, BUG_ON, BUG_MAPCOUNT, head.pfn, 0)
    if add_return(t, pmd_mapcount(head), -1) < 0 and page_in_compound(head) and kernel_of(t).deferred != NULL:
        left = ptes_of(t, head, &most)
        if 0 < left < <int>compound_nr(head):
            deferred_split_huge_page(t, head)
