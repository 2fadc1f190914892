"""A fault where a swap entry is (do_swap_page of mm/memory.c)."""

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.vm_fault cimport vm_fault

cdef int do_swap_page(Task *t, vm_fault *vmf) noexcept nogil
