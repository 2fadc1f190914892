"""What require_kernel_api() asks at run time (see kernel_api.pxd)."""

from libc.stdint cimport uint64_t

from anonvma_rt.api cimport API_VERSION, check_api, require_api


cdef int check_kernel_api(str module, int version, uint64_t size) except -1:
    cdef uint64_t here = sizeof(kernel) + sizeof(vm_area_struct) + sizeof(anon_vma) + sizeof(anon_vma_chain)
    # A size that is none makes the other check say that the module is of another build.
    return require_api(module) if version == API_VERSION and size == here else check_api(module, version, 0, 0)
