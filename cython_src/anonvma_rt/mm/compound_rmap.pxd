"""The mapcounts of huge pages since 4.5: how many pmds show the whole, and for each part how many ptes.

The parts' counts are announced as one, at that of the head; that of the pmds is another object. PageDoubleMap, by which
one of the two could be had from the other without a look at all parts, is left out: it changes no sum.
"""

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport page

cdef bint compound_mapped(Task *t, page *p) noexcept nogil
cdef int total_mapcount(Task *t, page *head) noexcept nogil
cdef int page_trans_huge_mapcount(Task *t, page *head, int *total) noexcept nogil
cdef void page_dup_part_rmap(Task *t, page *p) noexcept nogil
cdef void page_remove_part_rmap(Task *t, page *p) noexcept nogil
cdef void page_dup_pmd_rmap(Task *t, page *head) noexcept nogil
cdef void page_remove_pmd_rmap(Task *t, page *head) noexcept nogil
