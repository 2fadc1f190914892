"""Folios of other sizes than a huge page's, which ptes map (mTHP): what a first write may get (alloc_anon_folio, 6.8).

The lock of the page table protects the entries, as for small pages.
"""

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.vm_fault cimport vm_fault

cdef bint map_anon_folio(Task *t, vm_fault *vmf) noexcept nogil
