"""The public Cython API of the simulated kernel: what an ordering rule of somebody else's cimports (docs/embedding.md).

Structures and names are those of mm/mm_types.pxd, which says what protects each field; they are the kernel's and change
only with API_VERSION.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.api cimport API_VERSION
from anonvma_rt.mm.anon_vma cimport anon_vma_lock, anon_vma_unlock
from anonvma_rt.mm.anon_vma_chain cimport avc_to_tail
from anonvma_rt.mm.hooks.rule cimport ARRIVES_BACK, ARRIVES_FRESH, ARRIVES_MERGED, Rule
from anonvma_rt.mm.mm_types cimport (
    anon_vma, anon_vma_chain, avc_of_same_anon_vma, avc_of_same_vma, kernel, kernel_of, mm_struct, serial_of,
    vm_area_struct,
)

cdef int check_kernel_api(str module, int version, uint64_t size) except -1


cdef inline int require_kernel_api(str module) except -1:
    """As require_api(), which it includes, for a module that uses the structures of the simulated kernel."""
    return check_kernel_api(
        module, API_VERSION, sizeof(kernel) + sizeof(vm_area_struct) + sizeof(anon_vma) + sizeof(anon_vma_chain)
    )
