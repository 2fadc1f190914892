"""Huge pmds: faults, copies, moves, and the split that counts (mm/huge_memory.c of Linux 3.2).

One page_table_lock per mm protects them. A huge page is HPAGE_PMD_NR pages side by side; the head's mapcount is the
number of pmds that map it, until a split gives every small page its own. A splitting pmd is waited for at the root's
lock. """

from libc.stdint cimport int64_t, uint64_t

from anonvma_rt.engine.run.task cimport Task
from anonvma_rt.mm.mm_types cimport (
    PMD_SIZE, VM_GROWSDOWN, VM_HUGEPAGE, VM_STACK_INCOMPLETE_SETUP, anon_vma, mm_struct, mm_walk, page, pmd_t,
    vm_area_struct,
)

cdef int do_huge_pmd_anonymous_page(Task *t, vm_area_struct *vma, uint64_t address, pmd_t *pmd) noexcept nogil
cdef int do_huge_pmd_wp_page(Task *t, vm_area_struct *vma, uint64_t address, pmd_t *pmd, pmd_t seen) noexcept nogil
cdef bint copy_huge_pmd(Task *t, mm_walk *walk, pmd_t *source, uint64_t address) noexcept nogil
cdef bint zap_huge_pmd(Task *t, mm_walk *walk, pmd_t *pmd, uint64_t address) noexcept nogil
cdef bint change_huge_pmd(Task *t, mm_walk *walk, pmd_t *pmd, uint64_t address) noexcept nogil
cdef bint move_huge_pmd(Task *t, vm_area_struct *vma, pmd_t *old, uint64_t old_address,
                        vm_area_struct *new_vma, pmd_t *new, uint64_t new_address) noexcept nogil
cdef void wait_split_huge_page(Task *t, anon_vma *av) noexcept nogil
cdef bint split_huge_page(Task *t, page *p) noexcept nogil
cdef void split_huge_page_pmd(Task *t, mm_struct *mm, pmd_t *pmd) noexcept nogil
cdef void vma_adjust_trans_huge(Task *t, vm_area_struct *vma, uint64_t start, uint64_t end, vm_area_struct *next,
                                int64_t shift) noexcept nogil


cdef inline bint hugepage_fits(vm_area_struct *vma, uint64_t address) noexcept nogil:
    """Whether a fault at address may get a huge page: the vma wants them and holds all of that one. A stack gets none:
    exec moves it, and where it grows is for small pages."""
    cdef uint64_t start = address & ~<uint64_t>(PMD_SIZE - 1)
    cdef bint wanted = vma.vm_flags & (VM_HUGEPAGE | VM_STACK_INCOMPLETE_SETUP | VM_GROWSDOWN) == VM_HUGEPAGE
    return wanted and vma.vm_start <= start and start + PMD_SIZE <= vma.vm_end
