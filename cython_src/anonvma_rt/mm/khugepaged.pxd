"""Collapse: many small pages of an mm become a huge one (mm/khugepaged.c; in Linux 3.2 mm/huge_memory.c).

mmap_sem is held for writing from the last look at the vma to the end, and the root's lock while the pmd is gone and not
all pages are locked: until then a walk through the reverse map could miss their ptes.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport mm_struct

cdef int collapse_huge_page(Task *t, mm_struct *mm, uint64_t address) noexcept nogil
