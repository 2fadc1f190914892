"""The split of a huge page since 4.5: all its entries become migration entries, the count of references is frozen, the
parts become pages, and the entries come back (split_huge_page_to_list).

The page lock is held, and the root's lock for writing throughout: nobody forks, unlinks or moves under it meanwhile. A
page of which somebody else has a reference is left as it is.
"""

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport page

cdef int split_huge_page_to_list(Task *t, page *head, page *p) noexcept nogil
cdef bint split_huge_page_locked(Task *t, page *p) noexcept nogil
