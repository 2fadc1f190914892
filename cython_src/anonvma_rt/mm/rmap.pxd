"""From a page to the ptes that show it: finding its anon_vma, walking, the page's own counters (mm/rmap.c).

A walker locks the root but walks the list of the page's own anon_vma, in the order of the list, or of the interval
tree where the algorithm has one. It holds one page-table lock at a time.
"""

from libc.stdint cimport uint32_t, uint64_t

from anonvma_rt.engine.base.klist cimport list_cursor
from anonvma_rt.engine.base.operation cimport OP_ATOMIC, OP_LOAD
from anonvma_rt.engine.base.os cimport read_once32
from anonvma_rt.engine.run.sync cimport add_return
from anonvma_rt.engine.run.task cimport Task, point
from anonvma_rt.mm.compound_rmap cimport compound_mapped, page_dup_part_rmap
from anonvma_rt.mm.mm_types cimport anon_vma, anon_vma_chain, page, page_in_compound, vm_area_struct

cdef enum:
    WALK_UNMAP = 1
    WALK_RESTORE
    WALK_SPLIT
    WALK_REFERENCED

cdef struct rmap_walk:
    page *page
    anon_vma *anon_vma
    list_cursor cursor
    anon_vma_chain *node
    bint tree
    uint32_t pages            # of the huge page that the walk is for, from the index of `page` on; or 1
    int loops                 # that are still to come

# What reclaim does at each place that may show the page: False where that has to stay.
ctypedef bint (*unmap_entry)(Task *t, page *p, vm_area_struct *vma, uint64_t address) noexcept nogil

cdef anon_vma *page_lock_anon_vma(Task *t, page *p) noexcept nogil
cdef anon_vma *page_get_anon_vma(Task *t, page *p) noexcept nogil
cdef anon_vma *must_be_its_anon_vma(Task *t, page *p) noexcept nogil
cdef bint vma_address(Task *t, page *p, vm_area_struct *vma, uint64_t *address) noexcept nogil
cdef anon_vma *own_anon_vma(Task *t, vm_area_struct *vma) noexcept nogil
cdef void set_page_anon_vma(page *p, anon_vma *av) noexcept nogil
cdef uint64_t index_of(Task *t, vm_area_struct *vma, uint64_t address, bint on_list) noexcept nogil
cdef void folio_add_new_anon_rmap(Task *t, page *head, vm_area_struct *vma, uint64_t address) noexcept nogil
cdef void page_add_new_anon_rmap(Task *t, page *p, vm_area_struct *vma, uint64_t address) noexcept nogil
cdef void page_add_anon_rmap(Task *t, page *p, vm_area_struct *vma, uint64_t address) noexcept nogil
cdef void page_remove_rmap(Task *t, page *p) noexcept nogil
cdef bint try_to_unmap(Task *t, page *p, unmap_entry reclaims) noexcept nogil
cdef rmap_walk rmap_walk_range(Task *t, anon_vma *av, page *p, int walk, uint32_t pages) noexcept nogil
cdef rmap_walk rmap_walk_begin(Task *t, anon_vma *av, page *p, int walk) noexcept nogil
cdef vm_area_struct *rmap_walk_next(Task *t, rmap_walk *w) noexcept nogil


cdef inline bint page_mapped(Task *t, page *p) noexcept nogil:
    if page_in_compound(p):
        return compound_mapped(t, p)
    point(t, OP_LOAD, &p.mapcount)
    return read_once32(&p.mapcount) >= 0


cdef inline void page_dup_rmap(Task *t, page *p) noexcept nogil:
    """One more pte maps a page, a copy of one that did."""
    if page_in_compound(p):
        page_dup_part_rmap(t, p)
        return
    point(t, OP_ATOMIC, &p.mapcount)
    add_return(t, &p.mapcount, 1)
