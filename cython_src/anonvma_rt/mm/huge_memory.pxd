"""Huge pmds: faults, copies, moves (mm/huge_memory.c). Their splits are in split_huge_pmd and split_huge_page.

One page_table_lock per mm protects them. A huge page is HPAGE_PMD_NR pages side by side. Up to 4.4 the head's mapcount
is the number of pmds that map it, until a split gives every small page its own, and a splitting pmd is waited for at
the root's lock; since 4.5 compound_rmap says what is counted.
"""

from libc.stdint cimport uint64_t

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport (
    PMD_SIZE, VM_GROWSDOWN, VM_HUGEPAGE, VM_STACK_INCOMPLETE_SETUP, mm_walk, pmd_t, vm_area_struct,
)

cdef int do_huge_pmd_anonymous_page(Task *t, vm_area_struct *vma, uint64_t address, pmd_t *pmd,
                                    bint write) noexcept nogil
cdef int do_huge_pmd_wp_page(Task *t, vm_area_struct *vma, uint64_t address, pmd_t *pmd, pmd_t seen) noexcept nogil
cdef bint copy_huge_pmd(Task *t, mm_walk *walk, pmd_t *source, uint64_t address) noexcept nogil
cdef bint zap_huge_pmd(Task *t, mm_walk *walk, pmd_t *pmd, uint64_t address) noexcept nogil
cdef bint change_huge_pmd(Task *t, mm_walk *walk, pmd_t *pmd, uint64_t address) noexcept nogil
cdef bint move_huge_pmd(Task *t, vm_area_struct *vma, pmd_t *old, uint64_t old_address,
                        vm_area_struct *new_vma, pmd_t *new, uint64_t new_address) noexcept nogil


cdef inline bint hugepage_fits(vm_area_struct *vma, uint64_t address) noexcept nogil:
    """Whether a fault at address may get a huge page: the vma wants them and holds all of that one. A stack gets none:
    exec moves it, and where it grows is for small pages."""
    cdef uint64_t start = address & ~<uint64_t>(PMD_SIZE - 1)
    cdef bint wanted = vma.vm_flags & (VM_HUGEPAGE | VM_STACK_INCOMPLETE_SETUP | VM_GROWSDOWN) == VM_HUGEPAGE
    return wanted and vma.vm_start <= start and start + PMD_SIZE <= vma.vm_end
