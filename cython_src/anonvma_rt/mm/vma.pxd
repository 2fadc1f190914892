"""Single vmas: made, linked, adjusted, merged, split (the heart of mm/mmap.c up to 6.11, mm/vma.c since).

mmap_sem is held for writing. A walker may read vm_start, vm_end and vm_pgoff at any time under nothing but the root's
lock, which vma_adjust takes in some cases only.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport anon_vma, mm_struct, vm_area_struct

# A range that looks for a neighbour: the vma before it, what its own vma would be, and the vma that its pages come
# from, or which is there already (NULL where there are no pages).
cdef struct vma_merge_struct:
    mm_struct *mm
    vm_area_struct *prev
    uint64_t start
    uint64_t end
    uint64_t pgoff
    uint64_t flags
    anon_vma *anon_vma
    vm_area_struct *source
    bint copied  # by mremap, and so not in the middle of the merge

cdef vm_area_struct *vma_alloc(Task *t, mm_struct *mm, uint64_t start, uint64_t end, uint64_t pgoff,
                               uint64_t flags) noexcept nogil
cdef vm_area_struct *vma_duplicate(Task *t, vm_area_struct *vma, mm_struct *mm) noexcept nogil
cdef void vma_link(Task *t, mm_struct *mm, vm_area_struct *vma, vm_area_struct *prev) noexcept nogil
cdef void vma_unlink(Task *t, mm_struct *mm, vm_area_struct *vma) noexcept nogil
cdef void vma_free(Task *t, vm_area_struct *vma) noexcept nogil
cdef void set_range(Task *t, vm_area_struct *vma, uint64_t start, uint64_t end, uint64_t pgoff) noexcept nogil
cdef int vma_adjust(Task *t, vm_area_struct *vma, uint64_t start, uint64_t end, uint64_t pgoff,
                    vm_area_struct *insert) noexcept nogil
cdef vm_area_struct *vma_merge(Task *t, vma_merge_struct *vmg) noexcept nogil
cdef int split_vma(Task *t, mm_struct *mm, vm_area_struct *vma, uint64_t address, bint new_below) noexcept nogil
