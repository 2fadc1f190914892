"""Private mappings of a file: the page cache, faults in it, and the collapse of its pages (mm/filemap.c and
mm/khugepaged.c).

There is one file. Its pages have no anon_vma: who reads maps the page of the cache, who writes gets a copy of his own,
which is an anonymous page like any other. A spinlock (i_pages) protects the cache.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.vm_fault cimport vm_fault
from anonvma_rt.mm.mm_types cimport mm_struct

cdef int do_fault(Task *t, vm_fault *vmf) noexcept nogil
cdef int collapse_file(Task *t, mm_struct *mm, uint64_t address) noexcept nogil
cdef void make_file(Task *t) noexcept nogil
